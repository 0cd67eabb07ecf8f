// Package keys reads and judges public keys: the SubjectPublicKeyInfo of RFC
// 5280, Section 4.1.2.7 for RSA (RFC 3279, Section 2.3.1), ECDSA (RFC 5480) and
// Ed25519 (RFC 8410).
//
// Parse admits only keys with one exact encoding and sound structure. Allowed
// holds a key to what a profile permits, Weak to what is publicly known to be
// broken.
package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"strconv"
)

// Names of the algorithms.
const (
	RSA     = "rsa"
	ECDSA   = "ecdsa"
	Ed25519 = "ed25519"
)

// Public is a parsed public key. Treat it as read-only.
type Public struct {
	Algorithm string           // RSA, ECDSA or Ed25519
	Bits      int              // of the modulus or of the curve
	Curve     string           // "P-256", "P-384", "P-521"; else empty
	Key       crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	SPKI      []byte           // the exact DER

	bits []byte // value of the BIT STRING, a part of SPKI
}

// String names the kind of key: "RSA 2048", "P-256", "Ed25519".
func (p *Public) String() string {
	switch p.Algorithm {
	case RSA:
		return "RSA " + strconv.Itoa(p.Bits)
	case ECDSA:
		return p.Curve
	}
	return "Ed25519"
}

// FromKey makes a Public of a key made by the standard library, by way of its
// encoding, so that it passes the same checks as one from outside.
func FromKey(key crypto.PublicKey) (*Public, error) {
	if !whole(key) {
		return nil, &ParseError{Reason: "not a whole RSA, ECDSA or Ed25519 public key"}
	}
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, &ParseError{Reason: err.Error()}
	}
	return Parse(spki)
}

// whole says that the encoder can be given the key: it trusts that no part is
// missing, and keys put together from a JWK may lack any.
func whole(key crypto.PublicKey) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return key != nil && key.N != nil && key.N.Sign() > 0 && key.E > 0
	case *ecdsa.PublicKey:
		// The encoder finds everything else that is wrong with a point, but
		// panics when there is none.
		//lint:ignore SA1019 Bytes is what panics, and nothing else tells.
		return key != nil && key.X != nil && key.Y != nil
	case ed25519.PublicKey:
		return true
	}
	return false
}

// Hash is SHA-256 over the SPKI, by which keys are indexed and blocked.
func (p *Public) Hash() [32]byte { return sha256.Sum256(p.SPKI) }

// KeyID is the key identifier of RFC 7093, Section 2, method 1: the leftmost
// 160 bits of SHA-256 over the BIT STRING's value, without tag, length and count
// of unused bits. It is nil if SPKI is not a key that Parse admits, which only a
// Public written by hand can be.
func (p *Public) KeyID() []byte {
	if p.bits == nil {
		parsed, err := Parse(p.SPKI)
		if err != nil {
			return nil
		}
		return parsed.KeyID()
	}
	sum := sha256.Sum256(p.bits)
	return sum[:20]
}

// ParseError says that a key cannot be read or is unsound.
type ParseError struct {
	Reason string
}

func (e *ParseError) Error() string {
	return "public key: " + e.Reason + "; make a new key (P-256 is a good choice)"
}

// RuleError says that a sound key is not what the profile permits.
type RuleError struct {
	Got  string // "RSA 1024", "P-521", "Ed25519"
	Want string // what to make instead
}

func (e *RuleError) Error() string {
	return "public key: " + e.Got + " is not allowed here; use " + e.Want
}

// WeakError says that a key is known to be broken, whatever its size.
type WeakError struct {
	Kind   Weakness
	Detail string
}

func (e *WeakError) Error() string {
	return "public key is weak (" + string(e.Kind) + "): " + e.Detail + "; make a new key with current software"
}
