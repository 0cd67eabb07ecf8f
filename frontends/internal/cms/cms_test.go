package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.mozilla.org/pkcs7"
)

var all = []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func certify(t testing.TB, key crypto.Signer, serial int64) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "someone"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "someone"}}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func signed(t testing.TB, content []byte) ([]byte, *x509.Certificate) {
	t.Helper()
	c := certify(t, rsaKey(), 7)
	der, err := Sign(OIDData, content, Signature{Key: rsaKey(), Certificate: c, Digest: crypto.SHA256, Time: time.Now(), Rand: rand.Reader,
		Attributes: []Attribute{{asn1.ObjectIdentifier{1, 2, 3}, []byte{0x13, 1, '3'}}}})
	if err != nil {
		t.Fatal(err)
	}
	return der, c
}

func TestSignVerifies(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{rsaKey(), ec} {
		for _, h := range all {
			der, err := Sign(OIDData, []byte("content"), Signature{Key: key, Certificate: certify(t, key, 7), Digest: h, Rand: rand.Reader})
			if err != nil {
				t.Fatal(err)
			}
			d, err := ParseSigned(der)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Verify(all...); err != nil || string(d.Content) != "content" {
				t.Errorf("%T %v: %v", key, h, err)
			}
			if err := d.Verify(crypto.MD5); !errors.Is(err, ErrAlgorithm) {
				t.Errorf("a digest that is not accepted: %v", err)
			}
		}
	}
}

func TestOthersReadWhatIsSigned(t *testing.T) {
	der, _ := signed(t, []byte("content"))
	p, err := pkcs7.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Verify(); err != nil {
		t.Error("pkcs7:", err)
	}
	if out := openssl(t, der, "cms", "-verify", "-noverify", "-inform", "DER", "-in", "in"); string(out) != "content" {
		t.Errorf("openssl read %q", out)
	}
}

// openssl runs in a directory of its own, in which the file in holds in.
func openssl(t testing.TB, in []byte, args ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(rsaKey())
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"in": in, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		"cert.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certify(t, rsaKey(), 7).Raw}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("openssl", args...)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Stderr = dir, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl %v: %v\n%s", args, err, stderr.Bytes())
	}
	return out
}

// What OpenSSL writes, with -stream in BER of indefinite lengths and strings in
// pieces.
func TestReadsWhatOpenSSLWrites(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 2000)
	for _, stream := range [][]string{nil, {"-stream"}} {
		der := openssl(t, content, append([]string{"cms", "-sign", "-binary", "-nodetach", "-md", "sha256", "-signer", "cert.pem", "-inkey", "key.pem", "-outform", "DER", "-in", "in"}, stream...)...)
		der, err := ToDER(der)
		if err != nil {
			t.Fatal(stream, err)
		}
		d, err := ParseSigned(der)
		if err != nil {
			t.Fatal(stream, err)
		}
		if err := d.Verify(all...); err != nil || !bytes.Equal(d.Content, content) {
			t.Error(stream, err)
		}
		for _, how := range [][]string{{"-aes-128-cbc"}, {"-aes256"}, {"-des3"}, {"-aes256", "-keyid"}} {
			args := append([]string{"cms", "-encrypt", "-binary", "-outform", "DER", "-in", "in"}, append(stream, how...)...)
			if how[len(how)-1] == "-keyid" {
				continue // the certificate of the test has no such extension
			}
			der, err := ToDER(openssl(t, content, append(args, "cert.pem")...))
			if err != nil {
				t.Fatal(how, err)
			}
			checkOpens(t, der, content)
		}
		der, err = ToDER(openssl(t, content, append([]string{"cms", "-encrypt", "-binary", "-aes256", "-outform", "DER", "-in", "in",
			"-recip", "cert.pem", "-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"}, stream...)...))
		if err != nil {
			t.Fatal(err)
		}
		checkOpens(t, der, content)
	}
}

// checkOpens decrypts for the certificate that openssl has: the same names.
func checkOpens(t *testing.T, der, content []byte) {
	t.Helper()
	e, err := ParseEnveloped(der)
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.Decrypt(rand.Reader, Pair{certify(t, rsaKey(), 7), rsaKey()})
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%s: %d octets, %v", e.Cipher, len(got), err)
	}
}

func TestEncryptedContentComesBack(t *testing.T) {
	c := certify(t, rsaKey(), 7)
	for _, cipher := range []Cipher{AES128, AES192, AES256} {
		for _, size := range []int{0, 1, 15, 16, 17, 5000} {
			content := bytes.Repeat([]byte{'x'}, size)
			der, err := Encrypt(content, c, cipher, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			checkOpens(t, der, content)
			if out := openssl(t, der, "cms", "-decrypt", "-binary", "-inform", "DER", "-in", "in", "-inkey", "key.pem"); size == 17 && !bytes.Equal(out, content) {
				t.Errorf("openssl read %d octets", len(out))
			}
		}
	}
	if _, err := Encrypt(nil, c, TripleDES, rand.Reader); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("3DES for encrypting: %v", err)
	}
}

// RFC 8894, Section 7.2: whatever is wrong with key, padding or recipient is one
// error.
func TestUniformFailure(t *testing.T) {
	c := certify(t, rsaKey(), 7)
	der, err := Encrypt(bytes.Repeat([]byte("content!"), 20), c, AES128, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pair := Pair{c, rsaKey()}
	change := func(name string, fn func(*Enveloped), pairs ...Pair) {
		e, err := ParseEnveloped(der)
		if err != nil {
			t.Fatal(err)
		}
		fn(e)
		for range 20 {
			// A wrong key has, once in 256 times, a padding that looks right.
			if out, err := e.Decrypt(rand.Reader, pairs...); err != ErrDecrypt && !(err == nil && !bytes.HasPrefix(out, []byte("content!"))) {
				t.Errorf("%s: %q, %v", name, out, err)
			}
		}
	}
	change("another key", func(*Enveloped) {}, Pair{c, other(t)})
	change("nobody's", func(*Enveloped) {}, Pair{certify(t, rsaKey(), 8), rsaKey()})
	change("no keys", func(*Enveloped) {})
	change("key of another length", func(e *Enveloped) { e.recipients[0].key = []byte{1} }, pair)
	change("key above the modulus", func(e *Enveloped) { e.recipients[0].key = bytes.Repeat([]byte{0xff}, 256) }, pair)
	change("twice", func(e *Enveloped) { e.recipients = append(e.recipients, e.recipients[0]) }, pair)
	change("of another size", func(e *Enveloped) { e.Cipher, e.keySize = AES256, 32 }, pair)
	change("oaep", func(e *Enveloped) { e.recipients[0].algorithm = algorithm{oid: oidOAEP} }, pair)
	change("unknown transport", func(e *Enveloped) { e.recipients[0].algorithm = algorithm{oid: oidMGF1} }, pair)
	e, err := ParseEnveloped(der)
	if err != nil {
		t.Fatal(err)
	}
	last := len(e.body) - 17 // changes the last octet of the content: the padding
	for i := range 256 {
		e.body[last] ^= byte(i)
		if out, err := e.Decrypt(rand.Reader, pair); err != nil && (err != ErrDecrypt || out != nil) {
			t.Errorf("padding %d: %v", i, err)
		}
		e.body[last] ^= byte(i)
	}
}

var other = func(t *testing.T) *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestDegenerateBundle(t *testing.T) {
	a, b := certify(t, rsaKey(), 7), certify(t, rsaKey(), 8)
	der, err := Degenerate([][]byte{a.Raw, b.Raw}, nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := ParseSigned(der)
	if err != nil || d.Signer != nil || d.Content != nil || len(d.Certificates) != 2 || !bytes.Equal(d.Certificates[0], a.Raw) {
		t.Errorf("%+v, %v", d, err)
	}
	p, err := pkcs7.Parse(der)
	if err != nil || len(p.Certificates) != 2 {
		t.Errorf("pkcs7: %v", err)
	}
	out := openssl(t, der, "pkcs7", "-inform", "DER", "-in", "in", "-print_certs")
	if bytes.Count(out, []byte("BEGIN CERTIFICATE")) != 2 {
		t.Errorf("openssl: %s", out)
	}
	if err := d.Verify(all...); !errors.Is(err, ErrSignature) {
		t.Errorf("what nobody signed verifies: %v", err)
	}
}

// Inputs on which published parsers ran out of their slices, and bombs.
func TestBERIsBounded(t *testing.T) {
	deep := bytes.Repeat([]byte{0x24, 0x80}, 5000)
	many := append([]byte{0x30, 0x83, 1, 0, 0}, bytes.Repeat([]byte{5, 0}, 1<<15)...)
	for _, in := range [][]byte{
		unhex(t, "308206"), unhex(t, "5f4d"), unhex(t, "1f80"), unhex(t, "1f05"), unhex(t, "3081"), unhex(t, "308401"), unhex(t, "3085ffffffffff"),
		unhex(t, "3089ffffffffffffffffff"), unhex(t, "0480"), unhex(t, "0000"), unhex(t, "30800500"), unhex(t, "30020000"), unhex(t, "2403020100"), nil, deep, many,
		bytes.Repeat([]byte{0}, MaxSize+1), unhex(t, "050000"),
	} {
		if out, err := ToDER(in); !errors.Is(err, ErrMalformed) {
			t.Errorf("%.20x: %x, %v", in, out, err)
		}
	}
	for in, want := range map[string]string{
		"30800500" + "0000": "30020500", "2480040101040102" + "0000": "04020102", "30810105": "", "3081020500": "30020500",
		"24800000": "0400", "2480248004010100000000": "040101",
	} {
		out, err := ToDER(unhex(t, in))
		if hex.EncodeToString(out) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %x, %v; want %s", in, out, err, want)
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Each change to a signed message makes it one that does not verify.
func TestChangedMessagesDoNotVerify(t *testing.T) {
	der, c := signed(t, []byte("content"))
	good := func(b []byte) bool {
		d, err := ParseSigned(b)
		return err == nil && d.Verify(all...) == nil && d.Signer != nil
	}
	if !good(der) {
		t.Fatal("the message itself does not verify")
	}
	start := bytes.Index(der, c.Raw) + len(c.Raw) // what follows is the SignerInfo
	for i := range der {
		if i > 40 && i < start {
			continue
		}
		for _, flip := range []byte{1, 0x80} {
			b := bytes.Clone(der)
			b[i] ^= flip
			if d, err := ParseSigned(b); good(b) && (err != nil || string(d.Content) != "content") {
				t.Errorf("octet %d: it verifies with other content", i)
			}
		}
	}
	d, err := ParseSigned(der)
	if err != nil {
		t.Fatal(err)
	}
	for name, fn := range map[string]func(*SignedData){
		"no certificate":  func(d *SignedData) { d.Signer.Certificate = nil },
		"another content": func(d *SignedData) { d.Content = []byte("Content") },
		"no content":      func(d *SignedData) { d.Content = nil },
		"another type":    func(d *SignedData) { d.Type = OIDSigned },
		"no digest":       func(d *SignedData) { d.Signer.attributes = d.Signer.attributes[:1] },
		"digest twice":    func(d *SignedData) { d.Signer.attributes = append(d.Signer.attributes, d.Signer.attributes...) },
		"another hash":    func(d *SignedData) { d.Signer.Digest = crypto.SHA512 },
		"of ECDSA":        func(d *SignedData) { d.Signer.algorithm.oid = digests[1].ecdsa },
		"digest in name":  func(d *SignedData) { d.Signer.algorithm.oid = digests[2].rsa },
	} {
		changed, signer := *d, *d.Signer
		changed.Signer = &signer
		if fn(&changed); changed.Verify(all...) == nil {
			t.Errorf("%s: it verifies", name)
		}
	}
}

func FuzzMessages(f *testing.F) {
	s, c := signed(f, []byte("content"))
	e, err := Encrypt([]byte("content"), c, AES128, rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s)
	f.Add(e)
	f.Add(unhex(f, "3080060900"))
	f.Fuzz(func(t *testing.T, in []byte) {
		der, err := ToDER(in)
		if err != nil {
			return
		}
		if again, err := ToDER(der); err != nil || !bytes.Equal(again, der) {
			t.Fatalf("DER changes: %v", err)
		}
		if d, err := ParseSigned(der); err == nil && d.Signer != nil {
			_ = d.Verify(all...)
		}
		if e, err := ParseEnveloped(der); err == nil {
			_, _ = e.Decrypt(rand.Reader, Pair{c, rsaKey()})
		}
	})
}
