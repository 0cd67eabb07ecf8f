package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3"
	acmezacme "github.com/mholt/acmez/v3/acme"
)

// A renewer gets certificates by acmez, which Caddy is built on.
type renewer struct {
	*acmez.Client
	c       *ca
	account acmezacme.Account
}

func newRenewer(ctx context.Context, c *ca) *renewer {
	c.t.Helper()
	cl := &acmez.Client{
		Client:           &acmezacme.Client{Directory: c.directory(), HTTPClient: c.client()},
		ChallengeSolvers: map[string]acmez.Solver{acmezacme.ChallengeTypeHTTP01: solver{newGoClient(c)}},
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(c.t, err)
	account, err := cl.NewAccount(ctx, acmezacme.Account{TermsOfServiceAgreed: true, PrivateKey: key})
	must(c.t, err)
	return &renewer{cl, c, account}
}

func (r *renewer) obtain(ctx context.Context, replaces *x509.Certificate, names ...string) *x509.Certificate {
	r.c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(r.c.t, err)
	csr, err := acmez.NewCSR(key, names)
	must(r.c.t, err)
	params, err := acmez.OrderParametersFromCSR(r.account, csr)
	must(r.c.t, err)
	params.Replaces = replaces
	got, err := r.ObtainCertificate(ctx, params)
	must(r.c.t, err)
	return certsOf(r.c.t, string(got[0].ChainPEM))[0]
}

// A campaign, seen by a client that asks when to renew (RFC 9773), and by the
// person who began it.
func TestRenewalCampaign(t *testing.T) {
	t.Parallel()
	c := startCA(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := newRenewer(ctx, c)
	one, two := r.obtain(ctx, nil, "one.renew.test"), r.obtain(ctx, nil, "two.renew.test")
	usual, err := r.GetRenewalInfo(ctx, one)
	must(t, err)
	if usual.SuggestedWindow.Start.Before(time.Now().Add(4*24*time.Hour)) || usual.SuggestedWindow.End.After(one.NotAfter) || usual.RetryAfter == nil {
		t.Errorf("usual: %+v", usual)
	}

	var k struct{ ID string }
	c.cliJSON(&k, "campaign", "create", "--where", "name = *.renew.test and requester = account:*", "--within", "48h", "--reason", "https://intranet.test/7")
	early, err := r.GetRenewalInfo(ctx, one)
	must(t, err)
	if w := early.SuggestedWindow; w.End.After(time.Now().Add(48*time.Hour)) || early.ExplanationURL != "https://intranet.test/7" {
		t.Errorf("in the campaign: %+v", early)
	}

	fresh := r.obtain(ctx, one, "one.renew.test")
	if later, err := r.GetRenewalInfo(ctx, fresh); err != nil || later.ExplanationURL != "" || later.SuggestedWindow.Start.Before(time.Now().Add(4*24*time.Hour)) {
		t.Errorf("what is new: %+v %v", later, err)
	}
	var s struct {
		Certificates, Renewed, Waiting int
		Members                        []struct{ Serial string } `json:"not_renewed"`
	}
	c.cliJSON(&s, "campaign", "show", k.ID)
	if s.Certificates != 2 || s.Renewed != 1 || s.Waiting != 1 || len(s.Members) != 1 || !strings.EqualFold(s.Members[0].Serial, serialOf(two)) {
		t.Errorf("%+v", s)
	}
	for _, args := range [][]string{
		{"campaign", "show", k.ID}, {"view", "--certificates", "--where", "name = *.renew.test and not renewed"}, {"view", "--where", "renewal and source = acme"},
	} {
		out := c.cli(args...)
		if want := args[0] == "campaign" || args[1] == "--certificates"; strings.Contains(out, "two.renew.test") != want {
			t.Errorf("chancery %s:\n%s", strings.Join(args, " "), out)
		}
	}
	if _, errs, _ := c.tryCLI("view", "--certificates", "--where", "name = two.renew.test"); !strings.Contains(errs, "found by the index of the name two.renew.test") {
		t.Errorf("view does not say how: %s", errs)
	}
	c.cli("campaign", "end", k.ID)
	if again, err := r.GetRenewalInfo(ctx, two); err != nil || again.ExplanationURL != "" {
		t.Errorf("ended: %+v %v", again, err)
	}
	if out := c.cli("campaign", "list"); !strings.Contains(out, "*.renew.test") {
		t.Error(out)
	}
	if _, errs, code := c.tryCLI("campaign", "create", "--where", "nmae = x", "--within", "48h"); code == 0 || !strings.Contains(errs, "did you mean name?") {
		t.Errorf("exit %d\n%s", code, errs)
	}

	// Revoked: at once.
	c.cli("revoke", serialOf(fresh))
	if now, err := r.GetRenewalInfo(ctx, fresh); err != nil || !now.SuggestedWindow.End.Before(time.Now()) {
		t.Errorf("revoked: %+v %v", now, err)
	}
}
