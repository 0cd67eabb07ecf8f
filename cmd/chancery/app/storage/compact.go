package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"chancery/cmd/chancery/app/cli"
	"chancery/store/bolt"
)

func compactCommand(o Options) *cobra.Command {
	n := &node{Options: o}
	c := &cobra.Command{
		Use: "compact", Short: "Make the database file as small as it can be", Args: cli.Args(0, ""),
		Long: `Check the database file, write it anew without free pages and with packed rows,
compare both by count and SHA-256 of every table, and put the new file in the
place of the old one. The server must not run. The disk needs room for a second
file meanwhile.`,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return n.compact(ctx, c)
		},
	}
	n.flags(c)
	return c
}

func (n *node) compact(ctx context.Context, c *cobra.Command) error {
	p, err := n.own()
	if err != nil {
		return err
	}
	if p.dsn != "" {
		return cli.Print(c.OutOrStdout(), n.asJSON, map[string]any{"store": p.String(), "needed": false},
			"PostgreSQL uses the room of deleted rows again by itself (autovacuum): nothing is to be done.\n")
	}
	if err := p.there(); err != nil {
		return err
	}
	bar := newProgress(c.ErrOrStderr(), n.Now)
	defer bar.end()
	r := checked{Store: p.String()}
	db, err := p.open(ctx, n)
	if err == nil {
		err = errors.Join(n.read(ctx, db, &r, bar), db.Close())
	}
	if errors.Is(err, bolt.ErrHeld) {
		return errors.New("a server has the file open: stop it, compact, and start it again; a second or two for 10,000 certificates")
	} else if err != nil {
		return err
	}
	if len(r.Findings) > 0 {
		bar.end()
		fmt.Fprint(c.ErrOrStderr(), r.text())
		return errors.New("nothing was compacted: what is damaged must not be made anew")
	}
	done, err := bolt.Compact(ctx, p.path, func(done, of int) { bar.show("compacting", done, of, "") })
	bar.end()
	if err != nil {
		return err
	}
	return cli.Print(c.OutOrStdout(), n.asJSON, map[string]any{"store": p.String(), "needed": true, "before": done.Before, "after": done.After, "documents": done.Documents},
		fmt.Sprintf("%s had %.1f MB and has %.1f MB now, with the same %d documents\n", p, float64(done.Before)/1e6, float64(done.After)/1e6, done.Documents))
}
