package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"chancery/cmd/chancery/app/backend"
	"chancery/cmd/chancery/app/cli"
	"chancery/cmd/chancery/app/config"
	"chancery/cmd/chancery/app/datadir"
	"chancery/cmd/chancery/app/join"
	"chancery/cmd/chancery/app/node"
)

// join makes this machine a node.
func (a *app) join() *cobra.Command {
	var dir, file, dsn, name string
	c := &cobra.Command{
		Use: "join", Short: "Make this machine a node of a CA that others serve", Args: cli.Args(0, ""),
		Long: `Make this machine a node of a CA whose records are in a PostgreSQL database. It
asks in the database, shows a fingerprint, and waits for an administrator to type
that on a node that runs (chancery node approve). Then it writes the data
directory: the key that all nodes share, settings, trust bundle. CA keys are
never in the database: copy them by hand to nodes that are to sign.

A DSN with a password belongs in ` + config.DSNVariable + ` or in a file (dsn_file in the
settings): other users of this machine would see it in --dsn.`,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			o, err := a.joiner(dir, file, dsn, name)
			if err != nil {
				return err
			}
			o.Say = func(format string, args ...any) { fmt.Fprintf(c.OutOrStdout(), format+"\n", args...) }
			return a.joinAt(ctx, o, slog.New(slog.NewJSONHandler(c.ErrOrStderr(), nil)))
		},
	}
	places(c, &dir, &file)
	c.Flags().StringVar(&dsn, "dsn", "", "how to reach the database, without a password, unless the settings or "+config.DSNVariable+" say it")
	c.Flags().StringVar(&name, "name", "", "name of the node; default: node in the settings, or the host's name")
	return c
}

// joiner puts together what the settings and the flags say.
func (a *app) joiner(dir, file, dsn, name string) (join.Options, error) {
	o := a.options(dir, file, "", nil, nil)
	j := join.Options{Dir: datadir.Dir(dir), Version: a.Version, Now: o.Now}
	must := file != ""
	if !must {
		file = j.Dir.Settings()
		there, err := datadir.Exists(file)
		if err != nil {
			return j, err
		}
		if there && (name != "" || dsn != "") {
			return j, fmt.Errorf("%s is there and keeps its content: write node and store.postgres there instead of --name and --dsn", file)
		}
		must = there
	}
	var err error
	if j.Settings, err = config.LoadNode(file, must); err != nil {
		return j, err
	}
	set := &j.Settings
	if set.Store.Postgres == nil {
		set.Store = config.Store{Postgres: &config.Postgres{}}
		if dsn == "" && os.Getenv(config.DSNVariable) == "" {
			return j, &cli.ExitError{Code: 2, Message: "chancery: say where the database is: with store.postgres in the settings (--config), --dsn, or " + config.DSNVariable}
		}
	}
	if dsn != "" {
		if config.Secret(dsn).HasPassword() {
			return j, &cli.ExitError{Code: 2, Message: "chancery: --dsn holds a password, which every user of this machine can see: put the DSN into " + config.DSNVariable + ", or into a file that dsn_file in the settings names"}
		}
		set.Store.Postgres = &config.Postgres{DSN: config.Secret(dsn)}
	}
	switch {
	case name != "":
		set.Node = name
	case must && file == j.Dir.Settings(): // what is written there stays
	case set.Node == config.DefaultNode().Node:
		if set.Node, err = os.Hostname(); err != nil {
			return j, err
		}
	}
	return j, j.Check()
}

func (a *app) joinAt(ctx context.Context, o join.Options, log *slog.Logger) error {
	db, err := backend.Open(ctx, o.Settings, string(o.Dir), backend.Options{Log: log, Env: os.Getenv}, node.Schemas(a.options("", "", "", nil, nil).Tables)...)
	if err != nil {
		return err
	}
	return errors.Join(join.Run(ctx, o, db), db.Close())
}
