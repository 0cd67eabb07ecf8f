package tbs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"strings"
)

// An Algorithm is how a certificate authority signs. Its key decides it: there
// is nothing to configure, and so nothing to configure wrong. The zero value is
// no algorithm; two algorithms may be compared with ==.
type Algorithm struct {
	name       string
	hash       crypto.Hash // 0 where the message itself is signed
	identifier string      // AlgorithmIdentifier, DER
	size       int         // of a signature value, or of one of its two halves with ECDSA
}

// String names the algorithm as openssl does.
func (a Algorithm) String() string { return a.name }

// Hash is the digest that is signed; 0 means the message itself.
func (a Algorithm) Hash() crypto.Hash { return a.hash }

// Identifier is the AlgorithmIdentifier in DER.
func (a Algorithm) Identifier() []byte { return []byte(a.identifier) }

const (
	// RFC 5758, Section 3.2: ecdsa-with-SHA2 has no parameters.
	identifierP256 = "\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"
	identifierP384 = "\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03"
	identifierP521 = "\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04"
	// RFC 4055, Section 5: sha256WithRSAEncryption has NULL parameters.
	identifierRSA = "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00"
	// RFC 8410, Section 3: id-Ed25519 has no parameters.
	identifierEd25519 = "\x30\x05\x06\x03\x2b\x65\x70"
)

const minRSA = 2048

// AlgorithmFor chooses the algorithm that belongs to a public key.
func AlgorithmFor(pub crypto.PublicKey) (Algorithm, error) {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return Algorithm{"ecdsa-with-SHA256", crypto.SHA256, identifierP256, 32}, nil
		case elliptic.P384():
			return Algorithm{"ecdsa-with-SHA384", crypto.SHA384, identifierP384, 48}, nil
		case elliptic.P521():
			return Algorithm{"ecdsa-with-SHA512", crypto.SHA512, identifierP521, 66}, nil
		}
		return Algorithm{}, fmt.Errorf("tbs: no signature algorithm for this elliptic curve")
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return Algorithm{}, fmt.Errorf("tbs: an RSA key of %d bits signs nothing here; %d are needed", k.N.BitLen(), minRSA)
		}
		return Algorithm{"sha256WithRSAEncryption", crypto.SHA256, identifierRSA, k.Size()}, nil
	case ed25519.PublicKey:
		return Algorithm{"ED25519", 0, identifierEd25519, ed25519.SignatureSize}, nil
	}
	return Algorithm{}, fmt.Errorf("tbs: no signature algorithm for a key of type %T", pub)
}

// placeholder is a signature value of the right form and usual length that
// verifies under no key.
func (a Algorithm) placeholder() []byte {
	filler := strings.Repeat("\x55", a.size)
	switch a.identifier {
	case identifierP256, identifierP384, identifierP521:
		half := "\x02" + string(rune(a.size)) + filler // fits one octet of length, and is positive
		body := half + half
		if len(body) < 128 {
			return []byte("\x30" + string(rune(len(body))) + body)
		}
		return append([]byte{0x30, 0x81, byte(len(body))}, body...)
	}
	return []byte(filler)
}
