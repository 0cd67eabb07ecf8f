// Package ocsp reads status requests and signs the answers (RFC 6960, with the
// nonce of RFC 9654). The codec is our own because golang.org/x/crypto/ocsp sees
// only the first identifier of a request, no extensions and so no nonce, refuses
// requests that name or authenticate their sender, and always answers by name.
//
// It knows nothing of HTTP, stores or policy.
package ocsp

import (
	"bytes"
	"crypto"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Statuses of a response that is not successful (RFC 6960, Section 4.2.1).
const (
	MalformedRequest = 1
	InternalError    = 2
	TryLater         = 3
	Unauthorized     = 6
)

// A State is what is known of a certificate.
type State int

// The three states of RFC 6960, Section 2.2. The zero State is none of them, so
// that a forgotten one is refused and never said to be good.
const (
	Good State = iota + 1
	Revoked
	Unknown
)

// A CertID names a certificate by hashes of its issuer and its serial number.
type CertID struct {
	HashAlgorithm  crypto.Hash // SHA1 or SHA256; 0: one that nothing here matches
	IssuerNameHash []byte
	IssuerKeyHash  []byte
	Serial         []byte // content octets of the INTEGER, as sent
	Raw            []byte // DER, as sent
}

// A Request is what a client asks.
type Request struct {
	IDs   []CertID
	Nonce []byte // 1 to 128 octets; nil: none
}

// A Status is the answer for one certificate.
type Status struct {
	ID                     CertID
	State                  State
	RevokedAt              time.Time // Revoked only
	Reason                 int       // CRLReason, Revoked only; 0, unspecified, is not written
	ThisUpdate, NextUpdate time.Time
}

// A Response is what one signature covers.
type Response struct {
	Statuses   []Status
	ProducedAt time.Time
	Nonce      []byte              // of the request; nil: none
	Responder  *x509.Certificate   // of the key that signs: the issuer itself, or its delegate
	Chain      []*x509.Certificate // sent along; a delegate's own certificate must be first
}

var (
	// ErrMalformed is returned for a request to answer with MalformedRequest.
	ErrMalformed = errors.New("ocsp: malformed request")

	// ErrResponder is returned when the key or certificate may not sign an answer.
	ErrResponder = errors.New("ocsp: responder cannot sign this")

	// ErrStatus is returned for an answer that would mislead its reader.
	ErrStatus = errors.New("ocsp: status refused")
)

// ErrorResponse is the unsigned answer without content that says why there is
// none (RFC 6960, Section 2.3).
func ErrorResponse(status int) []byte {
	// OCSPResponse with nothing but responseStatus.
	return []byte{0x30, 3, 0x0a, 1, byte(status)}
}

// An Issuer recognises what was issued under one name and key.
type Issuer struct {
	name1, key1     [sha1.Size]byte
	name256, key256 [sha256.Size]byte
}

// NewIssuer prepares the hashes of a CA certificate.
func NewIssuer(ca *x509.Certificate) (*Issuer, error) {
	bits, ok := keyBits(ca.RawSubjectPublicKeyInfo)
	if !ok {
		return nil, ErrResponder
	}
	return &Issuer{
		name1: sha1.Sum(ca.RawSubject), key1: sha1.Sum(bits),
		name256: sha256.Sum256(ca.RawSubject), key256: sha256.Sum256(bits),
	}, nil
}

// Issued tells whether id names a certificate of this issuer, by both name and
// key (RFC 6960, Section 4.1.1).
func (i *Issuer) Issued(id *CertID) bool {
	switch id.HashAlgorithm {
	case crypto.SHA1:
		return bytes.Equal(id.IssuerNameHash, i.name1[:]) && bytes.Equal(id.IssuerKeyHash, i.key1[:])
	case crypto.SHA256:
		return bytes.Equal(id.IssuerNameHash, i.name256[:]) && bytes.Equal(id.IssuerKeyHash, i.key256[:])
	}
	return false
}

// ID makes the identifier of one of the issuer's certificates as a client would
// send it; serial holds the content octets of the INTEGER.
func (i *Issuer) ID(h crypto.Hash, serial []byte) CertID {
	id := CertID{HashAlgorithm: h, Serial: serial, IssuerNameHash: i.name1[:], IssuerKeyHash: i.key1[:]}
	oid := oidSHA1
	if h == crypto.SHA256 {
		id.IssuerNameHash, id.IssuerKeyHash = i.name256[:], i.key256[:]
		oid = oidSHA256
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.OBJECT_IDENTIFIER, func(b *cryptobyte.Builder) { b.AddBytes([]byte(oid)) })
			b.AddASN1NULL()
		})
		b.AddASN1OctetString(id.IssuerNameHash)
		b.AddASN1OctetString(id.IssuerKeyHash)
		b.AddASN1(asn1.INTEGER, func(b *cryptobyte.Builder) { b.AddBytes(serial) })
	})
	id.Raw = b.BytesOrPanic() // nothing above can fail
	return id
}

// keyBits returns the content of the subjectPublicKey without the octet that
// counts unused bits: what RFC 6960 hashes (Sections 4.1.1 and 4.2.2.3).
func keyBits(spki []byte) ([]byte, bool) {
	var body, bits cryptobyte.String
	s := cryptobyte.String(spki)
	if !s.ReadASN1(&body, asn1.SEQUENCE) || !body.SkipASN1(asn1.SEQUENCE) ||
		!body.ReadASN1(&bits, asn1.BIT_STRING) || len(bits) < 1 {
		return nil, false
	}
	return bits[1:], true
}
