package keys

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"
	"math/bits"
	"strconv"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

const (
	maxSPKI = 4096 // octets; an RSA key of maxModulus needs half of it
	// maxModulus bounds RSA before any arithmetic: cost grows with its cube.
	maxModulus = 8192
	minModulus = 512
)

// Parse reads a SubjectPublicKeyInfo in strict DER. It refuses unknown
// algorithms and parameters, points that are not on their curve, and everything
// that has a second encoding. The error is a *ParseError.
func Parse(spki []byte) (*Public, error) {
	if len(spki) > maxSPKI {
		return nil, &ParseError{Reason: "longer than 4096 octets"}
	}
	input := cryptobyte.String(spki)
	var seq, algorithm, oid, value cryptobyte.String
	if !input.ReadASN1(&seq, asn1.SEQUENCE) || !input.Empty() ||
		!seq.ReadASN1(&algorithm, asn1.SEQUENCE) || !algorithm.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) ||
		!seq.ReadASN1(&value, asn1.BIT_STRING) || !seq.Empty() {
		return nil, &ParseError{Reason: "not a SubjectPublicKeyInfo in DER"}
	}
	// Each key type here is whole octets: no unused bits.
	var unused uint8
	if !value.ReadUint8(&unused) || unused != 0 {
		return nil, &ParseError{Reason: "the BIT STRING is not whole octets"}
	}
	p := &Public{SPKI: bytes.Clone(spki)}
	p.bits = p.SPKI[len(spki)-len(value):]
	var reason string
	switch string(oid) {
	case oidRSA:
		reason = p.parseRSA(algorithm)
	case oidEC:
		reason = p.parseEC(algorithm)
	case oidEd25519:
		reason = p.parseEd25519(algorithm)
	default:
		reason = "an algorithm that is not supported (only RSA, ECDSA and Ed25519 are)"
	}
	if reason != "" {
		return nil, &ParseError{Reason: reason}
	}
	return p, nil
}

// Content octets of the object identifiers.
const (
	oidRSA     = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01" // 1.2.840.113549.1.1.1
	oidEC      = "\x2a\x86\x48\xce\x3d\x02\x01"         // 1.2.840.10045.2.1
	oidEd25519 = "\x2b\x65\x70"                         // 1.3.101.112
	oidP256    = "\x2a\x86\x48\xce\x3d\x03\x01\x07"     // 1.2.840.10045.3.1.7
	oidP384    = "\x2b\x81\x04\x00\x22"                 // 1.3.132.0.34
	oidP521    = "\x2b\x81\x04\x00\x23"                 // 1.3.132.0.35
)

// parseRSA: RFC 3279, Section 2.3.1: parameters NULL, RSAPublicKey of two
// positive INTEGERs.
func (p *Public) parseRSA(params cryptobyte.String) (reason string) {
	if !bytes.Equal(params, []byte{5, 0}) {
		return "the parameters of an RSA key are not NULL"
	}
	input := cryptobyte.String(p.bits)
	var seq cryptobyte.String
	if !input.ReadASN1(&seq, asn1.SEQUENCE) || !input.Empty() {
		return "the RSA key is not one DER SEQUENCE"
	}
	modulus, ok1 := readPositive(&seq)
	exponent, ok2 := readPositive(&seq)
	if !ok1 || !ok2 || !seq.Empty() {
		return "the RSA key is not two positive integers"
	}
	size := (len(modulus)-1)*8 + bits.Len8(modulus[0])
	if size > maxModulus || size < minModulus {
		return "an RSA modulus of " + strconv.Itoa(size) + " bits (512 to 8192 are read)"
	}
	// crypto/rsa and others stop at 31 bits, and nobody needs more.
	e := 0
	for _, c := range exponent {
		if e = e<<8 | int(c); e > 1<<31-1 {
			return "an RSA exponent above 2^31-1; use 65537"
		}
	}
	p.Algorithm, p.Bits = RSA, size
	p.Key = &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: e}
	return ""
}

// readPositive reads an INTEGER above zero, minimal (X.690, Section 8.3.2), as
// big-endian octets without a leading zero.
func readPositive(s *cryptobyte.String) ([]byte, bool) {
	var v cryptobyte.String
	if !s.ReadASN1(&v, asn1.INTEGER) || len(v) == 0 || v[0] >= 0x80 {
		return nil, false
	}
	if v[0] != 0 {
		return v, true
	}
	if len(v) == 1 || v[1] < 0x80 {
		return nil, false
	}
	return v[1:], true
}

// parseEC: RFC 5480, Section 2.1.1: a named curve, nothing explicit or
// inherited; Section 2.2: the point uncompressed, which gives each key one
// encoding. The library's parser checks that the point is on the curve and not
// at infinity.
func (p *Public) parseEC(params cryptobyte.String) (reason string) {
	var oid cryptobyte.String
	if !params.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) || !params.Empty() {
		return "the elliptic curve is not given by name"
	}
	var curve elliptic.Curve
	switch string(oid) {
	case oidP256:
		curve, p.Curve, p.Bits = elliptic.P256(), "P-256", 256
	case oidP384:
		curve, p.Curve, p.Bits = elliptic.P384(), "P-384", 384
	case oidP521:
		curve, p.Curve, p.Bits = elliptic.P521(), "P-521", 521
	default:
		return "an elliptic curve other than P-256, P-384 and P-521"
	}
	if len(p.bits) == 0 || p.bits[0] != 4 {
		return "the curve point is not in uncompressed form"
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, p.bits)
	if err != nil {
		return "the point is not on " + p.Curve
	}
	p.Algorithm, p.Key = ECDSA, key
	return ""
}

// parseEd25519: RFC 8410, Sections 3 and 4: no parameters, 32 octets.
func (p *Public) parseEd25519(params cryptobyte.String) (reason string) {
	if !params.Empty() {
		return "an Ed25519 key has no parameters"
	}
	if len(p.bits) != ed25519.PublicKeySize {
		return "an Ed25519 key is 32 octets"
	}
	if reason := checkEdwards(p.bits); reason != "" {
		return reason
	}
	p.Algorithm, p.Bits, p.Key = Ed25519, 256, ed25519.PublicKey(p.bits)
	return ""
}
