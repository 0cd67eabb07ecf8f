package est_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/base64"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/engine"
	"chancery/frontends/est"
)

func newRecorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }

func TestEST_E010_TheCertificateAlone(t *testing.T) {
	w := newWorld(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		key := newKey(t)
		c := w.client(w.grant(engine.Grant{}, "dev.example.org"), func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version })
		certs := c.post("simpleenroll", w.csr(key, want{subject: &pkix.Name{CommonName: "dev.example.org", Organization: []string{"Evil"}}})).certs(t)
		if len(certs) != 1 {
			t.Fatalf("%d certificates", len(certs))
		}
		x := certs[0]
		if !key.PublicKey.Equal(x.PublicKey) || x.Subject.String() != "CN=dev.example.org,O=Example" || len(x.DNSNames) != 1 {
			t.Errorf("%s %v", x.Subject, x.DNSNames)
		}
		if err := x.CheckSignatureFrom(w.issuers["main"].Chain[0]); err != nil {
			t.Error(err)
		}
	}
}

// approve votes as an officer for the only request that waits.
func (w *world) pending() *engine.Request {
	w.t.Helper()
	all, _, err := w.engine.Requests(context.Background(), engine.RequestFilter{State: engine.Pending})
	if err != nil || len(all) != 1 {
		w.t.Fatalf("%d requests wait: %v", len(all), err)
	}
	return all[0]
}

func TestEST_E011_XD017_Pending(t *testing.T) {
	w := newWorld(t)
	l := w.grant(engine.Grant{}, "dev.example.org")
	key := newKey(t)
	csr := w.csr(key, want{cn: "dev.example.org"})
	a := w.client(l).post("manual/simpleenroll", csr).want(t, 202)
	if n, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || n < 1 || n > 3600 {
		t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
	}
	w.client(l).post("manual/simpleenroll", csr).want(t, 202)
	w.client(l).post("manual/simpleenroll", w.csr(key, want{cn: "dev.example.org"})).want(t, 202) // signed anew
	forged := w.csr(key, want{cn: "dev.example.org"})
	forged[len(forged)-1] ^= 1
	w.client(l).post("manual/simpleenroll", forged).want(t, 400) // without the key
	r := w.pending()
	// Another client that sends the same finds another request, not this one.
	other := w.grant(engine.Grant{}, "other.example.org")
	if a := w.client(other).post("manual/simpleenroll", csr); a.StatusCode == 200 || strings.Contains(a.body, r.ID) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if _, err := w.engine.Approve(context.Background(), person, r.ID, r.Digest, ""); err != nil {
		t.Fatal(err)
	}
	first := w.client(l).post("manual/simpleenroll", csr).certs(t)[0]
	again := w.client(l).post("manual/simpleenroll", csr).certs(t)[0]
	if !first.Equal(again) || w.issued() != 1 {
		t.Error("the same request made two certificates")
	}
	w.client(l).post("manual/simpleenroll", w.csr(newKey(t), want{cn: "dev.example.org"})).want(t, 202) // another key is another request
}

func TestEST_E012_Denied(t *testing.T) {
	w := newWorld(t)
	l := w.grant(engine.Grant{}, "dev.example.org")
	csr := w.csr(newKey(t), want{cn: "dev.example.org"})
	w.client(l).post("manual/simpleenroll", csr).want(t, 202)
	if _, err := w.engine.Deny(context.Background(), person, w.pending().ID, "nobody knows this device"); err != nil {
		t.Fatal(err)
	}
	a := w.client(l).post("manual/simpleenroll", csr).want(t, 403)
	if !strings.Contains(a.body, "nobody knows this device") {
		t.Error(a.body)
	}
	a = w.client(l).post("simpleenroll", w.csr(newKey(t), want{cn: "evil.example.org"})).want(t, 403)
	if !strings.Contains(a.body, "evil.example.org") {
		t.Error(a.body)
	}
}

func TestEveryReasonIsMapped(t *testing.T) {
	for _, reason := range engine.Reasons {
		if status := est.StatusOf(reason); status < 400 || status > 599 {
			t.Errorf("%s: %d", reason, status)
		}
	}
}

func TestFrozen(t *testing.T) {
	w := newWorld(t)
	l := w.grant(engine.Grant{}, "dev.example.org")
	if err := w.engine.Freeze(context.Background(), person, "all", "we look into something"); err != nil {
		t.Fatal(err)
	}
	a := w.client(l).post("simpleenroll", w.csr(newKey(t), want{cn: "dev.example.org"})).want(t, 503)
	if a.Header.Get("Retry-After") == "" || !strings.Contains(a.body, "we look into something") {
		t.Errorf("%v %s", a.Header, a.body)
	}
}

func TestOneTimeGrant(t *testing.T) {
	w := newWorld(t)
	l := w.grant(engine.Grant{Uses: 1}, "dev.example.org")
	csr := w.csr(newKey(t), want{cn: "dev.example.org"})
	var group sync.WaitGroup
	for range 4 {
		c := w.client(l)
		group.Go(func() { c.post("simpleenroll", csr) })
	}
	group.Wait()
	w.client(l).post("simpleenroll", csr).certs(t)
	w.client(l).post("simpleenroll", w.csr(newKey(t), want{cn: "dev.example.org"})).want(t, 403)
	if n := w.issued(); n != 1 {
		t.Errorf("%d certificates", n)
	}
}

func TestEST_E027_XK005_XK008_BadRequests(t *testing.T) {
	w := newWorld(t)
	c := w.client(w.grant(engine.Grant{}, "dev.example.org"))
	key := newKey(t)
	good := w.csr(key, want{cn: "dev.example.org"})
	forged := append([]byte{}, good...)
	forged[len(forged)-1] ^= 1
	ext := func(oid []int, critical bool, value ...byte) []byte {
		return w.csr(key, want{cn: "dev.example.org", extra: []pkix.Extension{{Id: oid, Critical: critical, Value: value}}})
	}
	for name, csr := range map[string][]byte{
		"signature": forged, "extra bytes": append(append([]byte{}, good...), 0), "two": append(append([]byte{}, good...), good...),
		"CA":               ext([]int{2, 5, 29, 19}, true, 0x30, 3, 1, 1, 0xff),
		"keyCertSign":      ext([]int{2, 5, 29, 15}, true, 3, 2, 2, 4),
		"unknown critical": ext([]int{1, 2, 3, 4}, true, 5, 0),
		"name constraints": ext([]int{2, 5, 29, 30}, true, 0x30, 0),
	} {
		if a := c.post("simpleenroll", csr).want(t, 400); len(a.body) < 20 {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	if w.issued() != 0 {
		t.Error("a certificate came of it")
	}
}

func TestEST_XK001_XL006_Names(t *testing.T) {
	w := newWorld(t)
	c := w.client(w.grant(engine.Grant{}, "*.example.org"))
	for _, cn := range []string{"a\x00.example.org", "a..example.org", "-a.example.org", " a.example.org", "evil.example.net", strings.Repeat("a", 64) + ".example.org"} {
		if a := c.post("simpleenroll", w.csr(newKey(t), want{cn: cn})); a.StatusCode != 400 && a.StatusCode != 403 {
			t.Errorf("%q: %d", cn, a.StatusCode)
		}
	}
	text := base64.StdEncoding.EncodeToString(w.csr(newKey(t), want{cn: "a.example.org"}))
	a := c.do("POST", "/.well-known/est/simpleenroll?san=dns:evil.example.net&profile=other", text, "Content-Type", "application/pkcs10", "X-San", "evil.example.net")
	if x := a.certs(t)[0]; len(x.DNSNames) != 1 || x.DNSNames[0] != "a.example.org" {
		t.Error(x.DNSNames)
	}
}

func TestEST_E023_E025_XE005_XK003_Reenroll(t *testing.T) {
	w := newWorld(t)
	device := w.enrolled("", "a.example.org", "b.example.org")
	org := func(cn string, o ...string) *pkix.Name { return &pkix.Name{CommonName: cn, Organization: o} }
	both := []string{"a.example.org", "b.example.org"}
	for name, tt := range map[string]struct {
		want
		status int
	}{
		"identical":              {want{subject: org("a.example.org", "Example"), dns: both}, 200},
		"as at first":            {want{cn: "a.example.org", dns: both}, 200},
		"other order":            {want{cn: "a.example.org", dns: []string{"b.example.org", "a.example.org"}}, 200},
		"upper case":             {want{cn: "A.example.org", dns: both}, 200},
		"what the profile drops": {want{subject: org("a.example.org", "Other"), dns: both}, 200},
		"other subject":          {want{cn: "b.example.org", dns: both}, 403},
		"no subject":             {want{dns: both}, 403},
		"foreign subject":        {want{cn: "evil.example.org", dns: both}, 403},
		"name added":             {want{cn: "a.example.org", dns: append([]string{"c.example.org"}, both...)}, 403},
		"name removed":           {want{cn: "a.example.org", dns: both[:1]}, 403},
		"escaped":                {want{cn: "a.example.org,O=Example", dns: both}, 403},
	} {
		a := w.client(device).post("simplereenroll", w.csr(newKey(t), tt.want))
		if a.StatusCode != tt.status {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
		if tt.status == 200 {
			if x := a.certs(t)[0]; x.Subject.String() != "CN=a.example.org,O=Example" || len(x.DNSNames) != 2 {
				t.Errorf("%s: %s %v", name, x.Subject, x.DNSNames)
			}
		}
	}
	// With the same key: a renewal. The link to the old one is on the row.
	x := w.client(device).post("simplereenroll", w.csr(device.PrivateKey.(*ecdsa.PrivateKey), want{cn: "a.example.org", dns: both})).certs(t)[0]
	row, err := w.engine.Identify(context.Background(), x.Raw)
	if err != nil {
		t.Fatal(err)
	}
	old, err := w.engine.Identify(context.Background(), device.Certificate[0])
	if err != nil || row.Replaces != old.CertID {
		t.Errorf("replaces %v, not %v (%v)", row.Replaces, old.CertID, err)
	}
	// The certificate that came of it renews itself, with nothing but itself.
	next := &tls.Certificate{Certificate: [][]byte{x.Raw}, PrivateKey: device.PrivateKey}
	w.client(next).post("simplereenroll", w.csr(newKey(t), want{cn: "a.example.org", dns: both})).certs(t)
}

func TestEST_XE005_XK014_OtherProfileAndOthersKey(t *testing.T) {
	w := newWorld(t)
	device := w.enrolled("", "dev.example.org")
	csr := w.csr(newKey(t), want{cn: "dev.example.org"})
	w.client(device).post("other/simplereenroll", csr).want(t, 403)
	w.client(device).post("second/simplereenroll", csr).want(t, 403)
	lost := w.enrolled("", "dev.example.org")
	w.revoke(lost, 1) // compromised: never again, also by others
	w.client(device).post("simplereenroll", w.csr(lost.PrivateKey.(*ecdsa.PrivateKey), want{cn: "dev.example.org"})).want(t, 400)
	w.client(w.grant(engine.Grant{}, "dev.example.org")).post("simpleenroll", w.csr(lost.PrivateKey.(*ecdsa.PrivateKey), want{cn: "dev.example.org"})).want(t, 400)
}

func TestEST_E024_ChangeSubjectName(t *testing.T) {
	w := newWorld(t)
	device := w.enrolled("", "dev.example.org")
	key := newKey(t)
	csr := withAttribute(t, w.csr(key, want{cn: "dev.example.org"}), key, oidChangeSubjectName, "new")
	w.client(device).post("simplereenroll", csr).want(t, 403)
}

func TestEST_E026_ReenrollNeedsTheCertificate(t *testing.T) {
	w := newWorld(t)
	csr := w.csr(newKey(t), want{cn: "dev.example.org"})
	w.client(w.grant(engine.Grant{}, "dev.example.org")).post("simplereenroll", csr).want(t, 403)
	w.client().post("simplereenroll", csr).want(t, 403)
}

func TestReenrollSAN(t *testing.T) {
	w := newWorld(t)
	device := w.enrolled("san/", "a.example.org", "b.example.org")
	for name, tt := range map[string]struct {
		want
		status int
	}{
		"names alone": {want{dns: []string{"a.example.org", "b.example.org"}}, 200},
		"other order": {want{dns: []string{"b.example.org", "a.example.org"}}, 403}, // would be another subject
		"other CN":    {want{cn: "x", dns: []string{"a.example.org", "b.example.org"}}, 403},
	} {
		if a := w.client(device).post("san/simplereenroll", w.csr(newKey(t), tt.want)); a.StatusCode != tt.status {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
	}
}

func TestReenrollPends(t *testing.T) {
	w := newWorld(t)
	l, key := w.grant(engine.Grant{}, "dev.example.org"), newKey(t)
	csr := w.csr(key, want{cn: "dev.example.org"})
	w.client(l).post("manual/simpleenroll", csr).want(t, 202)
	r := w.pending()
	if _, err := w.engine.Approve(context.Background(), person, r.ID, r.Digest, ""); err != nil {
		t.Fatal(err)
	}
	x := w.client(l).post("manual/simpleenroll", csr).certs(t)[0]
	device := &tls.Certificate{Certificate: [][]byte{x.Raw}, PrivateKey: key}
	next := w.csr(newKey(t), want{cn: "dev.example.org"})
	w.client(device).post("manual/simplereenroll", next).want(t, 202)
	w.now = w.now.Add(3 * 24 * time.Hour) // people take their time
	r = w.pending()
	if _, err := w.engine.Approve(context.Background(), person, r.ID, r.Digest, ""); err != nil {
		t.Fatal(err)
	}
	w.client(device).post("manual/simplereenroll", next).certs(t)
}
