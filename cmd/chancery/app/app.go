// Package app is the chancery command. A program of its own that adds policies,
// exits or frontends to it has a main function of one line, which calls [Main].
package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"reflect"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"chancery/cmd/chancery/app/cli"
	"chancery/cmd/chancery/app/config"
	"chancery/cmd/chancery/app/datadir"
	"chancery/cmd/chancery/app/node"
	"chancery/cmd/chancery/app/serve"
	"chancery/cmd/chancery/app/storage"
	"chancery/modules"
	"chancery/store"
)

// With is what a program adds to what is built in. The zero value adds nothing.
type With struct {
	modules.With
	Frontends []serve.Frontend

	Version string // of the program; empty: unknown
	Built   string // when, as RFC 3339 has it; empty: when this version was written
}

// written is before any honest clock, for builds that do not say when they were
// made.
const written = "2026-09-01T00:00:00Z"

// Main runs the command line and exits. Exit codes: 0 done; 1 refused or failed;
// 2 wrong usage; 3 the request waits for an officer.
func Main(w With) {
	os.Exit(Run(context.Background(), w, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Run is Main without exiting: it returns the exit code.
func Run(ctx context.Context, w With, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root, err := command(w)
	if err != nil {
		fmt.Fprintln(stderr, "chancery:", err)
		return 1
	}
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err = root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var code *cli.ExitError
	if errors.As(err, &code) {
		if code.Message != "" {
			fmt.Fprintln(stderr, code.Message)
		}
		return code.Code
	}
	fmt.Fprintln(stderr, "chancery:", err)
	return 1
}

func command(w With) (*cobra.Command, error) {
	a := &app{With: w, frontends: append(serve.Builtin(), w.Frontends...)}
	if a.Version == "" {
		a.Version = "unknown"
	}
	text := a.Built
	if text == "" {
		text = written
	}
	var err error
	if a.built, err = time.Parse(time.RFC3339, text); err != nil {
		return nil, fmt.Errorf("this build has a wrong date: %w", err)
	}
	if a.open, err = a.document(); err != nil {
		return nil, err
	}
	root := &cobra.Command{
		Use:   "chancery",
		Short: "A certificate authority behind ACME and an API of its own",
		Long: `A certificate authority behind ACME and an API of its own.

Begin with: chancery serve

Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 3 the request waits
for an officer.`,
		SilenceUsage: true, SilenceErrors: true, Args: cli.KnownCommand, RunE: cli.Help,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &cli.ExitError{Code: 2, Message: fmt.Sprintf("chancery: %v; see: %s --help", err, c.CommandPath())}
	})
	root.AddCommand(a.serve(), a.init(), a.config(), a.version(), a.root(), a.backup(), a.restore())
	root.AddCommand(storage.Command(storage.Options{Schemas: node.Schemas(a.tables()), Env: os.Getenv, Now: time.Now}))
	root.AddCommand(cli.NodeGroup(os.Getenv, a.join()))
	root.AddCommand(cli.Commands(os.Getenv)...)
	return root, nil
}

// An app is the part of the command line that runs where the CA is.
type app struct {
	With
	frontends []serve.Frontend
	built     time.Time
	open      config.Open
}

// document says what a policy document may hold, with what With adds.
func (a *app) document() (config.Open, error) {
	types, err := modules.ConfigTypes(a.With.With)
	if err != nil {
		return config.Open{}, err
	}
	var sources []string
	endpoints := map[string]reflect.Type{}
	for _, f := range a.frontends {
		if _, twice := endpoints[string(f.Source)]; twice {
			return config.Open{}, fmt.Errorf("there are two frontends called %s", f.Source)
		}
		sources = append(sources, string(f.Source))
		endpoints[string(f.Source)] = reflect.TypeOf(f.Endpoint)
	}
	return config.Open{
		Module: types.Type,
		Known:  types.Names,
		Raw: func(path []string) (reflect.Type, bool) {
			if len(path) < 2 || path[0] != "frontends" {
				return nil, false
			}
			t, ok := endpoints[path[1]]
			return t, ok
		},
		Keys: func(path []string) []string {
			if len(path) == 1 && path[0] == "frontends" {
				return sources
			}
			return nil
		},
	}, nil
}

// tables are those of all frontends.
func (a *app) tables() (all []store.Schema) {
	for _, f := range a.frontends {
		all = append(all, f.Tables...)
	}
	return all
}

// options are what a node is made of. Say goes to w.
func (a *app) options(dir, file, domain string, w, stderr io.Writer) node.Options {
	return node.Options{
		Dir: datadir.Dir(dir), File: file, Domain: domain, Extra: a.With.With, Tables: a.tables(), Open: a.open,
		Built: a.built, Version: a.Version, Now: clock(os.Getenv), Rand: rand.Reader, Stderr: stderr, Faults: faults(os.Getenv), Env: os.Getenv,
		Fatal: func(err error) {
			fmt.Fprintln(stderr, "chancery: the disk refused a write, so what it holds is not known:", err)
			os.Exit(1)
		},
		Say: func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) },
	}
}

func (a *app) serve() *cobra.Command {
	var dir, file string
	var clockIsRight bool
	c := &cobra.Command{
		Use: "serve", Short: "Run the CA; the first start makes it", Args: cli.Args(0, ""),
		Long: `Run the CA. In an empty data directory, make it first: keys, certificates, the
founder's credential, commented settings and policy. One line that begins with
"ready" says that everything answers. SIGTERM finishes what is under way and
stops; SIGHUP reads policy.yaml again.`,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			defer context.AfterFunc(ctx, stop)() // the second signal ends it at once
			hup := make(chan os.Signal, 1)
			signal.Notify(hup, syscall.SIGHUP)
			defer signal.Stop(hup)
			o := a.options(dir, file, "", c.OutOrStdout(), c.ErrOrStderr())
			o.ClockIsRight = clockIsRight
			n, err := node.Prepare(ctx, o, false)
			if err != nil {
				return err
			}
			return serve.Run(ctx, n, a.frontends, hup, c.OutOrStdout())
		},
	}
	places(c, &dir, &file)
	c.Flags().BoolVar(&clockIsRight, "clock-is-right", false, "what was signed later than now was signed by a wrong clock: make the revocation lists anew")
	return c
}

func (a *app) init() *cobra.Command {
	var dir, file, domain string
	c := &cobra.Command{
		Use: "init", Short: "Make the CA without serving; also the keys of authorities added to the policy later", Args: cli.Args(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			n, err := node.Prepare(ctx, a.options(dir, file, domain, c.OutOrStdout(), c.ErrOrStderr()), true)
			if err != nil {
				return err
			}
			if !n.First {
				if err := errors.Join(n.Remark(), n.Close()); err != nil {
					return err
				}
				_, err := fmt.Fprintf(c.OutOrStdout(), "%s is complete; a server that runs takes up new authorities at its next start\n", dir)
				return err
			}
			if err := n.Start(ctx, "http://"+config.ClientAddr(n.Settings.Listen.HTTP)); err != nil {
				return err
			}
			if err := errors.Join(n.Finish(ctx), n.Close()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s is complete; go on with: chancery serve --data %s\n", dir, dir)
			return err
		},
	}
	places(c, &dir, &file)
	c.Flags().StringVar(&domain, "domain", "", "constrain the issuing CA to this domain, such as corp.example")
	return c
}

func places(c *cobra.Command, dir, file *string) {
	c.Flags().StringVar(dir, "data", datadir.Default, "data directory")
	c.Flags().StringVar(file, "config", "", "settings, in place of chancery.yaml in the data directory")
}

func (a *app) version() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "version", Short: "Say which version this is", Args: cli.Args(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return cli.Print(c.OutOrStdout(), asJSON, map[string]string{"version": a.Version, "built": a.built.Format(time.RFC3339)},
				fmt.Sprintf("chancery %s, built %s\n", a.Version, a.built.Format(time.DateOnly)))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
