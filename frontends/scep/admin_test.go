package scep

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"chancery/engine"
	"chancery/frontends/internal/cms"
)

// person makes a management certificate, as first start does.
func (w *world) person(name string, key int) *x509.Certificate {
	w.t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, rsaKey(w.t, key))
	if err != nil {
		w.t.Fatal(err)
	}
	d, err := w.engine.Submit(context.Background(), engine.Submission{
		Source: engine.Self, Endpoint: "person", Requester: "self:n1", Body: der, Profile: engine.ProfilePerson,
		Key:    engine.NewKey(engine.Self, "person", "", "self:n1", name),
		Proofs: []engine.Proof{{Method: engine.BySelf, Principal: "self:n1", By: "n1", At: w.now()}},
	})
	issued, ok := d.(engine.Issued)
	if err != nil || !ok {
		w.t.Fatalf("%#v %v", d, err)
	}
	c, err := x509.ParseCertificate(issued.Cert)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// mscep_admin: a page for administrators, by https, that makes a challenge for
// one device.
func TestAdminPage(t *testing.T) {
	w := newWorld(t)
	alice, mallory := w.person("alice", 0), w.person("mallory", 1)
	if err := w.engine.MakeFounder(context.Background(), sha256.Sum256(alice.RawSubjectPublicKeyInfo), w.now().Add(24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	ask := func(method, name, site string, certs ...*x509.Certificate) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/certsrv/mscep_admin/", strings.NewReader(url.Values{"name": {name}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if site != "" {
			r.Header.Set("Sec-Fetch-Site", site)
		}
		if certs != nil {
			r.TLS = &tls.ConnectionState{PeerCertificates: certs}
		}
		rec := httptest.NewRecorder()
		w.front.ServeHTTP(rec, r)
		return rec
	}
	self := w.device(rsaKey(t, 0)).cert // her key, and a certificate of nobody
	for what, rec := range map[string]*httptest.ResponseRecorder{
		"plain http": ask("POST", "a.test", ""), "no role": ask("POST", "a.test", "", mallory), "self-signed": ask("POST", "a.test", "", self),
		"another site": ask("POST", "a.test", "cross-site", alice),
	} {
		if rec.Code != http.StatusForbidden {
			t.Errorf("%s: HTTP %d", what, rec.Code)
		}
	}
	if rec := ask("POST", "*.test", "", alice); rec.Code != http.StatusBadRequest {
		t.Errorf("a wildcard: HTTP %d", rec.Code)
	}
	if rec := ask("GET", "", "", alice); rec.Code != http.StatusOK || strings.Contains(rec.Body.String(), "<b>") {
		t.Errorf("the form: HTTP %d", rec.Code)
	}
	rec := ask("POST", "a.test", "same-origin", alice)
	m := regexp.MustCompile(`is: <b>([0-9a-f]{64})</b>`).FindStringSubmatch(rec.Body.String())
	if rec.Code != http.StatusOK || m == nil {
		t.Fatalf("HTTP %d %s", rec.Code, rec.Body)
	}
	d := w.device(rsaKey(t, 2))
	d.send(sent{kind: "19", tx: "1", content: csr(t, d.key, m[1], "b.test")}).expect(t, "another name", failed, badRequest)
	d.send(sent{kind: "19", tx: "2", content: csr(t, d.key, m[1], "a.test")}).expect(t, "the challenge", success, "")

	id := engine.NewCertID(alice.AuthorityKeyId, alice.SerialNumber.Bytes())
	if err := w.engine.Revoke(context.Background(), engine.Revocation{ID: id, Reason: 4, By: "test"}); err != nil {
		t.Fatal(err)
	}
	if rec := ask("POST", "a.test", "", alice); rec.Code != http.StatusForbidden {
		t.Errorf("a revoked certificate: HTTP %d", rec.Code)
	}
}

// renew_after_expiry: for a time, for the same key, while it is not revoked.
func TestRenewAfterExpiry(t *testing.T) {
	w := newWorld(t, func(e *Endpoint) { e.RenewAfterExpiry = engine.Duration(30 * 24 * time.Hour) })
	d := w.device(rsaKey(t, 0))
	r := w.renewing(0, &x509Pair{d.enroll("a.test"), d.key})
	e := w.device(rsaKey(t, 1))
	revoked := w.renewing(1, &x509Pair{e.enroll("b.test"), e.key})
	id := engine.NewCertID(revoked.cert.AuthorityKeyId, revoked.cert.SerialNumber.Bytes())
	if err := w.engine.Revoke(context.Background(), engine.Revocation{ID: id, Reason: 4, By: "test"}); err != nil {
		t.Fatal(err)
	}
	w.pass(110 * 24 * time.Hour)
	r.send(sent{kind: "17", tx: "1", content: csr(t, rsaKey(t, 2), "", "a.test")}).expect(t, "another key", failed, badCertID)
	revoked.send(sent{kind: "17", tx: "2", content: csr(t, e.key, "", "b.test")}).expect(t, "revoked", failed, badCertID)
	r.send(sent{kind: "17", tx: "3", content: csr(t, d.key, "", "a.test")}).expect(t, "the same key", success, "")
	w.pass(30 * 24 * time.Hour)
	r.send(sent{kind: "17", tx: "4", content: csr(t, d.key, "", "a.test")}).expect(t, "too late", failed, badCertID)
}

// What a client of Debian's scepclient cannot read is left out for it, at
// endpoints that admit its cipher.
func TestQuirks(t *testing.T) {
	w := newWorld(t, func(e *Endpoint) { e.Legacy = []string{legacyDES, legacySHA1} })
	for agent, want := range map[string]int{"Go-http-client/1.1": 1, "curl/8": 2, "": 2} {
		r := httptest.NewRequest("GET", "/scep?operation=GetCACert", nil)
		r.Header.Set("User-Agent", agent)
		rec := httptest.NewRecorder()
		w.front.ServeHTTP(rec, r)
		m, err := cms.ParseSigned(rec.Body.Bytes())
		if err != nil || len(m.Certificates) != want {
			t.Errorf("%q: %v, want %d certificates", agent, err, want)
		}
	}
}
