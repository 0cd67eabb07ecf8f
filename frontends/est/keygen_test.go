package est_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"testing"
	"time"

	"go.mozilla.org/pkcs7"

	"chancery/engine"
)

// generated reads key and certificate out of a serverkeygen answer.
func (a *answer) generated(t testing.TB) (crypto.Signer, *x509.Certificate) {
	t.Helper()
	a.want(t, 200)
	kind, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/mixed" {
		t.Fatalf("%v", a.Header)
	}
	var ders [][]byte
	parts := multipart.NewReader(strings.NewReader(a.body), params["boundary"])
	for _, want := range []string{"application/pkcs8", "application/pkcs7-mime; smime-type=certs-only"} {
		part, err := parts.NextPart()
		if err != nil || part.Header.Get("Content-Type") != want {
			t.Fatalf("%v %v", part, err)
		}
		text, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		der, err := base64.StdEncoding.DecodeString(string(text))
		if err != nil {
			t.Fatal(err)
		}
		ders = append(ders, der)
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Error("a third part")
	}
	key, err := x509.ParsePKCS8PrivateKey(ders[0])
	if err != nil {
		t.Fatal(err)
	}
	p7, err := pkcs7.Parse(ders[1])
	if err != nil || len(p7.Certificates) != 1 {
		t.Fatal(err)
	}
	return key.(crypto.Signer), p7.Certificates[0]
}

func TestEST_E029_ServerKeys(t *testing.T) {
	w := newWorld(t)
	l := w.grant(engine.Grant{}, "dev.example.org")
	own := newKey(t)
	csr := w.csr(own, want{cn: "dev.example.org"})
	forged := append([]byte{}, csr...)
	forged[len(forged)-1] ^= 1 // key and signature of the request mean nothing
	seen := map[string]bool{}
	for range 3 {
		key, cert := w.client(l).post("keys/serverkeygen", forged).generated(t)
		pub, ok := key.Public().(*ecdsa.PublicKey)
		if !ok || !pub.Equal(cert.PublicKey) || pub.Equal(own.Public()) || cert.Subject.CommonName != "dev.example.org" {
			t.Fatalf("%T %v", key, cert.Subject)
		}
		name := string(cert.RawSubjectPublicKeyInfo)
		if seen[name] {
			t.Error("the same key twice")
		}
		seen[name] = true
		// It is good for what certificates are good for.
		device := &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
		w.client(device).post("keys/simplereenroll", w.csr(newKey(t), want{cn: "dev.example.org"})).certs(t)
		_, next := w.client(device).post("keys/serverkeygen", csr).generated(t) // a renewal
		row, err := w.engine.Identify(t.Context(), next.Raw)
		if err != nil || row.Replaces.IsZero() {
			t.Errorf("%+v %v", row, err)
		}
		w.client(device).post("keys/serverkeygen", w.csr(own, want{cn: "other.example.org"})).want(t, 403)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if key, _ := w.client(l).post("keys/serverkeygen", w.csr(r, want{cn: "dev.example.org"})).generated(t); key.Public().(*rsa.PublicKey).N.BitLen() != 2048 {
		t.Error("not the kind of key that was asked for")
	}
	w.client().post("keys/serverkeygen", csr).want(t, 401)
	w.client(l).post("serverkeygen", csr).want(t, 501)
}

func TestEST_E030_NeverInClearWhenEncryptionIsWanted(t *testing.T) {
	w := newWorld(t)
	l, key := w.grant(engine.Grant{}, "dev.example.org"), newKey(t)
	for _, oid := range []string{"1.2.840.113549.1.9.16.2.37", "1.2.840.113549.1.9.16.2.54"} {
		csr := withValue(t, w.csr(key, want{cn: "dev.example.org"}), key, oid, []byte{4, 4, 1, 2, 3, 4})
		w.client(l).post("keys/serverkeygen", csr).want(t, 400)
	}
	if w.issued() != 0 {
		t.Error("a certificate came of it")
	}
}

func TestEST_E031_NotForPublicTrust(t *testing.T) {
	w := newWorld(t)
	w.client(w.grant(engine.Grant{}, "dev.example.org")).post("publickeys/serverkeygen", w.csr(newKey(t), want{cn: "dev.example.org"})).want(t, 403)
}

// TestServerKeysPend shows that an approval is for the next key, since none is kept.
func TestServerKeysPend(t *testing.T) {
	w := newWorld(t)
	l := w.grant(engine.Grant{}, "dev.example.org")
	csr := w.csr(newKey(t), want{cn: "dev.example.org"})
	w.client(l).post("manualkeys/serverkeygen", csr).want(t, 202)
	w.now = w.now.Add(time.Minute)
	w.client(l).post("manualkeys/serverkeygen", csr).want(t, 202) // takes the place of the first
	r := w.pending()
	if _, err := w.engine.Approve(t.Context(), person, r.ID, r.Digest, ""); err != nil {
		t.Fatal(err)
	}
	if w.issued() != 0 {
		t.Fatal("a certificate for a key that nobody has")
	}
	w.now = w.now.Add(time.Minute)
	key, cert := w.client(l).post("manualkeys/serverkeygen", csr).generated(t)
	if !key.Public().(*ecdsa.PublicKey).Equal(cert.PublicKey) || w.issued() != 1 {
		t.Error("not the key that was sent")
	}
	w.now = w.now.Add(time.Minute)
	w.client(l).post("manualkeys/serverkeygen", csr).want(t, 202) // one approval, one certificate
}

// TestEST_XE009_KeysAreNowhere looks for the key in everything that was written.
func TestEST_XE009_KeysAreNowhere(t *testing.T) {
	w := newWorld(t)
	l := w.grant(engine.Grant{}, "dev.example.org")
	key, _ := w.client(l).post("keys/serverkeygen", w.csr(newKey(t), want{cn: "dev.example.org"})).generated(t)
	d, err := key.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	all := w.everything(t)
	if len(all) < 1000 {
		t.Fatalf("only %d octets were looked at", len(all))
	}
	for name, canary := range map[string][]byte{"raw": d, "base64": []byte(base64.StdEncoding.EncodeToString(d)[:40]), "hex": []byte(hex.EncodeToString(d))} {
		if bytes.Contains(all, canary) || bytes.Contains(w.log.Bytes(), canary) {
			t.Errorf("%s: the key is in the records or the log", name)
		}
	}
}
