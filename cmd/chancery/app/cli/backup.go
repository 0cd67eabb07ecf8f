package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"chancery/cmd/chancery/app/datadir"
	"chancery/frontends/native/client"
)

// A Backuper does the parts of a backup that happen where the records are.
type Backuper struct {
	// Offline writes a backup of a data directory that nobody serves.
	Offline func(ctx context.Context, data, config string, w io.Writer) error

	// Save puts what write writes into a file, checks it, and says what it holds.
	Save func(path string, write func(io.Writer) error) (text string, err error)
}

// Backup is the command that makes a backup.
func Backup(env func(string) string, b Backuper) *cobra.Command {
	o := &connection{env: env}
	var config string
	c := &cobra.Command{
		Use: "backup FILE|-", Short: "Write all records into one file, also while the server runs", Args: Args(1, "FILE, or - for standard output"),
		Long: `Write all records, as they are in one moment, into one file, with settings, policy
and certificates. It holds no private key: keep seal.key, the folder keys and
admin.key of the data directory apart from it.

A server that runs on --data is asked over its socket, another one over its admin
listener with a credential of role operator or admin; where no server runs, the
records are read from the disk. FILE is there whole or not at all, and only its
owner can read it.`,
		RunE: func(c *cobra.Command, a []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			write := func(w io.Writer) error { return o.backup(ctx, b, config, w) }
			if a[0] == "-" {
				return write(c.OutOrStdout())
			}
			text, err := b.Save(a[0], write)
			if err != nil {
				return err
			}
			_, err = io.WriteString(c.OutOrStdout(), text)
			return err
		},
	}
	o.flags(c)
	c.Flags().StringVar(&config, "config", "", "settings, in place of chancery.yaml in the data directory, when no server runs")
	return c
}

// backup asks a server, or where none runs reads the records itself.
func (o *connection) backup(ctx context.Context, b Backuper, config string, w io.Writer) error {
	if o.elsewhere() {
		return o.askForBackup(ctx, w)
	}
	data := o.dataDir()
	if answers(datadir.Dir(data).Socket()) {
		o.data, o.socket = data, true // whoever may read the socket may read the records
		return o.askForBackup(ctx, w)
	}
	sent := &counting{w: w}
	err := b.Offline(ctx, data, config, sent)
	if err == nil || sent.n > 0 {
		return err
	}
	if aerr := o.askForBackup(ctx, sent); aerr != nil { // its socket may be out of reach
		return errors.Join(err, aerr)
	}
	return nil
}

// elsewhere reports whether a server was named by more than its data directory.
func (o *connection) elsewhere() bool {
	named := o.server + o.admin + o.cert + o.token
	for _, name := range []string{"CHANCERY_SERVER", "CHANCERY_ADMIN", "CHANCERY_CERT", "CHANCERY_TOKEN"} {
		named += o.env(name)
	}
	return named != "" || o.socket
}

func (o *connection) dataDir() string {
	return or(o.data, or(o.env("CHANCERY_DATA"), datadir.Default))
}

// answers reports whether somebody listens on a socket.
func answers(path string) bool {
	c, err := net.DialTimeout("unix", path, 5*time.Second)
	if err != nil {
		return false
	}
	return c.Close() == nil
}

func (o *connection) askForBackup(ctx context.Context, w io.Writer) error {
	cl, err := o.client()
	if err != nil {
		return err
	}
	return told(cl.Backup(ctx, w))
}

type counting struct {
	w io.Writer
	n int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// Release is the command that ends the quarantine after a restore.
func Release(env func(string) string) *cobra.Command {
	o := &connection{env: env}
	c := &cobra.Command{
		Use: "release", Short: "End the quarantine after a restore: issue again", Args: Args(0, ""),
		Long: `End the quarantine after a restore, so that certificates are issued again. It is
refused until the last published CRL of every CA key was read, or an administrator
said that there is none (chancery restore add).`,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := o.client()
			if err != nil {
				return err
			}
			if err := cl.Release(c.Context()); err != nil {
				return told(err)
			}
			return o.show(c.OutOrStdout(), map[string]string{"status": "released"}, "released: certificates are issued again\n")
		},
	}
	o.flags(c)
	return c
}

// quarantineText is what status says of a quarantine.
func quarantineText(q *client.Quarantine) string {
	if q == nil {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "IN QUARANTINE: restored %s by %s from a backup of %s. Nothing is issued.\n", when(q.Since), plain(q.By), when(q.Backup))
	for _, m := range q.Missing {
		fmt.Fprintf(&b, "  The last published CRL of authority %s (key %s) was not read: chancery restore add\n", plain(m.Authority), plain(m.Key))
	}
	if len(q.Missing) == 0 {
		b.WriteString("  Everything needed is known; end it with: chancery restore release\n")
	}
	return b.String()
}
