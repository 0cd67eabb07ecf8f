package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"chancery/frontends/native/client"
)

func pending(o *connection) *cobra.Command {
	return &cobra.Command{
		Use: "pending", Short: "List the requests that wait for an officer", Args: Args(0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := o.client()
			if err != nil {
				return err
			}
			all, err := every(0, func(after string, limit int) ([]client.Request, string, error) {
				return cl.Requests(c.Context(), client.RequestFilter{State: client.StatusPending, After: after, Limit: limit})
			})
			if err != nil {
				return told(err)
			}
			nameAll(c.Context(), cl, all)
			rows := [][]string{{"ID", "RECEIVED", "PROFILE", "REQUESTER", "NAMES", "WHY"}}
			for _, r := range all {
				why := make([]string, len(r.Pends))
				for i, p := range r.Pends {
					why[i] = p.Step + ": " + p.Detail
				}
				rows = append(rows, []string{r.ID, when(r.Received), or(r.Profile, r.AskedProfile), r.Requester, names(r.Names), strings.Join(why, "; ")})
			}
			return o.show(c.OutOrStdout(), all, table(rows))
		},
	}
}

// maxNamed bounds how many requests are asked about one by one.
const maxNamed = 100

// nameAll fills in the names that would be certified, which the list does not
// have and which an officer looks at first.
func nameAll(ctx context.Context, cl *client.Client, list []client.Request) {
	for i := range list[:min(len(list), maxNamed)] {
		if len(list[i].Names) > 0 {
			continue
		}
		if x, err := cl.Explain(ctx, list[i].ID); err == nil && x.Preview != nil {
			list[i].Names, list[i].Subject = x.Preview.Names, x.Preview.Subject
		}
	}
}

func approve(o *connection) *cobra.Command {
	var note, digest string
	c := &cobra.Command{
		Use: "approve ID", Short: "Vote for a request as an officer", Args: Args(1, "the id of a request"),
		Long: `Vote for a request. The vote is for exactly the certificate that explain shows;
with --digest it fails if the request would make another by now.`,
		RunE: func(c *cobra.Command, a []string) error {
			cl, err := o.client()
			if err != nil {
				return err
			}
			r, err := cl.Approve(c.Context(), a[0], digest, note)
			if err != nil {
				return told(err)
			}
			text := "approved " + r.ID + ": "
			switch r.Status {
			case client.StatusIssued:
				text += "issued " + r.Serial
			case client.StatusPending:
				text += "it still waits: for another officer, or for its client to come back"
			default:
				text += r.Status + " " + plain(r.Detail)
			}
			return o.show(c.OutOrStdout(), r, text+"\n")
		},
	}
	c.Flags().StringVar(&note, "note", "", "note for the record")
	c.Flags().StringVar(&digest, "digest", "", "what explain showed as the digest")
	return c
}

func deny(o *connection) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "deny ID --reason TEXT", Short: "End a pending request; the requester is shown the reason", Args: Args(1, "the id of a request"),
		RunE: func(c *cobra.Command, a []string) error {
			if strings.TrimSpace(reason) == "" {
				return usage("deny wants --reason TEXT, which the requester is shown")
			}
			cl, err := o.client()
			if err != nil {
				return err
			}
			r, err := cl.Deny(c.Context(), a[0], reason)
			if err != nil {
				return told(err)
			}
			return o.show(c.OutOrStdout(), r, "denied "+r.ID+"\n")
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why")
	return c
}

func revoke(o *connection) *cobra.Command {
	var reason, issuer string
	var release, own bool
	c := &cobra.Command{
		Use: "revoke SERIAL", Short: "Revoke a certificate, hold it, or release it", Args: Args(1, "a serial number, as openssl x509 -serial prints it"),
		Long: `Revoke a certificate by its serial number, as openssl x509 -serial prints it.
The reason is one of RFC 5280: unspecified, keyCompromise, affiliationChanged,
superseded, cessationOfOperation, privilegeWithdrawn, or certificateHold, which
can be released with --release. A key that was revoked as compromised is never
certified again.`,
		RunE: func(c *cobra.Command, a []string) error {
			cl, err := o.client()
			if err != nil {
				return err
			}
			var cert *client.Certificate
			if own {
				cert, err = cl.RevokeOwn(c.Context(), a[0], reason)
			} else {
				cert, err = cl.Revoke(c.Context(), a[0], client.Revocation{Reason: reason, Release: release, Issuer: issuer})
			}
			if err != nil {
				return told(err)
			}
			return o.show(c.OutOrStdout(), cert, fmt.Sprintf("%s is %s\n", cert.Serial, cert.Status))
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "reason by its name in RFC 5280")
	c.Flags().BoolVar(&release, "release", false, "end a hold")
	c.Flags().BoolVar(&own, "own", false, "as the one who requested it, not as an officer")
	c.Flags().StringVar(&issuer, "issuer", "", "key identifier of the CA key, if several used the serial number")
	return c
}

// every gathers pages. A limit of 0 is all of them.
func every[T any](limit int, page func(after string, limit int) ([]T, string, error)) ([]T, error) {
	all := []T{}
	after := ""
	for {
		want := 200
		if limit > 0 {
			want = min(want, limit-len(all))
		}
		some, next, err := page(after, want)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if after = next; after == "" || limit > 0 && len(all) >= limit {
			return all, nil
		}
	}
}
