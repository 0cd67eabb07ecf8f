package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"chancery/cmd/chancery/app/cli"
	"chancery/cmd/chancery/app/datadir"
)

// root is the group of commands about the offline CA.
func (a *app) root() *cobra.Command {
	group := &cobra.Command{Use: "root", Short: "Look after the root's key", Args: cli.KnownCommand, RunE: cli.Help}
	var dir, to string
	var keep bool
	c := &cobra.Command{
		Use: "export", Short: "Move the root's key and passphrase off this machine", Args: cli.Args(0, ""),
		Long: `Copy the root's encrypted key, its passphrase and its certificate to a folder,
such as on a stick, and delete key and passphrase here. The server never needs
them; only "chancery init" does, to make another issuing CA.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if to == "" {
				return &cli.ExitError{Code: 2, Message: "chancery: root export wants --to FOLDER, such as a stick that is mounted"}
			}
			return exportRoot(c, datadir.Dir(dir), to, keep)
		},
	}
	c.Flags().StringVar(&dir, "data", datadir.Default, "data directory")
	c.Flags().StringVar(&to, "to", "", "folder to write to (required)")
	c.Flags().BoolVar(&keep, "keep", false, "leave key and passphrase here too")
	group.AddCommand(c)
	return group
}

// exportRoot deletes nothing before all copies are on the other disk.
func exportRoot(c *cobra.Command, d datadir.Dir, to string, keep bool) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	secrets := []string{d.CAKey("root"), d.RootPass()}
	for _, from := range append(secrets, d.CACert("root")) {
		content, err := os.ReadFile(from)
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s is not here; the root's key was exported before", from)
		} else if err != nil {
			return err
		}
		target := filepath.Join(to, filepath.Base(from))
		if there, err := datadir.Exists(target); err != nil {
			return err
		} else if there {
			return fmt.Errorf("%s is there already; choose an empty folder", target)
		}
		if err := datadir.Write(target, content, 0o600); err != nil {
			return err
		}
	}
	if keep {
		_, err := fmt.Fprintf(c.OutOrStdout(), "copied to %s\n", to)
		return err
	}
	for _, from := range secrets {
		if err := os.Remove(from); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "moved to %s; keep the passphrase (root.pass) apart from the key (root.key)\n", to)
	return err
}
