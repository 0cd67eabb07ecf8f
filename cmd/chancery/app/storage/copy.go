package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"chancery/cmd/chancery/app/cli"
	"chancery/cmd/chancery/app/config"
	"chancery/cmd/chancery/app/datadir"
	"chancery/engine"
	"chancery/store"
	"chancery/store/transfer"
)

func copyCommand(o Options) *cobra.Command {
	n := &node{Options: o}
	var from, to string
	c := &cobra.Command{
		Use: "copy --to PLACE", Short: "Copy all records into another store, such as PostgreSQL", Args: cli.Args(0, ""),
		Long: `Copy all records from where chancery.yaml says that they are, or from --from,
into an empty store, and compare both by count and SHA-256 of every table.
Nothing may serve from either meanwhile. A copy that was interrupted goes on
where it was when the same command is given again; until it has ended no server
starts on it.

A PLACE is ` + placeHelp + `.`,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if to == "" {
				return usage("store copy wants --to PLACE: %s", placeHelp)
			}
			dst, err := parsePlace("to", to, n.Env)
			if err != nil {
				return err
			}
			src, err := n.own()
			if from != "" {
				src, err = parsePlace("from", from, n.Env)
			}
			if err != nil {
				return err
			}
			return n.copy(ctx, c, src, dst)
		},
	}
	n.flags(c)
	c.Flags().StringVar(&from, "from", "", "where the records are, in place of what chancery.yaml says")
	c.Flags().StringVar(&to, "to", "", "where they go (required)")
	return c
}

// A copied is what the command says at its end.
type copied struct {
	From   string           `json:"from"`
	To     string           `json:"to"`
	Rows   int              `json:"rows"`
	Tables []transfer.Table `json:"tables"`
}

func (n *node) copy(ctx context.Context, c *cobra.Command, src, dst place) (err error) {
	if err := src.there(); err != nil {
		return err
	}
	if same(src, dst) {
		return usage("--to is where the records are already: %s", dst)
	}
	from, err := n.quiet(ctx, src)
	if err != nil {
		return fmt.Errorf("the source: %w", err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := n.quiet(ctx, dst)
	if err != nil {
		return fmt.Errorf("the destination: %w", err)
	}
	defer func() { err = errors.Join(err, to.Close()) }()

	bar, steps, last := newProgress(c.ErrOrStderr(), n.Now), 3*n.tables(), ""
	defer bar.end()
	done := -1
	tables, err := transfer.Copy(ctx, from, to, n.Schemas, transfer.Options{Now: n.Now().UTC(), Progress: func(doing, table string, rows int) {
		if doing+table != last {
			last = doing + table
			done++
		}
		if rows > 0 {
			bar.show(doing+" "+table, done, steps, fmt.Sprintf("%d rows", rows))
		}
	}})
	bar.end()
	if errors.Is(err, context.Canceled) {
		return &cli.ExitError{Code: 1, Message: "chancery: interrupted; the same command goes on where this one was"}
	} else if err != nil {
		return err
	}
	// One that came while the records were copied has perhaps changed them since.
	if err := n.busy(ctx, src, from); err != nil {
		return fmt.Errorf("what was done in the source meanwhile is not in %s: empty that, and copy again: %w", dst, err)
	}
	r := copied{From: src.String(), To: dst.String(), Tables: tables}
	for _, t := range tables {
		r.Rows += t.Rows
	}
	return cli.Print(c.OutOrStdout(), n.asJSON, r, fmt.Sprintf("%d rows of %d tables and indexes are in %s, each with the same count and SHA-256.\n\n%s", r.Rows, len(tables), dst, n.advice(src, dst)))
}

// tables is how many tables and indexes there are.
func (n *node) tables() (count int) {
	for _, s := range n.Schemas {
		count += 1 + len(s.Indexes)
	}
	return count
}

func same(a, b place) bool {
	if a.dsn != "" || b.dsn != "" {
		return a.dsn == b.dsn
	}
	x, xerr := os.Stat(a.path)
	y, yerr := os.Stat(b.path)
	return xerr == nil && yerr == nil && os.SameFile(x, y)
}

// quiet opens a store that nobody serves from. Of a file the lock says so, of a
// database the nodes that spoke a moment ago.
func (n *node) quiet(ctx context.Context, p place) (store.DB, error) {
	db, err := p.open(ctx, n)
	if err != nil {
		return nil, err
	}
	if err := n.busy(ctx, p, db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// busy says who serves from a database.
func (n *node) busy(ctx context.Context, p place, db store.DB) error {
	live, err := engine.Serving(ctx, db, n.Now())
	if err != nil || p.dsn == "" || len(live) == 0 {
		return err
	}
	names := make([]string, len(live))
	for i, l := range live {
		names[i] = l.Name
	}
	return fmt.Errorf("%s serves from %s: stop every server first, and wait a quarter of a minute", strings.Join(names, ", "), p)
}

// advice says what to change now.
func (n *node) advice(src, dst place) string {
	file := n.file
	if file == "" {
		file = datadir.Dir(n.dir).Settings()
	}
	lines := []string{"Now change " + file + " to:", "", "store:"}
	if dst.dsn != "" {
		lines = append(lines, "  postgres:", "    dsn_file: FILE    # which holds the DSN; or leave this out and set "+config.DSNVariable)
	} else {
		path := dst.path
		if abs, err := filepath.Abs(path); err == nil {
			path = abs
		}
		lines = append(lines, "  bolt:", fmt.Sprintf("    path: %q", path))
	}
	lines = append(lines, "", "with nothing else under store, and start: chancery serve --data "+n.dir,
		"Keep "+src.String()+" until you know that all is well, and never serve from it again:",
		"certificates made from here on, and revocations, are only in the new store.")
	return strings.Join(lines, "\n") + "\n"
}
