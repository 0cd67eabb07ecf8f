package engine

import (
	"context"
	"crypto"
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"chancery/engine/names"
	"chancery/store"
)

// An ACME grant is what RFC 8555, Section 7.3.4 calls an external account: its id
// is the key identifier, its secret the MAC key. Whoever makes an account with it
// is held to it from then on: the account can have no profile and no name that
// the grant does not list, and nothing once the grant is revoked, expired or used
// up.

// errBadMAC is one answer for a grant that is not there and for a MAC that does
// not fit, so that ids cannot be tried out.
var errBadMAC = fmt.Errorf("%w with this key identifier and MAC key", ErrNoGrant)

// CheckMAC verifies an HMAC by the key of an ACME grant, which never leaves the
// engine. The hash is SHA-256, SHA-384 or SHA-512. An unknown grant costs the
// same work as a wrong key. A grant that can no longer be used is ErrNoGrant too,
// with the reason, for only its holder gets so far.
func (e *Engine) CheckMAC(ctx context.Context, s Source, endpoint, id string, hash crypto.Hash, input, mac []byte) (*Grant, error) {
	g, key, err := e.macKey(ctx, id)
	if err != nil {
		return nil, err
	}
	h := hmac.New(hash.New, key)
	h.Write(input)
	if !hmac.Equal(h.Sum(nil), mac) || g == nil {
		return nil, errBadMAC
	}
	if err := g.usable(e.now()); err != nil {
		return nil, err
	}
	if !g.serves(s, endpoint) {
		return nil, fmt.Errorf("%w: it is not for this protocol or endpoint", ErrNoGrant)
	}
	return g, nil
}

// macKey opens the key of a grant, or with a nil grant a key that fits nothing.
func (e *Engine) macKey(ctx context.Context, id string) (*Grant, []byte, error) {
	g, err := e.Grant(ctx, id)
	if err != nil && !errors.Is(err, ErrNoGrant) {
		return nil, nil, err
	}
	if g == nil || len(g.Sealed) == 0 {
		decoy, err := e.seal(grants.Name, "", make([]byte, 32))
		if err != nil {
			return nil, nil, err
		}
		key, err := e.unseal(grants.Name, "", decoy)
		return nil, key, err
	}
	key, err := e.unseal(grants.Name, g.ID, g.Sealed)
	return g, key, err
}

// sealMACKey keeps the secret of a new ACME grant as the key of MACs.
func (e *Engine) sealMACKey(g *Grant, secret string) (err error) {
	key, err := base64.RawURLEncoding.DecodeString(secret)
	if err != nil {
		return err
	}
	defer clear(key)
	g.Sealed, err = e.seal(grants.Name, g.ID, key)
	return err
}

// BindGrant counts an account that is made with a grant, in the transaction that
// makes the account. It is ErrNoGrant, with the reason, when the grant can no
// longer be used or has its accounts.
func (e *Engine) BindGrant(tx store.Tx, id string) error {
	g, err := grants.Get(tx, id)
	if store.Missing(err) {
		return ErrNoGrant
	} else if err != nil {
		return err
	}
	if err := g.usable(e.now()); err != nil {
		return err
	}
	if g.Accounts == 0 {
		return nil // nothing is counted, so nothing is written
	}
	if g.Bound >= g.Accounts {
		return fmt.Errorf("%w: as many accounts are bound to it as it is for; ask its owner for another", ErrNoGrant)
	}
	_, err = grants.Change(tx, id, func(g *Grant) error { g.Bound++; return nil })
	return err
}

// Grant returns a grant, usable or not, or ErrNoGrant.
func (e *Engine) Grant(ctx context.Context, id string) (*Grant, error) {
	if !store.ValidID(id) {
		return nil, ErrNoGrant
	}
	var g *Grant
	err := e.view(ctx, func(tx store.Tx) (err error) {
		g, err = e.grants.Get(&grants, tx, id)
		return err
	})
	if store.Missing(err) {
		return nil, ErrNoGrant
	}
	return g, err
}

// Usable says why no certificate can be had by the grant now, or nil.
func (g *Grant) Usable(now time.Time) error { return g.usable(now) }

// Serves reports whether the grant is for a protocol and endpoint.
func (g *Grant) Serves(s Source, endpoint string) bool { return g.serves(s, endpoint) }

// Admits reports whether the grant is for a profile.
func (g *Grant) Admits(profile string) bool { return g.admits(profile) }

// Lists reports whether a pattern of the grant is for a name.
func (g *Grant) Lists(n names.Name) bool {
	return slices.ContainsFunc(g.Names, func(p names.Pattern) bool { return p.Match(n) })
}

// Bounds reports whether an account that is bound to the grant may ask for a
// name. A grant without names leaves that to the endpoint.
func (g *Grant) Bounds(n names.Name) bool { return len(g.Names) == 0 || g.Lists(n) }

// Vouches reports whether a name needs no other proof than the grant. For ACME,
// where control can be proved, a grant must say so.
func (g *Grant) Vouches(n names.Name) bool {
	return (g.Protocol != ACME || g.Prevalidated) && g.Lists(n)
}

// gateBinding holds an ACME account to the grant that it was made with.
func (e *Engine) gateBinding(r *Request, o *outcome, all []names.Name) *Denied {
	if r.Source != ACME {
		return nil
	}
	for _, pr := range r.Proofs {
		if pr.Method != ByGrant {
			continue
		}
		i := slices.IndexFunc(r.Grants, func(g *Grant) bool { return g.ID == pr.Ref && g.serves(r.Source, r.Endpoint) })
		if i < 0 {
			return &Denied{Reason: NotAuthorized, Detail: "the grant that this account is bound to can no longer be used: it expired, was revoked or is used up; ask its owner for another and make another account with it"}
		}
		g := r.Grants[i]
		if !g.admits(o.draft.Profile) {
			return &Denied{Reason: NotAuthorized, Detail: fmt.Sprintf("the grant that this account is bound to is not for profile %s", o.draft.Profile)}
		}
		for _, n := range all {
			if !g.Bounds(n) {
				return &Denied{Reason: NameNotAllowed, Detail: fmt.Sprintf("the grant that this account is bound to is not for %s", n)}
			}
		}
		if !slices.Contains(o.grants, g.ID) { // a use of it, whether or not a name needed it
			o.grants = append(o.grants, g.ID)
		}
	}
	return nil
}
