package engine

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"chancery/engine/names"
	"chancery/store"
)

// A Source names the frontend that a request came through.
type Source string

// The frontends. Self is Chancery asking for a certificate of its own, through
// the same door as everybody.
const (
	ACME   Source = "acme"
	SCEP   Source = "scep"
	EST    Source = "est"
	Native Source = "native"
	Self   Source = "self"
)

// A Principal is who asks, as the authenticated channel has it: a kind, a
// colon, and an identifier, such as "account:ID", "grant:ID", "key:HEX" (the
// SHA-256 of a client certificate's SubjectPublicKeyInfo) or "self:NODE".
// It is never taken from the body of a message.
type Principal string

// A Key is the identity of a request in its protocol. Submitting the same Key
// again finds the same request.
type Key [sha256.Size]byte

// NewKey hashes what makes a request the same request: its source, endpoint,
// authority and requester, and the identifier that the protocol gives it (the
// ACME order, the SCEP transactionID, the native Idempotency-Key). Parts are
// prefixed with their length, so that no two lists of parts collide.
func NewKey(source Source, endpoint, authority string, requester Principal, id string) Key {
	h := sha256.New()
	for _, part := range []string{string(source), endpoint, authority, string(requester), id} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return Key(h.Sum(nil))
}

// String is the form in which rows hold a Key: 144 bits of it in base64url.
func (k Key) String() string { return base64.RawURLEncoding.EncodeToString(k[:18]) }

// A Form is how the body of a submission is encoded.
type Form string

// PKCS10 is a certification request in DER (RFC 2986).
const PKCS10 Form = "pkcs10"

// A Submission is what a frontend asks for, and what it has proved.
type Submission struct {
	Source    Source
	Endpoint  string    // of the frontend, by its name in the policy document
	Requester Principal // from the authenticated channel
	Key       Key
	Form      Form
	Body      []byte
	Authority string // requested, may be empty; policy decides
	Profile   string // requested, may be empty; policy decides
	Claims    []Claim
	Proofs    []Proof // none: nothing was proved
	Replaces  CertID  // the certificate that this one renews, if any

	// Keep is how long an issued request answers for its Key; 0 is 24 hours.
	Keep time.Duration

	// KeyPerRun says that the client makes a new key each time it asks (ACME).
	// What an officer approves then leaves the key out, and approval alone signs
	// nothing: the certificate is made for the submission that asks next.
	KeyPerRun bool

	// Also runs inside the engine's first commit, so that a frontend can write
	// its own row with it. Its error undoes that commit and is returned by
	// Submit as it is. It may run twice. requestID is the request's id.
	Also func(tx store.Tx, requestID string) error
}

// A Claim is a hint that nobody proved, with the place that it was found in:
// a request attribute, a challenge text.
type Claim struct {
	Origin string `json:"o"`
	Name   string `json:"n"`
	Value  string `json:"v"`
}

// A Method is a way in which something was proved.
type Method string

// All methods there are.
const (
	HTTP01       Method = "http-01"        // RFC 8555, Section 8.3
	DNS01        Method = "dns-01"         // RFC 8555, Section 8.4
	TLSALPN01    Method = "tls-alpn-01"    // RFC 8737
	DNSAccount01 Method = "dns-account-01" // draft-ietf-acme-dns-account-label
	DNSPersist01 Method = "dns-persist-01" // draft-ietf-acme-dns-persist
	ByGrant      Method = "grant"          // the requester holds the grant in Ref
	ClientCert   Method = "client-cert"    // the channel was authenticated by the certificate in Ref
	OldCert      Method = "old-cert"       // the requester renews the certificate in Ref, which is good and has the Names
	ByVote       Method = "vote"           // an officer approved exactly this
	BySelf       Method = "self"           // Chancery's own request
)

// A Proof is one fact that a frontend or the engine established.
type Proof struct {
	Method    Method       `json:"m"`
	Principal Principal    `json:"p,omitempty"` // about whom; empty in rows for the requester
	Names     []names.Name `json:"n,omitempty"` // whose control was proved
	Ref       string       `json:"r,omitempty"` // what it rests on: authorization, grant, certificate
	By        string       `json:"b,omitempty"` // who established it: node, validator, officer
	At        time.Time    `json:"a"`
	Expires   time.Time    `json:"e,omitzero"`
}

func (p Proof) live(now time.Time) bool { return p.Expires.IsZero() || now.Before(p.Expires) }
