package pkcs10

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"testing"
)

// TestAgreement makes requests with the standard library over all algorithms and
// holds both readings together.
func TestAgreement(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	curve := func(c elliptic.Curve) *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	for what, row := range map[string]struct {
		key       crypto.Signer
		algorithm x509.SignatureAlgorithm
	}{
		"P-256": {curve(elliptic.P256()), 0}, "P-384": {curve(elliptic.P384()), 0}, "P-521": {curve(elliptic.P521()), 0},
		"P-256 with SHA-512": {curve(elliptic.P256()), x509.ECDSAWithSHA512},
		"RSA":                {rsaKey, 0}, "RSA SHA-384": {rsaKey, x509.SHA384WithRSA}, "RSA SHA-512": {rsaKey, x509.SHA512WithRSA},
		"PSS": {rsaKey, x509.SHA256WithRSAPSS}, "PSS SHA-384": {rsaKey, x509.SHA384WithRSAPSS}, "PSS SHA-512": {rsaKey, x509.SHA512WithRSAPSS},
		"Ed25519": {edKey, 0},
	} {
		raw, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
			SignatureAlgorithm: row.algorithm,
			Subject:            pkix.Name{CommonName: "www.example.com", Organization: []string{"Exämple", "Two"}, Country: []string{"DE"}},
			DNSNames:           []string{"www.example.com", "*.example.com"}, EmailAddresses: []string{"ada@example.com"},
			IPAddresses:     []net.IP{net.IPv4(192, 0, 2, 1), net.ParseIP("2001:db8::1")},
			ExtraExtensions: []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}},
		}, row.key)
		if err != nil {
			t.Fatal(err)
		}
		agree(t, raw)
		r, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.CheckSignature(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		// The signature over anything else must fail.
		r.signature[len(r.signature)-1] ^= 1
		if err := r.CheckSignature(); kindOf(err) != BadSignature {
			t.Errorf("%s: a spoiled signature gave %v", what, err)
		}
	}
	for name, raw := range recorded(t) {
		t.Run(name, func(t *testing.T) { agree(t, raw) })
	}
}

func TestXK_008_SignatureAlgorithms(t *testing.T) {
	algorithm := func(oid string, params ...[]byte) []byte {
		return der(0x30, append([][]byte{der(6, []byte(oid))}, params...)...)
	}
	const ecdsaOID = "\x2a\x86\x48\xce\x3d\x04\x03"
	for what, row := range map[string]struct {
		algorithm []byte
		kind      Kind
	}{
		"ECDSA SHA-1":         {algorithm("\x2a\x86\x48\xce\x3d\x04\x01"), BadAlgorithm},
		"ECDSA SHA-224":       {algorithm(ecdsaOID + "\x01"), BadAlgorithm},
		"RSA with an EC key":  {algorithm("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", []byte{5, 0}), BadAlgorithm},
		"Ed25519 with EC key": {algorithm("\x2b\x65\x70"), BadAlgorithm},
		"DSA":                 {algorithm("\x2a\x86\x48\xce\x38\x04\x03"), BadAlgorithm},
		"Ed448":               {algorithm("\x2b\x65\x71"), BadAlgorithm},
		"no signature":        {algorithm("\x2b\x06\x01\x05\x05\x07\x06\x02"), BadAlgorithm},
		"ECDSA with NULL":     {algorithm(ecdsaOID+"\x02", []byte{5, 0}), Malformed},
		"no algorithm":        {der(0x30), Malformed},
		"hash of another":     {algorithm(ecdsaOID + "\x03"), BadSignature},
	} {
		q := newTemplate(t)
		q.algorithm = row.algorithm
		r, err := Parse(q.build(t))
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if err := r.CheckSignature(); kindOf(err) != row.kind {
			t.Errorf("%s: gave %v", what, err)
		}
	}
	// Signed by another key than the one inside.
	q := newTemplate(t)
	q.key = newTemplate(t).key
	if r, err := Parse(q.build(t)); err != nil || kindOf(r.CheckSignature()) != BadSignature {
		t.Errorf("another key: %v", err)
	}
	for what, bits := range map[string][]byte{"absent": nil, "empty": {0}, "unused bits": {4, 0x30}} {
		q := newTemplate(t)
		r, err := Parse(der(0x30, q.info(), ecdsaSHA256, der(3, bits)))
		if err == nil {
			err = r.CheckSignature()
		}
		if kindOf(err) == "" {
			t.Errorf("signature %s passes", what)
		}
	}
}

func TestXK_008_PSSParameters(t *testing.T) {
	sha := func(last byte) []byte {
		return der(0x30, der(6, []byte("\x60\x86\x48\x01\x65\x03\x04\x02"+string(last))), []byte{5, 0})
	}
	mgf := func(oid string, hash []byte) []byte { return der(0x30, der(6, []byte(oid)), hash) }
	const mgf1 = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08"
	salt := der(0xa2, []byte{2, 1, 32})
	hash, mask := der(0xa0, sha(1)), der(0xa1, mgf(mgf1, sha(1)))
	for what, params := range map[string][]byte{
		"absent":           nil,
		"NULL":             {5, 0},
		"defaults":         der(0x30),
		"hash only":        der(0x30, hash, salt),
		"mask only":        der(0x30, mask, salt),
		"two hashes":       der(0x30, hash, der(0xa1, mgf(mgf1, sha(2))), salt),
		"SHA-1":            der(0x30, der(0xa0, der(0x30, der(6, []byte("\x2b\x0e\x03\x02\x1a")))), mask, salt),
		"another mask":     der(0x30, hash, der(0xa1, mgf("\x2a\x03", sha(1))), salt),
		"trailer":          der(0x30, hash, mask, salt, der(0xa3, []byte{2, 1, 1})),
		"salt not integer": der(0x30, hash, mask, der(0xa2, []byte{4, 1, 32})),
		"trailing":         append(der(0x30, hash, mask, salt), 0),
	} {
		if s, err := parsePSS(params); err == nil {
			t.Errorf("%s: gave %+v", what, s)
		}
	}
	if s, err := parsePSS(der(0x30, hash, mask, salt)); err != nil || s.hash != crypto.SHA256 || s.salt != 32 {
		t.Errorf("gave %+v, %v", s, err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	digest := make([]byte, 32)
	for length, ok := range map[int]bool{1: false, 20: false, 31: false, 32: true, 64: true, 222: true} {
		signature, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest, &rsa.PSSOptions{SaltLength: length})
		if err != nil {
			t.Fatal(err)
		}
		if (scheme{hash: crypto.SHA256, salt: length}).verifyPSS(&key.PublicKey, digest, signature) != ok {
			t.Errorf("salt of %d: %v", length, !ok)
		}
	}
	for _, length := range []int{-1, 0, 223, 1 << 30} {
		if (scheme{hash: crypto.SHA256, salt: length}).verifyPSS(&key.PublicKey, digest, make([]byte, 256)) {
			t.Errorf("salt of %d passes", length)
		}
	}
}
