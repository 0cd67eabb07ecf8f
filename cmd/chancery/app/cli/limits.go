package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"chancery/frontends/native/client"
)

func acmeResume(o *connection) *cobra.Command {
	return &cobra.Command{
		Use: "resume ACCOUNT|NAME", Short: "Let a client order again whose validations failed too often", Args: Args(1, "the id of an account, or a name"),
		Long: `Forget the failed validations of an ACME account (its id or address), or of a
name for all accounts, so that orders are taken again. See to it first that
validation works: chancery acme try NAME. chancery status lists who is paused.
It is for officers, operators and admins.`,
		RunE: func(c *cobra.Command, a []string) error {
			cl, err := o.client()
			if err != nil {
				return err
			}
			n, err := cl.Resume(c.Context(), a[0])
			if err != nil {
				return told(err)
			}
			return o.show(c.OutOrStdout(), map[string]int{"resumed": n}, "resumed: "+count(n, "name of an account", "names of accounts")+"\n")
		},
	}
}

// mostShown is how many of each kind status shows; the rest is in its JSON.
const mostShown = 10

// limitedText says who is held back.
func limitedText(l *client.Limited) string {
	if l == nil {
		return ""
	}
	var b strings.Builder
	for i, p := range l.Paused {
		if i == mostShown {
			fmt.Fprintf(&b, "… and %d more are paused.\n", len(l.Paused)-i)
			break
		}
		fmt.Fprintf(&b, "Paused since %s: ACME account %s (endpoint %s) for %s, after %s in a row. When it is mended: chancery acme resume %s\n",
			when(p.Since), plain(p.Account), plain(p.Endpoint), plain(p.Name), count(p.Failures, "failure", "failures"), plain(p.Account))
	}
	for i, h := range l.Held {
		if i == mostShown {
			fmt.Fprintf(&b, "… and %d more are limited.\n", len(l.Held)-i)
			break
		}
		fmt.Fprintf(&b, "Limited until %s: %s at %s (%s, refused %s).\n", when(h.Until), plain(h.Of), plain(h.Endpoint), plain(h.Limit), count(h.Times, "time", "times"))
	}
	return b.String()
}
