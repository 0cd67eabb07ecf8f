package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"chancery/cmd/chancery/app/backup"
	"chancery/cmd/chancery/app/cli"
	"chancery/cmd/chancery/app/config"
	"chancery/cmd/chancery/app/datadir"
	"chancery/cmd/chancery/app/node"
	"chancery/store/archive"
)

// backup is the group of commands that make and check backups.
func (a *app) backup() *cobra.Command {
	c := cli.Backup(os.Getenv, cli.Backuper{
		Offline: func(ctx context.Context, data, file string, w io.Writer) error {
			return backup.Offline(ctx, a.place(data, file, io.Discard, os.Stderr), a.Version, w)
		},
		Save: func(path string, write func(io.Writer) error) (string, error) {
			s, err := backup.Save(path, write)
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("%s: %s\n", path, brief(s)), nil
		},
	})
	c.AddCommand(a.verifyBackup())
	return c
}

func brief(s *archive.Summary) string {
	return fmt.Sprintf("%d certificates, %d requests, %d octets, as they were at %s", s.Sums["certificates"].Documents, s.Sums["requests"].Documents, s.Bytes, s.Made.Format(time.RFC3339))
}

func (a *app) verifyBackup() *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use: "verify FILE", Short: "Restore a backup into a scratch folder, and check it there", Args: cli.Args(1, "FILE"),
		Long: `Restore a backup into a scratch folder under TMPDIR, check there every document
with its index entries and the records against one another, show what it holds,
and delete the folder. With --data, also say whether this CA made it.`,
		RunE: func(c *cobra.Command, given []string) error {
			v, err := backup.Verify(c.Context(), given[0], datadir.Dir(dir), node.Schemas(a.tables()))
			if err != nil {
				return err
			}
			if err := cli.Print(c.OutOrStdout(), asJSON, v, verified(given[0], v)); err != nil {
				return err
			}
			if len(v.Wrong) > 0 || v.Genuine == "no" {
				return &cli.ExitError{Code: 1, Message: "chancery: this backup is not to be trusted"}
			}
			return nil
		},
	}
	c.Flags().StringVar(&dir, "data", "", "data directory with the seal.key of this CA, to tell who made the backup")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func verified(path string, v *backup.Verified) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, by chancery %s\n", path, brief(v.Summary), v.Program)
	for _, ca := range v.CAs {
		fmt.Fprintf(&b, "  authority %s, key %s\n", ca.Name, ca.KeyID)
	}
	for _, t := range v.Tables {
		fmt.Fprintf(&b, "  %8d %s\n", v.Sums[t.Name].Documents, t.Name)
	}
	switch v.Genuine {
	case "yes":
		fmt.Fprintf(&b, "made by this CA (seal %s)\n", v.Seal)
	case "no":
		b.WriteString("NOT made by this CA: the key in --data is another\n")
	default:
		fmt.Fprintf(&b, "who made it was not looked at; its key is called %s (--data DIR)\n", v.Seal)
	}
	for _, w := range v.Wrong {
		fmt.Fprintf(&b, "WRONG: %s\n", w)
	}
	if len(v.Wrong) == 0 {
		b.WriteString("ok: it restores, and its records agree\n")
	}
	return b.String()
}

// restore is the group of commands that bring a backup back.
func (a *app) restore() *cobra.Command {
	var dir, file, dsn string
	var ev backup.Evidence
	c := &cobra.Command{
		Use: "restore FILE", Short: "Restore a backup into an empty data directory or database", Args: cli.Args(1, "FILE"),
		Long: `Restore a backup. The data directory holds the keys that a backup does not:
seal.key, and in keys those of the authorities that are to sign. The database must
be empty. What the CA did after the backup comes from its last published CRLs
(--crl, one for each CA key) and the journal of a file exit (--journal).

The CA is in quarantine then: it tells the status of certificates and issues none,
until an administrator says: chancery restore release`,
		RunE: func(c *cobra.Command, given []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			p, err := a.restored(dir, file, dsn, c.OutOrStdout(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			return backup.Restore(ctx, given[0], p, ev)
		},
	}
	a.restoreFlags(c, &dir, &file, &dsn, &ev)
	c.AddCommand(a.restoreAdd(), cli.Release(os.Getenv))
	return c
}

func (a *app) restoreAdd() *cobra.Command {
	var dir, file, dsn string
	var ev backup.Evidence
	c := &cobra.Command{
		Use: "add", Short: "Add published CRLs and journals to what was restored", Args: cli.Args(0, ""),
		Long: `Add what is known of the CA beside the backup, while the quarantine stands. Stop
the server before, where records are in a file.`,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			p, err := a.restored(dir, file, dsn, c.OutOrStdout(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			return backup.Add(ctx, p, ev)
		},
	}
	a.restoreFlags(c, &dir, &file, &dsn, &ev)
	return c
}

func (a *app) restoreFlags(c *cobra.Command, dir, file, dsn *string, ev *backup.Evidence) {
	places(c, dir, file)
	f := c.Flags()
	f.StringVar(dsn, "dsn", "", "PostgreSQL database to restore into, whatever the settings say: file:FILE or env:VARIABLE that holds its DSN, or a DSN without a password")
	f.StringArrayVar(&ev.CRLs, "crl", nil, "file or URL of the last published CRL of a CA key, and of its delta or parts; may be given many times")
	f.StringArrayVar(&ev.NoCRL, "no-published-crl", nil, "KEYID=WHY: there is no published CRL of this CA key; say why")
	f.StringArrayVar(&ev.Journals, "journal", nil, "journal of a file exit, a folder or a file; may be given many times")
}

// restored is place with the database that a flag names.
func (a *app) restored(dir, file, dsn string, w, stderr io.Writer) (p backup.Place, err error) {
	p = a.place(dir, file, w, stderr)
	if dsn == "" {
		return p, nil
	}
	if p.DSN, err = config.GivenDSN(dsn, p.Env); err != nil {
		err = &cli.ExitError{Code: 2, Message: "chancery: --dsn: " + err.Error()}
	}
	return p, err
}

// place is where records are restored to, or read from. The report goes to w.
func (a *app) place(dir, file string, w, stderr io.Writer) backup.Place {
	return backup.Place{
		Dir: datadir.Dir(dir), File: file, Schemas: node.Schemas(a.tables()), Now: time.Now, Rand: rand.Reader,
		Log: slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError})), Env: os.Getenv,
		Say: func(format string, args ...any) { io.WriteString(w, cli.Plain(fmt.Sprintf(format, args...))+"\n") },
	}
}
