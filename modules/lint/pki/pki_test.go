package pki_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"chancery/engine"
	"chancery/engine/tbs"
	"chancery/modules/lint/pki"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// el makes an element with any content, right or wrong.
func el(tag byte, parts ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.Tag(tag), func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(parts, nil)) })
	return b.BytesOrPanic()
}

func txt(tag byte, s string) []byte { return el(tag, []byte(s)) }

const (
	oidCN      = "\x55\x04\x03"
	oidCountry = "\x55\x04\x06"
	oidOrg     = "\x55\x04\x0a"
	oidUnit    = "\x55\x04\x0b"
	oidEmail   = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01"

	utf8String, printableString, ia5String, t61String = 0x0c, 0x13, 0x16, 0x14
)

func attr(oid string, tag byte, value string) []byte {
	return el(0x30, txt(0x06, oid), txt(tag, value))
}

// dn makes a Name of attributes, each in an RDN of its own.
func dn(attrs ...[]byte) []byte {
	var rdns [][]byte
	for _, a := range attrs {
		rdns = append(rdns, el(0x31, a))
	}
	return el(0x30, rdns...)
}

func cn(value string) []byte { return attr(oidCN, utf8String, value) }

func dns(s string) []byte { return txt(0x82, s) }

// A draft is a certificate before it is rendered, with what the renderer would
// refuse kept apart, to be put into the bytes afterwards.
type draft struct {
	tbs.Certificate
	alg    tbs.Algorithm
	patch  func([]byte) []byte // of the tbsCertificate
	finish func([]byte) []byte // of the certificate
}

func (d *draft) der() []byte {
	rendered := must(tbs.Render(&d.Certificate, d.alg))
	if d.patch != nil {
		rendered = d.patch(rendered)
	}
	out := tbs.Twin(rendered, d.alg)
	if d.finish != nil {
		out = d.finish(out)
	}
	return out
}

// ext returns the extension with an identifier.
func (d *draft) ext(oid string) *tbs.Extension {
	for i := range d.Extensions {
		if d.Extensions[i].OID == oid {
			return &d.Extensions[i]
		}
	}
	panic("no extension " + oid)
}

func (d *draft) drop(oid string) {
	var kept []tbs.Extension
	for _, e := range d.Extensions {
		if e.OID != oid {
			kept = append(kept, e)
		}
	}
	d.Extensions = kept
}

func (d *draft) set(e tbs.Extension) { *d.ext(e.OID) = e }

func (d *draft) san(names ...[]byte) { d.ext(tbs.OIDSubjectAltName).Value = el(0x30, names...) }

func (d *draft) add(e tbs.Extension) { d.Extensions = append(d.Extensions, e) }

type fixture struct {
	ec, ed    []byte // SubjectPublicKeyInfo
	rsa       *rsa.PublicKey
	algorithm tbs.Algorithm
}

func newFixture() fixture {
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	ed, _, _ := ed25519.GenerateKey(rand.Reader)
	return fixture{spki(ec.Public()), spki(ed), &must(rsa.GenerateKey(rand.Reader, 2048)).PublicKey, must(tbs.AlgorithmFor(ec.Public()))}
}

func spki(pub crypto.PublicKey) []byte { return must(x509.MarshalPKIXPublicKey(pub)) }

// good is a certificate of which no rule complains.
func (f fixture) good() *draft {
	d := &draft{alg: f.algorithm}
	d.Certificate = tbs.Certificate{
		Serial: []byte{0x9f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		Issuer: dn(attr(oidOrg, utf8String, "Example"), cn("Test Issuing CA")), Subject: dn(cn("a.example")),
		NotBefore: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), NotAfter: time.Date(2026, 5, 30, 11, 59, 59, 0, time.UTC),
		SPKI: f.ec,
		Extensions: []tbs.Extension{
			must(tbs.KeyUsage("digitalSignature")),
			must(tbs.ExtKeyUsage("serverAuth", "clientAuth")),
			tbs.BasicConstraints(false, -1),
			tbs.SKI([]byte("subject key id 20 oc")),
			tbs.AKI([]byte("issuer key id, 20 oc")),
			must(tbs.AuthorityInfoAccess([]string{"http://ca.example/ocsp"}, []string{"http://ca.example/aia/1.cer"})),
			{OID: tbs.OIDSubjectAltName, Value: el(0x30, dns("a.example"), dns("*.b.example"), txt(0x87, "\xc0\x00\x02\x01"))},
			must(tbs.CRLDistributionPoints([]string{"http://ca.example/crl/1.crl"})),
		},
	}
	return d
}

func check(t testing.TB, der []byte) []engine.Finding {
	t.Helper()
	found, err := pki.Check(context.Background(), der)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestGood(t *testing.T) {
	f := newFixture()
	for what, change := range map[string]func(*draft){
		"as it is":    func(*draft) {},
		"no subject":  func(d *draft) { d.Subject = el(0x30); d.ext(tbs.OIDSubjectAltName).Critical = true },
		"RSA key":     func(d *draft) { d.SPKI = spki(f.rsa); d.set(must(tbs.KeyUsage("digitalSignature", "keyEncipherment"))) },
		"Ed25519 key": func(d *draft) { d.SPKI = f.ed },
		"person": func(d *draft) {
			d.Subject = dn(attr(oidCountry, printableString, "HU"), attr(oidOrg, utf8String, "Példa"), cn("Dr. Kovács Éva"))
		},
		"units": func(d *draft) {
			d.Subject = dn(attr(oidUnit, utf8String, "a"), attr(oidUnit, utf8String, "b"), cn("device 1"))
		},
		"device":         func(d *draft) { d.Subject = dn(cn("device-01")) },
		"CN in capitals": func(d *draft) { d.Subject = dn(cn("A.Example")) },
		"CN address":     func(d *draft) { d.Subject = dn(cn("192.0.2.1")) },
		"mailbox":        func(d *draft) { d.Subject = dn(cn("e@a.example")); d.san(txt(0x81, "e@a.example")) },
		"workload":       func(d *draft) { d.Subject = dn(cn("spiffe://a.example/x")); d.san(txt(0x86, "spiffe://a.example/x")) },
		"urn":            func(d *draft) { d.san(dns("a.example"), txt(0x86, "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6")) },
		"IPv6":           func(d *draft) { d.san(dns("a.example"), el(0x87, make([]byte, 15), []byte{1})) },
		"principal name": func(d *draft) {
			d.san(dns("a.example"), el(0xa0, txt(0x06, "\x2b\x06\x01\x04\x01\x82\x37\x14\x02\x03"), el(0xa0, txt(0x0c, "e@a.example"))))
		},
		"from 2050":     func(d *draft) { d.NotAfter = d.NotAfter.AddDate(30, 0, 0) },
		"other purpose": func(d *draft) { d.set(must(tbs.ExtKeyUsage("clientAuth", "1.3.6.1.4.1.311.20.2.2"))) },
		"other note":    func(d *draft) { d.add(tbs.Extension{OID: "1.3.6.1.4.1.99999.1", Value: []byte{0x0c, 1, 'x'}}) },
		"responder": func(d *draft) {
			d.set(must(tbs.ExtKeyUsage("OCSPSigning")))
			d.drop(tbs.OIDAuthorityInfoAccess)
			d.drop(tbs.OIDCRLDistributionPoints)
			d.add(tbs.Extension{OID: "1.3.6.1.5.5.7.48.1.5", Value: []byte{5, 0}})
		},
		"time stamps": func(d *draft) {
			d.set(must(tbs.ExtKeyUsage("timeStamping")))
			d.ext(tbs.OIDExtKeyUsage).Critical = true
		},
	} {
		d := f.good()
		change(d)
		if found := check(t, d.der()); len(found) > 0 {
			t.Errorf("%s: %v", what, found)
		}
	}
}

// TestRules breaks one rule at a time, and no other.
func TestRules(t *testing.T) {
	f := newFixture()
	covered := make(map[string]bool)
	for _, tt := range violations(f) {
		d := f.good()
		tt.spoil(d)
		found := check(t, d.der())
		covered[tt.rule] = true
		if len(found) != 1 || found[0].Rule != tt.rule {
			t.Errorf("%s (%s): %v", tt.rule, tt.what, found)
			continue
		}
		if found[0].Severity != "error" && found[0].Severity != "warn" || !strings.Contains(found[0].Detail, "(") {
			t.Errorf("%s (%s): %+v", tt.rule, tt.what, found[0])
		}
	}
	for _, name := range pki.Names() {
		if !covered[name] {
			t.Errorf("nothing breaks %s alone", name)
		}
	}
}

func TestUnreadable(t *testing.T) {
	f := newFixture()
	der := f.good().der()
	for what, bad := range map[string][]byte{
		"nothing": nil, "text": []byte("certificate"), "cut off": der[:len(der)-1], "more": append(bytes.Clone(der), 0),
		"PEM": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), "only the tbs": must(tbs.Render(&f.good().Certificate, f.algorithm)),
	} {
		if found := check(t, bad); len(found) != 1 || found[0].Rule != "form" || found[0].Severity != "error" {
			t.Errorf("%s: %v", what, found)
		}
	}
	d := f.good()
	d.add(tbs.Extension{OID: "1.3.6.1.4.1.99999.1", Value: el(0x04, make([]byte, 32<<10))})
	if found := check(t, d.der()); len(found) != 1 || found[0].Rule != "size" {
		t.Errorf("32 KiB and more: %v", found)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := pki.Check(ctx, der); err == nil {
		t.Error("went on after the context ended")
	}
}

// TestStandard: certificates of the standard library pass but for what it leaves
// to its caller.
func TestStandard(t *testing.T) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	ca := &x509.Certificate{RawSubject: dn(cn("CA")), SubjectKeyId: []byte("issuer"), PublicKey: key.Public()}
	leaf := &x509.Certificate{
		SerialNumber: new(big.Int).Lsh(big.NewInt(1), 100), NotBefore: time.Unix(1_800_000_000, 0), NotAfter: time.Unix(1_800_100_000, 0),
		SubjectKeyId: []byte("subject"), DNSNames: []string{"a.example"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if found := check(t, must(x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key))); len(found) > 0 {
		t.Error(found)
	}
}

func FuzzCheck(f *testing.F) {
	fix := newFixture()
	f.Add(fix.good().der())
	for _, v := range violations(fix) {
		d := fix.good()
		v.spoil(d)
		f.Add(d.der())
	}
	f.Fuzz(func(t *testing.T, der []byte) { check(t, der) })
}

func BenchmarkCheck(b *testing.B) {
	der := newFixture().good().der()
	b.ReportAllocs()
	for b.Loop() {
		check(b, der)
	}
}
