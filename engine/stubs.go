package engine

import (
	"context"
	"crypto/x509"
	"math/big"
	"time"

	"chancery/store"
)

// An Engine is the CA. See the package comment.
type Engine struct{}

// Schemas are the tables of the engine, for opening the store.
func Schemas() []store.Schema { return nil }

// New makes an engine, which answers nothing useful until Use gives it a setup.
func New(ctx context.Context, c Config) (*Engine, error) { return nil, ErrUndecided }

// Check reports everything about a policy document that the engine would refuse.
func (p *Policy) Check() error { return nil }

// Use checks the setup, records its policy document as the active version, and
// decides with it from now on.
func (e *Engine) Use(ctx context.Context, s Setup, by string) (version string, err error) {
	return "", ErrUndecided
}

// Submit is the one door.
func (e *Engine) Submit(ctx context.Context, s Submission) (Disposition, error) {
	return nil, ErrUndecided
}

// Status answers for the open or answering request with the Key, or ErrNoRequest.
func (e *Engine) Status(ctx context.Context, k Key) (Disposition, error) { return nil, ErrUndecided }

// Retrieve answers for a request to the principal that submitted it; to others it is ErrNoRequest.
func (e *Engine) Retrieve(ctx context.Context, id string, p Principal) (Disposition, error) {
	return nil, ErrUndecided
}

// Approve adds the actor's vote for the certificate with the digest (D) that was shown; empty: as it is now.
func (e *Engine) Approve(ctx context.Context, a Actor, id, digest, note string) (Disposition, error) {
	return nil, ErrUndecided
}

// Deny ends a pending request; the detail is shown to the requester.
func (e *Engine) Deny(ctx context.Context, a Actor, id, detail string) (Disposition, error) {
	return nil, ErrUndecided
}

// An Explanation is everything known about how a request came to be what it is.
type Explanation struct {
	Request     *Request
	Trail       []TrailEntry
	Warrants    []Warrant
	Certificate *Certificate // nil unless issued
	TBS         []byte       // what would be, or was, signed; nil if never rendered
}

// A Warrant says why a name may be in the certificate.
type Warrant struct {
	Name string `json:"n"`
	By   string `json:"b"`
}

// Explain returns how the request was decided.
func (e *Engine) Explain(ctx context.Context, id string) (*Explanation, error) {
	return nil, ErrUndecided
}

// A RequestFilter selects requests. Zero fields select all.
type RequestFilter struct {
	State     State
	Requester Principal
	Basis     string // such as "grant:ID" or "vote:NAME"
	Profile   string
	Source    Source
	Since     time.Time
	Limit     int    // default 50, at most 1000
	After     string // cursor from the page before
}

// Requests lists requests, newest first unless a state, requester or basis is
// asked for, and the cursor of the next page, empty at the end.
func (e *Engine) Requests(ctx context.Context, f RequestFilter) ([]*Request, string, error) {
	return nil, "", ErrUndecided
}

// A CertificateFilter selects certificates. Zero fields select all.
type CertificateFilter struct {
	Name          string // exact name, such as www.example.org
	Status        Status
	Profile       string
	ExpiresBefore time.Time
	Limit         int
	After         string
}

// Certificates lists certificates, and the cursor of the next page.
func (e *Engine) Certificates(ctx context.Context, f CertificateFilter) ([]*Certificate, string, error) {
	return nil, "", ErrUndecided
}

// Certificate returns the row and the DER of a certificate, or ErrNoCertificate.
func (e *Engine) Certificate(ctx context.Context, id CertID) (*Certificate, []byte, error) {
	return nil, nil, ErrUndecided
}

// BySerial returns the rows with a serial number (one per CA key, so nearly always one), or ErrNoCertificate.
func (e *Engine) BySerial(ctx context.Context, serial string) ([]*Certificate, error) {
	return nil, ErrUndecided
}

// Identify finds the row of a certificate that a client presented, whose stored bytes must be equal.
func (e *Engine) Identify(ctx context.Context, der []byte) (*Certificate, error) {
	return nil, ErrUndecided
}

// A Revocation changes the status of a certificate.
type Revocation struct {
	ID      CertID
	Reason  int  // CRLReason: 0, 1, 3, 4, 5, 9; 6 holds
	Release bool // ends a hold instead
	By      string
}

// ErrAlreadyRevoked says that the certificate is revoked, and for ever.
var ErrAlreadyRevoked error

// ErrNotHeld says that only a held certificate can be released.
var ErrNotHeld error

// ErrBadReason says that the reason code cannot be used.
var ErrBadReason error

// Revoke changes a certificate's status durably. Who may do that is for the caller to check.
func (e *Engine) Revoke(ctx context.Context, r Revocation) error { return ErrUndecided }

// AuthorityInfo describes an authority and its current CA key.
type AuthorityInfo struct {
	Name      string
	KeyID     string // of the current CA key, hexadecimal
	Chain     []*x509.Certificate
	CanSign   bool
	Profiles  []string
	CRLNumber *big.Int
}

// Authorities lists the authorities and their chains.
func (e *Engine) Authorities(ctx context.Context) ([]AuthorityInfo, error) { return nil, ErrUndecided }

// Issuer returns the CA certificate with the key identifier (hexadecimal), or ErrNoCertificate.
func (e *Engine) Issuer(keyID string) (*x509.Certificate, error) { return nil, ErrUndecided }

// Profiles are the profiles of the policy in use.
func (e *Engine) Profiles() map[string]Profile { return nil }

// CreateGrant records a grant (ID, Created, Owner and SecretMAC are set here) and returns its
// secret, which is not kept. A grant with a Holder has none.
func (e *Engine) CreateGrant(ctx context.Context, a Actor, g Grant) (*Grant, string, error) {
	return nil, "", ErrUndecided
}

// Grants lists the grants, with the cursor of the next page.
func (e *Engine) Grants(ctx context.Context, after string, limit int) ([]*Grant, string, error) {
	return nil, "", ErrUndecided
}

// RevokeGrant ends a grant.
func (e *Engine) RevokeGrant(ctx context.Context, a Actor, id string) error { return ErrUndecided }

// CheckGrant finds the usable grant with the secret for a protocol and endpoint, or ErrNoGrant.
func (e *Engine) CheckGrant(ctx context.Context, s Source, endpoint, secret string) (*Grant, error) {
	return nil, ErrUndecided
}

// HeldGrants lists the usable grants that a principal holds without a secret.
func (e *Engine) HeldGrants(ctx context.Context, s Source, endpoint string, p Principal) ([]*Grant, error) {
	return nil, ErrUndecided
}

// A Credential is what an authenticated channel knows of a person: the hash of the key of a
// certificate that chains to the management root, or the secret of a bearer token.
type Credential struct {
	SPKIHash [32]byte
	Token    string
}

// Authenticate finds the person with the credential and the roles that it has now, or ErrForbidden.
func (e *Engine) Authenticate(ctx context.Context, c Credential) (Actor, error) {
	return Actor{}, ErrUndecided
}

// A Founder is the credential that first start makes.
type Founder struct {
	SPKIHash string    `json:"key"`
	Expires  time.Time `json:"expires"`
}

// MakeFounder records the founder's credential. It is refused when there is one.
func (e *Engine) MakeFounder(ctx context.Context, spkiHash [32]byte, expires time.Time) error {
	return ErrUndecided
}

// Founder returns the founder's credential, nil if there is none, and whether it still has its roles.
func (e *Engine) Founder(ctx context.Context) (f *Founder, active bool, err error) {
	return nil, false, ErrUndecided
}

// A Freeze stops issuing. Scope is "all", "authority:NAME", "profile:NAME" or "grant:ID".
type Freeze struct {
	Scope  string    `json:"scope"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

// Freeze stops issuing in a scope; the reason is shown to clients. Revocation stays alive.
func (e *Engine) Freeze(ctx context.Context, a Actor, scope, reason string) error {
	return ErrUndecided
}

// Thaw ends a freeze.
func (e *Engine) Thaw(ctx context.Context, a Actor, scope string) error { return ErrUndecided }

// Freezes lists what is frozen.
func (e *Engine) Freezes(ctx context.Context) ([]Freeze, error) { return nil, ErrUndecided }

// A CRL is a published revocation list.
type CRL struct {
	DER        []byte
	Number     string // decimal
	ThisUpdate time.Time
	NextUpdate time.Time
}

// CRL returns the current revocation list of a CA key, by key identifier in hexadecimal, or ErrNoCertificate.
func (e *Engine) CRL(ctx context.Context, keyID string) (*CRL, error) { return nil, ErrUndecided }

// An OCSPAnswer is a DER response and, if it is a successful one, its times for cache headers.
type OCSPAnswer struct {
	DER        []byte
	ThisUpdate time.Time // zero for error responses
	NextUpdate time.Time
}

// OCSP answers a request (RFC 6960). Hostile input gives an OCSP error response, never an error.
func (e *Engine) OCSP(ctx context.Context, request []byte) OCSPAnswer { return OCSPAnswer{} }

// Run resumes what a crash interrupted, delivers events, publishes CRLs and deletes what
// retention says, until ctx is done; it returns when all of it has stopped.
func (e *Engine) Run(ctx context.Context) error { return ErrUndecided }

// A Health is what monitoring wants to know.
type Health struct {
	Policy     string // version in use
	Pending    int
	Deliveries int                  // events that some exit has not taken yet
	Parked     int                  // deliveries given up on, waiting for an operator
	CRLs       map[string]time.Time // nextUpdate per CA key
	Frozen     []Freeze
	Founder    *Founder
}

// Health reads the figures for status and metrics.
func (e *Engine) Health(ctx context.Context) (*Health, error) { return nil, ErrUndecided }

// Delivery is an event that an exit has yet to take.
type Delivery struct{}

// ReplayDeliveries tells an exit again what was parked.
func (e *Engine) ReplayDeliveries(ctx context.Context, a Actor, exit string) (int, error) {
	return 0, ErrUndecided
}
