package acme

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"chancery/engine"
	"chancery/engine/names"
	"chancery/store"
)

// Rows have short member names, because there are three of them per certificate.
// Times are seconds since 1970 unless they say otherwise.

// A state is where an account, authorization or challenge is. The empty state
// is the one it is made in.
type state string

const (
	processing  state = "p"
	valid       state = "v"
	invalid     state = "i"
	deactivated state = "d"
)

// An account is a key with the right to order (RFC 8555, Section 7.1.2).
type account struct {
	ID       string          `json:"i"`
	Endpoint string          `json:"e"`
	Key      json.RawMessage `json:"k"` // canonical JWK
	Contact  []string        `json:"c,omitempty"`
	Agreed   bool            `json:"t,omitzero"`  // to the terms of service
	Terms    string          `json:"u,omitempty"` // their address
	State    state           `json:"s,omitempty"` // empty is valid
	Grant    string          `json:"g,omitempty"` // that the account is bound to
	Binding  json.RawMessage `json:"b,omitempty"` // as the client sent it, to be shown again
	Created  int64           `json:"a"`

	// Thumbprints of the keys that it had before, the last one first. Records for
	// dns-persist-01 that were made with them stay good.
	Former []string `json:"f,omitempty"`
}

func (a *account) principal() engine.Principal { return engine.Principal("account:" + a.ID) }

var accounts = store.Table[account]{
	Name: "acme_accounts", Version: 1,
	Key: func(a *account) string { return a.ID },
	Indexes: []store.Index[account]{
		// RFC 8555, Section 7.3.1: one account for one key. A key may have an
		// account at each endpoint.
		{Name: "key", Unique: true, Keys: func(a *account) []string {
			return []string{keyValue(sha256.Sum256(a.Key)) + a.Endpoint}
		}},
	},
}

// keyValue is what accounts with the key are found under: half of the
// thumbprint is more than enough.
func keyValue(thumbprint [sha256.Size]byte) string { return string(thumbprint[:16]) }

// An order is what an account wants a certificate for (RFC 8555, Section 7.1.3).
// Its status is not here: before finalize it follows from its authorizations,
// after that from the request.
type order struct {
	ID      string   `json:"i"`
	Account string   `json:"a"`
	Names   []string `json:"n"`           // as stored writes them, each once
	Above   []string `json:"b,omitempty"` // for each the domain that speaks for it, if the client named one; none: for no name
	Authz   []string `json:"z"`           // authorizations, in the order of Names; several names can share one
	Profile string   `json:"p,omitempty"`
	Expires int64    `json:"x"`
	Request string   `json:"r,omitempty"` // of the engine, from finalize on
	At      string   `json:"e,omitempty"` // endpoint; empty is default
	Denied  int      `json:"d,omitzero"`  // requests before that one, all of them denied

	// RFC 9773, Section 5: the certificate that this order is to replace, in its
	// one spelling, and whether another order may have that place since this one
	// came to nothing.
	Replaces string `json:"l,omitempty"`
	Yields   bool   `json:"y,omitzero"`
}

var orders = store.Table[order]{
	Name: "acme_orders", Version: 2,
	Key: func(o *order) string { return o.ID },
	Indexes: []store.Index[order]{
		// All of an account, those that it has begun and not brought to finalize,
		// and those for a name, for limits. It is one index, since each costs every
		// commit two pages.
		{Name: "account", Keys: func(o *order) []string {
			all := []string{ofAccount(o.Account, o.ID)}
			for _, n := range o.Names {
				all = append(all, ofName(o.At, n)+store.StampOf(o.ID))
			}
			if o.Request == "" {
				all = append(all, openValue(o.Account, o.Expires))
			}
			return all
		}},
		// One order replaces a certificate.
		{Name: "replaces", Unique: true, Keys: func(o *order) []string {
			if o.Replaces == "" || o.Yields {
				return nil
			}
			return []string{o.Replaces}
		}},
	},
}

// openValue has an account's orders lie in the order in which they expire.
func openValue(account string, expires int64) string { return fmt.Sprintf("%s%010x", account, expires) }

// ofAccount has an account's orders lie together, the oldest first, apart from
// the open ones. The first digit of an ID is random.
func ofAccount(account, order string) string {
	if order == "" {
		return account + "/"
	}
	return account + "/" + order[1:] + order[:1]
}

// ofName has orders for a name lie together, with a Stamp the oldest first, and
// apart from those of accounts, whose ids begin with a digit or letter.
func ofName(endpoint, name string) string {
	h := sha256.Sum256([]byte(endpoint + "\x00" + name))
	return "@" + hex.EncodeToString(h[:8])
}

func (o *order) generalNames() []names.Name {
	out := make([]names.Name, len(o.Names))
	for i, n := range o.Names {
		out[i] = fromStored(n)
	}
	return out
}

// An authz is an account's authorization for one name of one order (RFC 8555,
// Section 7.1.4).
type authz struct {
	ID         string      `json:"i"`
	Account    string      `json:"a"`
	Name       string      `json:"n"`           // as in the order, or the domain above
	Below      bool        `json:"w,omitzero"`  // also for all names below (RFC 9444)
	Pre        bool        `json:"f,omitzero"`  // made without an order: all of them may use it
	Grant      string      `json:"g,omitempty"` // that vouches for the name; then there are no challenges
	State      state       `json:"s,omitempty"`
	Expires    int64       `json:"x"`
	Challenges []challenge `json:"c"`
	By         string      `json:"b,omitempty"` // node that validated
	Validated  int64       `json:"v,omitzero"`
	Failed     int64       `json:"q,omitzero"` // when its challenge failed for good

	// Of a challenge that was accepted and is not decided yet: the thumbprint of
	// the account's key when it was accepted (RFC 8555, Section 8.3), and when
	// the next attempt may be made, in milliseconds. Whoever makes it moves Due
	// forward first, so that nobody else does.
	Thumbprint string `json:"h,omitempty"`
	Due        int64  `json:"d,omitzero"`
}

// A challenge is one way to prove control (RFC 8555, Section 7.1.5).
type challenge struct {
	Type  engine.Method `json:"t"`
	Token string        `json:"k,omitempty"`
	State state         `json:"s,omitempty"`
	Tries int           `json:"r,omitzero"`  // attempts that failed
	Error *problem      `json:"e,omitempty"` // of the last of them
}

var authzs = store.Table[authz]{
	Name: "acme_authzs", Version: 1,
	Key: func(a *authz) string { return a.ID },
	Indexes: []store.Index[authz]{
		{Name: "due", Keys: func(a *authz) []string {
			if a.Due == 0 {
				return nil
			}
			return []string{dueValue(a.Due)}
		}},
		// For revocation by an account that controls the names (RFC 8555,
		// Section 7.6).
		{Name: "proved", Keys: func(a *authz) []string {
			if a.State != valid {
				return nil
			}
			return []string{provedValue(a.Account, a.Name)}
		}},
		// Those that were made without an order: by name, and all of an account.
		{Name: "pre", Keys: func(a *authz) []string {
			if !a.Pre || a.State == invalid || a.State == deactivated {
				return nil
			}
			return []string{"n" + provedValue(a.Account, a.Name), "o" + openValue(a.Account, a.Expires)}
		}},
		// Those that failed, by account and time, for limits.
		{Name: "failed", Keys: func(a *authz) []string {
			if a.Failed == 0 {
				return nil
			}
			return []string{a.Account + store.Stamp(time.Unix(a.Failed, 0))}
		}},
	},
}

func dueValue(ms int64) string { return fmt.Sprintf("%012x", ms) }

func provedValue(account, name string) string {
	h := sha256.Sum256([]byte(account + "\x00" + name))
	return string(h[:8])
}

// Schemas are the tables of this package, for opening the store.
func Schemas() []store.Schema {
	return []store.Schema{accounts.Schema(), orders.Schema(), authzs.Schema(), failings.Schema(), spent.Schema()}
}

// status is the authorization's state at a time, by the words of RFC 8555,
// Section 7.1.6.
func (a *authz) status(now time.Time) string {
	switch a.State {
	case invalid:
		return "invalid"
	case deactivated:
		return "deactivated"
	}
	switch {
	case now.Unix() >= a.Expires && a.State == valid:
		return "expired"
	case now.Unix() >= a.Expires:
		return "invalid" // Section 7.1.6: only a valid one expires
	case a.State == valid:
		return "valid"
	}
	return "pending"
}

// accepted is the challenge that was accepted and is not decided, if one was.
func (a *authz) accepted() engine.Method {
	for _, c := range a.Challenges {
		if c.State == processing {
			return c.Type
		}
	}
	return ""
}

// failed is the challenge that made the authorization invalid, if one did.
func (a *authz) failed() *challenge {
	i := slices.IndexFunc(a.Challenges, func(c challenge) bool { return c.State == invalid })
	if i < 0 {
		return nil
	}
	return &a.Challenges[i]
}

// proof is what the engine is told of a valid authorization: control of those
// names of an order that it is for.
func (a *authz) proof(of []names.Name) engine.Proof {
	return engine.Proof{
		Method:    a.Challenges[0].Type, // a valid one has only the challenge that made it so
		Principal: engine.Principal("account:" + a.Account),
		Names:     of,
		Ref:       a.ID,
		By:        a.By,
		At:        time.Unix(a.Validated, 0).UTC(),
		Expires:   time.Unix(a.Expires, 0).UTC(),
	}
}

// view reads in a consistent snapshot.
func (f *Frontend) view(ctx context.Context, fn func(store.Tx) error) error {
	return f.deps.DB.View(ctx, fn)
}

// readRow reads the row that the path names, if the resource begins with one.
func (c *call) readRow(tx store.Tx) (err error) {
	if c.row == nil {
		return nil
	}
	if c.first, err = c.row.get(tx, c.id); store.Missing(err) {
		c.first, err = nil, nil
	}
	return err
}

// ownRow is the row that the path names, as readRow has found it, if it is this
// account's.
func ownRow[T any](c *call, owner func(*T) string) (*T, error) {
	v, ok := c.first.(*T)
	switch {
	case !ok:
		return nil, notFound()
	case owner(v) != c.account.ID:
		return nil, refuse(http.StatusForbidden, unauthorized, "this belongs to another account")
	}
	return v, nil
}
