// Package storage is the part of the command line that looks after the records
// where they are: it copies them from one kind of store into another, checks and
// compacts them. It works on the store itself, not over the API.
package storage

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"chancery/cmd/chancery/app/cli"
	"chancery/cmd/chancery/app/config"
	"chancery/cmd/chancery/app/datadir"
	"chancery/store"
)

// Options are what the commands need of the program.
type Options struct {
	Schemas []store.Schema      // of all tables
	Env     func(string) string // reads the environment
	Now     func() time.Time
}

// Command is the group chancery store.
func Command(o Options) *cobra.Command {
	group := &cobra.Command{Use: "store", Short: "Copy, check and compact the records", Args: cli.KnownCommand, RunE: cli.Help}
	group.AddCommand(copyCommand(o), checkCommand(o), compactCommand(o))
	return group
}

// A node is one whose store is worked on.
type node struct {
	Options
	dir, file string
	asJSON    bool
}

func (n *node) flags(c *cobra.Command) {
	c.Flags().StringVar(&n.dir, "data", datadir.Default, "data directory")
	c.Flags().StringVar(&n.file, "config", "", "settings, in place of chancery.yaml in the data directory")
	c.Flags().BoolVar(&n.asJSON, "json", false, "print JSON")
}

// settings are those of the node.
func (n *node) settings() (config.Node, error) {
	if n.file != "" {
		return config.LoadNode(n.file, true)
	}
	return config.LoadNode(datadir.Dir(n.dir).Settings(), false)
}

// own is where the settings say that the records are.
func (n *node) own() (place, error) {
	s, err := n.settings()
	if err != nil {
		return place{}, err
	}
	if s.Store.Postgres == nil {
		return place{path: s.BoltPath(n.dir)}, nil
	}
	dsn, err := s.PostgresDSN(n.dir, n.Env)
	return place{dsn: dsn, durability: s.Store.Postgres.Durability}, err
}

// there refuses a file that does not exist, which opening would make.
func (p place) there() error {
	if p.dsn != "" {
		return nil
	}
	if _, err := os.Stat(p.path); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no database %s: name the data directory with --data", p.path)
	} else if err != nil {
		return err
	}
	return nil
}

func usage(format string, args ...any) error {
	return &cli.ExitError{Code: 2, Message: "chancery: " + fmt.Sprintf(format, args...)}
}
