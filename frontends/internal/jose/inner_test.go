package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
)

func TestParseInner(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := FromPublic(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	jwk := `"jwk":` + string(k.Canonical())
	for _, tt := range []struct{ header, says string }{
		{`{"alg":"ES256",` + jwk + `,"url":"https://a/"}`, ""},
		{`{"alg":"ES256","kid":"https://a/1","url":"https://a/"}`, "no jwk"},
		{`{"alg":"ES256",` + jwk + `,"kid":"https://a/1","url":"https://a/"}`, "both"},
		{`{"alg":"ES256",` + jwk + `,"nonce":"AAAA","url":"https://a/"}`, "a nonce"},
		{`{"alg":"ES256",` + jwk + `,"nonce":"","url":"https://a/"}`, "a nonce"},
		{`{"alg":"HS256",` + jwk + `,"url":"https://a/"}`, "not accepted"},
		{`{"alg":"ES256",` + jwk + `}`, "no url"},
	} {
		m, err := ParseInner(signES256(t, key, tt.header, "{}"))
		if tt.says == "" {
			if err != nil || m.Verify(m.Key) != nil {
				t.Errorf("%s: %v", tt.header, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "inner") || kindOf(err) == "" {
			t.Errorf("%s: %v", tt.header, err)
		}
	}
	if _, err := ParseInner([]byte(`{"account":"x"}`)); kindOf(err) != Malformed {
		t.Error(err)
	}
}

func TestParseBinding(t *testing.T) {
	mac := func(header string) []byte {
		b64 := base64.RawURLEncoding
		p, q := b64.EncodeToString([]byte(header)), b64.EncodeToString([]byte(`{"kty":"EC"}`))
		h := hmac.New(sha256.New, []byte("key"))
		h.Write([]byte(p + "." + q))
		return []byte(`{"protected":"` + p + `","payload":"` + q + `","signature":"` + b64.EncodeToString(h.Sum(nil)) + `"}`)
	}
	b, err := ParseBinding(mac(`{"alg":"HS256","kid":"1","url":"https://a/"}`))
	if err != nil {
		t.Fatal(err)
	}
	h := hmac.New(b.Hash.New, []byte("key"))
	h.Write(b.Input)
	if !hmac.Equal(h.Sum(nil), b.MAC) || b.KID != "1" || b.URL != "https://a/" || string(b.Payload) != `{"kty":"EC"}` || b.Hash != crypto.SHA256 {
		t.Errorf("%+v", b)
	}
	for _, alg := range []string{"HS384", "HS512"} {
		if _, err := ParseBinding(mac(`{"alg":"` + alg + `","kid":"1","url":"https://a/"}`)); err != nil {
			t.Error(err)
		}
	}
	for _, header := range []string{
		`{"alg":"none","kid":"1","url":"https://a/"}`, `{"alg":"ES256","kid":"1","url":"https://a/"}`, `{"alg":"hs256","kid":"1","url":"https://a/"}`,
		`{"alg":"HS256","url":"https://a/"}`, `{"alg":"HS256","kid":"1"}`, `{"kid":"1","url":"https://a/"}`,
		`{"alg":"HS256","kid":"1","url":"https://a/","nonce":"AAAA"}`, `{"alg":"HS256","kid":"1","url":"https://a/","nonce":""}`,
		`{"alg":"HS256","kid":"1","url":"https://a/","jwk":{}}`, `{"alg":"HS256","kid":"1","kid":"2","url":"https://a/"}`, `{"alg":"HS256","kid":1,"url":"https://a/"}`, ``,
	} {
		if _, err := ParseBinding(mac(header)); kindOf(err) != Malformed || !strings.Contains(err.Error(), "externalAccountBinding") {
			t.Errorf("%s: %v", header, err)
		}
	}
}

// FuzzInner reads what stands inside messages: none of it may panic, and what is
// taken has exactly what was signed.
func FuzzInner(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	k, err := FromPublic(key.Public())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signES256(f, key, `{"alg":"ES256","jwk":`+string(k.Canonical())+`,"url":"https://a/"}`, `{}`))
	f.Add(signES256(f, key, `{"alg":"HS256","kid":"1","url":"https://a/"}`, string(k.Canonical())))
	f.Add(signES256(f, key, `{"alg":"HS512","kid":"1","url":"https://a/","nonce":""}`, ``))
	f.Fuzz(func(t *testing.T, body []byte) {
		if m, err := ParseInner(body); err != nil {
			if kindOf(err) == "" {
				t.Errorf("untyped error %v", err)
			}
		} else if m.Key == nil || m.KID != "" || m.Nonce != "" {
			t.Errorf("%+v", m.Header)
		}
		if b, err := ParseBinding(body); err != nil {
			if kindOf(err) != Malformed {
				t.Errorf("error %v", err)
			}
		} else if !b.Hash.Available() || !strings.HasSuffix(string(b.Input), "."+base64.RawURLEncoding.EncodeToString(b.Payload)) {
			t.Errorf("%+v", b)
		}
	})
}
