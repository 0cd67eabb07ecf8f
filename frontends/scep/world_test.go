package scep

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"chancery/engine"
	"chancery/engine/names"
	"chancery/frontends/internal/testca"
	"chancery/store/storetest/backends"
)

func TestMain(m *testing.M) { os.Exit(backends.Run(m)) }

// A world is the frontend on the real engine, with a small stand-in for the
// profile module and an ECDSA CA.
type world struct {
	t      testing.TB
	mu     sync.Mutex
	clock  time.Time
	db     backends.DB
	engine *engine.Engine
	ra     *RA
	front  *Frontend
	config Config
	deps   Deps
	ca     *x509.Certificate
}

var admin = engine.Actor{Person: "olga", Principal: "key:01", Roles: []engine.Role{engine.Officer, engine.Admin}, Via: "test"}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

func newWorld(t testing.TB, change ...func(*Endpoint)) *world {
	t.Helper()
	w := &world{t: t, clock: time.Now()}
	var err error
	if w.db, err = backends.New(t).Open(slog.New(slog.DiscardHandler), append(Schemas(), engine.Schemas()...)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.db.Close() })
	main := testca.New(t, "main", w.clock, 15)
	w.ca = main.Chain[0]
	w.engine, err = engine.New(context.Background(), engine.Config{
		DB: w.db, Log: slog.New(slog.DiscardHandler), Now: w.now, Rand: rand.Reader, Node: "n1", StatusURL: "http://pki.test", MACKey: make([]byte, 32),
		Issuers: []engine.Issuer{main, testca.New(t, engine.ManagementAuthority, w.clock, 15)},
	})
	if err != nil {
		t.Fatal(err)
	}
	day := engine.Duration(24 * time.Hour)
	device := engine.Profile{Frontends: []engine.Source{engine.SCEP}, Validity: 100 * day, ExtKeyUsage: []string{"clientAuth"}}
	manual := device
	manual.Approval = "manual"
	policy := engine.Policy{
		Authorities: map[string]engine.Authority{"main": {}},
		Profiles:    map[string]engine.Profile{"device": device, "other": device, "manual": manual},
		Decide:      engine.Decide{Shape: []engine.Module{{Name: "profile"}}},
	}
	if _, err := w.engine.Use(context.Background(), engine.Setup{Policy: policy, Shapers: []engine.Step[engine.Shaper]{{Name: "profile", Run: w.shape(&policy)}}}, "test"); err != nil {
		t.Fatal(err)
	}
	w.ra = w.newRA()
	e := Endpoint{Profiles: []string{"device"}, Authorize: []string{byGrant}}
	for _, fn := range change {
		fn(&e)
	}
	w.config = Config{"default": e, "other": {Profiles: []string{"other"}, Authorize: []string{byGrant}}, "manual": {Profiles: []string{"manual"}, Authorize: []string{manually, byGrant}}}
	w.deps = Deps{Requests: w.engine, Certificates: w.engine, Grants: w.engine, People: w.engine, RA: w.ra, Profiles: w.engine.Profiles(), Now: w.now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler)}
	if w.front, err = New(w.config, w.deps); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) newRA() *RA {
	w.t.Helper()
	ra, err := NewRA(RADeps{
		DB: w.db, Certificates: w.engine, SealKey: make([]byte, 32), Authority: "main", Now: w.now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
		Enroll: w.certifyRA,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return ra
}

func (w *world) certifyRA(ctx context.Context, id string, key crypto.Signer) ([]byte, error) {
	csr, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "SCEP"}}, key)
	if err != nil {
		return nil, err
	}
	d, err := w.engine.Submit(ctx, engine.Submission{
		Source: engine.Self, Endpoint: "ra", Requester: "self:n1", Body: csr, Profile: engine.ProfileRA,
		Key:    engine.NewKey(engine.Self, "ra", "", "self:n1", id),
		Proofs: []engine.Proof{{Method: engine.BySelf, Principal: "self:n1", By: "n1", At: w.now()}},
	})
	if issued, ok := d.(engine.Issued); ok {
		return issued.Cert, nil
	}
	return nil, errors.Join(err, errors.New("not issued"))
}

// shape stands for the profile module: names of the SAN, and of the CN where it
// is a DNS name.
func (w *world) shape(p *engine.Policy) engine.Shaper {
	return func(_ context.Context, r *engine.Request, d *engine.Draft) (engine.Verdict, error) {
		all, err := p.EffectiveProfiles()
		if err != nil {
			return engine.Verdict{}, err
		}
		profile := all[r.Want]
		d.Profile, d.Authority, d.Names = r.Want, profile.Authority, slices.Clone(r.Asked.Names)
		for _, cn := range r.Asked.Subject.CommonNames() {
			if n, err := names.Parse(names.DNS, cn); err == nil && !slices.Contains(d.Names, n) && profile.Subject.CN != "free" {
				d.Names = append(d.Names, n)
			}
		}
		if profile.Subject.CN == "free" {
			d.Subject = r.Asked.Subject
		} else if len(d.Names) == 0 {
			return engine.Deny(engine.BadCSR, "the request asks for no name"), nil
		}
		d.NotBefore, d.NotAfter = engine.NotBefore(w.now()), w.now().Add(time.Duration(profile.Validity)-time.Second)
		d.KeyUsage, d.ExtKeyUsage = []string{"digitalSignature"}, profile.ExtKeyUsage
		if len(profile.KeyUsage) > 0 {
			d.KeyUsage = profile.KeyUsage
		}
		if profile.Approval == "manual" {
			return engine.PendForOne("an officer must look"), nil
		}
		return engine.Pass(), nil
	}
}

// challenge makes a grant.
func (w *world) challenge(uses int, profile string, patterns ...string) string {
	w.t.Helper()
	g := engine.Grant{Protocol: engine.SCEP, Uses: uses}
	if profile != "" {
		g.Profiles = []string{profile}
	}
	for _, s := range patterns {
		p, err := names.ParsePattern(s)
		if err != nil {
			w.t.Fatal(err)
		}
		g.Names = append(g.Names, p)
	}
	_, secret, err := w.engine.CreateGrant(context.Background(), admin, g)
	if err != nil {
		w.t.Fatal(err)
	}
	return secret
}

// issued counts certificates of devices.
func (w *world) issued() int {
	w.t.Helper()
	all, _, err := w.engine.Certificates(context.Background(), engine.CertificateFilter{})
	if err != nil {
		w.t.Fatal(err)
	}
	n := 0
	for _, c := range all {
		if c.Profile != engine.ProfileRA {
			n++
		}
	}
	return n
}
