package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"chancery/frontends/native/client"
)

// NodeGroup is the group of commands about the processes that share a store.
// Here are those that talk to a server; join works without one.
func NodeGroup(env func(string) string, join *cobra.Command) *cobra.Command {
	group := &cobra.Command{Use: "node", Short: "The nodes that share a store: list, let in, become one", Args: KnownCommand, RunE: Help}
	for _, make := range []func(*connection) *cobra.Command{nodeList, nodeApprove} {
		o := &connection{env: env}
		c := make(o)
		o.flags(c)
		group.AddCommand(c)
	}
	group.AddCommand(join)
	return group
}

func nodeList(o *connection) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the nodes and the machines that wait to join", Args: Args(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := o.client()
			if err != nil {
				return err
			}
			all, waiting, err := cl.Nodes(c.Context())
			if err != nil {
				return told(err)
			}
			text := nodeTable(all) + nodesText(all)
			for _, j := range waiting {
				text += fmt.Sprintf("%s waits until %s. Read its fingerprint there, then: chancery node approve %s FINGERPRINT\n", plain(j.Name), when(j.Expires), plain(j.Name))
			}
			return o.show(c.OutOrStdout(), map[string]any{"nodes": all, "waiting": waiting}, text)
		},
	}
}

func nodeApprove(o *connection) *cobra.Command {
	return &cobra.Command{
		Use: "approve NAME FINGERPRINT", Short: "Give a machine that waits the key that all nodes share", Args: Args(2, "NAME and FINGERPRINT"),
		Long: `Give a machine that waits (chancery node join) the key that all nodes share, so
that it becomes one of them. Type the fingerprint that this machine shows: it
proves that nobody put another key in its place.`,
		RunE: func(c *cobra.Command, a []string) error {
			cl, err := o.client()
			if err != nil {
				return err
			}
			seal, err := cl.ApproveNode(c.Context(), a[0], a[1])
			if err != nil {
				return told(err)
			}
			return o.show(c.OutOrStdout(), map[string]string{"name": a[0], "seal": seal},
				fmt.Sprintf("%s may join. It must say that the shared key is called %s.\n", plain(a[0]), plain(seal)))
		},
	}
}

func nodeTable(all []client.Node) string {
	rows := [][]string{{"NODE", "STATE", "SIGNS", "POLICY", "VERSION", "STARTED", "ENROLLMENT"}}
	for _, n := range all {
		state := "up"
		if !n.Live {
			state = "SILENT since " + when(n.Beat)
		}
		policy := n.Policy
		if len(policy) > 8 {
			policy = policy[:8]
		}
		rows = append(rows, []string{n.Name, state, or(strings.Join(n.Signs, " "), "nothing"), policy, n.Version, when(n.Started), n.HTTPS})
	}
	return table(rows)
}

// nodesText is what is wrong with nodes.
func nodesText(all []client.Node) string {
	text := ""
	for _, n := range all {
		for _, p := range n.Problems {
			text += fmt.Sprintf("Node %s: %s.\n", plain(n.Name), plain(p))
		}
	}
	return text
}
