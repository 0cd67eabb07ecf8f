package pki

import (
	"bytes"
	"fmt"
	"math/bits"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

const (
	minRSA = 2048
	maxRSA = 8192 // verifying longer ones costs relying parties too much
)

type keyKind uint8

const (
	keyOther keyKind = iota
	keyRSA
	keyEC
	keyEd25519
)

// A publicKey is a SubjectPublicKeyInfo taken apart.
type publicKey struct {
	kind       keyKind
	algorithm  string // content of the object identifier
	parameters []byte // whole; empty: absent
	bits       []byte // of subjectPublicKey
	modulus    []byte // RSA, without leading zeros
	exponent   []byte // RSA, without leading zeros
	form       bool   // an RSA key has its form
}

const (
	oidRSA     = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
	oidEC      = "\x2a\x86\x48\xce\x3d\x02\x01"
	oidEd25519 = "\x2b\x65\x70"

	// Whole elements, as they stand in parameters.
	paramNull = "\x05\x00"
	paramP256 = "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
	paramP384 = "\x06\x05\x2b\x81\x04\x00\x22"
	paramP521 = "\x06\x05\x2b\x81\x04\x00\x23"
)

func (k *publicKey) read(der cryptobyte.String) bool {
	var body, alg, oid cryptobyte.String
	if !der.ReadASN1(&body, asn1.SEQUENCE) || !body.ReadASN1(&alg, asn1.SEQUENCE) ||
		!alg.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) || !body.ReadASN1BitStringAsBytes(&k.bits) || !body.Empty() {
		return false
	}
	k.algorithm, k.parameters = string(oid), alg
	switch k.algorithm {
	case oidRSA:
		k.kind = keyRSA
		k.readRSA()
	case oidEC:
		k.kind = keyEC
	case oidEd25519:
		k.kind = keyEd25519
	}
	return true
}

// readRSA reads RSAPublicKey (RFC 3279, Section 2.3.1).
func (k *publicKey) readRSA() {
	var body, n, e cryptobyte.String
	s := cryptobyte.String(k.bits)
	k.form = s.ReadASN1(&body, asn1.SEQUENCE) && s.Empty() &&
		body.ReadASN1(&n, asn1.INTEGER) && body.ReadASN1(&e, asn1.INTEGER) && body.Empty() &&
		positive(n) && positive(e)
	k.modulus, k.exponent = bytes.TrimLeft(n, "\x00"), bytes.TrimLeft(e, "\x00")
}

func positive(integer []byte) bool {
	return primitive(asn1.INTEGER, integer) == "" && integer[0]&0x80 == 0 && (len(integer) > 1 || integer[0] != 0)
}

func (k *publicKey) modulusBits() int {
	if len(k.modulus) == 0 {
		return 0
	}
	return 8*(len(k.modulus)-1) + bits.Len8(k.modulus[0])
}

// keyRules are about the subject's public key. Whether it is weak in ways that
// need arithmetic is judged before a certificate is rendered.
func keyRules() []rule {
	return []rule{
		{"key-kind", "own rule: RSA, ECDSA and Ed25519", blocks, keyKnown},
		{"key-parameters", "RFC 3279, Section 2.3.1; RFC 5480, Section 2.1.1; RFC 8410, Section 3", blocks, keyParameters},
		{"key-form", "RFC 3279, Section 2.3.1; RFC 5480, Section 2.2; RFC 8410, Section 4", blocks, keyForm},
		{"rsa-size", "own rule: 2048 to 8192 bits", blocks, rsaSize},
		{"rsa-exponent", "FIPS 186-5, Section 5.4", blocks, rsaExponent},
		{"key-not-issuers", "own rule: a CA key is in no end-entity certificate", blocks, keyNotIssuers},
	}
}

func keyKnown(c *certificate) string {
	if c.key.kind == keyOther {
		return "key of unknown kind " + dotted(c.key.algorithm)
	}
	return ""
}

func keyParameters(c *certificate) string {
	p := string(c.key.parameters)
	switch {
	case c.key.kind == keyRSA && p != paramNull:
		return "parameters of an RSA key are not NULL"
	case c.key.kind == keyEC && p != paramP256 && p != paramP384 && p != paramP521:
		return "not one of the curves P-256, P-384, P-521 by name"
	case c.key.kind == keyEd25519 && p != "":
		return "an Ed25519 key has parameters"
	}
	return ""
}

func keyForm(c *certificate) string {
	switch c.key.kind {
	case keyRSA:
		if !c.key.form {
			return "not an RSAPublicKey with positive members"
		}
		if c.key.modulus[len(c.key.modulus)-1]&1 == 0 {
			return "even modulus"
		}
	case keyEC:
		if want := pointSize(c.key.parameters); want != 0 && (len(c.key.bits) != want || c.key.bits[0] != 4) {
			return "point is not in the uncompressed form"
		}
	case keyEd25519:
		if len(c.key.bits) != 32 {
			return "an Ed25519 key has 32 octets"
		}
	}
	return ""
}

// pointSize is the length of an uncompressed point; 0 on an unknown curve.
func pointSize(parameters []byte) int {
	switch string(parameters) {
	case paramP256:
		return 65
	case paramP384:
		return 97
	case paramP521:
		return 133
	}
	return 0
}

func rsaSize(c *certificate) string {
	if c.key.kind != keyRSA || !c.key.form {
		return ""
	}
	if n := c.key.modulusBits(); n < minRSA || n > maxRSA {
		return fmt.Sprintf("RSA key of %d bits", n)
	}
	return ""
}

// rsaExponent wants an odd number from 2^16+1 to 2^256-1: three octets that do
// not begin with zero are 2^16 at least.
func rsaExponent(c *certificate) string {
	if c.key.kind != keyRSA || !c.key.form {
		return ""
	}
	e := c.key.exponent
	if e[len(e)-1]&1 == 0 || len(e) < 3 || len(e) > 32 {
		return fmt.Sprintf("RSA exponent %x", e)
	}
	return ""
}

// keyNotIssuers compares the identifiers, for the issuer's key is not here.
func keyNotIssuers(c *certificate) string {
	if len(c.subjectID) > 0 && bytes.Equal(c.subjectID, c.authority.keyID) {
		return "subjectKeyIdentifier is the issuer's"
	}
	return ""
}
