package interop

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3"
	acmezacme "github.com/mholt/acmez/v3/acme"
	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// withACME starts a CA whose default ACME endpoint is changed before.
func withACME(t *testing.T, change func(endpoint map[string]any)) *ca {
	t.Helper()
	c := newCA(t)
	c.init()
	c.editPolicy(func(doc map[string]any) {
		child(doc, "profiles")["brief"] = map[string]any{
			"description": "one day", "frontends": []any{"acme"}, "validity": "1d", "eku": []any{"serverAuth"},
		}
		change(child(doc, "frontends", "acme", "default"))
	})
	c.start()
	return c
}

func requireGrant(e map[string]any) { e["require_grant"] = true }

// acmeGrant makes a grant as the documentation says.
func (c *ca) acmeGrant(more ...string) grant {
	c.t.Helper()
	var g grant
	c.cliJSON(&g, append([]string{"grant", "create", "--protocol", "acme"}, more...)...)
	return g
}

// certbot with --eab-kid and --eab-hmac-key: an account bound to a grant, which
// is held to it, and stopped when it is revoked.
func TestCertbotEAB(t *testing.T) {
	t.Parallel()
	c := withACME(t, requireGrant)
	b := newCertbot(c, c.directory())
	if out, errs, code := execute(t, c.dir, b.env(), "certbot", b.args(b.standalone("no", "no.eab.test"))...); code == 0 {
		t.Fatalf("certbot has a certificate without a grant:\n%s%s", out, errs)
	}
	g := c.acmeGrant("--name", "*.eab.test", "--accounts", "1")
	eab := []string{"--eab-kid", g.ID, "--eab-hmac-key", g.Secret}
	b.run(append(b.standalone("t1", "www.eab.test"), eab...)...)
	chain := b.fullchain("t1")
	c.verify(chain, "www.eab.test")
	c.checkGood(chain)
	fails := func(what string, b *certbot, args ...string) {
		t.Helper()
		if out, errs, code := execute(t, c.dir, b.env(), "certbot", b.args(args)...); code == 0 {
			t.Errorf("%s: certbot has a certificate\n%s%s", what, out, errs)
		}
	}
	fails("outside the grant", b, b.standalone("t2", "www.other.test")...)
	fails("a second account", newCertbot(c, c.directory()), append(b.standalone("t3", "x.eab.test"), eab...)...)
	c.cli("grant", "revoke", g.ID)
	fails("revoked", b, "renew", "--force-renewal", "--no-random-sleep-on-renew")
	b.run("revoke", "--cert-name", "t1", "--no-delete-after-revoke") // its own it may still revoke
	c.checkRevoked(chain)
}

// certbot under a prevalidated grant: nothing listens, and nothing is asked.
func TestCertbotPrevalidated(t *testing.T) {
	t.Parallel()
	c := withACME(t, requireGrant)
	b := newCertbot(c, c.directory())
	g := c.acmeGrant("--name", "*.pre.test", "--prevalidated", "--uses", "1")
	b.run("certonly", "--manual", "--preferred-challenges", "http", "--manual-auth-hook", "false", "--register-unsafely-without-email",
		"--eab-kid", g.ID, "--eab-hmac-key", g.Secret, "--cert-name", "t1", "-d", "www.pre.test")
	c.verify(b.fullchain("t1"), "www.pre.test")
	if out, _, code := execute(t, c.dir, b.env(), "certbot", b.args([]string{"renew", "--force-renewal", "--no-random-sleep-on-renew"})...); code == 0 {
		t.Errorf("a grant of one use gave two certificates\n%s", out)
	}
}

// golang.org/x/crypto/acme: an external account, and a new account key, with
// which the orders of the old one go on.
func TestGoACMERollover(t *testing.T) {
	t.Parallel()
	c := withACME(t, requireGrant)
	g := newGoClient(c)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := g.register(ctx); err == nil {
		t.Fatal("registered without a grant")
	}
	gr := c.acmeGrant()
	secret, err := base64.RawURLEncoding.DecodeString(gr.Secret)
	must(t, err)
	account := &acme.Account{ExternalAccountBinding: &acme.ExternalAccountBinding{KID: gr.ID, Key: secret}}
	_, err = g.Register(ctx, account, acme.AcceptTOS)
	must(t, err)
	order, err := g.AuthorizeOrder(ctx, acme.DomainIDs("roll.go.test"))
	must(t, err)

	old := g.Key
	next, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	must(t, g.AccountKeyRollover(ctx, next))
	if g.Key != crypto.Signer(next) {
		t.Fatal("the client did not take the new key")
	}
	must(t, g.authorize(ctx, order.AuthzURLs[0]))
	_, chain, err := g.obtain(ctx, "roll.go.test")
	must(t, err)
	c.verify(chain, "roll.go.test")
	stale := &acme.Client{Key: old, DirectoryURL: c.directory(), HTTPClient: c.client(), RetryBackoff: g.RetryBackoff, KID: g.KID}
	if _, err := stale.GetReg(ctx, ""); err == nil {
		t.Error("the old key still has the account")
	}
	// A key that another account has: 409, which the library says as a conflict.
	other := &acme.Client{Key: old, DirectoryURL: c.directory(), HTTPClient: c.client(), RetryBackoff: g.RetryBackoff}
	_, err = other.Register(ctx, account, acme.AcceptTOS)
	must(t, err)
	var e *acme.Error
	if err := other.AccountKeyRollover(ctx, next); !errors.As(err, &e) || e.StatusCode != http.StatusConflict {
		t.Errorf("a key that is taken: %v", err)
	}
}

// golang.org/x/crypto/acme: an address (RFC 8738).
func TestGoACMEAddress(t *testing.T) {
	t.Parallel()
	c := startCA(t)
	g := newGoClient(c)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, g.register(ctx))
	order, err := g.AuthorizeOrder(ctx, acme.IPIDs("127.0.0.1"))
	must(t, err)
	must(t, g.authorize(ctx, order.AuthzURLs[0]))
	order, err = g.WaitOrder(ctx, order.URI)
	must(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, key)
	must(t, err)
	ders, _, err := g.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
	must(t, err)
	checkAddress(t, c, ders)
}

// checkAddress verifies a chain for 127.0.0.1.
func checkAddress(t *testing.T, c *ca, ders [][]byte) {
	t.Helper()
	leaf, err := x509.ParseCertificate(ders[0])
	must(t, err)
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(read(t, c.roots())))
	for _, der := range ders[1:] {
		i, err := x509.ParseCertificate(der)
		must(t, err)
		between.AddCert(i)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: "127.0.0.1", Roots: roots, Intermediates: between}); err != nil {
		t.Error(err)
	}
	if len(leaf.DNSNames) != 0 || len(leaf.IPAddresses) != 1 {
		t.Errorf("%v %v", leaf.DNSNames, leaf.IPAddresses)
	}
}

// autocert of golang.org/x/crypto: a Go server that gets its certificates itself,
// when somebody first asks for a name. The endpoint offers http-01 alone.
func TestGoAutocert(t *testing.T) {
	t.Parallel()
	c := withACME(t, func(e map[string]any) { e["challenges"] = []any{"http-01"} })
	m := &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(t.TempDir()), HostPolicy: autocert.HostWhitelist("auto.go.test"),
		Client: &acme.Client{DirectoryURL: c.directory(), HTTPClient: c.client()},
	}
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", c.http01))
	must(t, err)
	plain := &http.Server{Handler: m.HTTPHandler(nil), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = plain.Serve(ln) }()
	t.Cleanup(func() { _ = plain.Close() })
	secure, err := tls.Listen("tcp", "127.0.0.1:0", m.TLSConfig())
	must(t, err)
	web := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })}
	go func() { _ = web.Serve(secure) }()
	t.Cleanup(func() { _ = web.Close() })

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(read(t, c.roots())))
	conn, err := tls.Dial("tcp", secure.Addr().String(), &tls.Config{ServerName: "auto.go.test", RootCAs: roots})
	must(t, err)
	defer conn.Close()
	var chain strings.Builder
	for _, cert := range conn.ConnectionState().PeerCertificates {
		_ = pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	}
	c.verify(chain.String(), "auto.go.test")
}

// A solver answers http-01 for acmez.
type solver struct{ g *goClient }

func (s solver) Present(_ context.Context, ch acmezacme.Challenge) error {
	s.g.tokens.Store(ch.HTTP01ResourcePath(), ch.KeyAuthorization)
	return nil
}

func (s solver) CleanUp(_ context.Context, ch acmezacme.Challenge) error {
	s.g.tokens.Delete(ch.HTTP01ResourcePath())
	return nil
}

// acmez, which Caddy is built on: an external account, a profile, an address, and
// the end of the account's key.
func TestACMEz(t *testing.T) {
	t.Parallel()
	c := withACME(t, func(e map[string]any) { e["profiles"], e["require_grant"] = []any{"trial", "brief"}, true })
	gr := c.acmeGrant("--name", "*.acmez.test", "--name", "127.0.0.0/8")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl := &acmez.Client{
		Client:           &acmezacme.Client{Directory: c.directory(), HTTPClient: c.client()},
		ChallengeSolvers: map[string]acmez.Solver{acmezacme.ChallengeTypeHTTP01: solver{newGoClient(c)}},
	}
	dir, err := cl.GetDirectory(ctx)
	must(t, err)
	if dir.Meta == nil || dir.Meta.Profiles["brief"] != "one day" || !dir.Meta.ExternalAccountRequired {
		t.Errorf("meta %+v", dir.Meta)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	account := acmezacme.Account{TermsOfServiceAgreed: true, PrivateKey: key}
	must(t, account.SetExternalAccountBinding(ctx, cl.Client, acmezacme.EAB{KeyID: gr.ID, MACKey: gr.Secret}))
	account, err = cl.NewAccount(ctx, account)
	must(t, err)

	obtain := func(profile string, sans ...string) [][]byte {
		t.Helper()
		leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		csr, err := acmez.NewCSR(leafKey, sans)
		must(t, err)
		params, err := acmez.OrderParametersFromCSR(account, csr)
		must(t, err)
		params.Profile = profile
		got, err := cl.ObtainCertificate(ctx, params)
		must(t, err)
		var ders [][]byte
		for _, cert := range certsOf(t, string(got[0].ChainPEM)) {
			ders = append(ders, cert.Raw)
		}
		return ders
	}
	brief, err := x509.ParseCertificate(obtain("brief", "www.acmez.test")[0])
	must(t, err)
	if span := brief.NotAfter.Sub(brief.NotBefore); span > 26*time.Hour {
		t.Errorf("the profile brief gave %s", span)
	}
	checkAddress(t, c, obtain("", "127.0.0.1"))

	next, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	account, err = cl.AccountKeyRollover(ctx, account, next)
	must(t, err)
	c.verify(pemOfDER(obtain("trial", "after.acmez.test")), "after.acmez.test")
}

func pemOfDER(ders [][]byte) string {
	var b strings.Builder
	for _, der := range ders {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return b.String()
}

// lego with --eab, which it wants at every run: an account bound to a grant.
func TestLegoEAB(t *testing.T) {
	t.Parallel()
	c := withACME(t, requireGrant)
	g := c.acmeGrant("--name", "*.lego.test")
	l := newLego(c)
	answer := []string{"--eab", "--kid", g.ID, "--hmac", g.Secret, "--http", "--http.port", fmt.Sprintf("127.0.0.1:%d", c.http01), "-d", "eab.lego.test"}
	l.run(append(answer, "run")...)
	c.verify(l.chain("eab.lego.test"), "eab.lego.test")
	l.run(append(answer, "renew", "--days", "3650", "--no-random-sleep")...)
	c.verify(l.chain("eab.lego.test"), "eab.lego.test")
}
