package tbs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

var (
	// ErrKeyMismatch is returned when a key is not one for the algorithm, or the
	// bytes to sign name another algorithm.
	ErrKeyMismatch = errors.New("tbs: key and signature algorithm do not match")

	// ErrBadSignature is returned when a key made a signature that its own
	// public key does not verify. The signature must not be used: a fault while
	// signing can give the key away.
	ErrBadSignature = errors.New("tbs: the signer returned a signature that does not verify")
)

// Sign makes the certificate out of a rendering: it signs these bytes and no
// others. With an ECDSA key in memory, as with RSA and Ed25519, signing twice
// makes the same certificate twice.
func Sign(tbs []byte, alg Algorithm, key crypto.Signer) ([]byte, error) {
	// RFC 5280, Section 4.1.1.2: both algorithm fields are the same.
	if inner, ok := innerAlgorithm(tbs); !ok || !bytes.Equal(inner, []byte(alg.identifier)) {
		return nil, ErrKeyMismatch
	}
	signature, err := Signature(tbs, alg, key)
	if err != nil {
		return nil, err
	}
	return Assemble(tbs, alg, signature), nil
}

// Signature signs a message with the algorithm and verifies the outcome with
// the public half of the key.
func Signature(message []byte, alg Algorithm, key crypto.Signer) ([]byte, error) {
	if want, err := AlgorithmFor(key.Public()); err != nil {
		return nil, err
	} else if want != alg {
		return nil, ErrKeyMismatch
	}
	digest := message
	if alg.hash != 0 {
		h := alg.hash.New()
		h.Write(message)
		digest = h.Sum(nil)
	}

	random := rand.Reader
	if _, inMemory := key.(*ecdsa.PrivateKey); inMemory {
		random = nil // RFC 6979: crypto/ecdsa derives the nonce from key and digest
	}
	signature, err := key.Sign(random, digest, alg.hash)
	if err != nil {
		return nil, fmt.Errorf("tbs: couldn't sign: %w", err)
	}
	if !verify(key.Public(), alg, digest, signature) {
		return nil, ErrBadSignature
	}
	return signature, nil
}

func verify(pub crypto.PublicKey, alg Algorithm, digest, signature []byte) bool {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, digest, signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, alg.hash, digest, signature) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(k, digest, signature)
	}
	return false
}

// Twin is a certificate with this tbsCertificate and a placeholder for the
// signature, for linters and parsers. It must never leave the process.
func Twin(tbs []byte, alg Algorithm) []byte { return Assemble(tbs, alg, alg.placeholder()) }

// Assemble puts the three parts of a signed structure together; a certificate
// and a certificate list have the same form (RFC 5280, Sections 4.1 and 5.1).
func Assemble(tbs []byte, alg Algorithm, signature []byte) []byte {
	bits := len(signature) + 1 // the octet that counts unused bits
	body := len(tbs) + len(alg.identifier) + headerLength(bits) + bits
	out := make([]byte, 0, headerLength(body)+body)
	out = appendHeader(out, tagSequence, body)
	out = append(out, tbs...)
	out = append(out, alg.identifier...)
	out = appendHeader(out, tagBitString, bits)
	out = append(out, 0)
	return append(out, signature...)
}

// innerAlgorithm is the AlgorithmIdentifier inside a tbsCertificate.
func innerAlgorithm(tbs []byte) (alg cryptobyte.String, ok bool) {
	body, ok := sequence(tbs)
	return alg, ok &&
		body.SkipOptionalASN1(tagVersion) &&
		body.SkipASN1(asn1.INTEGER) &&
		body.ReadASN1Element(&alg, asn1.SEQUENCE)
}

// Of returns the tbsCertificate inside a certificate or twin, as it stands there.
func Of(certificate []byte) ([]byte, error) {
	var tbs cryptobyte.String
	body, ok := sequence(certificate)
	if !ok || !body.ReadASN1Element(&tbs, asn1.SEQUENCE) {
		return nil, ErrNotTBS
	}
	return tbs, nil
}
