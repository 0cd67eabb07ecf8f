// Package jose reads and verifies the one form of signed message that ACME
// knows: a JSON Web Signature in flattened JSON serialization (RFC 7515,
// Section 7.2.2) with the protected header of RFC 8555, Section 6.2, and keys as
// JSON Web Keys (RFC 7517).
//
// It is much stricter than the JOSE documents, because every leniency there is
// a second reading of signed bytes: each object has exactly the members that
// ACME names, each once; base64url has one spelling; there is no unprotected
// header, no extension, no algorithm but the five listed. Nothing is ever
// fetched.
package jose

import (
	"encoding/base64"
	"strconv"
)

// An Algorithm is a signature algorithm (RFC 7518, Section 3.1; RFC 8037,
// Section 3.1).
type Algorithm string

// The algorithms that are verified. RFC 8555, Section 6.2 demands ES256 and
// recommends EdDSA, and refuses none and all MACs.
const (
	ES256 Algorithm = "ES256"
	ES384 Algorithm = "ES384"
	ES512 Algorithm = "ES512"
	EdDSA Algorithm = "EdDSA"
	RS256 Algorithm = "RS256"
)

// Algorithms lists all of them, for the "algorithms" member of RFC 8555, Section 6.2.
func Algorithms() []Algorithm { return []Algorithm{ES256, ES384, ES512, EdDSA, RS256} }

// A Kind says what is wrong with a message.
type Kind string

// The kinds of error.
const (
	Malformed    Kind = "malformed"     // not a message of the one form
	BadAlgorithm Kind = "bad-algorithm" // signed with an algorithm that is not verified
	BadKey       Kind = "bad-key"       // the key is unreadable, weak, or too small
	BadSignature Kind = "bad-signature" // the key did not sign this
)

// An Error says why a message is refused. Detail is safe to show to the sender;
// it never repeats key material.
type Error struct {
	Kind   Kind
	Detail string
}

func (e *Error) Error() string { return e.Detail }

func malformed(detail string) error { return &Error{Malformed, detail} }

// A Message is a message in flattened JSON serialization, taken apart but not
// verified: until Verify returned nil, nothing in it may be believed.
type Message struct {
	Header
	Payload []byte // decoded; empty for POST-as-GET (RFC 8555, Section 6.3)

	protected, payload string // as they were signed
	signature          []byte
}

// Parse takes a message apart. The caller bounds its length. The error is an
// *Error. When the fault is in the protected header, the message comes with it as
// far as it was read, so that its nonce can be used up.
func Parse(body []byte) (*Message, error) {
	m, header, err := take(body)
	if err != nil {
		return nil, err
	}
	if err := m.Header.parse(header); err != nil {
		return m, err
	}
	return m, nil
}

// take opens the outer object. It returns the protected header unread.
func take(body []byte) (m *Message, header []byte, err error) {
	m = new(Message)
	protected, payload, signature, err := scan(string(body))
	if err != nil {
		return nil, nil, err
	}
	m.protected, m.payload = protected, payload
	if header, err = decode("protected", protected); err != nil {
		return nil, nil, err
	}
	if m.Payload, err = decode("payload", payload); err != nil {
		return nil, nil, err
	}
	if m.signature, err = decode("signature", signature); err != nil {
		return nil, nil, err
	}
	return m, header, nil
}

// Decode reads base64url as RFC 8555, Section 6.1 has it: without padding, and
// anything but the one spelling of the octets is refused. what names the value
// in the error.
func Decode(what, s string) ([]byte, error) {
	if i := notBase64URL(s); i >= 0 {
		return nil, malformed(what + " is not base64url without padding (character " + strconv.Itoa(i+1) + ")")
	}
	return decode(what, s)
}

// decode wants only characters of the alphabet: the decoder of the standard
// library would skip line breaks.
func decode(what, s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, malformed(what + " is not the base64url of any octets")
	}
	return b, nil
}

// notBase64URL returns the place of the first character outside the alphabet of
// RFC 4648, Section 5, or -1.
func notBase64URL(s string) int {
	for i := range len(s) {
		if !alphabet[s[i]] {
			return i
		}
	}
	return -1
}

var alphabet = func() (a [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		a[c] = true
	}
	return a
}()
