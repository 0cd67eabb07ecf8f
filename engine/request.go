package engine

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"chancery/engine/keys"
	"chancery/engine/names"
	"chancery/store"
)

// State is where a request is in its life. It only moves forward.
type State string

// received → pending → received → issuing → issued, or denied, or abandoned.
const (
	Received       State = "received"  // recorded; policy has not run to the end
	Pending        State = "pending"   // waits for officers
	Issuing        State = "issuing"   // decided; TBS and serial stored, a signature may exist
	StateIssued    State = "issued"    // the certificate is stored
	StateDenied    State = "denied"    // ended without one
	StateAbandoned State = "abandoned" // interrupted between decision and certificate for too long; its serial is revoked
)

// A Request is the row for one submission: what was asked, what was proved, who
// approved, what was decided. Policies read it and must not change it. Body,
// TBS and certificate lie as raw DER in tables of their own.
type Request struct {
	ID        string    `json:"i"`
	Source    Source    `json:"s"`
	Endpoint  string    `json:"ep,omitempty"`
	Requester Principal `json:"q"`
	Key       string    `json:"k"` // Key.String
	State     State     `json:"st"`
	Form      Form      `json:"f,omitempty"` // empty: PKCS10
	BodyMAC   string    `json:"h"`           // keyed hash of the whole body as it came
	WantAuth  string    `json:"wa,omitempty"`
	Want      string    `json:"wp,omitempty"` // the profile asked for
	Claims    []Claim   `json:"c,omitempty"`
	Proofs    []Proof   `json:"pr,omitempty"`
	Replaces  CertID    `json:"rp,omitzero"`
	Keep      int64     `json:"kp,omitzero"` // seconds for which it answers for its Key once issued; 0 is the default
	KeyPerRun bool      `json:"kr,omitzero"`
	Received  time.Time `json:"at"`
	Ended     time.Time `json:"en,omitzero"`  // when it was decided for good
	Same      string    `json:"sm,omitempty"` // names the row that a newer request of the same requester, names and profile supersedes
	Policy    string    `json:"po,omitempty"` // version of the policy document that decided
	Profile   string    `json:"pf,omitempty"` // decided
	Pends     []Pend    `json:"pe,omitempty"` // why it waits
	Digest    string    `json:"d,omitempty"`  // D: what officers vote on
	Votes     []Vote    `json:"vo,omitempty"`
	Counted   int       `json:"vc,omitzero"` // votes that the last decision knew of
	Cert      CertID    `json:"ce,omitzero"` // from Issuing on
	Refusal   *Denied   `json:"de,omitempty"`
	Reserved  []string  `json:"rs,omitempty"` // grants of which a use is reserved
	Handed    bool      `json:"hd,omitzero"`  // decided by a node without the CA key: whichever has it signs at once
	Released  bool      `json:"rl,omitzero"`  // no longer answers for its Key

	Asked  *Asked   `json:"-"` // parsed from the body
	Grants []*Grant `json:"-"` // those that ByGrant proofs refer to and that can be used now

	// What was rendered and committed, while the process that did so goes on.
	tbs  []byte
	twin *x509.Certificate
}

// Asked is what the body of a request asks for, parsed once. None of it is
// proved but that the requester holds the private key.
type Asked struct {
	Subject    names.DN
	Key        *keys.Public
	Names      []names.Name
	Extensions []AskedExtension
}

// An AskedExtension is an extension that the body asks for besides names.
type AskedExtension struct {
	OID      string
	Critical bool
	Value    []byte
}

// A Pend says which policy step wants a person to look, and why.
type Pend struct {
	Step   string `json:"s"`
	Detail string `json:"d"`
}

// A Vote is one officer's approval of exactly one D, for the steps that wanted
// a person when the officer looked. It is a fact that policies read.
type Vote struct {
	By     string    `json:"b"` // the person
	At     time.Time `json:"a"`
	Digest string    `json:"d"`
	Steps  []string  `json:"s"`
	Note   string    `json:"n,omitempty"`
}

var requests = store.Table[Request]{
	Name: "requests", Version: 1,
	Key: func(r *Request) string { return r.ID },
	Indexes: []store.Index[Request]{
		{Name: "key", Unique: true, Keys: func(r *Request) []string {
			if r.Released {
				return nil
			}
			return []string{r.Key}
		}},
		{Name: "time", Keys: func(r *Request) []string { return []string{newestFirst(r.Received)} }},
		{Name: "state", Keys: func(r *Request) []string {
			if r.State == StateIssued { // nearly all; by time is as good
				return nil
			}
			return []string{string(r.State)}
		}},
		{Name: "same", Keys: func(r *Request) []string {
			if r.State != Pending {
				return nil
			}
			return []string{r.Same}
		}},
		{Name: "basis", Keys: (*Request).basis},
	},
}

// basis is everything that the request rests on, for "what rests on X".
func (r *Request) basis() []string {
	var b []string
	add := func(s string) {
		if !slices.Contains(b, s) {
			b = append(b, s)
		}
	}
	add(string(r.Requester)) // "grant:ID" once, for both
	for _, p := range r.Proofs {
		if p.Method == ByGrant {
			add("grant:" + p.Ref)
		} else if p.By != "" {
			add("by:" + p.By)
		}
	}
	for _, v := range r.Votes {
		add("vote:" + v.By)
	}
	if r.Policy != "" {
		add("policy:" + r.Policy[:16])
	}
	return b
}

// sameHash names requests of one requester for the same names and profile.
func sameHash(r *Request) string {
	all := make([]string, 0, len(r.Asked.Names)+3)
	for _, n := range r.Asked.Names {
		all = append(all, n.String())
	}
	slices.Sort(all)
	all = append(slices.Compact(all), r.Asked.Subject.String(), r.Want, r.WantAuth, r.Endpoint, string(r.Source), string(r.Requester))
	h := sha256.Sum256([]byte(strings.Join(all, "\x00")))
	return hex.EncodeToString(h[:12])
}

// newestFirst is a text that sorts the later time first.
func newestFirst(t time.Time) string {
	return invertedHex(uint64(t.UnixMilli()))
}

func invertedHex(n uint64) string {
	const digits = "0123456789abcdef"
	var b [12]byte // 48 bits
	n = ^n
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = digits[n&15]
		n >>= 4
	}
	return string(b[:])
}
