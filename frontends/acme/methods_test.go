package acme

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"chancery/engine"
	"chancery/frontends/acme/internal/validate"
)

// RFC 8737 through the protocol: accepted, validated, the method in the proof.
func TestACME_T002_TLSALPN(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	key := leafKey(t)
	var digest [32]byte
	s.TLS = &tls.Config{NextProtos: []string{"acme-tls/1"}, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return alpnCertificate(t, key, h.ServerName, digest), nil
	}}
	s.StartTLS()
	s.TLS.Certificates = nil // httptest's own
	t.Cleanup(s.Close)
	w := newWorld(t, func(w *world) {
		w.deps.Validation.TLSPort, _ = strconv.Atoi(port)
		w.config["default"] = Endpoint{Profiles: []string{"web"}, Challenges: []engine.Method{engine.TLSALPN01}}
	})
	c := w.client()
	o := c.order("www.example.org")
	authz := c.read(o.Authorizations[0])
	if len(authz.Challenges) != 1 {
		t.Fatalf("%s", authz.body)
	}
	ch := authz.Challenges[0]
	a := w.ok("challenge", c.post(ch.URL, "{}"), 200)
	if a.Error == nil || a.Error.kind() != incorrectResponse {
		t.Errorf("another digest: %s", a.body)
	}
	digest = sha256.Sum256([]byte(ch.Token + "." + c.thumb()))
	w.advance(time.Minute)
	w.settle()
	if a = c.read(ch.URL); a.Status != "valid" {
		t.Fatalf("%s", a.body)
	}
	w.ok("finalize", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), "www.example.org"))), 200)
	if m := w.engine.submitted[0].Proofs[0].Method; m != engine.TLSALPN01 {
		t.Errorf("proved by %s", m)
	}
	// A wildcard cannot be ordered where only this is offered.
	w.want("wildcard", c.post(w.url("new-order"), orderOf("*.example.org")), 403, rejectedIdentifier)
}

func alpnCertificate(t testing.TB, key *ecdsa.PrivateKey, host string, digest [32]byte) *tls.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}, Critical: true, Value: append([]byte{4, 32}, digest[:]...)}},
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		t.Error(err)
		return nil
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Challenges of drafts are there only where the configuration names them, and
// what follows from the CA's names is in the directory.
func TestChallengesAsConfigured(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	types := func(host string) (all []string) {
		for _, ch := range c.read(c.order(host).Authorizations[0]).Challenges {
			all = append(all, ch.Type)
		}
		return all
	}
	if got := fmt.Sprint(types("www.example.org"), types("*.example.org")); got != "[http-01 dns-01 tls-alpn-01] [dns-01]" {
		t.Error(got)
	}
	if strings.Contains(string(w.get(w.url("directory")).body), "issuerDomainNames") {
		t.Error("the directory speaks of dns-persist-01")
	}
	w = newWorld(t, persistent)
	c = w.client()
	if got := fmt.Sprint(types("www.example.org"), types("*.example.org")); got != "[dns-persist-01 dns-account-01] [dns-persist-01 dns-account-01]" {
		t.Error(got)
	}
	for _, bad := range []Endpoint{
		{Profiles: []string{"web"}, Challenges: []engine.Method{"dns-02"}},
		{Profiles: []string{"web"}, Challenges: []engine.Method{engine.DNSPersist01}}, // by what name?
	} {
		d := w.deps
		d.Identities = nil
		if _, err := New(Config{"default": bad}, d); err == nil || !strings.Contains(err.Error(), "challenges: ") {
			t.Errorf("%v: %v", bad.Challenges, err)
		}
	}
}

func persistent(w *world) {
	w.deps.Identities = []string{"ca.example", "ca2.example"}
	w.config["default"] = Endpoint{Profiles: []string{"web"}, Challenges: []engine.Method{engine.DNSPersist01, engine.DNSAccount01}}
}

// the directory names what the checker accepts, where it checks.
func TestACME_A040_CAAIdentities(t *testing.T) {
	for _, checks := range []bool{true, false} {
		w := newWorld(t, func(w *world) {
			w.deps.Identities = []string{"ca.example", "ca2.example"}
			w.deps.Profiles = map[string]engine.Profile{"web": {Frontends: []engine.Source{engine.ACME}, CAA: checks}}
		})
		var dir struct {
			Meta struct {
				CAA []string `json:"caaIdentities"`
			} `json:"meta"`
		}
		if err := json.Unmarshal(w.get(w.url("directory")).body, &dir); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(dir.Meta.CAA); got != map[bool]string{true: "[ca.example ca2.example]", false: "[]"}[checks] {
			t.Error(got)
		}
	}
}

func TestDNSAccount01(t *testing.T) {
	w := newWorld(t, persistent)
	c, other := w.client(), w.client()
	for i, host := range []string{"www.example.org", "*.example.org"} {
		o := c.order(host)
		ch := c.read(o.Authorizations[0]).pick("dns-account-01")
		sum := sha256.Sum256([]byte(ch.Token + "." + c.thumb()))
		base := "._acme-challenge." + strings.TrimPrefix(host, "*.")
		w.dns.TXT(validate.AccountLabel(other.kid)+base, b64.EncodeToString(sum[:])) // at the label of another
		if a := w.ok("challenge", c.post(ch.URL, "{}"), 200); a.Error == nil || a.Error.kind() != dnsError {
			t.Errorf("%s", a.body)
		}
		w.dns.TXT(validate.AccountLabel(c.kid)+base, b64.EncodeToString(sum[:]))
		w.advance(time.Minute)
		w.settle()
		if a := c.read(ch.URL); a.Status != "valid" {
			t.Fatalf("%d: %s", i, a.body)
		}
	}
}

// draft-ietf-acme-dns-persist: one record, many orders, no token.
func TestDNSPersist01(t *testing.T) {
	w := newWorld(t, persistent)
	c := w.client()
	var dir struct {
		Meta struct {
			Issuers []string `json:"issuerDomainNames"`
			Prefix  string   `json:"accountHashPrefix"`
		} `json:"meta"`
	}
	if err := json.Unmarshal(w.get(w.url("directory")).body, &dir); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(dir.Meta.Issuers) != "[ca.example ca2.example]" || dir.Meta.Prefix != w.url("account-hash/") {
		t.Fatalf("%+v", dir)
	}
	show := func(host string) (authz string, a *answer) {
		t.Helper()
		o := c.order(host)
		z := c.read(o.Authorizations[0])
		ch := z.pick("dns-persist-01")
		if raw := string(z.raw["challenges"]); ch.Token != "" || strings.Count(raw, `"token"`) != 1 ||
			!strings.Contains(raw, `"issuerDomainNames":["ca.example","ca2.example"]`) || !strings.Contains(raw, `"issuer-domain-names":["ca.example","ca2.example"]`) {
			t.Errorf("%s", raw)
		}
		return o.Authorizations[0], w.ok("challenge", c.post(ch.URL, "{}"), 200)
	}
	const at = "_validation-persist.example.org"
	until := w.now().Add(48 * time.Hour).Unix()
	record := "ca2.example; accounturi=" + validate.HashedAccount(dir.Meta.Prefix, "example.org", c.thumb(), c.kid) + "; policy=wildcard; persistUntil=" + strconv.FormatInt(until, 10)
	if _, a := show("example.org"); a.Error == nil || a.Error.kind() != dnsError {
		t.Errorf("no record: %s", a.body)
	}
	w.dns.TXT(at, record[:100], record[100:])
	for _, host := range []string{"example.org", "*.example.org"} {
		z, a := show(host)
		if a.Status != "valid" {
			t.Fatalf("%s: %s", host, a.body)
		}
		if got := c.read(z).Expires; got != clock(until) {
			t.Errorf("good until %s, the record until %s", got, clock(until))
		}
	}
	// A record made with a key that the account had stays good; draft 01's form is
	// the address of the account.
	next := newClient(w)
	w.ok("keyChange", c.keyChange(next), 200)
	stranger := w.client()
	c = c.become(next)
	if _, a := show("example.org"); a.Status != "valid" {
		t.Errorf("after a change of key: %s", a.body)
	}
	w.dns.Clear(at)
	w.dns.TXT(at, "ca.example; accounturi="+c.kid)
	if _, a := show("example.org"); a.Status != "valid" {
		t.Errorf("draft 01: %s", a.body)
	}
	if _, a := show("*.example.org"); a.Error == nil || a.Error.kind() != unauthorized {
		t.Errorf("a wildcard without policy: %s", a.body)
	}
	// Another account's, and one that cannot be read.
	mine := c
	c = stranger
	if _, a := show("example.org"); a.Error == nil || a.Error.kind() != unauthorized {
		t.Errorf("another account: %s", a.body)
	}
	w.dns.Clear(at)
	w.dns.TXT(at, "ca.example; accounturi="+c.kid+"; persistUntil=soon")
	if _, a := show("example.org"); a.Error == nil || a.Error.kind() != malformed {
		t.Errorf("malformed: %s", a.body)
	}
	// One that was good until the account was deactivated.
	c = mine
	o := c.order("example.org")
	ch := c.read(o.Authorizations[0]).pick("dns-persist-01")
	if a := w.ok("challenge", c.post(ch.URL, "{}"), 200); a.Status != "processing" {
		t.Fatalf("%s", a.body)
	}
	id := ch.URL[strings.Index(ch.URL, "/challenge/")+len("/challenge/"):]
	id = id[:strings.IndexByte(id, '/')]
	w.dns.TXT(at, "ca.example; accounturi="+c.kid)
	w.ok("deactivate", c.post(c.kid, `{"status":"deactivated"}`), 200)
	w.advance(time.Minute)
	w.settle()
	if a := row(w, &authzs, id); a.State == valid {
		t.Error("a deactivated account was validated")
	}
}

// XN-028: what only looks like IDN is refused; what is one and looks like another
// name is a name, for the policy of names to refuse.
func TestXN_028_IDN(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	for _, host := range []string{"xn--a.example.org", "xn--.example.org", "xn--abc-.example.org", "xn--\u00fc.example.org", "b\u00fccher.example.org", "xn--80ak6aa92e-.com", "a\u202eb.example.org"} {
		if a := c.post(w.url("new-order"), orderOf(host)); a.status < 400 || a.kind() != malformed && a.kind() != rejectedIdentifier {
			t.Errorf("%q: %d %s", host, a.status, a.body)
		}
	}
	c.order("xn--pple-43d.com", "xn--bcher-kva.example.org")
}
