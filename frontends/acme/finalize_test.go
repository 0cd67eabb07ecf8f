package acme

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/engine"
	"chancery/engine/names"
	"chancery/store"
)

const host = "www.example.org"

func TestACME_A089_XJ027_FinalizeOnce(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	o := c.order(host)
	der := csrPayload(csrOf(t, leafKey(t), host))
	w.want("before ready", c.post(o.Finalize, der), 403, orderNotReady)
	c.prove(o.Authorizations[0])
	var wait sync.WaitGroup
	answers := make([]*answer, 50)
	for i := range answers {
		payload := der
		if i%2 == 1 {
			payload = csrPayload(csrOf(t, leafKey(t), host)) // XJ-027: and with other keys
		}
		wait.Go(func() { answers[i] = c.post(o.Finalize, payload) })
	}
	wait.Wait()
	made := 0
	for _, a := range answers {
		if a.status == 200 {
			made++
			if a.Status != "valid" || a.location() != o.location() {
				t.Errorf("%s %s", a.location(), a.body)
			}
		} else {
			w.want("the others", a, 403, orderNotReady)
		}
	}
	if made == 0 || w.engine.issued() != 1 {
		t.Errorf("%d successes, %d certificates", made, w.engine.issued())
	}
	w.want("later", c.post(o.Finalize, der), 403, orderNotReady)
}

func TestACME_A090_XJ028_CSRNames(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	o, orderURL := c.ready(host, "two.example.org")
	both := []string{host, "two.example.org"}
	other, err := url.Parse("spiffe://example.org/x")
	if err != nil {
		t.Fatal(err)
	}
	rdn := func(oid ...int) pkix.Name {
		return pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: oid, Value: "a@example.org"}}}
	}
	key := leafKey(t)
	for name, template := range map[string]*x509.CertificateRequest{
		"one more":             {DNSNames: append(both, "three.example.org")},
		"one less":             {DNSNames: both[:1]},
		"none":                 {},
		"other":                {DNSNames: []string{"three.example.org", "two.example.org"}},
		"wildcard":             {DNSNames: []string{"*.example.org", "two.example.org"}},
		"CN extra":             {DNSNames: both, Subject: pkix.Name{CommonName: "three.example.org"}},
		"CN no name":           {DNSNames: both, Subject: pkix.Name{CommonName: "Some Body"}},
		"SAN subset, CN extra": {DNSNames: both[:1], Subject: pkix.Name{CommonName: "three.example.org"}},
		"two CN":               {DNSNames: both, Subject: pkix.Name{CommonName: host, ExtraNames: []pkix.AttributeTypeAndValue{{Type: []int{2, 5, 4, 3}, Value: "three.example.org"}}}},
		"IP SAN":               {DNSNames: both, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}},
		"email SAN":            {DNSNames: both, EmailAddresses: []string{"a@example.org"}},
		"URI SAN":              {DNSNames: both, URIs: []*url.URL{other}},
		"emailAddress RDN":     {DNSNames: both, Subject: rdn(1, 2, 840, 113549, 1, 9, 1)},
		"serialNumber RDN":     {DNSNames: both, Subject: rdn(2, 5, 4, 5)},
		"otherName SAN":        withSAN(t, both, asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: []byte{0x06, 0x03, 0x2a, 0x03, 0x04, 0xa0, 0x03, 0x0c, 0x01, 'a'}}),
		"directoryName SAN":    withSAN(t, both, asn1.RawValue{Class: 2, Tag: 4, IsCompound: true, Bytes: []byte{0x30, 0x00}}),
		"registeredID SAN":     withSAN(t, both, asn1.RawValue{Class: 2, Tag: 8, Bytes: []byte{0x2a, 0x03}}),
		"NUL in SAN":           withSAN(t, both, asn1.RawValue{Class: 2, Tag: 2, Bytes: []byte("a.example\x00.org")}),
	} {
		w.want(name, c.post(o.Finalize, csrPayload(csrFrom(t, key, template))), 400, badCSR)
		if a := c.read(orderURL); a.Status != "ready" {
			t.Fatalf("%s: %s", name, a.body)
		}
	}
	if n := len(w.engine.submissions()); n != 0 {
		t.Errorf("%d submissions", n)
	}
	// Names only in CN and SAN together, in another order, in other case.
	good := &x509.CertificateRequest{DNSNames: []string{"TWO.example.org"}, Subject: pkix.Name{CommonName: "WWW.example.org", Organization: []string{"x"}}}
	w.ok("CN and SAN", c.post(o.Finalize, csrPayload(csrFrom(t, key, good))), 200)
	o, _ = c.ready(host)
	w.ok("only in CN", c.post(o.Finalize, csrPayload(csrFrom(t, key, &x509.CertificateRequest{Subject: pkix.Name{CommonName: host}}))), 200)
}

// withSAN adds a raw GeneralName to a request.
func withSAN(t testing.TB, hosts []string, extra asn1.RawValue) *x509.CertificateRequest {
	t.Helper()
	var all []asn1.RawValue
	for _, h := range hosts {
		all = append(all, asn1.RawValue{Class: 2, Tag: 2, Bytes: []byte(h)})
	}
	der, err := asn1.Marshal(append(all, extra))
	if err != nil {
		t.Fatal(err)
	}
	return &x509.CertificateRequest{ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}}}
}

func TestACME_A092_CSRForms(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	o, _ := c.ready(host)
	der := csrOf(t, leafKey(t), host)
	version := bytes.Replace(der, []byte{2, 1, 0}, []byte{2, 1, 1}, 1)
	indefinite := append(append([]byte{0x30, 0x80}, der[4:]...), 0, 0)
	for name, csr := range map[string]string{
		"PEM":          string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})),
		"PEM encoded":  b64.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})),
		"std alphabet": base64.RawStdEncoding.EncodeToString(append(der, 0xff, 0xff, 0xff, 0xfe)),
		"padding":      b64.EncodeToString(der) + "=",
		"trailing":     b64.EncodeToString(append(bytes.Clone(der), 0)),
		"BER":          b64.EncodeToString(indefinite),
		"version 1":    b64.EncodeToString(version),
		"20 kB":        b64.EncodeToString(make([]byte, 20<<10)),
		"empty":        "", "line break": b64.EncodeToString(der) + "\n",
	} {
		w.want(name, c.post(o.Finalize, `{"csr":`+quote(csr)+`}`), 400, badCSR)
	}
	for _, payload := range []string{"", "{}", `{"csr":1}`, `{"csr":null}`, `{"CSR":"x"}`, `[]`} {
		w.want(payload, c.post(o.Finalize, payload), 400, malformed)
	}
	w.want("1 MB", c.post(o.Finalize, csrPayload(make([]byte, 1<<20))), 413, malformed)
	if w.engine.issued() != 0 {
		t.Error("issued")
	}
	w.ok("good", c.post(o.Finalize, csrPayload(der)), 200)
}

func TestACME_A093_AccountKey(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config["inner"] = Endpoint{Profiles: []string{"web"}} })
	c, other, gone, elsewhere := w.client(), w.client(), w.client(), newClient(w)
	w.ok("deactivate", gone.post(gone.kid, `{"status":"deactivated"}`), 200)
	u := w.base + "/acme/inner/new-account"
	w.ok("elsewhere", w.send("POST", u, joseType, elsewhere.jws(elsewhere.header(elsewhere.byJWK(), w.nonce(), u), `{}`)), 201)
	o, _ := c.ready(host)
	for _, k := range []*client{c, other, gone, elsewhere} { // XJ-019
		w.want("account key", c.post(o.Finalize, csrPayload(csrOf(t, k.key, host))), 400, badCSR)
	}
	w.ok("good", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))), 200)
}

// A bad CSR, by the engine's word, leaves the order ready; any other denial ends it.
func TestACME_A091_DeniedByTheEngine(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	for _, reason := range engine.Reasons {
		o, url := c.ready(host)
		w.engine.decide = func(engine.Submission) (engine.Disposition, error) {
			return engine.Denied{Reason: reason, Detail: "because of " + string(reason)}, nil
		}
		a := c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host)))
		want := reasons[reason]
		w.want(string(reason), a, want.Status, want.Type)
		if a.Detail != "because of "+string(reason) {
			t.Errorf("detail %q", a.Detail)
		}
		w.engine.decide = nil
		order := c.read(url)
		if reason == engine.BadCSR || reason == engine.BadKey {
			if order.Status != "ready" {
				t.Errorf("%s: %s", reason, order.body)
			}
			w.ok("a better one", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))), 200)
			continue
		}
		if order.Status != "invalid" || order.Error.kind() != want.Type || order.Error.Detail != "because of "+string(reason) {
			t.Errorf("%s: %s", reason, order.body)
		}
		w.want("again", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))), 403, orderNotReady)
	}
}

// Every reason that the engine has is a problem here, of a registered type.
func TestReasonsAreMapped(t *testing.T) {
	for _, r := range engine.Reasons {
		p, ok := reasons[r]
		if !ok || !strings.Contains(registered, " "+p.Type+" ") || p.Status < 400 {
			t.Errorf("%s: %+v", r, p)
		}
	}
	if p := problemOf(engine.Denied{Reason: "new", Detail: "d"}); p.Type != unauthorized || p.Detail != "d" {
		t.Errorf("unknown reason: %+v", p)
	}
}

// An officer looks: the order is processing, then what the officer decides.
func TestPending(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	w.engine.decide = func(engine.Submission) (engine.Disposition, error) {
		return engine.Pended{RetryAfter: 5 * time.Second}, nil
	}
	o, url := c.ready(host)
	for _, a := range []*answer{c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))), c.read(url)} {
		if a.status != 200 || a.Status != "processing" || a.header.Get("Retry-After") != "5" || a.location() != url || a.Certificate != "" {
			t.Errorf("%v %s", a.header, a.body)
		}
	}
	w.want("again", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))), 403, orderNotReady)
	w.engine.become(engine.Denied{Reason: engine.Rejected, Detail: "call the help desk first"})
	if a := c.read(url); a.Status != "invalid" || a.Error.kind() != unauthorized || a.Error.Detail != "call the help desk first" {
		t.Errorf("%s", a.body)
	}
	w.engine.become(engine.Issued{})
	a := c.read(url)
	if a.Status != "valid" {
		t.Errorf("%s", a.body)
	}
	w.ok("certificate", c.read(a.Certificate), 200)
}

func TestFrozenAndUndecided(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	o, url := c.ready(host)
	for name, err := range map[string]error{
		"frozen":    fmt.Errorf("x: %w", &engine.FrozenError{Scope: "all", Reason: "an incident is looked into"}),
		"undecided": fmt.Errorf("%w: secret inner text", engine.ErrUndecided),
		"broken":    errors.New("secret inner text"),
	} {
		w.engine.decide = func(engine.Submission) (engine.Disposition, error) { return nil, err }
		a := c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host)))
		w.want(name, a, 503, serverInternal)
		if a.header.Get("Retry-After") == "" || strings.Contains(string(a.body), "secret") || name == "frozen" && !strings.Contains(a.Detail, "an incident is looked into") {
			t.Errorf("%s: %v %s", name, a.header, a.body)
		}
		if a := c.read(url); a.Status != "ready" {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	// Recorded, but not decided: the engine goes on with it.
	w.engine.decide = func(s engine.Submission) (engine.Disposition, error) {
		if err := w.db.Update(t.Context(), func(tx store.Tx) error { return s.Also(tx, store.NewID(w.now(), rand.Reader)) }); err != nil {
			return nil, err
		}
		return nil, engine.ErrUndecided
	}
	if a := w.ok("recorded", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))), 200); a.Status != "processing" {
		t.Errorf("%s", a.body)
	}
}

// XJ-026, XJ-027: what changes while the engine decides counts.
func TestACME_XJ026_ChangeWhileDeciding(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(c *client, o *answer){
		"authorization deactivated": func(c *client, o *answer) {
			w.ok("deactivate", c.post(o.Authorizations[0], `{"status":"deactivated"}`), 200)
		},
		"account deactivated": func(c *client, _ *answer) { w.ok("deactivate", c.post(c.kid, `{"status":"deactivated"}`), 200) },
		"expired":             func(*client, *answer) { w.advance(authzLife) },
	} {
		c := w.client()
		o, _ := c.ready(host)
		w.engine.decide = func(engine.Submission) (engine.Disposition, error) {
			change(c, o)
			return engine.Issued{}, nil
		}
		a := c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host)))
		if a.kind() != orderNotReady && a.kind() != unauthorized {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		w.engine.decide = nil
	}
	if n := w.engine.issued(); n != 0 {
		t.Errorf("%d certificates", n)
	}
}

func TestACME_A095_A097_A098_Certificate(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	o, url := c.ready(host)
	o = w.ok("finalize", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))), 200)
	a := w.ok("download", c.read(o.Certificate), 200)
	if a.header.Get("Content-Type") != "application/pem-certificate-chain" {
		t.Errorf("%v", a.header)
	}
	chain := pemChain(t, a.body)
	for i := range len(chain) - 1 {
		one, err1 := x509.ParseCertificate(chain[i])
		two, err2 := x509.ParseCertificate(chain[i+1])
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if err := one.CheckSignatureFrom(two); err != nil {
			t.Error(err)
		}
	}
	for _, accept := range []string{"", "*/*", "application/*", "text/html, application/pem-certificate-chain;q=0.5", "application/pem-certificate-chain", ";;"} {
		r := newRequest(t, "POST", o.Certificate, c.jws(c.header(c.byKid(), w.nonce(), o.Certificate), ""))
		r.Header.Set("Content-Type", joseType)
		r.Header.Set("Accept", accept)
		if b := w.ok(accept, w.do(r), 200); !bytes.Equal(b.body, a.body) {
			t.Errorf("%s: other octets", accept)
		}
	}
	for _, accept := range []string{"application/pkix-cert", "application/pkcs7-mime", "x/y", "text/*", "application/pem-certificate-chain;q=0", "*/*;q=0.0"} {
		r := newRequest(t, "POST", o.Certificate, c.jws(c.header(c.byKid(), w.nonce(), o.Certificate), ""))
		r.Header.Set("Content-Type", joseType)
		r.Header.Set("Accept", accept)
		w.want(accept, w.do(r), 406, malformed)
	}
	w.want("payload", c.post(o.Certificate, "{}"), 400, malformed)
	w.want("unknown", c.read(w.url("certificate/")+strings.Repeat("0", 26)), 404, malformed)
	// after revocation, and after the order is gone.
	w.ok("revoke", c.post(w.url("revoke-cert"), revocation(chain[0], "")), 200)
	w.advance(orderLife + authzLife + 2*defaultRetention)
	if err := w.f.purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.want("order", c.read(url), 404, malformed)
	if b := w.ok("later", c.read(o.Certificate), 200); !bytes.Equal(b.body, a.body) {
		t.Error("other octets")
	}
}

// XD-010: an order that was made under other rules of its endpoint is looked at
// by those of today.
func TestFinalizeUnderNewRules(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	o, url := c.ready(host)
	csr := csrPayload(csrOf(t, leafKey(t), host))
	other, err := names.ParsePattern("*.example.net")
	if err != nil {
		t.Fatal(err)
	}
	rules := func(e Endpoint) {
		w.deps.Nonces, w.config["default"] = w.f.nonces, e
		w.open()
	}
	rules(Endpoint{Profiles: []string{"other"}})
	w.want("profile", c.post(o.Finalize, csr), 400, invalidProfile)
	rules(Endpoint{Profiles: []string{"web"}, Names: []names.Pattern{other}})
	w.want("name", c.post(o.Finalize, csr), 403, rejectedIdentifier)
	if n := w.engine.issued(); n != 0 {
		t.Errorf("%d certificates", n)
	}
	rules(Endpoint{Profiles: []string{"web", "other"}})
	if a := w.ok("finalize", c.post(o.Finalize, csr), 200); a.Status != "valid" {
		t.Errorf("%s: %s", url, a.body)
	}
}
