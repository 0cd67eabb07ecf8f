package engine

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"chancery/engine/names"
	"chancery/store/storetest/backends"
)

func TestMain(m *testing.M) { os.Exit(backends.Run(m)) }

// A world is an engine on a real store, with a clock that the test moves and an
// exit that writes down what it is told.
type world struct {
	*Engine
	t     testing.TB
	place backends.Place
	db    backends.DB
	conf  Config
	setup Setup
	exit  *recorder
	mu    sync.Mutex
	clock time.Time
	step  func(string) // called at fault points
}

type recorder struct {
	mu   sync.Mutex
	told []Event
	fail error
}

func (x *recorder) Wants() []EventKind { return EventKinds }

func (x *recorder) Tell(_ context.Context, ev Event) error {
	if ev.Profile == ProfileOCSP {
		return nil // Run makes them when it likes
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.fail != nil {
		return x.fail
	}
	x.told = append(x.told, ev)
	return nil
}

func (x *recorder) kinds() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	var all []string
	for _, ev := range x.told {
		all = append(all, string(ev.Kind))
	}
	return all
}

// testPolicy is a document like the default one.
func testPolicy() Policy {
	day := Duration(24 * time.Hour)
	return Policy{
		Authorities: map[string]Authority{"main": {}},
		Profiles: map[string]Profile{
			"web":    {Frontends: []Source{ACME, Native, Self}, Validity: 90 * day, ExtKeyUsage: []string{"serverAuth"}},
			"manual": {Frontends: []Source{ACME, Native}, Validity: 90 * day, ExtKeyUsage: []string{"serverAuth"}, Approval: "manual"},
		},
		Decide: Decide{Shape: []Module{{Name: "profile"}}},
	}
}

// shape is a small stand-in for the profile module.
func shape(w *world) Shaper {
	return func(_ context.Context, r *Request, d *Draft) (Verdict, error) {
		profiles, err := w.setup.Policy.EffectiveProfiles()
		if err != nil {
			return Verdict{}, err
		}
		p, ok := profiles[r.Want]
		if !ok {
			return Deny(UnknownProfile, "there is no profile %q", r.Want), nil
		}
		d.Profile, d.Authority, d.Names = r.Want, p.Authority, r.Asked.Names
		d.NotBefore, d.NotAfter = NotBefore(w.now()), w.now().Add(time.Duration(p.Validity)-time.Second)
		d.KeyUsage, d.ExtKeyUsage = []string{"digitalSignature"}, p.ExtKeyUsage
		if p.Approval == "manual" {
			return PendForOne("an officer must look"), nil
		}
		return Pass(), nil
	}
}

func newCA(t testing.TB, cn string, now time.Time, more ...func(*CASpec)) Issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dn, err := names.ParseDNString("CN=" + cn)
	if err != nil {
		t.Fatal(err)
	}
	spec := CASpec{Subject: dn, PublicKey: key.Public(), NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(5, 0, 0), PathLen: 0, Rand: rand.Reader}
	for _, f := range more {
		f(&spec)
	}
	der, err := MakeCA(spec, nil, key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return Issuer{Authority: "main", Chain: []*x509.Certificate{ca}, Key: key}
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, place: backends.New(t), clock: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), exit: &recorder{}}
	main, mgmt := newCA(t, "Test CA", w.clock), newCA(t, "Test Management", w.clock)
	mgmt.Authority = ManagementAuthority
	w.conf = Config{
		Log: slog.New(slog.DiscardHandler), Rand: rand.Reader, Node: "n1", StatusURL: "http://pki.test", MACKey: make([]byte, 32),
		Issuers: []Issuer{main, mgmt},
		Now: func() time.Time {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.clock
		},
		Faults: func(s string) {
			if w.step != nil {
				w.step(s)
			}
		},
	}
	w.setup = Setup{Policy: testPolicy(), Shapers: []Step[Shaper]{{Name: "profile", Run: shape(w)}}, Exits: []Outlet{{"log", w.exit}}}
	w.open()
	t.Cleanup(func() { w.db.Close() })
	return w
}

// open opens store and engine, again if they were open.
func (w *world) open() {
	w.t.Helper()
	if w.db != nil {
		w.db.Close()
	}
	db, err := w.place.Open(w.conf.Log, Schemas()...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.db, w.conf.DB = db, db
	if w.Engine, err = New(context.Background(), w.conf); err != nil {
		w.t.Fatal(err)
	}
	w.use()
}

func (w *world) use() {
	w.t.Helper()
	if _, err := w.Use(context.Background(), w.setup, "test"); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) advanceClock(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

// run runs the engine until the test's condition holds.
func (w *world) runUntil(what string, ok func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	defer func() { cancel(); <-done }()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			w.t.Fatalf("not within 20 s: %s", what)
		case <-tick.C:
		}
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func csrFor(t testing.TB, key *ecdsa.PrivateKey, dns ...string) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{}, DNSNames: dns}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func dns(t testing.TB, list ...string) []names.Name {
	var all []names.Name
	for _, s := range list {
		n, err := names.Parse(names.DNS, s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// submission asks for names that it also proves.
func (w *world) submission(id string, key *ecdsa.PrivateKey, list ...string) Submission {
	s := Submission{Source: Native, Endpoint: "default", Requester: "key:tester", Form: PKCS10, Profile: "web", Body: csrFor(w.t, key, list...)}
	s.Proofs = []Proof{{Method: HTTP01, Names: dns(w.t, list...), Ref: "authz", By: "n1", At: w.now(), Expires: w.now().Add(time.Hour)}}
	s.Key = NewKey(s.Source, s.Endpoint, "", s.Requester, id)
	return s
}

func (s Submission) as(p Principal, id string) Submission {
	s.Requester = p
	s.Key = NewKey(s.Source, s.Endpoint, "", p, id)
	return s
}

func (w *world) submit(s Submission) Disposition {
	w.t.Helper()
	d, err := w.Submit(context.Background(), s)
	if err != nil {
		w.t.Fatalf("Submit: %v", err)
	}
	return d
}

func (w *world) issue(s Submission) (Issued, *x509.Certificate) {
	w.t.Helper()
	d := w.submit(s)
	i, ok := d.(Issued)
	if !ok {
		w.t.Fatalf("Submit = %#v, want Issued", d)
	}
	c, err := x509.ParseCertificate(i.Cert)
	if err != nil {
		w.t.Fatal(err)
	}
	return i, c
}

func (w *world) denied(s Submission, reason Reason) Denied {
	w.t.Helper()
	d, ok := w.submit(s).(Denied)
	if !ok || d.Reason != reason {
		w.t.Fatalf("Submit = %#v, want Denied %s", d, reason)
	}
	return d
}

func officer(name string) Actor {
	h := sha256.Sum256([]byte(name))
	return Actor{Person: name, Principal: Principal("key:" + hex.EncodeToString(h[:])), Roles: []Role{Officer}, Via: "test"}
}

var admin = Actor{Person: "ada", Roles: []Role{Admin}, Via: "test"}

func sameKinds(got []string, want ...string) bool {
	slices.Sort(got)
	slices.Sort(want)
	return slices.Equal(got, want)
}

var errBoom = errors.New("boom")
