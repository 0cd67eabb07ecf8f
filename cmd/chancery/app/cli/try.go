package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"chancery/frontends/native/client"
)

func acmeGroup(env func(string) string) *cobra.Command {
	group := &cobra.Command{Use: "acme", Short: "Find out why a validation fails, and resume who is paused", Args: KnownCommand, RunE: Help}
	o := &connection{env: env}
	for _, c := range []*cobra.Command{acmeTry(o), acmeResume(o)} {
		o.flags(c)
		group.AddCommand(c)
	}
	return group
}

func acmeTry(o *connection) *cobra.Command {
	var t client.Trial
	c := &cobra.Command{
		Use: "try NAME", Short: "Try an ACME validation and tell what the CA sees", Args: Args(1, "the name or address to validate"),
		Long: `Try an ACME validation from where the CA stands, and tell step by step what it
sees: what each name server says, which addresses the network policy admits, each
connection and redirect, what came back, and what CAA records say. Nothing is
issued, and no order is needed. It is for officers and admins.

With --key-authorization what is served is compared; without, it shows how far
the CA gets. The exit code is 0 if the validation would succeed.`,
		RunE: func(c *cobra.Command, a []string) error {
			t.Name = a[0]
			cl, err := o.client()
			if err != nil {
				return err
			}
			r, err := cl.Try(c.Context(), t)
			if err != nil {
				return told(err)
			}
			if err := o.show(c.OutOrStdout(), r, outcomeText(r)); err != nil || r.Valid {
				return err
			}
			return &ExitError{Code: 1}
		},
	}
	fl := c.Flags()
	fl.StringVar(&t.Challenge, "challenge", "", "http-01 (the default), dns-01, tls-alpn-01, dns-account-01 or dns-persist-01")
	fl.StringVar(&t.KeyAuthorization, "key-authorization", "", "what the client serves: TOKEN.THUMBPRINT")
	fl.StringVar(&t.Account, "account", "", "address of the account, for dns-account-01, dns-persist-01 and CAA")
	return c
}

func outcomeText(r *client.Outcome) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s by %s, seen from the CA:\n", plain(r.Name), plain(r.Challenge))
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "  %-8s %s\n", plain(s.About), plain(s.Text))
	}
	return b.String() + plain(r.Conclusion) + "\n"
}
