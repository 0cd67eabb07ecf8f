package cli

import "github.com/spf13/cobra"

// Commands are those that talk to a server. Env reads the environment.
func Commands(env func(string) string) []*cobra.Command {
	return nil
}
