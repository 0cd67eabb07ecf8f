package cli

import "github.com/spf13/cobra"

// Commands are those that talk to a server. Env reads the environment.
func Commands(env func(string) string) []*cobra.Command {
	var all []*cobra.Command
	for _, make := range []func(*connection) *cobra.Command{
		submit, retrieve, pending, approve, deny, revoke, explain, view, freeze, apply, status,
	} {
		o := &connection{env: env}
		c := make(o)
		o.flags(c)
		all = append(all, c)
	}
	return append(all, grant(env), campaign(env), caGroup(env), acmeGroup(env))
}
