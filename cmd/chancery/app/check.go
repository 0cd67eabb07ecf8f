package app

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"chancery/cmd/chancery/app/cli"
	"chancery/cmd/chancery/app/config"
	"chancery/cmd/chancery/app/datadir"
	"chancery/engine"
	"chancery/modules"
)

// config is the group of commands about the two documents.
func (a *app) config() *cobra.Command {
	group := &cobra.Command{Use: "config", Short: "Check settings and policy", Args: cli.KnownCommand, RunE: cli.Help}
	var dir, file, policy string
	var asJSON bool
	c := &cobra.Command{
		Use: "check", Short: "Report every error in the settings and the CA policy", Args: cli.Args(0, ""),
		Long: `Report every error in the settings and the CA policy, each with its place, and
exit with 1 if there is one. Nothing is changed, and no server need run.`,
		RunE: func(c *cobra.Command, _ []string) error {
			version, err := a.check(datadir.Dir(dir), file, policy)
			if err != nil && !asJSON {
				return &cli.ExitError{Code: 1, Message: err.Error()}
			}
			result := map[string]any{"ok": err == nil, "version": version, "problems": problemsOf(err)}
			text := "ok, policy version " + version + "\n"
			if version == "" {
				text = "ok; there is no policy.yaml here, the policy is in the database\n"
			}
			if perr := cli.Print(c.OutOrStdout(), asJSON, result, text); perr != nil || err == nil {
				return perr
			}
			return &cli.ExitError{Code: 1}
		},
	}
	places(c, &dir, &file)
	c.Flags().StringVar(&policy, "policy", "", "CA policy, in place of policy.yaml in the data directory")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	group.AddCommand(c)
	return group
}

// problemsOf is what an error of check is made of.
func problemsOf(err error) []config.Problem {
	all := []config.Problem{}
	for _, one := range config.Flatten(err) {
		var p config.Problems
		if errors.As(one, &p) {
			all = append(all, p...)
		} else if one != nil {
			all = append(all, config.Problem{Message: one.Error()})
		}
	}
	return all
}

// check finds all that can be found without the keys and the records.
func (a *app) check(dir datadir.Dir, file, policy string) (version string, err error) {
	must := file != ""
	if !must {
		file = dir.Settings()
	}
	n, nodeErr := config.LoadNode(file, must)
	if policy == "" {
		policy = dir.Policy()
		there, err := datadir.Exists(policy)
		if err == nil && !there && n.Store.Postgres != nil { // as on a node that joined
			return "", nodeErr
		}
	}
	p, policyErr := config.LoadPolicy(policy, a.open)
	if policyErr == nil {
		policyErr = a.tryModules(policy, dir, p)
	}
	if err := errors.Join(nodeErr, policyErr); err != nil {
		return "", err
	}
	_, version, err = p.Canonical()
	return version, err
}

// tryModules makes the modules, as far as that goes without an engine.
func (a *app) tryModules(file string, dir datadir.Dir, p engine.Policy) error {
	o := a.options(string(dir), "", "", nil, nil)
	_, err := modules.Build(p, engine.Deps{
		Now: o.Now, Rand: o.Rand, Log: discard(), Dial: noNetwork, Dir: string(dir), Facts: noFacts{},
	}, a.With.With)
	if err == nil {
		return nil
	}
	var problems config.Problems
	for _, one := range config.Flatten(err) {
		if !slices.ContainsFunc(problems, func(p config.Problem) bool { return p.Message == one.Error() }) {
			problems = append(problems, config.Problem{File: file, Message: one.Error()})
		}
	}
	return problems
}
