package jose

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"testing"
)

// The floor is 2.3 signatures: BenchmarkES256 over BenchmarkSign.
func BenchmarkES256ParseVerify(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	k, err := FromPublic(key.Public())
	if err != nil {
		b.Fatal(err)
	}
	body := signES256(b, key, `{"alg":"ES256","kid":"https://ca.example.org/acme/default/account/40123456789012345678901234","nonce":"`+base64.RawURLEncoding.EncodeToString(make([]byte, 48))+`","url":"https://ca.example.org/acme/default/new-order"}`, `{"identifiers":[{"type":"dns","value":"www.example.org"}]}`)
	b.ReportAllocs()
	for b.Loop() {
		m, err := Parse(body)
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Verify(k); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkES256Parse(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	body := signES256(b, key, `{"alg":"ES256","kid":"https://ca.example.org/acme/default/account/40123456789012345678901234","nonce":"`+base64.RawURLEncoding.EncodeToString(make([]byte, 48))+`","url":"https://ca.example.org/acme/default/new-order"}`, `{"identifiers":[{"type":"dns","value":"www.example.org"}]}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkES256Sign(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte("x"))
	for b.Loop() {
		if _, err := ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
			b.Fatal(err)
		}
	}
}

// signES256 makes a flattened JWS.
func signES256(t testing.TB, key *ecdsa.PrivateKey, header, payload string) []byte {
	t.Helper()
	b64 := base64.RawURLEncoding
	p, q := b64.EncodeToString([]byte(header)), b64.EncodeToString([]byte(payload))
	digest := sha256.Sum256([]byte(p + "." + q))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return []byte(`{"protected":"` + p + `","payload":"` + q + `","signature":"` + b64.EncodeToString(sig) + `"}`)
}
