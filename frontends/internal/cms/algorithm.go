package cms

import (
	"crypto"
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Content types (RFC 5652, Section 14).
var (
	OIDData      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	OIDSigned    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	OIDEnveloped = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 3}
)

var (
	oidContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningTime   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}

	oidRSA  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidOAEP = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 7}
	oidMGF1 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}

	// RFC 5754, Section 2: parameters may be absent or NULL.
	digests = []digest{
		{crypto.SHA1, asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}},
		{crypto.SHA256, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}},
		{crypto.SHA384, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}},
		{crypto.SHA512, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}},
	}
)

// A digest has the names of its hash, alone and in signatures.
type digest struct {
	hash       crypto.Hash
	oid        asn1.ObjectIdentifier
	rsa, ecdsa asn1.ObjectIdentifier
}

// A Cipher is how content is encrypted.
type Cipher string

// The ciphers, all in CBC mode. DES and 3DES are read only, for devices that
// know nothing else.
const (
	AES128    Cipher = "aes128"
	AES192    Cipher = "aes192"
	AES256    Cipher = "aes256"
	TripleDES Cipher = "3des"
	DES       Cipher = "des"
)

// A cbc is a cipher in CBC mode; its parameter is the IV.
type cbc struct {
	name       Cipher
	oid        asn1.ObjectIdentifier
	key, block int // octets
}

var ciphers = []cbc{
	{AES128, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}, 16, 16},
	{AES192, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 22}, 24, 16},
	{AES256, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, 32, 16},
	{TripleDES, asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 7}, 24, 8},
	{DES, asn1.ObjectIdentifier{1, 3, 14, 3, 2, 7}, 8, 8},
}

// An algorithm is an AlgorithmIdentifier.
type algorithm struct {
	oid    asn1.ObjectIdentifier
	params cryptobyte.String // one element, or nothing
}

func readAlgorithm(s *cryptobyte.String, a *algorithm) bool {
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&a.oid) {
		return false
	}
	if a.params = seq; seq.Empty() {
		return true
	}
	var element cryptobyte.String
	var tag cbasn1.Tag
	return seq.ReadAnyASN1Element(&element, &tag) && seq.Empty()
}

// plain reports that there are no parameters, or that they are NULL.
func (a *algorithm) plain() bool {
	return len(a.params) == 0 || len(a.params) == 2 && a.params[0] == 5 && a.params[1] == 0
}

func digestOf(a *algorithm) (crypto.Hash, bool) {
	for _, d := range digests {
		if d.oid.Equal(a.oid) && a.plain() {
			return d.hash, true
		}
	}
	return 0, false
}

func addAlgorithm(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, null bool) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		if null {
			b.AddASN1NULL()
		}
	})
}
