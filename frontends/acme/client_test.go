package acme

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"chancery/frontends/internal/jose"
)

var b64 = base64.RawURLEncoding

// An answer is what the server said, with the members of all objects.
type answer struct {
	status int
	header http.Header
	body   []byte

	Type, Detail, Status  string
	Expires               string
	Identifier            identifier
	Identifiers           []identifier
	Authorizations        []string
	Finalize, Certificate string
	Challenges            []shown
	URL, Token, Validated string
	Contact               []string
	Algorithms            []string
	Error                 *answer
	Subproblems           []answer
	NewNonce, NewAccount  string
	NewOrder, RevokeCert  string
	raw                   map[string]json.RawMessage
}

type shown struct{ Type, URL, Status, Token, Validated string }

func newAnswer(resp *http.Response, body []byte) *answer {
	a := &answer{status: resp.StatusCode, header: resp.Header, body: body}
	a.read(body)
	return a
}

// UnmarshalJSON reads an embedded problem.
func (a *answer) UnmarshalJSON(b []byte) error {
	a.body = b
	a.read(b)
	return nil
}

func (a *answer) read(b []byte) {
	json.Unmarshal(b, &a.raw) // whatever is there
	get := func(name string, v any) {
		if raw, ok := a.raw[name]; ok {
			json.Unmarshal(raw, v)
		}
	}
	get("type", &a.Type)
	get("detail", &a.Detail)
	get("status", &a.Status)
	get("expires", &a.Expires)
	get("identifier", &a.Identifier)
	get("identifiers", &a.Identifiers)
	get("authorizations", &a.Authorizations)
	get("finalize", &a.Finalize)
	get("certificate", &a.Certificate)
	get("challenges", &a.Challenges)
	get("url", &a.URL)
	get("token", &a.Token)
	get("validated", &a.Validated)
	get("contact", &a.Contact)
	get("algorithms", &a.Algorithms)
	get("error", &a.Error)
	get("subproblems", &a.Subproblems)
	get("newNonce", &a.NewNonce)
	get("newAccount", &a.NewAccount)
	get("newOrder", &a.NewOrder)
	get("revokeCert", &a.RevokeCert)
}

// text is a member that is a string.
func (a *answer) text(member string) (s string) {
	json.Unmarshal(a.raw[member], &s)
	return s
}

// has reports whether there is a member.
func (a *answer) has(member string) bool { _, ok := a.raw[member]; return ok }

func (a *answer) kind() string {
	if a == nil {
		return ""
	}
	return strings.TrimPrefix(a.Type, errorPrefix)
}

func (a *answer) location() string { return a.header.Get("Location") }

// A client speaks ACME, also wrongly.
type client struct {
	w   *world
	key crypto.Signer
	alg string
	kid string
}

func newClient(w *world) *client {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	return &client{w: w, key: key, alg: "ES256"}
}

// registered is a client with an account.
func (w *world) client() *client {
	w.t.Helper()
	c := newClient(w)
	a := w.ok("newAccount", c.postKey(w.url("new-account"), `{"termsOfServiceAgreed":true}`), 201)
	c.kid = a.location()
	return c
}

func (c *client) jwk() string {
	k, err := jose.FromPublic(c.key.Public())
	if err != nil {
		c.w.t.Fatal(err)
	}
	return string(k.Canonical())
}

func (c *client) thumb() string {
	k, err := jose.FromPublic(c.key.Public())
	if err != nil {
		c.w.t.Fatal(err)
	}
	return k.Text()
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string
	}
	return string(b)
}

// header makes a protected header; id is the member jwk or kid.
func (c *client) header(id, nonce, url string) string {
	return `{"alg":"` + c.alg + `",` + id + `,"nonce":` + quote(nonce) + `,"url":` + quote(url) + `}`
}

func (c *client) byKid() string { return `"kid":` + quote(c.kid) }
func (c *client) byJWK() string { return `"jwk":` + c.jwk() }

// jws signs header and payload.
func (c *client) jws(header, payload string) string {
	p, q := b64.EncodeToString([]byte(header)), b64.EncodeToString([]byte(payload))
	return flat(p, q, b64.EncodeToString(rawSign(c.w.t, c.key, p+"."+q)))
}

func flat(protected, payload, signature string) string {
	return `{"protected":"` + protected + `","payload":"` + payload + `","signature":"` + signature + `"}`
}

func rawSign(t testing.TB, key crypto.Signer, input string) []byte {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		size := (k.Curve.Params().BitSize + 7) / 8
		sum := sha256.Sum256([]byte(input))
		digest := sum[:]
		switch size {
		case 48:
			sum := sha512.Sum384([]byte(input))
			digest = sum[:]
		case 66:
			sum := sha512.Sum512([]byte(input))
			digest = sum[:]
		}
		r, s, err := ecdsa.Sign(rand.Reader, k, digest)
		if err != nil {
			t.Fatal(err)
		}
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	case ed25519.PrivateKey:
		return ed25519.Sign(k, []byte(input))
	case *rsa.PrivateKey:
		sum := sha256.Sum256([]byte(input))
		sig, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	t.Fatal("no such key")
	return nil
}

const joseType = "application/jose+json"

func (c *client) post(url, payload string) *answer {
	c.w.t.Helper()
	return c.w.send("POST", url, joseType, c.jws(c.header(c.byKid(), c.w.f.nonces.issue(), url), payload))
}

func (c *client) postKey(url, payload string) *answer {
	c.w.t.Helper()
	return c.w.send("POST", url, joseType, c.jws(c.header(c.byJWK(), c.w.f.nonces.issue(), url), payload))
}

func (c *client) read(url string) *answer {
	c.w.t.Helper()
	return c.post(url, "")
}

// order makes an order that must succeed.
func (c *client) order(hosts ...string) *answer {
	c.w.t.Helper()
	return c.w.ok("newOrder", c.post(c.w.url("new-order"), orderOf(hosts...)), 201)
}

func orderOf(hosts ...string) string {
	var ids []string
	for _, n := range hosts {
		ids = append(ids, `{"type":"dns","value":`+quote(n)+`}`)
	}
	return `{"identifiers":[` + strings.Join(ids, ",") + `]}`
}

// pick is the challenge of an authorization of the type.
func (a *answer) pick(kind string) *shown {
	for i := range a.Challenges {
		if a.Challenges[i].Type == kind {
			return &a.Challenges[i]
		}
	}
	return nil
}

// prepare puts the right answer to a challenge where the server will look.
func (c *client) prepare(authz *answer, kind string) *shown {
	c.w.t.Helper()
	ch := authz.pick(kind)
	if ch == nil {
		c.w.t.Fatalf("no %s among %s", kind, authz.body)
	}
	ka := ch.Token + "." + c.thumb()
	if kind == "dns-01" {
		sum := sha256.Sum256([]byte(ka))
		c.w.dns.TXT("_acme-challenge."+authz.Identifier.Value, b64.EncodeToString(sum[:]))
	} else {
		c.w.site.put(ch.Token, ka)
	}
	return ch
}

// prove makes an authorization valid.
func (c *client) prove(url string) {
	c.w.t.Helper()
	authz := c.w.ok("authz", c.read(url), 200)
	kind := "http-01"
	if authz.pick(kind) == nil {
		kind = "dns-01"
	}
	ch := c.prepare(authz, kind)
	if a := c.w.ok("challenge", c.post(ch.URL, "{}"), 200); a.Status != "valid" {
		c.w.t.Fatalf("challenge: %s", a.body)
	}
}

// ready makes an order whose authorizations are valid, and returns it with its URL.
func (c *client) ready(hosts ...string) (o *answer, url string) {
	c.w.t.Helper()
	o = c.order(hosts...)
	url = o.location()
	for _, z := range o.Authorizations {
		c.prove(z)
	}
	o = c.w.ok("order", c.read(url), 200)
	if o.Status != "ready" {
		c.w.t.Fatalf("order: %s", o.body)
	}
	return o, url
}

func leafKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func csrOf(t testing.TB, key crypto.Signer, hosts ...string) []byte {
	return csrFrom(t, key, &x509.CertificateRequest{Subject: pkix.Name{}, DNSNames: hosts})
}

func csrFrom(t testing.TB, key crypto.Signer, template *x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func csrPayload(der []byte) string { return `{"csr":"` + b64.EncodeToString(der) + `"}` }

// issue gets a certificate and returns its chain in DER.
func (c *client) issue(key crypto.Signer, hosts ...string) [][]byte {
	c.w.t.Helper()
	o, _ := c.ready(hosts...)
	o = c.w.ok("finalize", c.post(o.Finalize, csrPayload(csrOf(c.w.t, key, hosts...))), 200)
	if o.Status != "valid" {
		c.w.t.Fatalf("finalize: %s", o.body)
	}
	return pemChain(c.w.t, c.w.ok("certificate", c.read(o.Certificate), 200).body)
}

func revocation(der []byte, reason string) string {
	if reason != "" {
		reason = `,"reason":` + reason
	}
	return `{"certificate":"` + b64.EncodeToString(der) + `"` + reason + `}`
}

// asn1 is an ECDSA signature as X.509 has it.
func asn1Signature(raw []byte) []byte {
	half := len(raw) / 2
	r, s := new(big.Int).SetBytes(raw[:half]), new(big.Int).SetBytes(raw[half:])
	var b bytes.Buffer
	for _, n := range []*big.Int{r, s} {
		v := n.Bytes()
		if len(v) > 0 && v[0] >= 0x80 {
			v = append([]byte{0}, v...)
		}
		b.Write(append([]byte{2, byte(len(v))}, v...))
	}
	return append([]byte{0x30, byte(b.Len())}, b.Bytes()...)
}
