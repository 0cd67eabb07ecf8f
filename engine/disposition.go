package engine

import (
	"errors"
	"time"
)

// A Disposition is the outcome of a request: one of [Issued], [Pended] or
// [Denied], and nothing else.
//
//sumtype:decl
type Disposition interface{ disposition() }

// Issued means that the certificate exists and is durably recorded.
type Issued struct {
	RequestID string
	ID        CertID
	Cert      []byte   // DER
	Chain     [][]byte // DER, issuer first, without the root
}

// Pended means that the request waits, as a rule for a person.
type Pended struct {
	RequestID  string
	RetryAfter time.Duration // whole seconds
}

// Denied means that there will be no certificate for this request.
type Denied struct {
	RequestID string `json:"-"`
	Reason    Reason `json:"r"`
	Detail    string `json:"d"` // safe to show to the requester, and says what to do
}

func (Issued) disposition() {}
func (Pended) disposition() {}
func (Denied) disposition() {}

// A Reason is why a request was denied, in terms that every protocol can map.
type Reason string

// All reasons there are.
const (
	BadCSR         Reason = "bad-csr"          // does not parse, proves no possession, or asks in contradiction
	BadKey         Reason = "bad-key"          // the key is weak, blocked, or of a kind the profile does not take
	NameNotAllowed Reason = "name-not-allowed" // a name is outside what profile or grant admit, or nobody proved it
	NotAuthorized  Reason = "not-authorized"   // the requester may not have this
	UnknownProfile Reason = "unknown-profile"  // no such profile here
	PolicyRefused  Reason = "policy-refused"   // the certificate would break a rule: validity, lint, gate
	LimitExceeded  Reason = "limit-exceeded"   // a quota is used up
	Rejected       Reason = "rejected"         // by an officer
	Superseded     Reason = "superseded"       // a newer request of the same requester took its place
	Abandoned      Reason = "abandoned"        // interrupted for too long; ask again
	CAARefused     Reason = "caa"              // the DNS does not let this CA issue for a name (RFC 8659)
)

// Reasons lists all of them, so that each frontend can test that it maps each.
var Reasons = []Reason{BadCSR, BadKey, NameNotAllowed, NotAuthorized, UnknownProfile, PolicyRefused, LimitExceeded, Rejected, Superseded, Abandoned, CAARefused}

var (
	// ErrNoRequest says that there is no such request, or that the caller may
	// not see it.
	ErrNoRequest = errors.New("no such request")

	// ErrConflict says that the Key was used before with another body.
	ErrConflict = errors.New("this key was used before with another request; use a new key")

	// ErrNotPending says that only a pending request can be approved or denied.
	ErrNotPending = errors.New("the request is not pending")

	// ErrNoCertificate says that there is no such certificate here.
	ErrNoCertificate = errors.New("no such certificate")

	// ErrForbidden says that the caller lacks the role, or that separation of
	// duties forbids it.
	ErrForbidden = errors.New("forbidden")

	// ErrNoGrant says that there is no such grant, or that it cannot be used.
	ErrNoGrant = errors.New("no such grant")

	// ErrUndecided says that a policy or the store could not tell. The request
	// may be recorded; submitting it again is safe.
	ErrUndecided = errors.New("undecided, try again later")
)

// A FrozenError says that an officer stopped issuing, or that the CA was restored
// from a backup, and why. Nothing was recorded; the requester should try again
// later.
type FrozenError struct {
	Scope  string // "all", "authority:NAME", "profile:NAME" or "grant:ID"; "quarantine" after a restore
	Reason string // for the client
}

func (e *FrozenError) Error() string { return "issuing is stopped (" + e.Scope + "): " + e.Reason }
