package acme

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"chancery/engine"
	"chancery/engine/names"
	"chancery/frontends/internal/testca"
	"chancery/store"
)

// A realWorld is a world with the real engine, with a small stand-in for the
// profile module.
type realWorld struct {
	*world
	*engine.Engine
}

var officer = engine.Actor{Person: "olga", Principal: "key:01", Roles: []engine.Role{engine.Officer, engine.Admin}, Via: "test"}

func newRealWorld(t testing.TB, change ...func(*Endpoint)) *realWorld {
	t.Helper()
	rw := &realWorld{}
	rw.world = newWorld(t, func(w *world) {
		issuers := []engine.Issuer{testca.New(t, "main", w.clock, 5), testca.New(t, engine.ManagementAuthority, w.clock, 5)}
		w.schema = append(Schemas(), engine.Schemas()...)
		ep := Endpoint{Profiles: []string{"web", "manual"}}
		for _, fn := range change {
			fn(&ep)
		}
		w.config["default"] = ep
		w.start = func(db store.DB) {
			e, err := engine.New(context.Background(), engine.Config{
				DB: db, Log: w.deps.Log, Now: w.now, Rand: rand.Reader, Node: "n1", StatusURL: "http://pki.test", MACKey: make([]byte, 32), Issuers: issuers,
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Use(context.Background(), engine.Setup{Policy: realPolicy(), Shapers: []engine.Step[engine.Shaper]{{Name: "profile", Run: shaper(w)}}}, "test"); err != nil {
				t.Fatal(err)
			}
			rw.Engine, w.deps.Requests, w.deps.Certificates, w.deps.Grants, w.deps.Profiles = e, e, e, e, e.Profiles()
		}
	})
	return rw
}

func realPolicy() engine.Policy {
	web := engine.Profile{Frontends: []engine.Source{engine.ACME}, Validity: engine.Duration(90 * 24 * time.Hour), ExtKeyUsage: []string{"serverAuth"}}
	manual := web
	manual.Approval = "manual"
	return engine.Policy{
		Authorities: map[string]engine.Authority{"main": {}},
		Profiles:    map[string]engine.Profile{"web": web, "manual": manual},
		Decide:      engine.Decide{Shape: []engine.Module{{Name: "profile"}}},
	}
}

func shaper(w *world) engine.Shaper {
	return func(_ context.Context, r *engine.Request, d *engine.Draft) (engine.Verdict, error) {
		d.Profile, d.Authority, d.Names = r.Want, "main", slices.Clone(r.Asked.Names)
		for _, cn := range r.Asked.Subject.CommonNames() {
			n, err := names.Parse(names.DNS, cn)
			if err != nil {
				continue // an address, which is among the names
			}
			if !slices.Contains(d.Names, n) {
				d.Names = append(d.Names, n)
			}
		}
		d.NotBefore, d.NotAfter = engine.NotBefore(w.now()), w.now().Add(90*24*time.Hour-time.Second)
		d.KeyUsage, d.ExtKeyUsage = []string{"digitalSignature"}, []string{"serverAuth"}
		if r.Want == "manual" {
			return engine.PendForOne("an officer must look"), nil
		}
		return engine.Pass(), nil
	}
}

// issued counts certificates.
func (rw *realWorld) issued() int {
	rw.t.Helper()
	all, _, err := rw.Certificates(context.Background(), engine.CertificateFilter{Limit: 1000})
	if err != nil {
		rw.t.Fatal(err)
	}
	return len(all)
}

func TestRealEngine(t *testing.T) {
	w := newRealWorld(t)
	c := w.client()
	before := w.db.Updates()
	key := leafKey(t)
	der := c.issue(key, "www.example.org", "*.example.org")[0]
	if after := w.db.Updates(); after-before != 5 { // order, two authorizations, decision, certificate
		t.Errorf("%d updates", after-before)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(leaf.DNSNames) != "[www.example.org *.example.org]" || leaf.Subject.CommonName != "" {
		t.Errorf("%v %v", leaf.DNSNames, leaf.Subject)
	}
	row, err := w.Identify(t.Context(), der)
	if err != nil || string(row.Requester) != "account:"+idOf(c.kid) {
		t.Fatalf("%+v %v", row, err)
	}
	x, err := w.Explain(t.Context(), row.Request)
	if err != nil || len(x.Warrants) < 2 {
		t.Errorf("%+v %v", x, err)
	}

	// A name in the CN only; A-090.
	o, _ := c.ready("cn.example.org")
	w.ok("CN only", c.post(o.Finalize, csrPayload(csrFrom(t, leafKey(t), &x509.CertificateRequest{Subject: pkix.Name{CommonName: "cn.example.org"}}))), 200)

	// Revocation, and what is left afterwards.
	url := w.url("revoke-cert")
	w.want("stranger", w.client().post(url, revocation(der, "")), 403, unauthorized)
	w.ok("revoke", (&client{w: w.world, key: key, alg: "ES256"}).postKey(url, revocation(der, "1")), 200)
	w.want("again", c.post(url, revocation(der, "1")), 400, alreadyRevoked)
	if row, err = w.Identify(t.Context(), der); err != nil || row.Status != engine.Revoked || row.Reason != 1 {
		t.Errorf("%+v %v", row, err)
	}
}

// A-098 with the real engine: neither revocation nor time changes what an order
// and its certificate are.
func TestRealEngineOrderStays(t *testing.T) {
	w := newRealWorld(t)
	c := w.client()
	o, url := c.ready(host)
	o = w.ok("finalize", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))), 200)
	first := w.ok("download", c.read(o.Certificate), 200).body
	w.ok("revoke", c.post(w.url("revoke-cert"), revocation(pemChain(t, first)[0], "")), 200)
	w.advance(orderLife + 24*time.Hour)
	w.open()
	if a := w.ok("order", c.read(url), 200); a.Status != "valid" || a.Certificate != o.Certificate {
		t.Errorf("%s", a.body)
	}
	w.want("finalize", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))), 403, orderNotReady)
	if again := w.ok("download", c.read(o.Certificate), 200).body; !bytes.Equal(again, first) {
		t.Error("other octets")
	}
	w.want("another's", w.client().read(o.Certificate), 404, malformed)
	if n := w.issued(); n != 1 {
		t.Errorf("%d certificates", n)
	}
}

func TestRealEngineFinalizeRace(t *testing.T) {
	w := newRealWorld(t)
	c := w.client()
	o, _ := c.ready(host)
	same := csrPayload(csrOf(t, leafKey(t), host))
	var wait sync.WaitGroup
	answers := make([]*answer, 50)
	for i := range answers {
		payload := same
		if i%2 == 1 {
			payload = csrPayload(csrOf(t, leafKey(t), host))
		}
		wait.Go(func() { answers[i] = c.post(o.Finalize, payload) })
	}
	wait.Wait()
	for _, a := range answers {
		if a.status != 200 || a.Status != "valid" && a.Status != "processing" {
			w.want("the others", a, 403, orderNotReady)
		}
	}
	if n := w.issued(); n != 1 {
		t.Errorf("%d certificates", n)
	}
}

func TestRealEngineBadCSR(t *testing.T) {
	w := newRealWorld(t)
	c := w.client()
	o, url := c.ready(host)
	der := csrOf(t, leafKey(t), host)
	forged := bytes.Clone(der)
	forged[len(forged)-1] ^= 1
	w.want("signature", c.post(o.Finalize, csrPayload(forged)), 400, badCSR)
	if a := c.read(url); a.Status != "ready" {
		t.Errorf("%s", a.body)
	}
	for _, scope := range []string{"all", "profile:web"} {
		if err := w.Freeze(t.Context(), officer, scope, "an incident is looked into"); err != nil {
			t.Fatal(err)
		}
		a := c.post(o.Finalize, csrPayload(der))
		w.want("frozen", a, 503, serverInternal)
		if !bytes.Contains(a.body, []byte("an incident is looked into")) || a.header.Get("Retry-After") == "" || c.read(url).Status != "ready" {
			t.Errorf("%s", a.body)
		}
		if err := w.Thaw(t.Context(), officer, scope); err != nil {
			t.Fatal(err)
		}
	}
	w.ok("good", c.post(o.Finalize, csrPayload(der)), 200)
}

// what a CSR asks for besides names is not in the certificate.
func TestACME_A094_Extensions(t *testing.T) {
	w := newRealWorld(t)
	c := w.client()
	for name, x := range map[string]pkix.Extension{
		"codeSigning":       {Id: []int{2, 5, 29, 37}, Value: []byte{0x30, 0x0a, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 3}},
		"CA":                {Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}},
		"name constraints":  {Id: []int{2, 5, 29, 30}, Value: []byte{0x30, 0}},
		"must-staple":       {Id: []int{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 3, 2, 1, 5}},
		"unknown, critical": {Id: []int{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}},
	} {
		o, _ := c.ready(host)
		template := &x509.CertificateRequest{DNSNames: []string{host}, ExtraExtensions: []pkix.Extension{x}}
		a := c.post(o.Finalize, csrPayload(csrFrom(t, leafKey(t), template)))
		if a.status != 200 {
			w.want(name, a, 400, badCSR)
			continue
		}
		leaf, err := x509.ParseCertificate(pemChain(t, w.ok("certificate", c.read(a.Certificate), 200).body)[0])
		if err != nil {
			t.Fatal(err)
		}
		if leaf.IsCA || len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth {
			t.Errorf("%s: %v %v", name, leaf.IsCA, leaf.ExtKeyUsage)
		}
		for _, got := range leaf.Extensions {
			if got.Id.Equal(x.Id) && bytes.Equal(got.Value, x.Value) {
				t.Errorf("%s was copied", name)
			}
		}
	}
}

const manualOrder = `{"identifiers":[{"type":"dns","value":"www.example.org"}],"profile":"manual"}`

// pend makes an order that waits for an officer.
func (c *client) pend() (orderURL, request string) {
	c.w.t.Helper()
	c.w.advance(time.Second) // which of two is the older one is told by the clock
	o := c.w.ok("newOrder", c.post(c.w.url("new-order"), manualOrder), 201)
	c.prove(o.Authorizations[0])
	if a := c.w.ok("finalize", c.post(o.Finalize, csrPayload(csrOf(c.w.t, leafKey(c.w.t), host))), 200); a.Status != "processing" {
		c.w.t.Fatalf("%s", a.body)
	}
	return o.location(), row(c.w, &orders, idOf(o.location())).Request
}

func TestRealEngineApproval(t *testing.T) {
	w := newRealWorld(t)
	c := w.client()
	url, id := c.pend()
	if a := w.ok("poll", c.read(url), 200); a.Status != "processing" || a.header.Get("Retry-After") != "5" {
		t.Errorf("%s", a.body)
	}
	if _, err := w.Approve(t.Context(), officer, id, "", ""); err != nil {
		t.Fatal(err)
	}
	a := w.ok("poll", c.read(url), 200)
	if a.Status != "valid" {
		t.Fatalf("%s", a.body)
	}
	w.ok("certificate", c.read(a.Certificate), 200)

	// A client that stopped waiting: its next run has another order and key, and
	// gets what was approved.
	_, id = c.pend()
	if _, err := w.Approve(t.Context(), officer, id, "", ""); err != nil {
		t.Fatal(err)
	}
	w.advance(time.Second)
	o := w.ok("newOrder", c.post(w.url("new-order"), manualOrder), 201)
	c.prove(o.Authorizations[0])
	if a := w.ok("finalize", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))), 200); a.Status != "valid" {
		t.Errorf("%s", a.body)
	}
	if n := w.issued(); n != 2 {
		t.Errorf("%d certificates", n)
	}
}

func TestRealEngineDenial(t *testing.T) {
	w := newRealWorld(t)
	c := w.client()
	url, id := c.pend()
	if _, err := w.Deny(t.Context(), officer, id, "ask the help desk for a name of your own"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		a := w.ok("poll", c.read(url), 200)
		if a.Status != "invalid" || a.Error.kind() != unauthorized || a.Error.Detail != "ask the help desk for a name of your own" {
			t.Errorf("%s", a.body)
		}
		w.advance(24 * time.Hour) // long after it stopped answering for its key
	}
	// A newer one takes the place of an older one that waits.
	older, _ := c.pend()
	newer, _ := c.pend()
	if a := c.read(older); a.Status != "invalid" || a.Error.kind() != orderNotReady {
		t.Errorf("%s", a.body)
	}
	if a := c.read(newer); a.Status != "processing" {
		t.Errorf("%s", a.body)
	}
	if n := w.issued(); n != 0 {
		t.Errorf("%d certificates", n)
	}
}

// One account, 64 orders at the same time, and no error.
func TestRealEngineParallel(t *testing.T) {
	w := newRealWorld(t)
	c := w.client()
	var wait sync.WaitGroup
	for i := range 64 {
		name := fmt.Sprintf("h%d.example.org", i)
		key := leafKey(t)
		wait.Go(func() {
			o := c.post(w.url("new-order"), orderOf(name))
			if o.status != 201 {
				t.Errorf("newOrder: %d %s", o.status, o.body)
				return
			}
			ch := c.prepare(c.read(o.Authorizations[0]), "http-01")
			if a := c.post(ch.URL, "{}"); a.Status != "valid" {
				t.Errorf("challenge: %d %s", a.status, a.body)
				return
			}
			a := c.post(o.Finalize, csrPayload(csrOf(t, key, name)))
			if a.Status != "valid" {
				t.Errorf("finalize: %d %s", a.status, a.body)
			}
		})
	}
	wait.Wait()
	if n := w.issued(); n != 64 {
		t.Errorf("%d certificates", n)
	}
}

// TestRestartKeepsPending: an order that waits goes on waiting after a restart.
func TestRealEngineRestart(t *testing.T) {
	w := newRealWorld(t)
	c := w.client()
	url, id := c.pend()
	ready, _ := c.ready("two.example.org")
	w.open()
	if a := c.read(url); a.Status != "processing" {
		t.Errorf("%s", a.body)
	}
	if _, err := w.Approve(t.Context(), officer, id, "", ""); err != nil {
		t.Fatal(err)
	}
	if a := c.read(url); a.Status != "valid" {
		t.Errorf("%s", a.body)
	}
	w.ok("finalize", c.post(ready.Finalize, csrPayload(csrOf(t, leafKey(t), "two.example.org"))), 200)
}
