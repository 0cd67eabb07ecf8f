// Package pkcs10 reads certification requests (RFC 2986), once for all
// frontends, in strict DER. What it cannot read as one thing it refuses.
package pkcs10

import (
	"chancery/engine/keys"
	"chancery/engine/names"
)

// Request is a parsed certification request. Treat it as read-only.
type Request struct {
	DER        []byte
	Subject    names.DN
	Key        *keys.Public
	Names      []names.Name // of the subjectAltName asked for
	Extensions []Extension  // the others asked for
	// ChallengePassword is a secret: never log it. Request shows itself
	// without it.
	ChallengePassword string
	Attributes        []string // OIDs of attributes that are not used
}

// Extension is one extension that the request asks for.
type Extension struct {
	OID      string `json:"oid"`
	Critical bool   `json:"critical,omitempty"`
	Value    []byte `json:"value"`
}

// Error says why a request is refused.
type Error struct {
	Kind   string
	Detail string
	Err    error
}

func (e *Error) Error() string { return "certification request: " + e.Detail }

// Unwrap gives the error of the part that was at fault, if any.
func (e *Error) Unwrap() error { return e.Err }

// Parse reads a request.
func Parse(der []byte) (*Request, error) { return nil, &Error{Kind: "unfinished"} }

// CheckSignature proves that the requester holds the key.
func (r *Request) CheckSignature() error { return &Error{Kind: "unfinished"} }

// WithoutSecrets gives the request without its challengePassword.
func (r *Request) WithoutSecrets() []byte { return r.DER }

// ParsePEMOrDER finds the request in a file.
func ParsePEMOrDER(b []byte) (der []byte, err error) { return nil, &Error{Kind: "unfinished"} }
