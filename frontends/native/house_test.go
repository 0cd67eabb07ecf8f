package native_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"testing"
	"time"

	"chancery/engine"
	"chancery/frontends/internal/testca"
	"chancery/frontends/native"
	"chancery/frontends/native/client"
	"chancery/store/storetest/backends"
)

func TestMain(m *testing.M) { os.Exit(backends.Run(m)) }

// A house is the frontend on a real engine on a real store, behind real TLS.
type house struct {
	t             testing.TB
	engine        *engine.Engine
	setup         engine.Setup
	enroll, admin *httptest.Server
	alice         *tls.Certificate // admin
	bob, carol    *tls.Certificate // officers
	now           time.Time
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func csrFor(t testing.TB, key *ecdsa.PrivateKey, dns ...string) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: dns}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// shape is a small stand-in for the profile module.
func shape(now func() time.Time, p *engine.Policy) engine.Shaper {
	return func(_ context.Context, r *engine.Request, d *engine.Draft) (engine.Verdict, error) {
		all, err := p.EffectiveProfiles()
		if err != nil {
			return engine.Verdict{}, err
		}
		profile, ok := all[r.Want]
		if !ok || !slices.Contains(profile.Frontends, r.Source) {
			return engine.Deny(engine.UnknownProfile, "there is no profile %q", r.Want), nil
		}
		d.Profile, d.Authority, d.Names = r.Want, profile.Authority, r.Asked.Names
		d.NotBefore, d.NotAfter = engine.NotBefore(now()), now().Add(time.Duration(profile.Validity)-time.Second)
		d.KeyUsage, d.ExtKeyUsage = []string{"digitalSignature"}, profile.ExtKeyUsage
		if profile.Subject.CN == "free" {
			d.Subject = r.Asked.Subject
		}
		if profile.Approval == "manual" {
			return engine.PendForOne("an officer must look"), nil
		}
		return engine.Pass(), nil
	}
}

func newHouse(t testing.TB) *house {
	t.Helper()
	ctx := context.Background()
	h := &house{t: t, now: time.Now()}
	now := func() time.Time { return h.now }
	db, err := backends.New(t).Open(slog.New(slog.DiscardHandler), engine.Schemas()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	main, management := testca.New(t, "main", h.now, 5), testca.New(t, engine.ManagementAuthority, h.now, 5)
	h.engine, err = engine.New(ctx, engine.Config{
		DB: db, Log: slog.New(slog.DiscardHandler), Now: now, Rand: rand.Reader, Node: "n1", StatusURL: "http://pki.test", MACKey: make([]byte, 32),
		Issuers: []engine.Issuer{main, management},
	})
	if err != nil {
		t.Fatal(err)
	}
	day := engine.Duration(24 * time.Hour)
	h.setup.Policy = engine.Policy{
		Authorities: map[string]engine.Authority{"main": {}},
		Profiles: map[string]engine.Profile{
			"service": {Frontends: []engine.Source{engine.Native}, Validity: 90 * day, ExtKeyUsage: []string{"serverAuth", "clientAuth"}},
			"manual":  {Frontends: []engine.Source{engine.Native}, Validity: 90 * day, ExtKeyUsage: []string{"serverAuth"}, Approval: "manual"},
			"acme":    {Frontends: []engine.Source{engine.ACME}, Validity: 90 * day, ExtKeyUsage: []string{"serverAuth"}},
		},
		Decide: engine.Decide{Shape: []engine.Module{{Name: "profile"}}},
	}
	h.setup.Shapers = []engine.Step[engine.Shaper]{{Name: "profile", Run: shape(now, &h.setup.Policy)}}
	h.use()
	h.alice, h.bob, h.carol = h.person("alice"), h.person("bob"), h.person("carol")
	h.setup.Policy.Roles = map[string]engine.Person{
		"alice": {Key: spki(h.alice), Roles: []engine.Role{engine.Admin, engine.Operator}},
		"bob":   {Key: spki(h.bob), Roles: []engine.Role{engine.Officer}},
		"carol": {Key: spki(h.carol), Roles: []engine.Role{engine.Officer}},
	}
	h.use()
	h.serve(main, management)
	return h
}

func (h *house) use() {
	h.t.Helper()
	if _, err := h.engine.Use(context.Background(), h.setup, "test"); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) serve(main, management engine.Issuer) {
	pool := func(i engine.Issuer) *x509.CertPool {
		p := x509.NewCertPool()
		p.AddCert(i.Chain[len(i.Chain)-1])
		return p
	}
	front, err := native.New(native.Config{Name: "default"}, native.Deps{
		Engine: h.engine, Now: func() time.Time { return h.now }, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
		ManagementRoots: pool(management), EnrollmentRoots: pool(main),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	start := func(handler http.Handler) *httptest.Server {
		s := httptest.NewUnstartedServer(handler)
		s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
		s.StartTLS()
		h.t.Cleanup(s.Close)
		return s
	}
	h.enroll, h.admin = start(front.Enrollment()), start(front.Admin())
}

// person makes a management certificate, as first start does.
func (h *house) person(name string) *tls.Certificate {
	h.t.Helper()
	key := newKey(h.t)
	csr := csrFor(h.t, key)
	d, err := h.engine.Submit(context.Background(), engine.Submission{
		Source: engine.Self, Endpoint: "person", Requester: "self:n1", Form: engine.PKCS10, Body: csr, Profile: engine.ProfilePerson,
		Key:    engine.NewKey(engine.Self, "person", "", "self:n1", name),
		Proofs: []engine.Proof{{Method: engine.BySelf, Principal: "self:n1", By: "n1", At: h.now}},
	})
	issued, ok := d.(engine.Issued)
	if err != nil || !ok {
		h.t.Fatalf("person: %#v %v", d, err)
	}
	return &tls.Certificate{Certificate: [][]byte{issued.Cert}, PrivateKey: key}
}

func spki(c *tls.Certificate) string {
	der, _ := x509.MarshalPKIXPublicKey(c.PrivateKey.(*ecdsa.PrivateKey).Public())
	h := sha256.Sum256(der)
	return hex.EncodeToString(h[:])
}

func (h *house) client(cert *tls.Certificate, token string) *client.Client {
	h.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(h.enroll.Certificate())
	roots.AddCert(h.admin.Certificate())
	c, err := client.New(client.Options{Server: h.enroll.URL, Admin: h.admin.URL, Roots: roots, Certificate: cert, Token: token})
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// grant makes one as alice does, and returns a client that holds it.
func (h *house) grant(g client.NewGrant) (*client.Client, *client.Grant) {
	h.t.Helper()
	made, err := h.client(h.alice, "").CreateGrant(context.Background(), g)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.client(nil, made.Secret), made
}

func reasonOf(err error) string {
	var p *client.Problem
	if errors.As(err, &p) {
		return p.Reason
	}
	return ""
}
