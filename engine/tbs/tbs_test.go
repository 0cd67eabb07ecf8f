package tbs_test

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
	"errors"
	"math/big"
	"net/netip"
	"net/url"
	"slices"
	"testing"
	"time"

	"chancery/engine/tbs"
)

var (
	notBefore = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2026, 5, 30, 11, 59, 59, 0, time.UTC)
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func name(rdns ...pkix.AttributeTypeAndValue) []byte {
	seq := make(pkix.RDNSequence, 0, len(rdns))
	for _, a := range rdns {
		seq = append(seq, pkix.RelativeDistinguishedNameSET{a})
	}
	return must(asn1.Marshal(seq))
}

func cn(value string) []byte {
	return name(pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: value})
}

func spki(pub crypto.PublicKey) []byte { return must(x509.MarshalPKIXPublicKey(pub)) }

func san(names ...string) tbs.Extension {
	var list []asn1.RawValue
	for _, n := range names {
		list = append(list, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte(n)})
	}
	return tbs.Extension{OID: tbs.OIDSubjectAltName, Value: must(asn1.Marshal(list))}
}

// leaf is a certificate as a profile would shape it.
func leaf(pub crypto.PublicKey) *tbs.Certificate {
	return &tbs.Certificate{
		Serial: []byte{0x9f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		Issuer: cn("Test Issuing CA"), Subject: cn("a.example"),
		NotBefore: notBefore, NotAfter: notAfter, SPKI: spki(pub),
		Extensions: []tbs.Extension{
			must(tbs.KeyUsage("digitalSignature")),
			must(tbs.ExtKeyUsage("serverAuth", "clientAuth")),
			tbs.BasicConstraints(false, -1),
			tbs.SKI([]byte("subject key id 20 oc")),
			tbs.AKI([]byte("issuer key id, 20 oc")),
			must(tbs.AuthorityInfoAccess([]string{"http://ca.example/ocsp"}, []string{"http://ca.example/aia/1.cer"})),
			san("a.example", "b.example"),
			must(tbs.CRLDistributionPoints([]string{"http://ca.example/crl/1.crl"})),
		},
	}
}

func keys(t testing.TB) map[string]crypto.Signer {
	_, ed := must2(ed25519.GenerateKey(rand.Reader))
	return map[string]crypto.Signer{
		"P-256":   must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		"P-384":   must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		"P-521":   must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)),
		"RSA":     must(rsa.GenerateKey(rand.Reader, 2048)),
		"Ed25519": ed,
	}
}

func must2[A, B any](a A, b B, err error) (A, B) {
	if err != nil {
		panic(err)
	}
	return a, b
}

// TestGolden compares with what the standard library makes from the same
// intentions: every octet but the signature.
func TestGolden(t *testing.T) {
	for kind, key := range keys(t) {
		t.Run(kind, func(t *testing.T) {
			want := leaf(key.Public())
			parent := &x509.Certificate{RawSubject: want.Issuer, SubjectKeyId: []byte("issuer key id, 20 oc"), PublicKey: key.Public()}
			template := &x509.Certificate{
				SerialNumber: new(big.Int).SetBytes(want.Serial), RawSubject: want.Subject,
				NotBefore: notBefore, NotAfter: notAfter,
				KeyUsage:              x509.KeyUsageDigitalSignature,
				ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
				BasicConstraintsValid: true,
				SubjectKeyId:          []byte("subject key id 20 oc"),
				OCSPServer:            []string{"http://ca.example/ocsp"},
				IssuingCertificateURL: []string{"http://ca.example/aia/1.cer"},
				DNSNames:              []string{"a.example", "b.example"},
				CRLDistributionPoints: []string{"http://ca.example/crl/1.crl"},
			}
			std := must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, parent, key.Public(), key))))

			alg := must(tbs.AlgorithmFor(key.Public()))
			rendered := must(tbs.Render(want, alg))
			if !bytes.Equal(rendered, std.RawTBSCertificate) {
				t.Fatalf("rendering differs\n ours %x\n std  %x", rendered, std.RawTBSCertificate)
			}

			twin, err := x509.ParseCertificate(tbs.Twin(rendered, alg))
			if err != nil {
				t.Fatal("twin:", err)
			}
			if err := twin.CheckSignatureFrom(&x509.Certificate{PublicKey: key.Public(), PublicKeyAlgorithm: std.PublicKeyAlgorithm, IsCA: true, BasicConstraintsValid: true, Version: 3}); err == nil {
				t.Error("the twin's signature verifies")
			}
			der := must(tbs.Sign(rendered, alg, key))
			signed := must(x509.ParseCertificate(der))
			if !bytes.Equal(signed.RawTBSCertificate, rendered) {
				t.Error("other bytes were signed")
			}
			if err := std.CheckSignature(signed.SignatureAlgorithm, signed.RawTBSCertificate, signed.Signature); err != nil {
				t.Error(err)
			}
			if again := must(tbs.Sign(rendered, alg, key)); !bytes.Equal(again, der) {
				t.Error("signing twice made two certificates")
			}
		})
	}
}

func TestCAExtensions(t *testing.T) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c := leaf(key.Public())
	c.Extensions = []tbs.Extension{
		must(tbs.KeyUsage("keyCertSign", "cRLSign")),
		tbs.BasicConstraints(true, 0),
		must(tbs.NameConstraints([]string{"corp.example", "lab.example"}, nil)),
		must(tbs.ExtKeyUsage("OCSPSigning", "1.3.6.1.4.1.99999.7")),
	}
	alg := must(tbs.AlgorithmFor(key.Public()))
	p := must(x509.ParseCertificate(tbs.Twin(must(tbs.Render(c, alg)), alg)))
	if p.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || !p.IsCA || p.MaxPathLen != 0 || !p.MaxPathLenZero {
		t.Errorf("usage %b, ca %v, path length %d", p.KeyUsage, p.IsCA, p.MaxPathLen)
	}
	if !slices.Equal(p.PermittedDNSDomains, []string{"corp.example", "lab.example"}) || !p.PermittedDNSDomainsCritical {
		t.Error("name constraints", p.PermittedDNSDomains)
	}
	if len(p.ExtKeyUsage) != 1 || p.ExtKeyUsage[0] != x509.ExtKeyUsageOCSPSigning || len(p.UnknownExtKeyUsage) != 1 {
		t.Error("purposes", p.ExtKeyUsage, p.UnknownExtKeyUsage)
	}
}

func TestKeyUsageBits(t *testing.T) {
	names := []string{"digitalSignature", "contentCommitment", "keyEncipherment", "dataEncipherment", "keyAgreement",
		"keyCertSign", "cRLSign", "encipherOnly", "decipherOnly"}
	for set := 1; set < 1<<len(names); set++ {
		var chosen []string
		bits := asn1.BitString{Bytes: make([]byte, 2)}
		for i, n := range names {
			if set>>i&1 == 1 {
				chosen = append(chosen, n)
				bits.Bytes[i/8] |= 0x80 >> (i % 8)
				bits.BitLength = i + 1
			}
		}
		bits.Bytes = bits.Bytes[:(bits.BitLength+7)/8]
		if got, want := must(tbs.KeyUsage(chosen...)).Value, must(asn1.Marshal(bits)); !bytes.Equal(got, want) {
			t.Fatalf("%v: got %x, want %x", chosen, got, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	alg := must(tbs.AlgorithmFor(key.Public()))
	tests := map[string]func(*tbs.Certificate){
		"no serial":           func(c *tbs.Certificate) { c.Serial = nil },
		"serial zero":         func(c *tbs.Certificate) { c.Serial = []byte{0, 0} },
		"serial of 21 octets": func(c *tbs.Certificate) { c.Serial = bytes.Repeat([]byte{1}, 21) },
		"serial of 160 bits":  func(c *tbs.Certificate) { c.Serial = bytes.Repeat([]byte{0x80}, 20) },
		"empty issuer":        func(c *tbs.Certificate) { c.Issuer = []byte{0x30, 0} },
		"issuer no name":      func(c *tbs.Certificate) { c.Issuer = []byte("CN=x") },
		"no subject":          func(c *tbs.Certificate) { c.Subject = nil },
		"subject and more":    func(c *tbs.Certificate) { c.Subject = append(c.Subject, 0) },
		"no key":              func(c *tbs.Certificate) { c.SPKI = nil },
		"dates reversed":      func(c *tbs.Certificate) { c.NotBefore, c.NotAfter = c.NotAfter, c.NotBefore },
		"fraction":            func(c *tbs.Certificate) { c.NotAfter = c.NotAfter.Add(time.Millisecond) },
		"year 1949":           func(c *tbs.Certificate) { c.NotBefore = c.NotBefore.AddDate(-77, 0, 0) },
		"year 10000":          func(c *tbs.Certificate) { c.NotAfter = c.NotAfter.AddDate(7974, 0, 0) },
		"no extensions":       func(c *tbs.Certificate) { c.Extensions = nil },
		"extension twice":     func(c *tbs.Certificate) { c.Extensions = append(c.Extensions, c.Extensions[0]) },
		"no OID":              func(c *tbs.Certificate) { c.Extensions[0].OID = "critical" },
		"value no DER":        func(c *tbs.Certificate) { c.Extensions[0].Value = []byte("x") },
		"no value":            func(c *tbs.Certificate) { c.Extensions[0].Value = nil },
		"empty SAN":           func(c *tbs.Certificate) { c.Extensions[6].Value = []byte{0x30, 0} },
	}
	for what, spoil := range tests {
		c := leaf(key.Public())
		spoil(c)
		var refused *tbs.RefusedError
		if _, err := tbs.Render(c, alg); !errors.As(err, &refused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := tbs.Render(leaf(key.Public()), tbs.Algorithm{}); err == nil {
		t.Error("rendered without an algorithm")
	}
	for _, err := range []error{
		second(tbs.KeyUsage()), second(tbs.KeyUsage("signing")), second(tbs.ExtKeyUsage()), second(tbs.ExtKeyUsage("web")),
		second(tbs.CRLDistributionPoints(nil)), second(tbs.CRLDistributionPoints([]string{"crl/1"})),
		second(tbs.CRLDistributionPoints([]string{"http://ca.example/a b"})), second(tbs.AuthorityInfoAccess(nil, nil)),
		second(tbs.AuthorityInfoAccess([]string{"javascript:alert(1)"}, nil)), second(tbs.NameConstraints(nil, nil)),
		second(tbs.NameConstraints([]string{""}, nil)), second(tbs.NameConstraints([]string{"."}, nil)),
		second(tbs.NameConstraints([]string{"a.example"}, []netip.Prefix{{}})),
		second(tbs.NameConstraints([]string{"a.example"}, []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")})),
		second(tbs.NameConstraints([]string{"a.example"}, []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")})),
	} {
		if err == nil {
			t.Error("an extension that says nothing was made")
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestTimes is O-029: UTCTime through 2049, GeneralizedTime from 2050.
func TestTimes(t *testing.T) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	alg := must(tbs.AlgorithmFor(key.Public()))
	c := leaf(key.Public())
	c.NotBefore = time.Date(2050, 1, 1, 1, 59, 59, 0, time.FixedZone("", 7200))
	c.NotAfter = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	rendered := must(tbs.Render(c, alg))
	want := []byte("\x17\x0d491231235959Z\x18\x0f99991231235959Z")
	if !bytes.Contains(rendered, want) {
		t.Errorf("no %q in %x", want, rendered)
	}
	c.NotBefore = c.NotBefore.Add(time.Second)
	if want = []byte("\x18\x0f20500101000000Z"); !bytes.Contains(must(tbs.Render(c, alg)), want) {
		t.Errorf("no %q", want)
	}
}

// TestSerials is O-031: positive, minimal, 20 octets at most.
func TestSerials(t *testing.T) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	alg := must(tbs.AlgorithmFor(key.Public()))
	for _, serial := range [][]byte{{1}, {0x7f}, {0x80}, {0, 0, 0x80}, {0, 1}, bytes.Repeat([]byte{0xff}, 19), append([]byte{0x7f}, bytes.Repeat([]byte{0xff}, 19)...)} {
		c := leaf(key.Public())
		c.Serial = serial
		p, err := x509.ParseCertificate(tbs.Twin(must(tbs.Render(c, alg)), alg))
		if err != nil || p.SerialNumber.Cmp(new(big.Int).SetBytes(serial)) != 0 {
			t.Errorf("%x: %v", serial, err)
		}
	}
}

// broken signs with one key and claims another.
type broken struct {
	crypto.Signer
	pub crypto.PublicKey
}

func (b broken) Public() crypto.PublicKey { return b.pub }

func TestSignGuards(t *testing.T) {
	all := keys(t)
	p256, rsaKey := all["P-256"], all["RSA"]
	alg := must(tbs.AlgorithmFor(p256.Public()))
	rendered := must(tbs.Render(leaf(p256.Public()), alg))
	if _, err := tbs.Sign(rendered, alg, rsaKey); !errors.Is(err, tbs.ErrKeyMismatch) {
		t.Error("key of another kind:", err)
	}
	if _, err := tbs.Sign(rendered, must(tbs.AlgorithmFor(rsaKey.Public())), rsaKey); !errors.Is(err, tbs.ErrKeyMismatch) {
		t.Error("bytes that name another algorithm:", err)
	}
	if _, err := tbs.Sign([]byte("nonsense"), alg, p256); !errors.Is(err, tbs.ErrKeyMismatch) {
		t.Error("no tbsCertificate:", err)
	}
	for kind, key := range all {
		other := keys(t)[kind]
		alg := must(tbs.AlgorithmFor(key.Public()))
		if _, err := tbs.Signature(rendered, alg, broken{other, key.Public()}); !errors.Is(err, tbs.ErrBadSignature) {
			t.Errorf("%s: a signature that does not verify: %v", kind, err)
		}
	}
}

func TestAlgorithmFor(t *testing.T) {
	for kind, key := range keys(t) {
		alg := must(tbs.AlgorithmFor(key.Public()))
		if again, ok := tbs.AlgorithmOf(alg.Identifier()); !ok || again != alg {
			t.Errorf("%s: %v read back as %v", kind, alg, again)
		}
	}
	weak := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)).Public()
	for _, pub := range []crypto.PublicKey{weak, p224, nil, "key", &url.URL{}} {
		if alg, err := tbs.AlgorithmFor(pub); err == nil {
			t.Errorf("%T: %v", pub, alg)
		}
	}
}
