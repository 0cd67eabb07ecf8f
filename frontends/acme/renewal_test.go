package acme

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/engine"
)

// The fake engine knows nothing of renewal.
func (e *fakeEngine) Certificate(context.Context, engine.CertID) (*engine.Certificate, []byte, error) {
	return nil, nil, engine.ErrNoCertificate
}

func (e *fakeEngine) Renewal(context.Context, engine.CertID) (*engine.Renewal, error) {
	return nil, engine.ErrNoCertificate
}

func (e *fakeEngine) Replaced(context.Context, engine.CertID) (bool, error) { return false, nil }

// certID is the identifier of a certificate, made as RFC 9773, Section 4.1 says
// from its bytes.
func certID(t testing.TB, der []byte) string {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := asn1.Marshal(c.SerialNumber)
	if err != nil {
		t.Fatal(err)
	}
	return b64.EncodeToString(c.AuthorityKeyId) + "." + b64.EncodeToString(serial[2:])
}

// suggested fetches the window of a certificate and checks what all have.
func (w *world) suggested(id string) (start, end time.Time) {
	w.t.Helper()
	a := w.ok("renewalInfo", w.get(w.url("renewal-info/"+id)), 200)
	wait, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || wait < 60 || wait > 86400 || a.header.Get("Content-Type") != "application/json" {
		w.t.Errorf("%v", a.header)
	}
	var window struct{ Start, End time.Time }
	if err := json.Unmarshal(a.raw["suggestedWindow"], &window); err != nil {
		w.t.Fatalf("%s: %v", a.body, err)
	}
	if !window.End.After(window.Start) {
		w.t.Errorf("%s", a.body)
	}
	return window.Start, window.End
}

func replacing(id string, hosts ...string) string {
	return strings.TrimSuffix(orderOf(hosts...), "}") + `,"replaces":"` + id + `"}`
}

// RFC 9773, Sections 3 and 4: where it is, what it says, and how often to ask.
func TestACME_T017_T018_T021_T022_RenewalInfo(t *testing.T) {
	w := newRealWorld(t)
	if a := w.get(w.base + "/acme/directory"); a.text("renewalInfo") != w.url("renewal-info") {
		t.Errorf("%s", a.body)
	}
	c := w.client()
	key := leafKey(t)
	der := c.issue(key, host)[0]
	id := certID(t, der)
	now := w.now()
	start, end := w.suggested(id)
	if start.Before(now.Add(50*24*time.Hour)) || end.After(now.Add(70*24*time.Hour)) {
		t.Errorf("%s %s", start, end)
	}
	if r, err := http.NewRequest("HEAD", w.url("renewal-info/"+id), nil); err != nil || w.do(r).status != 200 {
		t.Error("HEAD")
	}
	// Signed, too, as everything that can be read.
	w.ok("POST-as-GET", c.read(w.url("renewal-info/"+id)), 200)
	w.want("with a payload", c.post(w.url("renewal-info/"+id), `{}`), 400, malformed)

	w.ok("revoke", (&client{w: w.world, key: key, alg: "ES256"}).postKey(w.url("revoke-cert"), revocation(der, "")), 200)
	if _, end := w.suggested(id); !end.Before(now) {
		t.Errorf("revoked: until %s", end)
	}
	expired := certID(t, c.issue(leafKey(t), "old.example.org")[0])
	w.advance(100 * 24 * time.Hour)
	if _, end := w.suggested(expired); !end.Before(w.now()) {
		t.Errorf("expired: until %s", end)
	}
}

// Identifiers have one spelling, and nothing that is sent there breaks anything.
func TestACME_T019_T020_CertificateIdentifiers(t *testing.T) {
	id, err := parseCertID("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE") // RFC 9773, Section 4.1
	if err != nil || id.Issuer != "69885b6b87464041e1b37b847ba0ae2cde01c8d4" || id.Serial != "87654321" {
		t.Errorf("%v %v", id, err)
	}
	w := newRealWorld(t)
	good := certID(t, w.client().issue(leafKey(t), host)[0])
	w.suggested(good)
	issuer, serial, _ := strings.Cut(good, ".")
	padded, _ := b64.DecodeString(serial)
	for what, s := range map[string]string{
		"padding": good + "=", "both padded": issuer + "=." + serial, "standard alphabet": "a+bc." + serial, "no dot": issuer + serial,
		"two dots": good + ".", "dots in a row": issuer + ".." + serial, "empty issuer": "." + serial, "empty serial": issuer + ".", "dot": ".",
		"without the leading zero": "aYhba4dGQEHhs3uEe6CuLN4ByNQ.h2VDIQ", "one zero too many": issuer + "." + b64.EncodeToString(append([]byte{0, 0}, padded...)),
		"zero": issuer + ".AA", "loose bits": "aYhba4dGQEHhs3uEe6CuLN4ByNR.AIdlQyE", "21 octets": issuer + "." + b64.EncodeToString(append([]byte{1}, make([]byte, 20)...)),
		"10 kB": strings.Repeat("A", 5000) + "." + strings.Repeat("A", 5000), "text": "newest",
	} {
		w.want(what, w.get(w.url("renewal-info/"+s)), 400, malformed)
	}
	for what, s := range map[string]string{
		"unknown CA": "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE", "unknown serial": issuer + ".AQ",
		"nothing": "", "more": good + "/1", "escaped": strings.Replace(good, ".", "%2E", 1), "query": good + "?x=1",
	} {
		w.want(what, w.get(w.url("renewal-info/"+s)), 404, malformed)
	}
	w.want("no id", w.get(w.url("renewal-info")), 404, malformed)
}

// RFC 9773, Section 5: what an order replaces is said by it ever after, handed
// to the engine, and nobody else's place.
func TestACME_T023_T024_Replaces(t *testing.T) {
	w := newRealWorld(t)
	c := w.client()
	old := c.issue(leafKey(t), host)[0]
	id := certID(t, old)
	o := w.ok("newOrder", c.post(w.url("new-order"), replacing(id, host, "new.example.org")), 201)
	if again := c.read(o.location()); o.text("replaces") != id || again.text("replaces") != id {
		t.Errorf("%s %s", o.body, again.body)
	}
	w.want("second", c.post(w.url("new-order"), replacing(id, host)), 409, alreadyReplaced)
	for _, z := range o.Authorizations {
		c.prove(z)
	}
	w.want("ready", c.post(w.url("new-order"), replacing(id, host)), 409, alreadyReplaced)
	done := w.ok("finalize", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host, "new.example.org"))), 200)
	if done.text("replaces") != id || c.read(o.location()).text("replaces") != id {
		t.Errorf("%s", done.body)
	}
	row, err := w.Identify(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.Request(t.Context(), w.row(o).Request)
	if is, rerr := w.Replaced(t.Context(), row.CertID); !is || rerr != nil || err != nil || r.Replaces != row.CertID {
		t.Errorf("%v %v %v %+v", is, rerr, err, r)
	}
	w.want("issued", c.post(w.url("new-order"), replacing(id, host)), 409, alreadyReplaced)

	// The engine knows it when the order is long forgotten.
	w.advance(orderLife + 40*24*time.Hour)
	if err := w.f.purge(t.Context()); err != nil || count(w.world, &orders) != 0 {
		t.Fatalf("%v, %d orders", err, count(w.world, &orders))
	}
	w.want("purged", c.post(w.url("new-order"), replacing(id, host)), 409, alreadyReplaced)
	w.ok("without", c.post(w.url("new-order"), orderOf(host)), 201)
}

func (rw *realWorld) row(o *answer) *order { return row(rw.world, &orders, idOf(o.location())) }

// Of many orders at once one replaces.
func TestACME_T024_ReplacesRace(t *testing.T) {
	w := newRealWorld(t)
	c := w.client()
	id := certID(t, c.issue(leafKey(t), host)[0])
	var wait sync.WaitGroup
	answers := make([]*answer, 12)
	for i := range answers {
		wait.Go(func() { answers[i] = c.post(w.url("new-order"), replacing(id, host)) })
	}
	wait.Wait()
	made := 0
	for _, a := range answers {
		if a.status == 201 {
			made++
		} else {
			w.want("the others", a, 409, alreadyReplaced)
		}
	}
	if made != 1 {
		t.Errorf("%d orders", made)
	}
}

func TestACME_T025_XJ030_WrongReplaces(t *testing.T) {
	w := newRealWorld(t)
	c := w.client()
	id := certID(t, c.issue(leafKey(t), host)[0])
	issuer, _, _ := strings.Cut(id, ".")
	for _, tt := range []struct {
		what, payload string
		by            *client
		status        int
		kind          string
	}{
		{"another account's", replacing(id, host), w.client(), 403, unauthorized},
		{"no name in common", replacing(id, "other.example.org"), c, 400, malformed},
		{"malformed", replacing(id+"=", host), c, 400, malformed},
		{"empty", replacing("", host), c, 400, malformed},
		{"a number", strings.Replace(replacing("", host), `""`, "1", 1), c, 400, malformed},
		{"unknown", replacing(issuer+".AQ", host), c, 404, malformed},
	} {
		before := count(w.world, &orders)
		w.want(tt.what, tt.by.post(w.url("new-order"), tt.payload), tt.status, tt.kind)
		if count(w.world, &orders) != before {
			t.Errorf("%s: an order was made", tt.what)
		}
	}
	// A limit is a limit, whatever is replaced.
	var some []*order
	for range maxOpenOrders {
		some = append(some, &order{ID: w.id(), Account: idOf(c.kid), Expires: w.now().Add(orderLife).Unix()})
	}
	insert(w.world, &orders, some...)
	w.want("limit", c.post(w.url("new-order"), replacing(id, host)), 429, rateLimited)
}

// An order that came to nothing holds no place.
func TestACME_T026_ReplacesAgain(t *testing.T) {
	w := newRealWorld(t)
	c := w.client()
	id := certID(t, c.issue(leafKey(t), host)[0])
	for i, end := range []func(o *answer){
		func(o *answer) { w.ok("deactivate", c.post(o.Authorizations[0], `{"status":"deactivated"}`), 200) },
		func(*answer) { w.advance(orderLife + time.Second) },
	} {
		o := w.ok(fmt.Sprint("order ", i), c.post(w.url("new-order"), replacing(id, host)), 201)
		w.want("open", c.post(w.url("new-order"), replacing(id, host)), 409, alreadyReplaced)
		end(o)
		if a := c.read(o.location()); a.Status != "invalid" || a.text("replaces") != id {
			t.Fatalf("%s", a.body)
		}
	}
	w.ok("the last", c.post(w.url("new-order"), replacing(id, host)), 201)
}

func FuzzCertID(f *testing.F) {
	for _, s := range []string{"aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE", "aYhba4dGQEHhs3uEe6CuLN4ByNQ.h2VDIQ", ".", "AA.AA", "a\n.AQ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := parseCertID(s)
		if err != nil {
			return
		}
		if id.Issuer == "" || id.Serial == "0" || len(id.Serial) > 2*maxSerial {
			t.Errorf("%q: %v", s, id)
		}
	})
}
