package acme

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
)

// sendJWS posts a body to newOrder.
func (c *client) sendJWS(body string) *answer {
	c.w.t.Helper()
	return c.w.send("POST", c.w.url("new-order"), joseType, body)
}

// good is a header for newOrder with a fresh nonce.
func (c *client) good() string {
	return c.header(c.byKid(), c.w.f.nonces.issue(), c.w.url("new-order"))
}

// noOrders fails the test if something was stored in spite of it all.
func (w *world) noOrders() {
	w.t.Helper()
	if n := count(w, &orders); n != 0 {
		w.t.Errorf("%d orders were made", n)
	}
}

const anOrder = `{"identifiers":[{"type":"dns","value":"www.example.org"}]}`

func TestACME_A002_Base64URL(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	parts := func() (string, string, string) {
		p, q := b64.EncodeToString([]byte(c.good())), b64.EncodeToString([]byte(anOrder))
		return p, q, b64.EncodeToString(rawSign(t, c.key, p+"."+q))
	}
	for name, fn := range map[string]func(p, q, s string) (string, string, string){
		"padding in payload":   func(p, q, s string) (string, string, string) { return p, q + "=", s },
		"padding in protected": func(p, q, s string) (string, string, string) { return p + "=", q, s },
		"padding in signature": func(p, q, s string) (string, string, string) { return p, q, s + "=" },
		"plus":                 func(p, q, s string) (string, string, string) { return p, "+" + q[1:], s },
		"slash":                func(p, q, s string) (string, string, string) { return p, q, "/" + s[1:] },
		"line break":           func(p, q, s string) (string, string, string) { return p, q[:4] + "\n" + q[4:], s },
		"escaped line break":   func(p, q, s string) (string, string, string) { return p, q[:4] + `\n` + q[4:], s },
		"escaped letter":       func(p, q, s string) (string, string, string) { return p, `\u0065` + q[1:], s },
		"space":                func(p, q, s string) (string, string, string) { return p + " ", q, s },
		"trailing bits":        func(p, q, s string) (string, string, string) { return p, q, s[:len(s)-1] + other(s[len(s)-1]) },
		"one character more":   func(p, q, s string) (string, string, string) { return p, q, s + "AAA" },
	} {
		p, q, s := fn(parts())
		w.want(name, c.sendJWS(flat(p, q, s)), 400, malformed)
	}
	w.noOrders()
}

// other is a character that differs from b in its lowest bits only.
func other(b byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, b)^1])
}

func TestACME_A005_A006_A008_A107_XJ023_XJ024_Serializations(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	p, q := b64.EncodeToString([]byte(c.good())), b64.EncodeToString([]byte(anOrder))
	s := b64.EncodeToString(rawSign(t, c.key, p+"."+q))
	for name, body := range map[string]string{
		"compact":                 p + "." + q + "." + s,
		"general":                 `{"payload":"` + q + `","signatures":[{"protected":"` + p + `","signature":"` + s + `"}]}`,
		"flattened and general":   `{"payload":"` + q + `","protected":"` + p + `","signature":"` + s + `","signatures":[]}`,
		"A-006 unprotected":       `{"payload":"` + q + `","protected":"` + p + `","signature":"` + s + `","header":{"kid":"x"}}`,
		"A-006 empty unprotected": `{"payload":"` + q + `","protected":"` + p + `","signature":"` + s + `","header":{}}`,
		"A-008 no payload":        `{"protected":"` + p + `","signature":"` + s + `"}`,
		"A-008 null payload":      `{"payload":null,"protected":"` + p + `","signature":"` + s + `"}`,
		"A-107 payload twice":     `{"payload":"","payload":"` + q + `","protected":"` + p + `","signature":"` + s + `"}`,
		"A-107 other case":        `{"Payload":"` + q + `","protected":"` + p + `","signature":"` + s + `"}`,
		"A-107 byte order mark":   "\ufeff" + flat(p, q, s),
		"A-107 trailing":          flat(p, q, s) + "x",
		"A-107 second object":     flat(p, q, s) + "{}",
		"A-107 nesting":           strings.Repeat("[", 10000),
		"XJ-022 nesting":          strings.Repeat("[", 100000),
		"XJ-023 JWE":              `{"protected":"` + p + `","encrypted_key":"","iv":"","ciphertext":"` + q + `","tag":""}`,
		"XJ-024 dots":             strings.Repeat(".", 120000),
		"empty":                   "",
		"unknown member":          `{"payload":"` + q + `","protected":"` + p + `","signature":"` + s + `","x":1}`,
	} {
		w.want(name, c.sendJWS(body), 400, malformed)
	}
	w.noOrders()
	w.ok("with white space", c.sendJWS(" {\n\t\"signature\" : \""+s+"\",\r\n \"payload\":\""+q+"\", \"protected\":\""+p+"\" } \n"), 201)
}

func TestACME_XJ022_LargeBody(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	big := c.header(c.byKid()+`,"x":"`+strings.Repeat("a", 1<<20)+`"`, w.nonce(), w.url("new-order"))
	w.want("1 MB header", c.sendJWS(c.jws(big, anOrder)), 413, malformed)
	w.want("1 MB payload", c.sendJWS(c.jws(c.good(), strings.Repeat(" ", 1<<20))), 413, malformed)
}

func TestACME_A007_A015_A016_A025_A028_XJ005_XJ008_XJ009_Header(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	url, kid := w.url("new-order"), c.byKid()
	n := func() string { return quote(w.f.nonces.issue()) }
	for name, header := range map[string]string{
		"A-007 b64":                `{"alg":"ES256",` + kid + `,"nonce":` + n() + `,"url":"` + url + `","b64":false,"crit":["b64"]}`,
		"A-015 jwk and kid":        `{"alg":"ES256",` + kid + `,"jwk":` + c.jwk() + `,"nonce":` + n() + `,"url":"` + url + `"}`,
		"A-015 neither":            `{"alg":"ES256","nonce":` + n() + `,"url":"` + url + `"}`,
		"A-016 jwk for newOrder":   `{"alg":"ES256","jwk":` + c.jwk() + `,"nonce":` + n() + `,"url":"` + url + `"}`,
		"A-025 no url":             `{"alg":"ES256",` + kid + `,"nonce":` + n() + `}`,
		"A-025 number":             `{"alg":"ES256",` + kid + `,"nonce":` + n() + `,"url":1}`,
		"A-025 array":              `{"alg":"ES256",` + kid + `,"nonce":` + n() + `,"url":["` + url + `"]}`,
		"A-025 null":               `{"alg":"ES256",` + kid + `,"nonce":` + n() + `,"url":null}`,
		"XJ-008 jku":               `{"alg":"ES256",` + kid + `,"nonce":` + n() + `,"url":"` + url + `","jku":"http://127.0.0.1:` + "1" + `/"}`,
		"XJ-008 x5u":               `{"alg":"ES256",` + kid + `,"nonce":` + n() + `,"url":"` + url + `","x5u":"http://127.0.0.1/"}`,
		"XJ-008 x5c":               `{"alg":"ES256",` + kid + `,"nonce":` + n() + `,"url":"` + url + `","x5c":[]}`,
		"XJ-008 crit":              `{"alg":"ES256",` + kid + `,"nonce":` + n() + `,"url":"` + url + `","crit":["x"],"x":1}`,
		"XJ-008 zip":               `{"alg":"ES256",` + kid + `,"nonce":` + n() + `,"url":"` + url + `","zip":"DEF"}`,
		"XJ-009 kid twice":         `{"alg":"ES256",` + kid + `,` + kid + `,"nonce":` + n() + `,"url":"` + url + `"}`,
		"XJ-009 nonce twice":       `{"alg":"ES256",` + kid + `,"nonce":` + n() + `,"nonce":` + n() + `,"url":"` + url + `"}`,
		"XJ-009 url twice":         `{"alg":"ES256",` + kid + `,"nonce":` + n() + `,"url":"` + url + `","url":"` + url + `"}`,
		"XJ-009 Kid":               `{"alg":"ES256",` + kid + `,"Kid":"x","nonce":` + n() + `,"url":"` + url + `"}`,
		"XJ-009 KID only":          `{"alg":"ES256","KID":` + quote(c.kid) + `,"nonce":` + n() + `,"url":"` + url + `"}`,
		"A-107 trailing in header": `{"alg":"ES256",` + kid + `,"nonce":` + n() + `,"url":"` + url + `"} x`,
		"A-107 header array":       `["ES256"]`,
		"A-028 nonce padding":      c.header(kid, "abc=", url),
		"A-028 nonce space":        c.header(kid, "a b", url),
		"A-028 nonce umlaut":       c.header(kid, "ü", url),
		"A-028 nonce line break":   c.header(kid, "abcd\n", url),
		"A-028 nonce number":       `{"alg":"ES256",` + kid + `,"nonce":1,"url":"` + url + `"}`,
		"A-028 nonce null":         `{"alg":"ES256",` + kid + `,"nonce":null,"url":"` + url + `"}`,
		"no alg":                   `{` + kid + `,"nonce":` + n() + `,"url":"` + url + `"}`,
	} {
		w.want(name, c.sendJWS(c.jws(header, anOrder)), 400, malformed)
	}
	// XJ-005: kid where it is not signed.
	p, q := b64.EncodeToString([]byte(`{"alg":"ES256","nonce":`+n()+`,"url":"`+url+`"}`)), b64.EncodeToString([]byte(anOrder))
	body := flat(p, q, b64.EncodeToString(rawSign(t, c.key, p+"."+q)))
	w.want("XJ-005", c.sendJWS(body[:len(body)-1]+`,"header":{`+kid+`}}`), 400, malformed)
	w.want("A-016 kid for newAccount", c.post(w.url("new-account"), `{}`), 400, malformed)
	w.noOrders()
}

// XJ-004: jwk and kid of different accounts.
func TestACME_XJ004_TwoIdentities(t *testing.T) {
	w := newWorld(t)
	a, b := w.client(), w.client()
	h := `{"alg":"ES256",` + a.byKid() + `,"jwk":` + b.jwk() + `,"nonce":` + quote(w.nonce()) + `,"url":` + quote(a.kid) + `}`
	for _, signer := range []*client{a, b} {
		w.want("both", w.send("POST", a.kid, joseType, signer.jws(h, `{"status":"deactivated"}`)), 400, malformed)
	}
	w.ok("a", a.read(a.kid), 200)
	w.ok("b", b.read(b.kid), 200)
}

func TestACME_A009_A010_A012_XJ001_XJ002_Algorithms(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	pub, err := x509.MarshalPKIXPublicKey(c.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	thumb := c.thumb()
	macKeys := map[string][]byte{ // XJ-002
		"DER": pub, "JWK": []byte(c.jwk()), "thumbprint": []byte(thumb), "empty": nil,
		"PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}),
	}
	sendAs := func(url, id, alg string, sign func(input string) []byte) *answer {
		h := `{"alg":"` + alg + `",` + id + `,"nonce":` + quote(w.nonce()) + `,"url":` + quote(url) + `}`
		p, q := b64.EncodeToString([]byte(h)), b64.EncodeToString([]byte(anOrder))
		return w.send("POST", url, joseType, flat(p, q, b64.EncodeToString(sign(p+"."+q))))
	}
	check := func(what string, a *answer) {
		w.want(what, a, 400, badSignatureAlgorithm)
		if !slices.Contains(a.Algorithms, "ES256") {
			t.Errorf("%s: algorithms %v", what, a.Algorithms)
		}
	}
	for _, resource := range []string{"new-account", "new-order", "revoke-cert", "directory", "new-nonce", strings.TrimPrefix(c.kid, w.url(""))} {
		id := c.byKid()
		if resource == "new-account" || resource == "revoke-cert" {
			id = c.byJWK()
		}
		check("A-009 XJ-001 none "+resource, sendAs(w.url(resource), id, "none", func(string) []byte { return nil }))
		for _, alg := range []string{"ES256K", "PS999", "RS1", "PS256", "es256", "", "NONE"} {
			check("A-012 "+alg+" "+resource, sendAs(w.url(resource), id, alg, func(s string) []byte { return rawSign(t, c.key, s) }))
		}
	}
	for name, key := range macKeys {
		check("A-010 "+name, sendAs(w.url("new-order"), c.byKid(), "HS256", func(s string) []byte {
			m := hmac.New(sha256.New, key)
			m.Write([]byte(s))
			return m.Sum(nil)
		}))
	}
	w.noOrders()
}

func TestACME_A011_KeyTypes(t *testing.T) {
	w := newWorld(t)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	clients := []*client{{w: w, key: ed, alg: "EdDSA"}, {w: w, key: r, alg: "RS256"}}
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, &client{w: w, key: key, alg: alg})
	}
	for _, c := range clients {
		c.kid = w.ok(c.alg, c.postKey(w.url("new-account"), `{}`), 201).location()
		for range 3 { // short r and s happen
			w.ok(c.alg, c.read(c.kid), 200)
		}
		c.issue(leafKey(t), "www.example.org")
		// another curve's algorithm.
		wrong := *c
		wrong.alg = map[string]string{"ES256": "ES384", "ES384": "ES256", "ES512": "ES256", "EdDSA": "ES256", "RS256": "EdDSA"}[c.alg]
		w.want(c.alg+" as "+wrong.alg, wrong.read(c.kid), 400, malformed)
	}
}

func TestACME_A013_XJ021_BadKeys(t *testing.T) {
	w := newWorld(t)
	c := newClient(w)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	n := b64.EncodeToString(new(big.Int).SetBit(big.NewInt(12345), 2047, 1).Bytes())
	huge := b64.EncodeToString(new(big.Int).SetBit(big.NewInt(1), 16383, 1).Bytes())
	x := b64.EncodeToString(make([]byte, 32))
	for name, jwk := range map[string]string{
		"RSA 1024":           `{"e":"AQAB","kty":"RSA","n":"` + b64.EncodeToString(small.N.Bytes()) + `"}`,
		"RSA e=1":            `{"e":"AQ","kty":"RSA","n":"` + n + `"}`,
		"RSA even":           `{"e":"Ag","kty":"RSA","n":"` + n + `"}`,
		"RSA no n":           `{"e":"AQAB","kty":"RSA"}`,
		"XJ-021 RSA 16384":   `{"e":"AQAB","kty":"RSA","n":"` + huge + `"}`,
		"XJ-021 e too large": `{"e":"AQAAAAE","kty":"RSA","n":"` + n + `"}`,
		"P-224":              `{"crv":"P-224","kty":"EC","x":"` + x + `","y":"` + x + `"}`,
		"secp256k1":          `{"crv":"secp256k1","kty":"EC","x":"` + x + `","y":"` + x + `"}`,
		"not on curve":       `{"crv":"P-256","kty":"EC","x":"` + x + `","y":"` + x + `"}`,
		"short x":            `{"crv":"P-256","kty":"EC","x":"AAAA","y":"` + x + `"}`,
		"Ed448":              `{"crv":"Ed448","kty":"OKP","x":"` + x + `"}`,
		"XJ-020 small order": `{"crv":"Ed25519","kty":"OKP","x":"` + x + `"}`,
		"oct":                `{"kty":"oct"}`,
		"no kty":             `{}`,
	} {
		a := w.send("POST", w.url("new-account"), joseType, c.jws(c.header(`"jwk":`+jwk, w.nonce(), w.url("new-account")), `{}`))
		w.want(name, a, 400, badPublicKey)
	}
	// XJ-008: a private key is refused and shown nowhere.
	d := "c2VjcmV0c2VjcmV0c2VjcmV0"
	a := w.send("POST", w.url("new-account"), joseType, c.jws(c.header(`"jwk":`+strings.TrimSuffix(c.jwk(), "}")+`,"d":"`+d+`"}`, w.nonce(), w.url("new-account")), `{}`))
	w.want("private", a, 400, malformed)
	if strings.Contains(string(a.body), d) {
		t.Error("the private key is in the answer")
	}
	if n := count(w, &accounts); n != 0 {
		t.Errorf("%d accounts were made", n)
	}
}

func TestACME_A014_A019_XJ020_SignatureForms(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	order := elliptic.P256().Params().N
	half := func(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }
	zero := make([]byte, 32)
	for name, fn := range map[string]func(s []byte) []byte{
		"A-014 ASN.1":       asn1Signature,
		"A-014 63 octets":   func(s []byte) []byte { return s[:63] },
		"A-014 65 octets":   func(s []byte) []byte { return append(s, 0) },
		"A-014 empty":       func([]byte) []byte { return nil },
		"XJ-020 r = 0":      func(s []byte) []byte { return append(slices.Clone(zero), s[32:]...) },
		"XJ-020 s = 0":      func(s []byte) []byte { return append(slices.Clone(s[:32]), zero...) },
		"XJ-020 both 0":     func([]byte) []byte { return make([]byte, 64) },
		"XJ-020 r = n":      func(s []byte) []byte { return append(half(order), s[32:]...) },
		"XJ-020 s + n":      func(s []byte) []byte { return append(slices.Clone(s[:32]), half(order)...) },
		"A-019 flipped bit": func(s []byte) []byte { s = slices.Clone(s); s[40] ^= 4; return s },
	} {
		p, q := b64.EncodeToString([]byte(c.good())), b64.EncodeToString([]byte(anOrder))
		w.want(name, c.sendJWS(flat(p, q, b64.EncodeToString(fn(rawSign(t, c.key, p+"."+q))))), 400, malformed)
	}
	// something else than what was signed.
	p, q := b64.EncodeToString([]byte(c.good())), b64.EncodeToString([]byte(anOrder))
	s := b64.EncodeToString(rawSign(t, c.key, p+"."+q))
	w.want("payload swapped", c.sendJWS(flat(p, b64.EncodeToString([]byte(`{}`)), s)), 400, malformed)
	h := c.good()
	p2 := b64.EncodeToString([]byte(strings.Replace(h, ",", ", ", 1)))
	s = b64.EncodeToString(rawSign(t, c.key, b64.EncodeToString([]byte(h))+"."+q))
	w.want("header re-encoded", c.sendJWS(flat(p2, q, s)), 400, malformed)
	w.want("another's key", (&client{w: w, key: leafKey(t), alg: "ES256", kid: c.kid}).read(c.kid), 400, malformed)
	w.noOrders()

	// XJ-020: n - s is as good as s, but it brings nobody a second use.
	p = b64.EncodeToString([]byte(c.good()))
	sig := rawSign(t, c.key, p+"."+q)
	twin := append(slices.Clone(sig[:32]), half(new(big.Int).Sub(order, new(big.Int).SetBytes(sig[32:])))...)
	w.ok("first", c.sendJWS(flat(p, q, b64.EncodeToString(sig))), 201)
	w.want("twin", c.sendJWS(flat(p, q, b64.EncodeToString(twin))), 400, badNonce)
}

func TestACME_A017_A018_KeyID(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	id := c.kid[len(c.kid)-26:]
	for name, kid := range map[string]string{
		"bare id": id, "other host": "https://other.example/acme/default/account/" + id, "relative": "/acme/default/account/" + id,
		"query": c.kid + "?x", "slash": c.kid + "/", "http": strings.Replace(c.kid, "https", "http", 1), "empty": "",
		"order": w.url("order/") + id, "dots": w.url("account/../account/") + id,
	} {
		bad := *c
		bad.kid = kid
		w.want(name, bad.sendJWS(bad.jws(bad.good(), anOrder)), 400, malformed)
	}
	unknown := *c
	unknown.kid = w.url("account/") + "0" + strings.Repeat("a", 25)
	w.want("A-018", unknown.sendJWS(unknown.jws(unknown.good(), anOrder)), 400, accountDoesNotExist)
	w.noOrders()
}

func TestACME_A024_XJ013_XJ015_URLHeaderMismatch(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	one, two := c.order("one.example.org"), c.order("two.example.org")
	real := w.url("new-order")
	for name, url := range map[string]string{
		"other resource": w.url("new-account"), "other host": strings.Replace(real, "127.0.0.1", "localhost", 1),
		"XJ-015 other server": "https://staging.example/acme/default/new-order", "http": strings.Replace(real, "https", "http", 1),
		"no port": "https://127.0.0.1/acme/default/new-order", "slash": real + "/", "upper case": strings.ToUpper(real), "query": real + "?x=1", "path only": "/acme/default/new-order",
	} {
		w.want(name, c.sendJWS(c.jws(c.header(c.byKid(), w.nonce(), url), anOrder)), 403, unauthorized)
	}
	// XJ-013: what was signed for one order, sent to another.
	body := c.jws(c.header(c.byKid(), w.nonce(), one.Finalize), csrPayload(csrOf(t, leafKey(t), "two.example.org")))
	w.want("XJ-013", w.send("POST", two.Finalize, joseType, body), 403, unauthorized)
	// The address that it is sent to can have nothing more either.
	w.want("query in the request", w.send("POST", real+"?x=1", joseType, c.jws(c.header(c.byKid(), w.nonce(), real+"?x=1"), anOrder)), 404, malformed)
	if n := count(w, &orders); n != 2 {
		t.Errorf("%d orders", n)
	}
}

// XJ-014: what the client says of the server's address changes nothing.
func TestACME_XJ014_HostHeaders(t *testing.T) {
	w := newWorld(t)
	want := string(w.get(w.base + "/acme/directory").body)
	for _, h := range []string{"Host", "X-Forwarded-Host", "Forwarded", "X-Forwarded-Proto", "X-Original-URL", "X-Rewrite-Url"} {
		r := newRequest(t, "GET", w.base+"/acme/directory", "")
		r.Header.Set(h, "evil.example")
		if h == "Host" {
			r.Host = "evil.example"
		}
		if a := w.do(r); string(a.body) != want {
			t.Errorf("%s: %s", h, a.body)
		}
	}
	c := w.client()
	r := newRequest(t, "POST", w.url("new-order"), c.jws(c.header(c.byKid(), w.nonce(), "https://evil.example/acme/default/new-order"), anOrder))
	r.Host = "evil.example"
	r.Header.Set("Content-Type", joseType)
	w.want("url by Host", w.do(r), 403, unauthorized)
}
