package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"chancery/frontends/native/client"
)

func freeze(o *connection) *cobra.Command {
	var scope, reason string
	var lift, end bool
	c := &cobra.Command{
		Use: "freeze [SCOPE] --reason TEXT | --lift", Short: "Stop issuing, or go on; without anything, list what is stopped", Args: atMostOne,
		Long: `Stop issuing in a scope: all (the default), authority:NAME, profile:NAME or
grant:ID. Clients are shown the reason. Revocation goes on. --lift ends it.`,
		RunE: func(c *cobra.Command, a []string) error {
			if len(a) == 1 {
				scope = a[0]
			}
			cl, err := o.client()
			if err != nil {
				return err
			}
			switch {
			case lift || end:
				if err := cl.Thaw(c.Context(), scope); err != nil {
					return told(err)
				}
				return o.show(c.OutOrStdout(), map[string]string{"scope": scope, "status": "lifted"}, "issuing goes on: "+scope+"\n")
			case reason == "" && (len(a) == 1 || c.Flags().Changed("scope")):
				return usage("freeze wants --reason TEXT, which clients are shown, or --lift")
			case reason == "":
				all, err := cl.Freezes(c.Context())
				if err != nil {
					return told(err)
				}
				return o.show(c.OutOrStdout(), slices.Concat([]client.Freeze{}, all), or(freezesText(all), "nothing is stopped\n"))
			}
			f, err := cl.Freeze(c.Context(), scope, reason)
			if err != nil {
				return told(err)
			}
			return o.show(c.OutOrStdout(), f, "issuing is stopped: "+scope+"\n")
		},
	}
	c.Flags().StringVar(&scope, "scope", "all", "all, authority:NAME, profile:NAME or grant:ID")
	c.Flags().StringVar(&reason, "reason", "", "why; clients are shown it")
	c.Flags().BoolVar(&lift, "lift", false, "go on issuing")
	c.Flags().BoolVar(&end, "end", false, "the same as --lift")
	return c
}

func freezesText(all []client.Freeze) string {
	text := ""
	for _, f := range all {
		text += fmt.Sprintf("Issuing is stopped (%s) since %s by %s: %s\n", plain(f.Scope), when(f.At), plain(f.By), plain(f.Reason))
	}
	return text
}

func apply(o *connection) *cobra.Command {
	return &cobra.Command{
		Use: "apply [FILE]", Short: "Put a CA policy in force: FILE, or policy.yaml where the server runs", Args: atMostOne,
		Long: `Put a CA policy in force. With FILE, that document takes the place of
policy.yaml; without, the server reads its policy.yaml again. If anything is
wrong with it, nothing changes.`,
		RunE: func(c *cobra.Command, a []string) error {
			var doc []byte
			if len(a) == 1 {
				var err error
				if doc, err = os.ReadFile(a[0]); err != nil {
					return err
				}
				if len(doc) == 0 {
					return fmt.Errorf("%s is empty", a[0])
				}
			}
			cl, err := o.client()
			if err != nil {
				return err
			}
			r, err := cl.Apply(c.Context(), doc, "")
			if err != nil {
				return told(err)
			}
			text := "policy version " + r.Version + "\n"
			if len(r.Changes) == 0 {
				text += "nothing changed\n"
			}
			for _, change := range r.Changes {
				text += "  " + plain(change) + "\n"
			}
			return o.show(c.OutOrStdout(), r, text)
		},
	}
}

func status(o *connection) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how the CA is, on one page", Args: Args(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := o.client()
			if err != nil {
				return err
			}
			s, err := cl.Status(c.Context())
			if err != nil {
				return told(err)
			}
			grants, err := every(0, func(after string, n int) ([]client.Grant, string, error) { return cl.Grants(c.Context(), n, after) })
			if err != nil {
				return told(err)
			}
			type page struct {
				*client.Status
				Server string `json:"server"`
				Admin  string `json:"admin"`
			}
			return o.show(c.OutOrStdout(), page{s, o.server, o.admin}, o.statusText(s, grants))
		},
	}
}

func (o *connection) statusText(s *client.Status, grants []client.Grant) string {
	var b strings.Builder
	where := o.admin
	if o.socket {
		where = "the socket in " + o.data
	}
	fmt.Fprintf(&b, "Enrollment at %s, administration at %s.\n", or(o.server, "(unknown)"), where)
	fmt.Fprintf(&b, "Policy version %s.\n\n", s.Policy)
	rows := [][]string{{"AUTHORITY", "UNTIL", "SUBJECT", "SIGNS HERE", "CRL UNTIL"}}
	for _, a := range s.Authorities {
		rows = append(rows, []string{a.Name, when(a.NotAfter), a.Subject, yes(a.CanSign), when(a.NextUpdate)})
	}
	b.WriteString(table(rows) + "\n")
	if len(s.Nodes) > 0 {
		b.WriteString(nodeTable(s.Nodes) + nodesText(s.Nodes) + "\n")
	}
	if f := s.Founder; f != nil {
		if f.Active {
			fmt.Fprintf(&b, "The founder's credential has all roles until %s. Enroll two persons until then, one as admin and one as officer:\nfrom then on it has none.\n", when(f.Expires))
		} else {
			b.WriteString("The founder's credential has no role any more.\n")
		}
	}
	for _, g := range grants {
		if g.Owner == "first start" && ended(g) == "" {
			fmt.Fprintf(&b, "The founder may have certificates for %s until %s (grant %s; end it with: chancery grant revoke %s).\n", or(strings.Join(g.Names, " "), "no name"), when(g.Expires), g.ID, g.ID)
		}
	}
	fmt.Fprintf(&b, "%s for an officer.\n", count(s.Pending, "request waits", "requests wait"))
	if s.Deliveries > 0 {
		fmt.Fprintf(&b, "%s to be told to an exit.\n", count(s.Deliveries, "event waits", "events wait"))
	}
	if s.Parked > 0 {
		fmt.Fprintf(&b, "%s could not be told to an exit, and needs an operator: see the log.\n", count(s.Parked, "event", "events"))
	}
	b.WriteString(quarantineText(s.Quarantine))
	b.WriteString(recordsText(s.Records))
	b.WriteString(limitedText(s.Limited))
	b.WriteString(or(freezesText(s.Frozen), "Nothing is frozen.\n"))
	for _, e := range s.Exposure {
		fmt.Fprintln(&b, plain(e))
	}
	return b.String()
}

// recordsText says whether the records are whole.
func recordsText(r *client.Records) string {
	switch {
	case r == nil:
		return ""
	case r.Found > 0:
		text := fmt.Sprintf("DAMAGED: %d of the records. Keep the backups that there are, and see: chancery store check\n", r.Found)
		for _, f := range r.Findings {
			text += "  " + plain(f) + "\n"
		}
		return text
	case r.Ended.IsZero():
		return "The records have not been read through yet.\n"
	}
	return fmt.Sprintf("The records were last read through %s, and nothing is damaged.\n", when(r.Ended))
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}

func count(n int, one, many string) string {
	switch n {
	case 0:
		return "No " + one
	case 1:
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}
