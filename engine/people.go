package engine

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"chancery/store"
)

// A Credential is what an authenticated channel knows of a person: the hash of
// the key of a certificate that chains to the management root, or the secret of
// a bearer token.
type Credential struct {
	SPKIHash [32]byte
	Token    string
}

// A Founder is the credential that first start makes. It holds all roles, so
// that it can enrol the people who will.
type Founder struct {
	Key     string    `json:"key"` // SHA-256 of the SubjectPublicKeyInfo, hexadecimal
	Expires time.Time `json:"expires"`
}

// setting rows hold what there is one of.
type setting struct {
	Name  string          `json:"n"`
	Value json.RawMessage `json:"v"`
}

var settings = store.Table[setting]{Name: "settings", Version: 1, Key: func(s *setting) string { return s.Name }}

// An AuditEntry is one act of a person or of Chancery itself.
type AuditEntry struct {
	ID     string    `json:"i"`
	At     time.Time `json:"a"`
	Who    string    `json:"w"`
	Via    string    `json:"v"`
	Act    string    `json:"c"`
	Object string    `json:"o"`
	Detail string    `json:"d,omitempty"`
}

var audits = store.Table[AuditEntry]{
	Name: "audits", Version: 1, Key: func(a *AuditEntry) string { return a.ID },
	Indexes: []store.Index[AuditEntry]{{Name: "time", Keys: func(a *AuditEntry) []string { return []string{newestFirst(a.At)} }}},
}

// audit records an act in the transaction that does it.
func (e *Engine) audit(tx store.Tx, a Actor, act, object, detail string) error {
	return audits.Insert(tx, &AuditEntry{e.newID(), e.now(), a.Person, a.Via, act, object, detail})
}

// Record audits an act of a person that a frontend carries out, in the
// transaction that does it.
func (e *Engine) Record(tx store.Tx, a Actor, act, object, detail string) error {
	return e.audit(tx, a, act, object, detail)
}

// Audit lists acts, newest first, and the cursor of the next page.
func (e *Engine) Audit(ctx context.Context, after string, limit int) ([]*AuditEntry, string, error) {
	return listNewest(ctx, e, &audits, after, limit, func(*AuditEntry) bool { return true })
}

// MakeFounder records the founder's credential. There is one, ever.
func (e *Engine) MakeFounder(ctx context.Context, spkiHash [32]byte, expires time.Time) error {
	value, err := json.Marshal(Founder{hex.EncodeToString(spkiHash[:]), expires})
	if err != nil {
		return err
	}
	return e.update(ctx, func(tx store.Tx) error {
		if err := settings.Insert(tx, &setting{"founder", value}); err != nil {
			return err
		}
		return e.audit(tx, Actor{Person: "first start", Via: "init"}, "founder", hex.EncodeToString(spkiHash[:]), "until "+expires.Format(time.DateOnly))
	})
}

// Founder returns the founder's credential, nil if there is none, and whether it
// still holds its roles: it loses them when it expires, and when the policy
// document gives an admin and another person who is officer.
func (e *Engine) Founder(ctx context.Context) (*Founder, bool, error) {
	var f *Founder
	err := e.view(ctx, func(tx store.Tx) error {
		s, err := settings.Get(tx, "founder")
		if err != nil {
			return err
		}
		f = new(Founder)
		return json.Unmarshal(s.Value, f)
	})
	if store.Missing(err) {
		return nil, false, nil
	} else if err != nil {
		return nil, false, err
	}
	set := e.setup.Load()
	return f, e.now().Before(f.Expires) && (set == nil || !separated(set.Policy.Roles)), nil
}

// separated reports whether two different persons hold admin and officer.
func separated(people map[string]Person) bool {
	var admin, officer bool
	for _, p := range people {
		admin = admin || slices.Contains(p.Roles, Admin)
		officer = officer || slices.Contains(p.Roles, Officer)
	}
	return admin && officer
}

// checkRoles refuses bindings that defeat separation of duties.
func checkRoles(people map[string]Person) error {
	var errs []error
	holder := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(people)) {
		p := people[name]
		if other, taken := holder[p.Key+p.Grant]; taken {
			errs = append(errs, fmt.Errorf("roles.%s: %s has the same credential; a credential is one person's", name, other))
		}
		holder[p.Key+p.Grant] = name
		bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("roles."+name+": "+format, args...)) }
		if raw, err := hex.DecodeString(p.Key); p.Key != "" && (err != nil || len(raw) != 32 || hex.EncodeToString(raw) != p.Key) {
			bad("key is the SHA-256 of a SubjectPublicKeyInfo, 64 hexadecimal digits in lower case")
		}
		if (p.Key == "") == (p.Grant == "") {
			bad("give either key or grant")
		}
		if len(p.Roles) == 0 {
			bad("roles is required")
		}
		for _, r := range p.Roles {
			if !slices.Contains(Roles, r) {
				bad("there is no role %q, only %s", r, list(Roles))
			}
		}
		if slices.Contains(p.Roles, Auditor) && len(p.Roles) > 1 {
			bad("an auditor holds no other role")
		}
		if slices.Contains(p.Roles, Admin) && slices.Contains(p.Roles, Officer) {
			bad("one person cannot be admin and officer: who sets the rules does not decide the cases")
		}
	}
	return errors.Join(errs...)
}

// Authenticate finds the person with the credential, and the roles that the
// credential has at this moment, or ErrForbidden.
func (e *Engine) Authenticate(ctx context.Context, c Credential) (Actor, error) {
	set := e.setup.Load()
	if set == nil {
		return Actor{}, ErrForbidden
	}
	if c.Token != "" {
		g, err := e.grantBySecret(ctx, c.Token)
		if err != nil || g.usable(e.now()) != nil {
			return Actor{}, fmt.Errorf("%w: this token is not known here", ErrForbidden)
		}
		for name, p := range set.Policy.Roles {
			if p.Grant == g.ID {
				return Actor{Person: name, Principal: Principal("grant:" + g.ID), Roles: p.Roles, Via: "grant"}, nil
			}
		}
		return Actor{}, fmt.Errorf("%w: this token has no role", ErrForbidden)
	}
	key := hex.EncodeToString(c.SPKIHash[:])
	for name, p := range set.Policy.Roles {
		if p.Key == key {
			return Actor{Person: name, Principal: Principal("key:" + key), Roles: p.Roles, Via: "key"}, nil
		}
	}
	f, active, err := e.Founder(ctx)
	if err != nil {
		return Actor{}, err
	}
	if f == nil || subtle.ConstantTimeCompare([]byte(f.Key), []byte(key)) == 0 {
		return Actor{}, fmt.Errorf("%w: no role is bound to this key; an admin adds it under roles in policy.yaml", ErrForbidden)
	}
	if !active {
		return Actor{}, fmt.Errorf("%w: the founder's credential has ended; use your own", ErrForbidden)
	}
	return Actor{Person: "founder", Principal: Principal("key:" + key), Roles: []Role{Officer, Admin, Auditor, Operator}, Via: "founder"}, nil
}
