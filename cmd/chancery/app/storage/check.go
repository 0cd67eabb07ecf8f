package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"chancery/cmd/chancery/app/cli"
	"chancery/cmd/chancery/app/datadir"
	"chancery/cmd/chancery/app/serve"
	"chancery/engine"
	"chancery/store"
	"chancery/store/bolt"
)

func checkCommand(o Options) *cobra.Command {
	n := &node{Options: o}
	c := &cobra.Command{
		Use: "check", Short: "Read all records and say what is damaged", Args: cli.Args(0, ""),
		Long: `Read everything stored: checksums, index entries, and whether requests,
certificates and their bytes belong together. A file that a server has open is
read by that server. The exit code is 1 if anything is damaged.`,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			r, err := n.check(ctx, newProgress(c.ErrOrStderr(), n.Now))
			if err != nil {
				return err
			}
			if err := cli.Print(c.OutOrStdout(), n.asJSON, r, r.text()); err != nil {
				return err
			}
			if !r.OK {
				return &cli.ExitError{Code: 1}
			}
			return nil
		},
	}
	n.flags(c)
	return c
}

// A checked is what the command says.
type checked struct {
	OK       bool           `json:"ok"`
	Store    string         `json:"store"`
	Served   bool           `json:"served"` // the server read it
	Tables   map[string]int `json:"tables"` // documents
	Findings []string       `json:"findings"`
}

func (r *checked) found(text string) {
	r.Findings = append(r.Findings, strings.ToValidUTF8(text, "?"))
}

func (r *checked) text() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(r.Tables)) {
		if r.Tables[name] > 0 {
			fmt.Fprintf(&b, "%-16s %9d\n", name, r.Tables[name])
		}
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "DAMAGED: %s\n", f)
	}
	if r.OK {
		fmt.Fprintf(&b, "%s: nothing is damaged\n", r.Store)
	} else {
		fmt.Fprintf(&b, "%s: %d findings. Make a copy of it as it is, and restore the last backup in which nothing is damaged.\n", r.Store, len(r.Findings))
	}
	return b.String()
}

func (n *node) check(ctx context.Context, bar *progress) (r checked, err error) {
	defer bar.end()
	p, err := n.own()
	if err == nil {
		err = p.there()
	}
	if err != nil {
		return r, err
	}
	r = checked{Store: p.String(), Tables: map[string]int{}, Findings: []string{}}
	db, err := p.open(ctx, n)
	switch {
	case errors.Is(err, bolt.ErrHeld):
		err = n.ask(ctx, &r, bar)
	case err != nil && p.dsn == "" && ctx.Err() == nil:
		r.found(err.Error()) // so damaged that it cannot be opened
		err = nil
	case err == nil:
		err = errors.Join(n.read(ctx, db, &r, bar), db.Close())
	}
	r.OK = len(r.Findings) == 0
	return r, err
}

// read checks a store that this process has open.
func (n *node) read(ctx context.Context, db store.DB, r *checked, bar *progress) error {
	if pages, ok := db.(*bolt.DB); ok {
		bar.show("pages", 0, 1, "")
		found, err := pages.CheckPages(ctx)
		if err != nil {
			return err
		}
		for _, f := range found {
			r.found(f.Error())
		}
	}
	i := store.Inspector{Schemas: n.Schemas, Also: new(engine.Checker).Check}
	rows := 0
	found, err := i.InspectAll(ctx, db, func(seen int, _ []store.Finding) {
		rows += seen
		bar.show("rows", n.passed(i.At.Table), n.tables(), fmt.Sprintf("%d read", rows))
	})
	for _, f := range found {
		r.found(f.Error())
	}
	r.Tables = i.Rows
	if err != nil && len(found) > 0 {
		r.found(err.Error())
		return ctx.Err()
	}
	return err
}

// passed is how many tables and indexes come before one.
func (n *node) passed(name string) (count int) {
	for _, s := range n.Schemas {
		if s.Name == name {
			return count
		}
		count++
		for _, ix := range s.Indexes {
			if ix.Name == name {
				return count
			}
			count++
		}
	}
	return count
}

// ask has the server do it that has the file open.
func (n *node) ask(ctx context.Context, r *checked, bar *progress) error {
	socket := datadir.Dir(n.dir).Socket()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost"+serve.RecordsCheck, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("another process has the store open, and does not answer at %s: stop it, and check again: %w", socket, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
		return fmt.Errorf("the server that has the store open refused: %s", strings.TrimSpace(string(text)))
	}
	r.Served = true
	for lines := json.NewDecoder(io.LimitReader(res.Body, 64<<20)); ; {
		var said serve.RecordsChecked
		if err := lines.Decode(&said); err != nil {
			return fmt.Errorf("the server stopped before it had read everything: %w", err)
		}
		bar.show("rows", 0, 1, fmt.Sprintf("%d read by the server", said.Rows))
		if !said.Done {
			continue
		}
		r.Tables = said.Tables
		for _, f := range said.Findings {
			r.found(f)
		}
		switch {
		case said.Error != "" && len(said.Findings) == 0:
			return errors.New(said.Error)
		case said.Error != "":
			r.found(said.Error)
		}
		return nil
	}
}
