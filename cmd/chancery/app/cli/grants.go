package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chancery/frontends/native/client"
)

func grant(env func(string) string) *cobra.Command {
	group := &cobra.Command{Use: "grant", Short: "Rights to enroll: make, list, revoke", Args: KnownCommand, RunE: Help}
	for _, make := range []func(*connection) *cobra.Command{grantCreate, grantList, grantRevoke} {
		o := &connection{env: env}
		c := make(o)
		o.flags(c)
		group.AddCommand(c)
	}
	return group
}

func grantCreate(o *connection) *cobra.Command {
	var g client.NewGrant
	var expires string
	c := &cobra.Command{
		Use: "create --protocol P --profile NAME --name PATTERN", Short: "Make a grant and show its secret, this once", Args: Args(0, ""),
		Long: `Make a grant: the right to enroll through a protocol, for profiles, for names
that fit a pattern (host.example.org, *.example.org, 10.0.0.0/8, any). Its
secret is an API token, an ACME key, a SCEP challenge or an EST password. It is
shown this once and cannot be had again. --profile may be left out where the
protocol's endpoint has its own.

For ACME the id is the key identifier and the secret the MAC key, as clients
take them (certbot --eab-kid ID --eab-hmac-key SECRET). The account that is made
with it can order what the grant lists and nothing else; it still proves its
names, unless the grant is --prevalidated.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if t, err := date("expires", expires); err == nil {
				g.Expires = t
			} else {
				g.ExpiresIn = expires // such as 30d: the server reads it
			}
			cl, err := o.client()
			if err != nil {
				return err
			}
			made, err := cl.CreateGrant(c.Context(), g)
			if err != nil {
				return told(err)
			}
			text := lines("id", made.ID, "secret", made.Secret)
			if made.Secret == "" {
				text = lines("id", made.ID, "holder", made.Holder)
			}
			return o.show(c.OutOrStdout(), made, text)
		},
	}
	f := c.Flags()
	f.StringVar(&g.Protocol, "protocol", "native", "acme, scep, est or native")
	f.StringSliceVar(&g.Endpoints, "endpoint", nil, "only at this endpoint of the protocol; may be repeated")
	f.StringSliceVar(&g.Profiles, "profile", nil, "for this profile; may be repeated")
	f.StringSliceVar(&g.Names, "name", nil, "for names that fit this pattern; may be repeated")
	f.IntVar(&g.Uses, "uses", 0, "good for so many certificates; 0 is any number")
	f.StringVar(&expires, "expires", "", "when it ends: 30d, 12h, 1y or a date")
	f.BoolVar(&g.Prevalidated, "prevalidated", false, "the names need no proof of control")
	f.IntVar(&g.Accounts, "accounts", 0, "acme: so many accounts can be made with it; 0 is any number")
	f.StringVar(&g.Holder, "holder", "", "who holds it without a secret, such as key:HEX")
	return c
}

func grantList(o *connection) *cobra.Command {
	var limit int
	var all bool
	c := &cobra.Command{
		Use: "list", Short: "List grants", Args: Args(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := o.client()
			if err != nil {
				return err
			}
			list, err := every(limit, func(after string, n int) ([]client.Grant, string, error) { return cl.Grants(c.Context(), n, after) })
			if err != nil {
				return told(err)
			}
			rows := [][]string{{"ID", "PROTOCOL", "PROFILES", "NAMES", "USED", "EXPIRES", "HOLDER", "OWNER", ""}}
			for _, g := range list {
				ended := ended(g)
				if ended != "" && !all {
					continue
				}
				uses := fmt.Sprint(g.Spent)
				if g.Uses > 0 {
					uses = fmt.Sprintf("%d of %d", g.Spent, g.Uses)
				}
				rows = append(rows, []string{g.ID, g.Protocol, or(strings.Join(g.Profiles, " "), "any"), names(g.Names), uses, when(g.Expires), or(g.Holder, "-"), g.Owner, ended})
			}
			return o.show(c.OutOrStdout(), list, table(rows))
		},
	}
	c.Flags().IntVar(&limit, "limit", 0, "show at most so many; 0 is all")
	c.Flags().BoolVar(&all, "all", true, "also those that have ended")
	return c
}

// ended says why a grant can no longer be used, or nothing.
func ended(g client.Grant) string {
	switch {
	case !g.Revoked.IsZero():
		return "revoked " + when(g.Revoked)
	case !g.Expires.IsZero() && time.Now().After(g.Expires):
		return "expired"
	case g.Uses > 0 && g.Spent >= g.Uses:
		return "used up"
	}
	return ""
}

func grantRevoke(o *connection) *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "End a grant; certificates that it gave stay", Args: Args(1, "the id of a grant"),
		RunE: func(c *cobra.Command, a []string) error {
			cl, err := o.client()
			if err != nil {
				return err
			}
			if err := cl.RevokeGrant(c.Context(), a[0]); err != nil {
				return told(err)
			}
			return o.show(c.OutOrStdout(), map[string]string{"id": a[0], "status": "revoked"}, "revoked "+a[0]+"\n")
		},
	}
}
