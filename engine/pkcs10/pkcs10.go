// Package pkcs10 reads certification requests (PKCS #10, RFC 2986) with the
// attributes of RFC 2985, once for all frontends. Parsing is strict DER: what
// another reader could take for something else is refused.
//
// The one thing that DER asks for and Parse does not is the order of the
// attributes, which enrollment software in the field gets wrong; nothing here
// depends on it.
package pkcs10

import (
	"chancery/engine/keys"
	"chancery/engine/names"
)

// MaxSize bounds a request before anything of it is read.
const MaxSize = 16 << 10

// Request is a parsed certification request. Treat it as read-only.
type Request struct {
	DER        []byte // as it came, with the challengePassword if there is one
	Subject    names.DN
	Key        *keys.Public
	Names      []names.Name // of the subjectAltName asked for
	Extensions []Extension  // the others asked for; what they are worth is policy's
	// ChallengePassword is a secret (RFC 2985, Section 5.4.1), empty when there
	// is none. Request shows itself without it in every form of output.
	ChallengePassword string
	Attributes        []string // OIDs of attributes that are not used

	info      []byte // certificationRequestInfo, what is signed
	algorithm []byte // content of signatureAlgorithm
	signature []byte
	head      []byte   // content of certificationRequestInfo before the attributes
	kept      [][]byte // the attributes but for challengePassword
}

// Extension is one extension that the request asks for.
type Extension struct {
	OID      string `json:"oid"`
	Critical bool   `json:"critical,omitempty"`
	Value    []byte `json:"value"`
}

// Kind classifies errors, so that a frontend can choose its protocol's code.
type Kind string

// The kinds of error.
const (
	Malformed    Kind = "malformed"     // not a request in DER
	TooLarge     Kind = "too-large"     // over a cap
	BadSubject   Kind = "bad-subject"   // the subject's name
	BadKey       Kind = "bad-key"       // the public key
	BadNames     Kind = "bad-names"     // subjectAltName
	BadAttribute Kind = "bad-attribute" // an attribute or a requested extension
	BadSignature Kind = "bad-signature" // proof of possession fails
	BadAlgorithm Kind = "bad-algorithm" // signed with what is not accepted
	PrivateKey   Kind = "private-key"   // a private key was sent in place of a request
)

// Error says why a request is refused and what to do. It never holds the
// challengePassword nor any part of a private key.
type Error struct {
	Kind   Kind
	Detail string
	Err    error // of package names or keys, when the fault lies there
}

func (e *Error) Error() string {
	if e.Err != nil {
		return "certification request: " + e.Detail + ": " + e.Err.Error()
	}
	return "certification request: " + e.Detail
}

// Unwrap gives the error of the part at fault.
func (e *Error) Unwrap() error { return e.Err }

func malformed(detail string) error { return &Error{Kind: Malformed, Detail: detail} }
