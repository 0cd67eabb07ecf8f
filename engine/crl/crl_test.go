package crl_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"iter"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/engine/crl"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// newAuthority makes a CA whose subjectKeyIdentifier is no hash of its key, as
// imported ones have.
func newAuthority(key crypto.Signer, change func(*x509.Certificate)) authority {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Issuing CA", Organization: []string{"Példa"}},
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(40, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		SubjectKeyId: []byte("a key id of 32 octets, not SHA-1"),
	}
	if change != nil {
		change(template)
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return authority{must(x509.ParseCertificate(der)), key}
}

func p256() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func (a authority) build(number int64, entries ...crl.Entry) ([]byte, error) {
	return crl.Build(a.cert, a.key, crl.List{Number: big.NewInt(number), ThisUpdate: now, NextUpdate: now.Add(24 * time.Hour)}, crl.Entries(entries...))
}

// TestParsed reads lists of all kinds of key with the standard library
// (O-021, O-023).
func TestParsed(t *testing.T) {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	for kind, key := range map[string]crypto.Signer{
		"P-256": p256(), "P-384": must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		"RSA": must(rsa.GenerateKey(rand.Reader, 2048)), "Ed25519": ed,
	} {
		t.Run(kind, func(t *testing.T) {
			a := newAuthority(key, nil)
			entries := []crl.Entry{
				{Serial: []byte{0x80}, At: now.Add(-time.Hour)},
				{Serial: []byte{0, 5}, At: now.Add(-time.Minute + time.Millisecond), Reason: 1, Invalidity: now.AddDate(-1, 0, 0)},
				{Serial: bytes.Repeat([]byte{0xff}, 20), At: now, Reason: 6},
			}
			der := must(a.build(1_772_366_400, entries...))
			list, err := x509.ParseRevocationList(der)
			if err != nil {
				t.Fatal(err)
			}
			if err := list.CheckSignatureFrom(a.cert); err != nil {
				t.Error(err)
			}
			if !bytes.Equal(list.RawIssuer, a.cert.RawSubject) || !bytes.Equal(list.AuthorityKeyId, a.cert.SubjectKeyId) {
				t.Error("issuer or its key id are not as in its certificate")
			}
			if list.Number.Int64() != 1_772_366_400 || !list.ThisUpdate.Equal(now) || !list.NextUpdate.Equal(now.Add(24*time.Hour)) {
				t.Error("number or times")
			}
			for _, e := range list.Extensions {
				if e.Critical {
					t.Error("critical extension", e.Id)
				}
			}
			for i, e := range list.RevokedCertificateEntries {
				want := entries[i]
				if e.SerialNumber.Cmp(new(big.Int).SetBytes(want.Serial)) != 0 || e.ReasonCode != want.Reason ||
					!e.RevocationTime.Equal(want.At.Truncate(time.Second)) {
					t.Errorf("entry %d: %v", i, e)
				}
			}
			if n := len(list.RevokedCertificateEntries[0].Extensions); n != 0 {
				t.Error("unspecified is written")
			}
			if again := must(a.build(1_772_366_400, entries...)); !bytes.Equal(again, der) {
				t.Error("building twice made two lists")
			}
		})
	}
}

// TestEmpty is O-022: revokedCertificates is absent.
func TestEmpty(t *testing.T) {
	a := newAuthority(p256(), nil)
	for _, number := range []int64{0, 127, 128, 1 << 40} {
		der := must(a.build(number))
		list, err := x509.ParseRevocationList(der)
		if err != nil || list.Number.Int64() != number || len(list.RevokedCertificateEntries) != 0 {
			t.Fatalf("number %d: %v", number, err)
		}
		var outline struct {
			TBS struct {
				Raw        asn1.RawContent
				Version    int
				Algorithm  asn1.RawValue
				Issuer     asn1.RawValue
				This, Next time.Time
				Extensions asn1.RawValue `asn1:"tag:0"`
			}
			Algorithm asn1.RawValue
			Signature asn1.BitString
		}
		if rest, err := asn1.Unmarshal(der, &outline); err != nil || len(rest) > 0 || outline.TBS.Version != 1 {
			t.Errorf("something stands where the entries would: %v", err)
		}
	}
}

// TestTimes is O-029.
func TestTimes(t *testing.T) {
	a := newAuthority(p256(), nil)
	this := time.Date(2049, 12, 31, 23, 59, 59, 999, time.UTC)
	entry := crl.Entry{Serial: []byte{1}, At: this, Invalidity: this}
	der := must(crl.Build(a.cert, a.key, crl.List{Number: big.NewInt(1), ThisUpdate: this, NextUpdate: this.Add(time.Second)}, crl.Entries(entry)))
	must(x509.ParseRevocationList(der))
	for _, want := range []string{
		"\x17\x0d491231235959Z\x18\x0f20500101000000Z", // thisUpdate, nextUpdate
		"\x02\x01\x01\x17\x0d491231235959Z",            // serial, revocationDate
		"\x04\x11\x18\x0f20491231235959Z",              // invalidityDate
	} {
		if !bytes.Contains(der, []byte(want)) {
			t.Errorf("no %q", want)
		}
	}
	entry.At = entry.At.Add(time.Second)
	der = must(crl.Build(a.cert, a.key, crl.List{Number: big.NewInt(1), ThisUpdate: this, NextUpdate: this.Add(time.Second)}, crl.Entries(entry)))
	if want := "\x02\x01\x01\x18\x0f20500101000000Z"; !bytes.Contains(der, []byte(want)) {
		t.Errorf("no %q", want)
	}
}

func TestRefusals(t *testing.T) {
	good := newAuthority(p256(), nil)
	if _, err := good.build(1); err != nil {
		t.Fatal(err)
	}
	for what, a := range map[string]authority{
		"another's key": {good.cert, p256()},
		"no CA":         newAuthority(p256(), func(c *x509.Certificate) { c.IsCA = false; c.KeyUsage = x509.KeyUsageCRLSign }),
		"no cRLSign":    newAuthority(p256(), func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }),
		"no subject":    newAuthority(p256(), func(c *x509.Certificate) { c.Subject = pkix.Name{} }),
	} {
		if _, err := a.build(1); !errors.Is(err, crl.ErrIssuer) {
			t.Errorf("%s: %v", what, err)
		}
	}
	noKeyID := *good.cert
	noKeyID.SubjectKeyId = nil
	if _, err := (authority{&noKeyID, good.key}).build(1); !errors.Is(err, crl.ErrIssuer) {
		t.Error("no key id:", err)
	}

	for _, number := range []*big.Int{nil, big.NewInt(-1), new(big.Int).Lsh(big.NewInt(1), 159)} {
		if _, err := crl.Build(good.cert, good.key, crl.List{Number: number, ThisUpdate: now, NextUpdate: now.Add(time.Hour)}, crl.Entries()); !errors.Is(err, crl.ErrNumber) {
			t.Errorf("number %v: %v", number, err)
		}
	}
	longest := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 159), big.NewInt(1))
	if _, err := crl.Build(good.cert, good.key, crl.List{Number: longest, ThisUpdate: now, NextUpdate: now.Add(time.Hour)}, crl.Entries()); err != nil {
		t.Error("number of 20 octets:", err)
	}
	if _, err := crl.Build(good.cert, good.key, crl.List{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(time.Millisecond)}, crl.Entries()); !errors.Is(err, crl.ErrTimes) {
		t.Error("ends at once:", err)
	}

	for what, entries := range map[string][]crl.Entry{
		"reason 7":       {{Serial: []byte{1}, At: now, Reason: 7}},
		"removeFromCRL":  {{Serial: []byte{1}, At: now, Reason: 8}},
		"reason 11":      {{Serial: []byte{1}, At: now, Reason: 11}},
		"reason -1":      {{Serial: []byte{1}, At: now, Reason: -1}},
		"twice":          {{Serial: []byte{1}, At: now}, {Serial: []byte{2}, At: now}, {Serial: []byte{0, 1}, At: now, Reason: 1}},
		"serial zero":    {{Serial: []byte{0}, At: now}},
		"serial missing": {{At: now}},
		"serial long":    {{Serial: bytes.Repeat([]byte{1}, 21), At: now}},
		"no time":        {{Serial: []byte{1}}},
	} {
		if _, err := good.build(1, entries...); !errors.Is(err, crl.ErrEntry) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestSourceFails: a list that lacks entries because reading them failed would
// un-revoke certificates.
func TestSourceFails(t *testing.T) {
	a := newAuthority(p256(), nil)
	lost := errors.New("connection lost")
	var source iter.Seq2[crl.Entry, error] = func(yield func(crl.Entry, error) bool) {
		_ = yield(crl.Entry{Serial: []byte{1}, At: now}, nil) && yield(crl.Entry{}, lost)
	}
	if _, err := crl.Build(a.cert, a.key, crl.List{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(time.Hour)}, source); !errors.Is(err, lost) {
		t.Error(err)
	}
}

func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is not installed: make deps installs it")
	}
	a := newAuthority(p256(), nil)
	dir := t.TempDir()
	list, ca := filepath.Join(dir, "list.crl"), filepath.Join(dir, "ca.pem")
	if err := errors.Join(os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600), os.WriteFile(list, must(a.build(4096,
		crl.Entry{Serial: []byte{0xab, 0xcd}, At: now, Reason: 1, Invalidity: now.Add(-time.Hour)})), 0o600)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(openssl, "crl", "-inform", "DER", "-in", list, "-CAfile", ca, "-noout", "-text").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"verify OK", "Version 2", "ABCD", "Key Compromise", "Invalidity Date", "4096"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("openssl does not say %q:\n%s", want, out)
		}
	}
}

func many(n int) iter.Seq2[crl.Entry, error] {
	return func(yield func(crl.Entry, error) bool) {
		serial := make([]byte, 16)
		for i := range n {
			binary.BigEndian.PutUint64(serial, uint64(i)*0x9e3779b97f4a7c15|1)
			binary.BigEndian.PutUint64(serial[8:], uint64(i))
			if !yield(crl.Entry{Serial: serial, At: now, Reason: i % 6}, nil) {
				return
			}
		}
	}
}

func benchmark(b *testing.B, n int) {
	a := newAuthority(p256(), nil)
	b.ReportAllocs()
	for b.Loop() {
		der := must(crl.Build(a.cert, a.key, crl.List{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(time.Hour)}, many(n)))
		b.ReportMetric(float64(len(der)), "octets")
	}
}

func BenchmarkEmpty(b *testing.B)   { benchmark(b, 0) }
func Benchmark1000(b *testing.B)    { benchmark(b, 1000) }
func BenchmarkMillion(b *testing.B) { benchmark(b, 1_000_000) }
