package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"chancery/engine/keys"
	"chancery/engine/names"
)

// A Policy is the CA policy document: who issues, what, for whom, and who may
// decide. Each version is kept for ever under the hash of its canonical form,
// which is its JSON.
type Policy struct {
	Authorities map[string]Authority                  `json:"authorities"`
	Profiles    map[string]Profile                    `json:"profiles"`
	Decide      Decide                                `json:"policy"`
	Exit        []Module                              `json:"exit,omitempty"`
	Frontends   map[Source]map[string]json.RawMessage `json:"frontends,omitempty"` // by the frontend's own rules
	Roles       map[string]Person                     `json:"roles,omitempty"`     // by the name of the person
	Retention   Retention                             `json:"retention,omitzero"`

	// CAAIdentities are the names by which CAA records (RFC 8659) and records for
	// dns-persist-01 mean this CA, such as ca.example.org.
	CAAIdentities []string `json:"caa_identities,omitempty"`
}

// Canonical is the document's canonical form and its version, half of the
// SHA-256 of that form in hexadecimal.
func (p *Policy) Canonical() (doc []byte, version string, err error) {
	doc, err = json.Marshal(p)
	if err != nil {
		return nil, "", err
	}
	h := sha256.Sum256(doc)
	return doc, hex.EncodeToString(h[:16]), nil
}

// An Authority is an issuing CA. Its keys and certificates are made by init.
type Authority struct {
	Subject  string   `json:"subject,omitempty"`  // such as "CN=Example Issuing CA 1,O=Example"; default: made from the host name
	Key      string   `json:"key,omitempty"`      // ecdsa-p256 (default), ecdsa-p384, rsa-3072, ed25519
	Lifetime Duration `json:"lifetime,omitempty"` // default 5 years
	Domains  []string `json:"domains,omitempty"`  // name constraint: only names in these domains, and this machine's loopback
	CRL      CRLRules `json:"crl,omitzero"`       // which lists there are beside the complete one
	Chains   []string `json:"chains,omitempty"`   // other chains for its certificates, each as PEM: its certificate by another CA first
}

// CRLRules say which revocation lists an authority publishes beside the complete
// one. Either is for CAs with many revocations; a CA has one or none of them.
type CRLRules struct {
	Delta  bool `json:"delta,omitempty"`  // changes since the complete list, which is then made when half of its life has passed
	Shards int  `json:"shards,omitempty"` // lists of a part of the certificates each; between 2 and 1024
}

func (c CRLRules) check() error {
	if c.Shards < 0 || c.Shards == 1 || c.Shards > 1024 {
		return errors.New("shards is a number between 2 and 1024")
	}
	if c.Shards > 0 && c.Delta {
		return errors.New("delta and shards exclude each other: a list of a part is small enough to be made anew")
	}
	return nil
}

// Decide names the policy modules, in the order in which they run.
type Decide struct {
	Shape []Module `json:"shape"` // default: profile
	Judge []Module `json:"judge"` // default: keys
}

// A Module is a module by name with its configuration. In the document it is
// either the bare name or an object of one member.
type Module struct {
	Name   string
	Config json.RawMessage // an object; nil when the document has only the name
}

// MarshalJSON writes the form that UnmarshalJSON reads.
func (m Module) MarshalJSON() ([]byte, error) {
	if m.Config == nil {
		return json.Marshal(m.Name)
	}
	return json.Marshal(map[string]json.RawMessage{m.Name: m.Config})
}

// UnmarshalJSON reads "name" or {"name": {…}}.
func (m *Module) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &m.Name); err == nil {
		m.Config = nil
		return nil
	}
	var o map[string]json.RawMessage
	if err := json.Unmarshal(b, &o); err != nil || len(o) != 1 {
		return errors.New(`a module is its name, or one "name: {settings}"`)
	}
	for m.Name, m.Config = range o {
	}
	return nil
}

// A Profile says what certificates of one kind look like and who may have them.
type Profile struct {
	Description string       `json:"description,omitempty"`
	Authority   string       `json:"authority,omitempty"`  // default: the only one, or main
	Frontends   []Source     `json:"frontends"`            // required: through which it may be asked for
	Requesters  []Principal  `json:"requesters,omitempty"` // who may ask; empty: whoever the frontend lets in
	Keys        keys.Rules   `json:"keys,omitzero"`
	Names       NameRules    `json:"names,omitzero"`
	Subject     SubjectRules `json:"subject,omitzero"`
	Validity    Duration     `json:"validity"`                     // required
	MinValidity Duration     `json:"min_validity,omitempty"`       // a shorter certificate is a denial; default: a tenth of validity
	Renewal     RenewalRules `json:"renewal,omitzero"`             // when clients that ask are told to renew
	LateRenewal Duration     `json:"renew_after_expiry,omitempty"` // how long after its end a certificate can still be renewed, by EST and with the same key; default: not at all
	KeyUsage    []string     `json:"key_usage,omitempty"`          // default: digitalSignature
	ExtKeyUsage []string     `json:"eku"`                          // required, not empty
	Approval    string       `json:"approval,omitempty"`           // none (default) or manual
	CAA         bool         `json:"caa,omitempty"`                // issue only what the CAA records of the names admit (RFC 8659)
	Public      bool         `json:"public,omitempty"`             // for names of the public DNS only, and with CAA

	usages     []string // ExtKeyUsage as OIDs
	delegate   bool     // of Chancery's OCSP responders
	needsGrant bool     // also a request without names needs a grant that names the profile
}

// NameRules say which subject alternative names a profile takes. Who may have
// them is another question: each name also needs a proof, a grant, a vote, or
// to be in Assigned.
type NameRules struct {
	Allow    []names.Pattern `json:"allow,omitempty"`    // names outside are refused; empty: any DNS name and address
	Assigned []names.Pattern `json:"assigned,omitempty"` // names that every requester of the profile may have unproved
	Max      int             `json:"max,omitempty"`      // default 100
}

// SubjectRules say how the subject is made.
type SubjectRules struct {
	// CN is drop (no common name), san (the first name that fits; default),
	// asked (the one asked for, which must be one of the names; one that has the
	// shape of a DNS name becomes a name too), or free (any, for requesters whom
	// the profile trusts).
	CN    string `json:"cn,omitempty"`
	Fixed string `json:"fixed,omitempty"` // further attributes, such as "O=Example,C=CH"
}

// A Person holds roles. Each credential is bound by the hash of its key or by a
// grant, never by a name in a certificate.
type Person struct {
	Key   string `json:"key,omitempty"`   // SHA-256 of the SubjectPublicKeyInfo of the person's management certificate, hexadecimal
	Grant string `json:"grant,omitempty"` // or: id of a grant whose secret is the person's bearer token
	Roles []Role `json:"roles"`
}

// Retention says when what is no longer needed is deleted.
type Retention struct {
	Orders     Duration `json:"orders,omitempty"`     // ended ACME orders and authorizations, after they ended; default 30d
	Deliveries Duration `json:"deliveries,omitempty"` // events that every exit has taken; default: at once
	Trails     Duration `json:"trails,omitempty"`     // how a decision was reached; default 1 year
}

// A Duration is a time span in a document: Go's notation and also days (d) and
// years (y, of 365 days), as in "90d" or "1h30m".
type Duration time.Duration

// UnmarshalText reads "90d", "1y", "12h".
func (d *Duration) UnmarshalText(b []byte) error {
	s := string(b)
	unit := time.Duration(0)
	switch {
	case strings.HasSuffix(s, "d"):
		unit = 24 * time.Hour
	case strings.HasSuffix(s, "y"):
		unit = 365 * 24 * time.Hour
	}
	if unit != 0 {
		n, err := strconv.Atoi(s[:len(s)-1])
		if err != nil || n < 0 || n > 36500 {
			return fmt.Errorf("%.40q is not a duration such as 90d, 12h or 1y", s)
		}
		*d = Duration(time.Duration(n) * unit)
		return nil
	}
	t, err := time.ParseDuration(s)
	if err != nil || t < 0 {
		return fmt.Errorf("%.40q is not a duration such as 90d, 12h or 1y", s)
	}
	*d = Duration(t)
	return nil
}

// MarshalText writes the duration in Go's notation.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d Duration) or(other time.Duration) time.Duration {
	if d == 0 {
		return other
	}
	return time.Duration(d)
}
