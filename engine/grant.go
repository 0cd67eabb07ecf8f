package engine

import (
	"time"

	"chancery/engine/names"
	"chancery/store"
)

// A Grant is the right to enroll, for any protocol: an API token, an ACME
// external account key, a SCEP challenge, an EST password. Its secret is shown
// once, when it is made; the row holds a keyed hash of it, and for ACME, where it
// is the key of a MAC, the secret itself, sealed.
type Grant struct {
	ID           string          `json:"id"`
	Protocol     Source          `json:"protocol"`
	Endpoints    []string        `json:"endpoints,omitempty"` // empty: every endpoint of the protocol
	Profiles     []string        `json:"profiles,omitempty"`  // empty: the endpoint's own
	Names        []names.Pattern `json:"names,omitempty"`     // that a holder may have without further proof
	Uses         int             `json:"uses,omitzero"`       // certificates that it is good for; 0: any number
	Reserved     int             `json:"reserved,omitzero"`   // by requests under way
	Spent        int             `json:"spent,omitzero"`
	Denials      int             `json:"denials,omitzero"` // after five it ends
	Prevalidated bool            `json:"prevalidated,omitzero"`
	Accounts     int             `json:"accounts,omitzero"` // ACME: accounts that can be bound to it; 0: any number
	Bound        int             `json:"bound,omitzero"`    // of them so far
	Holder       Principal       `json:"holder,omitempty"`  // who uses it by being who they are, without a secret
	Owner        string          `json:"owner"`             // the person who made it
	Created      time.Time       `json:"created"`
	Expires      time.Time       `json:"expires,omitzero"`
	Revoked      time.Time       `json:"revoked,omitzero"`
	SecretMAC    string          `json:"mac,omitempty"`    // keyed hash of the secret, hexadecimal
	Sealed       []byte          `json:"sealed,omitempty"` // ACME: the MAC key, for the engine alone
}

// maxDenials ends a grant whose holder tries in vain, so that a leaked secret
// is not a place to guess names.
const maxDenials = 5

var grants = store.Table[Grant]{
	Name: "grants", Version: 1,
	Key: func(g *Grant) string { return g.ID },
	Indexes: []store.Index[Grant]{
		{Name: "secret", Unique: true, Keys: func(g *Grant) []string {
			if g.SecretMAC == "" {
				return nil
			}
			return []string{g.SecretMAC}
		}},
		{Name: "holder", Keys: func(g *Grant) []string {
			if g.Holder == "" {
				return nil
			}
			return []string{string(g.Holder)}
		}},
	},
}
