package tbs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
)

// An Algorithm is how a certificate authority signs. Its key decides it: there
// is nothing to configure, and so nothing to configure wrong. The zero value is
// no algorithm; two algorithms may be compared with ==.
type Algorithm struct {
	name       string
	hash       crypto.Hash // 0 where the message itself is signed
	identifier string      // AlgorithmIdentifier, DER
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
			return algorithm(identifierP256), nil
		case elliptic.P384():
			return algorithm(identifierP384), nil
		case elliptic.P521():
			return algorithm(identifierP521), nil
		}
		return Algorithm{}, fmt.Errorf("tbs: no signature algorithm for this elliptic curve")
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return Algorithm{}, fmt.Errorf("tbs: an RSA key of %d bits signs nothing here; %d are needed", k.N.BitLen(), minRSA)
		}
		return algorithm(identifierRSA), nil
	case ed25519.PublicKey:
		return algorithm(identifierEd25519), nil
	}
	return Algorithm{}, fmt.Errorf("tbs: no signature algorithm for a key of type %T", pub)
}

// AlgorithmOf reads an AlgorithmIdentifier. Only those that AlgorithmFor chooses
// are known.
func AlgorithmOf(identifier []byte) (Algorithm, bool) {
	a := algorithm(string(identifier))
	return a, a.name != ""
}

func algorithm(identifier string) Algorithm {
	switch identifier {
	case identifierP256:
		return Algorithm{"ecdsa-with-SHA256", crypto.SHA256, identifier}
	case identifierP384:
		return Algorithm{"ecdsa-with-SHA384", crypto.SHA384, identifier}
	case identifierP521:
		return Algorithm{"ecdsa-with-SHA512", crypto.SHA512, identifier}
	case identifierRSA:
		return Algorithm{"sha256WithRSAEncryption", crypto.SHA256, identifier}
	case identifierEd25519:
		return Algorithm{"ED25519", 0, identifier}
	}
	return Algorithm{}
}

// placeholder is a signature value of the right form and a usual length that
// verifies under no key.
func (a Algorithm) placeholder() []byte {
	switch a.identifier {
	case identifierP256:
		return ecdsaPlaceholder(32)
	case identifierP384:
		return ecdsaPlaceholder(48)
	case identifierP521:
		return ecdsaPlaceholder(66)
	case identifierEd25519:
		return bytes.Repeat([]byte{0x55}, ed25519.SignatureSize)
	}
	return bytes.Repeat([]byte{0x55}, minRSA/8)
}

// ecdsaPlaceholder is Ecdsa-Sig-Value with two positive integers of n octets.
func ecdsaPlaceholder(n int) []byte {
	out := appendHeader(make([]byte, 0, 2*n+8), 0x30, 2*(n+2))
	for range 2 {
		out = append(out, 0x02, byte(n))
		for range n {
			out = append(out, 0x55)
		}
	}
	return out
}
