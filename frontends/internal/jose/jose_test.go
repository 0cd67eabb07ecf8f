package jose

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
)

// The keys and thumbprints of RFC 7638, Section 3.1 and RFC 8037, Appendix A.3.
const (
	rsaN     = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	rsaThumb = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
	edX      = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	edThumb  = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
)

func TestThumbprints(t *testing.T) {
	padded := base64.RawURLEncoding.EncodeToString(append([]byte{0, 0}, mustDecode(t, rsaN)...))
	for doc, want := range map[string]string{
		`{"kty":"RSA","n":"` + rsaN + `","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`: rsaThumb,
		`{"e":"AAEAAQ","kty":"RSA","n":"` + padded + `"}`:                              rsaThumb, // leading zeros
		`{"kty":"OKP","crv":"Ed25519","x":"` + edX + `"}`:                              edThumb,
	} {
		k, err := ParseKey([]byte(doc))
		if err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		if k.Text() != want {
			t.Errorf("%s: %s", doc, k.Text())
		}
		again, err := ParseKey(k.Canonical())
		if err != nil || again.Thumbprint() != k.Thumbprint() || !slices.Equal(again.Canonical(), k.Canonical()) {
			t.Errorf("%s: not canonical: %s", doc, k.Canonical())
		}
		other, err := FromPublic(k.Public)
		if err != nil || other.Thumbprint() != k.Thumbprint() {
			t.Errorf("FromPublic: %s, %v", other.Canonical(), err)
		}
	}
}

func mustDecode(t testing.TB, s string) []byte {
	t.Helper()
	b, err := Decode("test", s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A message of RFC 7515, Appendix A.3 has another header than ACME's, but its
// signature is as good.
func TestVerifyVector(t *testing.T) {
	k, err := ParseKey([]byte(`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`))
	if err != nil {
		t.Fatal(err)
	}
	m := &Message{
		Header: Header{Algorithm: ES256}, protected: "eyJhbGciOiJFUzI1NiJ9",
		payload:   "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
		signature: mustDecode(t, "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"),
	}
	if err := m.Verify(k); err != nil {
		t.Error(err)
	}
	m.payload = m.payload[1:]
	if err := m.Verify(k); kindOf(err) != BadSignature {
		t.Error(err)
	}
}

func kindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

// XJ-020: signatures that have the form and are wrong.
func TestEd25519Malleability(t *testing.T) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := FromPublic(pub)
	if err != nil {
		t.Fatal(err)
	}
	m := &Message{Header: Header{Algorithm: EdDSA}, protected: "a", payload: "b", signature: ed25519.Sign(key, []byte("a.b"))}
	if err := m.Verify(k); err != nil {
		t.Fatal(err)
	}
	// S + L: the same signature to a verifier that does not reduce.
	l := []byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 31: 0x10}
	carry := 0
	for i := range 32 {
		carry += int(m.signature[32+i]) + int(l[i])
		m.signature[32+i] = byte(carry)
		carry >>= 8
	}
	if err := m.Verify(k); kindOf(err) != BadSignature {
		t.Errorf("S + L: %v", err)
	}
	for _, n := range []int{0, 63, 65} {
		m.signature = make([]byte, n)
		if err := m.Verify(k); kindOf(err) != BadSignature {
			t.Errorf("%d octets: %v", n, err)
		}
	}
}

func TestAlgorithmFitsKey(t *testing.T) {
	var all []*Key
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		k, err := FromPublic(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	for _, doc := range []string{`{"kty":"OKP","crv":"Ed25519","x":"` + edX + `"}`, `{"kty":"RSA","n":"` + rsaN + `","e":"AQAB"}`} {
		k, err := ParseKey([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	for i, k := range all {
		for j, alg := range Algorithms() {
			for _, size := range []int{0, 64, 96, 132, 256} {
				want := Malformed
				if i == j {
					want = BadSignature
				}
				m := &Message{Header: Header{Algorithm: alg}, signature: make([]byte, size)}
				if err := m.Verify(k); kindOf(err) != want {
					t.Errorf("key %d, %s, %d octets: %v", i, alg, size, err)
				}
			}
		}
	}
	if _, err := FromPublic(rsa.PublicKey{}); kindOf(err) != BadKey {
		t.Error(err)
	}
}

func TestErrorsShowNoKeys(t *testing.T) {
	for _, doc := range []string{`{"kty":"EC","d":"canary"}`, `{"kty":"oct","k":"canary"}`, `{"kty":"RSA","canary`, `{"kty":"RSA","n":"canary!","e":"AQAB"}`} {
		_, err := ParseKey([]byte(doc))
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	k, err := FromPublic(key.Public())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signES256(f, key, `{"alg":"ES256","kid":"https://a/","nonce":"AAAA","url":"https://a/"}`, `{}`))
	f.Add(signES256(f, key, `{"alg":"ES256","jwk":`+string(k.Canonical())+`,"nonce":"AAAA","url":"https://a/"}`, ``))
	f.Add([]byte(`{"protected":"e30","payload":"","signature":""}`))
	f.Add([]byte(`{"payload":"","payload":""}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := Parse(body)
		if err != nil {
			if kindOf(err) == "" {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		if m.URL == "" && m.KID == "" && m.Key == nil || m.Key != nil && m.KID != "" || !slices.Contains(Algorithms(), m.Algorithm) {
			t.Errorf("%+v", m.Header)
		}
		// What was read is what was signed.
		if base64.RawURLEncoding.EncodeToString(m.Payload) != m.payload || !strings.Contains(string(body), m.protected) {
			t.Errorf("payload %q of %q", m.Payload, m.payload)
		}
		if m.Key != nil {
			m.Verify(m.Key)
		}
		m.Verify(k)
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte(`{"kty":"RSA","n":"` + rsaN + `","e":"AQAB"}`))
	f.Add([]byte(`{"kty":"OKP","crv":"Ed25519","x":"` + edX + `"}`))
	f.Add([]byte(`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`))
	f.Add([]byte(`{"kty":"RSA","n":"AAAB","e":"AA"}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		k, err := ParseKey(doc)
		if err != nil {
			if kindOf(err) == "" {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		again, err := ParseKey(k.Canonical())
		if err != nil || again.Thumbprint() != k.Thumbprint() {
			t.Errorf("%s: %v", k.Canonical(), err)
		}
		if other, err := FromPublic(k.Public); err != nil || other.Thumbprint() != k.Thumbprint() {
			t.Errorf("%s: %v", k.Canonical(), err)
		}
		if err := k.Check(); err != nil && kindOf(err) != BadKey {
			t.Errorf("untyped error %v", err)
		}
	})
}
