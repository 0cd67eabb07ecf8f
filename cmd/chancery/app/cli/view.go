package cli

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chancery/frontends/native/client"
)

func view(o *connection) *cobra.Command {
	var r client.RequestFilter
	var f client.CertificateFilter
	var since, expires, where string
	var certificates bool
	var limit int
	c := &cobra.Command{
		Use: "view [SERIAL|ID]", Short: "List requests or certificates, or show one", Args: atMostOne,
		Long: `Show one certificate by its serial number, or one request by its id, or list
them: requests, newest first, or certificates with --certificates, --name,
--status or --expires-before. --where selects by a filter:

  chancery view --where 'state = denied and received after -1d'
  chancery view --certificates --where 'expires before +30d and not renewed'

docs/operations.md has the grammar. A mistake in it is answered with the fields
that there are.`,
		RunE: func(c *cobra.Command, a []string) error {
			cl, err := o.client()
			if err != nil {
				return err
			}
			if len(a) == 1 {
				return o.one(c, cl, a[0])
			}
			if r.Since, err = date("since", since); err != nil {
				return err
			}
			if f.ExpiresBefore, err = date("expires-before", expires); err != nil {
				return err
			}
			r.Where, f.Where = where, where
			if certificates || f.Name != "" || f.Status != "" || expires != "" {
				f.Profile = r.Profile
				return o.listCertificates(c, cl, f, limit)
			}
			return o.listRequests(c, cl, r, limit)
		},
	}
	fl := c.Flags()
	fl.StringVar(&r.State, "state", "", "requests in a state: received, pending, issuing, issued, denied, abandoned")
	fl.StringVar(&r.Requester, "requester", "", "requests of a principal, such as key:HEX")
	fl.StringVar(&r.Basis, "basis", "", "requests that rest on something, such as grant:ID or vote:NAME")
	fl.StringVar(&r.Source, "source", "", "requests through a protocol, such as acme")
	fl.StringVar(&r.Profile, "profile", "", "of a profile")
	fl.StringVar(&since, "since", "", "requests since a date")
	fl.BoolVar(&certificates, "certificates", false, "list certificates")
	fl.StringVar(&f.Name, "name", "", "certificates for a name")
	fl.StringVar(&f.Status, "status", "", "certificates that are good, held or revoked")
	fl.StringVar(&expires, "expires-before", "", "certificates that end before a date")
	fl.StringVar(&where, "where", "", "what a filter selects, such as 'name = *.corp.example'")
	fl.IntVar(&limit, "limit", 50, "show at most so many; 0 is all")
	return c
}

// date reads 2026-12-31 or a time as RFC 3339 has it.
func date(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usage("--%s wants a date such as 2026-12-31", flag)
}

func (o *connection) listRequests(c *cobra.Command, cl *client.Client, f client.RequestFilter, limit int) error {
	f.Found = o.found(c, f.Where)
	all, err := every(limit, func(after string, n int) ([]client.Request, string, error) {
		f.After, f.Limit = after, n
		return cl.Requests(c.Context(), f)
	})
	if err != nil {
		return told(err)
	}
	rows := [][]string{{"ID", "RECEIVED", "STATE", "SOURCE", "PROFILE", "REQUESTER", "NAMES"}}
	for _, r := range all {
		rows = append(rows, []string{r.ID, when(r.Received), r.State, r.Source, or(r.Profile, r.AskedProfile), r.Requester, names(r.Names)})
	}
	return o.show(c.OutOrStdout(), all, table(rows))
}

func (o *connection) listCertificates(c *cobra.Command, cl *client.Client, f client.CertificateFilter, limit int) error {
	f.Found = o.found(c, f.Where)
	all, err := every(limit, func(after string, n int) ([]client.Certificate, string, error) {
		f.After, f.Limit = after, n
		return cl.Certificates(c.Context(), f)
	})
	if err != nil {
		return told(err)
	}
	rows := [][]string{{"SERIAL", "STATUS", "UNTIL", "PROFILE", "REQUESTER", "NAMES"}}
	for _, r := range all {
		rows = append(rows, []string{r.Serial, r.Status, when(r.NotAfter), r.Profile, r.Requester, names(r.Names)})
	}
	return o.show(c.OutOrStdout(), all, table(rows))
}

// found says once, beside what is listed, how a filter was answered.
func (o *connection) found(c *cobra.Command, where string) func(string) {
	said := where == "" || o.json
	return func(how string) {
		if !said {
			said = true
			fmt.Fprintf(c.ErrOrStderr(), "found %s\n", plain(how))
		}
	}
}

// one shows a certificate, or a request when that is what the word names: an id
// is longer than any serial number's usual form and has letters beyond f, but
// the server knows best.
func (o *connection) one(c *cobra.Command, cl *client.Client, word string) error {
	cert, err := cl.View(c.Context(), word)
	var p *client.Problem
	if err != nil && errors.As(err, &p) && (p.Status == http.StatusNotFound || p.Status == http.StatusBadRequest) {
		if r, rerr := cl.Request(c.Context(), word); rerr == nil {
			return o.show(c.OutOrStdout(), r, requestText(r))
		}
	}
	if err != nil {
		return told(err)
	}
	return o.show(c.OutOrStdout(), cert, certificateText(cert))
}

// lines writes pairs of label and value, leaving out what is empty.
func lines(pairs ...string) string {
	var rows [][]string
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" && pairs[i+1] != "-" {
			rows = append(rows, []string{pairs[i], pairs[i+1]})
		}
	}
	return table(rows)
}

func certificateText(c *client.Certificate) string {
	status := c.Status
	if c.Reason != "" && c.Status != "good" {
		status += " (" + c.Reason + ") since " + when(c.RevokedAt) + " by " + c.RevokedBy
	}
	return lines("serial", c.Serial, "status", status, "subject", c.Subject, "names", strings.Join(c.Names, " "),
		"valid", when(c.NotBefore)+" to "+when(c.NotAfter), "profile", c.Profile, "authority", c.Authority,
		"issuer key", c.Issuer, "key sha256", c.Key, "requester", c.Requester, "request", c.Request) + c.Certificate
}

func requestText(r *client.Request) string {
	text := lines("id", r.ID, "state", r.State, "source", strings.TrimSuffix(r.Source+" "+r.Endpoint, " "), "requester", r.Requester,
		"profile", or(r.Profile, r.AskedProfile), "subject", r.Subject, "names", strings.Join(r.Names, " "),
		"received", when(r.Received), "ended", when(r.Ended), "policy", r.Policy, "serial", r.Serial,
		"denied", strings.TrimPrefix(r.Reason+": "+r.Detail, ": "), "digest", r.Digest, "replaces", r.Replaces)
	for _, p := range r.Proofs {
		text += fmt.Sprintf("proved     %s %s by %s at %s\n", p.Method, plain(strings.Join(p.Names, " ")+" "+p.Ref), plain(p.By), when(p.At))
	}
	for _, a := range r.Attributes {
		text += fmt.Sprintf("says       %s: %s (nobody proved that)\n", plain(a.Name), plain(a.Value))
	}
	for _, p := range r.Pends {
		text += fmt.Sprintf("waits for  %s: %s\n", plain(p.Step), plain(p.Detail))
	}
	for _, v := range r.Votes {
		text += fmt.Sprintf("vote       %s at %s %s\n", plain(v.By), when(v.At), plain(v.Note))
	}
	return text
}

func explain(o *connection) *cobra.Command {
	return &cobra.Command{
		Use: "explain ID", Short: "Show how a request was, or would be, decided", Args: Args(1, "the id of a request"),
		RunE: func(c *cobra.Command, a []string) error {
			cl, err := o.client()
			if err != nil {
				return err
			}
			x, err := cl.Explain(c.Context(), a[0])
			if err != nil {
				return told(err)
			}
			return o.show(c.OutOrStdout(), x, explanationText(x))
		},
	}
}

func explanationText(x *client.Explanation) string {
	text := requestText(&x.Request)
	if len(x.Trail) > 0 {
		text += "\nDecided by\n"
		rows := [][]string{}
		for _, s := range x.Trail {
			rows = append(rows, []string{"  " + s.Step, s.Verdict, s.Detail})
		}
		text += table(rows)
	}
	if len(x.Warrants) > 0 {
		text += "\nWhy each name may be in it\n"
		rows := [][]string{}
		for _, w := range x.Warrants {
			rows = append(rows, []string{"  " + w.Name, w.By})
		}
		text += table(rows)
	}
	if p := x.Preview; p != nil && x.Certificate == nil {
		text += "\nWhat would be signed\n" + lines("  subject", p.Subject, "  names", strings.Join(p.Names, " "), "  issuer", p.Issuer,
			"  valid", when(p.NotBefore)+" to "+when(p.NotAfter), "  key", p.Key, "  key sha256", p.KeySHA256, "  for", strings.Join(p.EKU, " "))
	}
	if x.Certificate != nil {
		text += "\nCertificate\n" + certificateText(x.Certificate)
	}
	return text
}
