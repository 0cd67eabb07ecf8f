package engine

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"chancery/engine/names"
	"chancery/store"
)

// alive says why a grant does not even authenticate its holder, or nil.
func (g *Grant) alive(now time.Time) error {
	switch {
	case !g.Revoked.IsZero():
		return fmt.Errorf("%w: it was revoked", ErrNoGrant)
	case !g.Expires.IsZero() && !now.Before(g.Expires):
		return fmt.Errorf("%w: it expired", ErrNoGrant)
	}
	return nil
}

// usable says why no certificate can be had by a grant now, or nil.
func (g *Grant) usable(now time.Time) error {
	if err := g.alive(now); err != nil {
		return err
	}
	switch {
	case g.Uses > 0 && g.Spent >= g.Uses:
		return fmt.Errorf("%w: it is used up", ErrNoGrant)
	case g.Denials >= maxDenials:
		return fmt.Errorf("%w: too many of its requests were denied", ErrNoGrant)
	}
	return nil
}

// serves reports whether the grant is for a protocol and endpoint.
func (g *Grant) serves(s Source, endpoint string) bool {
	return g.Protocol == s && (len(g.Endpoints) == 0 || slices.Contains(g.Endpoints, endpoint))
}

// admits reports whether the grant is for a profile.
func (g *Grant) admits(profile string) bool {
	return len(g.Profiles) == 0 || slices.Contains(g.Profiles, profile)
}

// covers reports whether the grant warrants a name for a request.
func (g *Grant) covers(r *Request, profile string, n names.Name) bool {
	return g.serves(r.Source, r.Endpoint) && g.admits(profile) && g.Vouches(n)
}

// reserveGrants takes one use of each counted grant for a request that will be
// issued, and refuses if one can no longer be used.
func (e *Engine) reserveGrants(tx store.Tx, r *Request, ids []string, now time.Time) (*Denied, error) {
	var counted []*Grant
	for _, id := range ids {
		g, err := e.grants.Get(&grants, tx, id)
		if err != nil {
			return nil, err
		}
		if err := g.usable(now); err != nil {
			return &Denied{Reason: NotAuthorized, Detail: err.Error()}, nil
		}
		if g.Uses == 0 {
			continue // nothing is counted, so nothing is written
		}
		if g.Spent+g.Reserved >= g.Uses {
			return &Denied{Reason: NotAuthorized, Detail: "the grant is used up: ask its owner for another"}, nil
		}
		counted = append(counted, g)
	}
	for _, old := range counted {
		next := *old
		next.Reserved++
		if err := grants.Put(tx, old, &next); err != nil {
			return nil, err
		}
		r.Reserved = append(r.Reserved[:len(r.Reserved):len(r.Reserved)], old.ID)
	}
	return nil, nil
}

// spendGrants turns the reservations of an issued request into uses.
func spendGrants(tx store.Tx, r *Request) error {
	return changeReserved(tx, r, func(g *Grant) { g.Reserved--; g.Spent++ })
}

// giveBackGrants returns the reservations of a request that came to nothing.
func giveBackGrants(tx store.Tx, r *Request) error {
	return changeReserved(tx, r, func(g *Grant) { g.Reserved-- })
}

func changeReserved(tx store.Tx, r *Request, fn func(*Grant)) error {
	for _, id := range r.Reserved {
		if _, err := grants.Change(tx, id, func(g *Grant) error { fn(g); return nil }); err != nil {
			return err
		}
	}
	return nil
}

// countDenial notes a denial on the counted grants that the request came with,
// so that one is not a place to try names.
func countDenial(tx store.Tx, r *Request) error {
	for _, g := range r.Grants {
		if g.Uses == 0 {
			continue
		}
		if _, err := grants.Change(tx, g.ID, func(g *Grant) error { g.Denials++; return nil }); err != nil {
			return err
		}
	}
	return nil
}

// CreateGrant records a grant and returns its secret, which is shown this once
// and not kept. ID, Created, Owner and SecretMAC are set here. A grant with a
// Holder has no secret.
func (e *Engine) CreateGrant(ctx context.Context, a Actor, g Grant) (*Grant, string, error) {
	if err := a.Require(Admin); err != nil {
		return nil, "", err
	}
	if err := e.checkGrant(&g); err != nil {
		return nil, "", err
	}
	g.ID, g.Created, g.Owner = e.newID(), e.now(), a.Person
	g.Reserved, g.Spent, g.Denials, g.Bound, g.Revoked, g.SecretMAC, g.Sealed = 0, 0, 0, 0, time.Time{}, "", nil
	secret := ""
	if g.Holder == "" {
		var err error
		if secret, err = newSecret(e.Rand, g.Protocol); err != nil {
			return nil, "", err
		}
		g.SecretMAC = e.mac("grant", []byte(secret))
		if g.Protocol == ACME {
			if err := e.sealMACKey(&g, secret); err != nil {
				return nil, "", err
			}
		}
	}
	err := e.update(ctx, func(tx store.Tx) error {
		if err := grants.Insert(tx, &g); err != nil {
			return err
		}
		return e.audit(tx, a, "grant", g.ID, fmt.Sprintf("%s profiles %v names %v uses %d", g.Protocol, g.Profiles, g.Names, g.Uses))
	})
	return &g, secret, err
}

func (e *Engine) checkGrant(g *Grant) error {
	if !slices.Contains([]Source{ACME, SCEP, EST, Native}, g.Protocol) {
		return fmt.Errorf("%w: protocol is one of acme, scep, est, native", ErrBadInput)
	}
	profiles := e.setup.Load().profiles
	for _, p := range g.Profiles {
		pr, ok := profiles[p]
		if !ok || !slices.Contains(pr.Frontends, g.Protocol) {
			return fmt.Errorf("%w: there is no profile %q for %s", ErrBadInput, p, g.Protocol)
		}
	}
	if g.Uses < 0 || g.Uses > 1_000_000 {
		return fmt.Errorf("%w: uses is between 0 (any number) and 1000000", ErrBadInput)
	}
	if g.Accounts < 0 || g.Accounts > 0 && g.Protocol != ACME {
		return fmt.Errorf("%w: accounts is a number of ACME accounts; 0 is any number", ErrBadInput)
	}
	if g.Protocol == ACME && g.Holder != "" {
		return fmt.Errorf("%w: an ACME grant has no holder; its secret is the key that an account is bound with", ErrBadInput)
	}
	if g.Protocol == ACME && g.Prevalidated && len(g.Names) == 0 {
		return fmt.Errorf("%w: a prevalidated grant must say for which names nothing else needs to be proved", ErrBadInput)
	}
	if !g.Expires.IsZero() && !g.Expires.After(e.now()) {
		return fmt.Errorf("%w: it would expire before it is made", ErrBadInput)
	}
	return nil
}

// ErrBadInput says that what an administrator asks for makes no sense, and why.
var ErrBadInput = errors.New("refused")

// newSecret makes 256 random bits in base64url: a bearer token, a password, or
// once decoded a MAC key. For SCEP it is in hexadecimal: clients write it into a
// PrintableString, which has no underscore, and people type it.
func newSecret(random io.Reader, s Source) (string, error) {
	var b [32]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", errors.New("no randomness for a secret")
	}
	if s == SCEP {
		return hex.EncodeToString(b[:]), nil
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// Grants lists the grants in order of their ids, after the one with the id
// after, and the cursor of the next page.
func (e *Engine) Grants(ctx context.Context, after string, limit int) ([]*Grant, string, error) {
	limit = pageLimit(limit)
	var all []*Grant
	err := e.view(ctx, func(tx store.Tx) error {
		all = nil
		for g, err := range grants.All(tx, after+"\x00", "") {
			if err != nil {
				return err
			}
			if all = append(all, g); len(all) > limit {
				break
			}
		}
		return nil
	})
	if len(all) > limit {
		return all[:limit], all[limit-1].ID, err
	}
	return all, "", err
}

// RevokeGrant ends a grant.
func (e *Engine) RevokeGrant(ctx context.Context, a Actor, id string) error {
	if err := a.Require(Admin); err != nil {
		return err
	}
	if !store.ValidID(id) {
		return ErrNoGrant
	}
	err := e.update(ctx, func(tx store.Tx) error {
		_, err := grants.Change(tx, id, func(g *Grant) error {
			if g.Revoked.IsZero() {
				g.Revoked = e.now()
			}
			return nil
		})
		if err != nil {
			return err
		}
		return e.audit(tx, a, "revoke-grant", id, "")
	})
	if store.Missing(err) {
		return ErrNoGrant
	}
	return err
}

// CheckGrant finds the grant with the secret, for a protocol and endpoint, or
// ErrNoGrant. One that is used up is found too: its holder may still fetch what
// it was used for; whether it is good for another certificate is decided where
// that is decided. It looks up a keyed hash, so that neither its time
// nor its answer tells a wrong secret from an unknown one.
func (e *Engine) CheckGrant(ctx context.Context, s Source, endpoint, secret string) (*Grant, error) {
	g, err := e.grantBySecret(ctx, secret)
	if err != nil {
		return nil, err
	}
	if err := g.alive(e.now()); err != nil {
		return nil, err
	}
	if !g.serves(s, endpoint) {
		return nil, fmt.Errorf("%w: it is not for this protocol or endpoint", ErrNoGrant)
	}
	return g, nil
}

func (e *Engine) grantBySecret(ctx context.Context, secret string) (*Grant, error) {
	if len(secret) < 20 || len(secret) > 200 {
		return nil, ErrNoGrant
	}
	var g *Grant
	err := e.view(ctx, func(tx store.Tx) (err error) {
		g, err = e.grants.One(&grants, tx, "secret", e.mac("grant", []byte(secret)))
		return err
	})
	if store.Missing(err) {
		return nil, ErrNoGrant
	}
	return g, err
}

// HeldGrants lists the usable grants that a principal holds by being who it is.
func (e *Engine) HeldGrants(ctx context.Context, s Source, endpoint string, p Principal) ([]*Grant, error) {
	now := e.now()
	var held []*Grant
	err := e.view(ctx, func(tx store.Tx) error {
		held = nil
		for g, err := range e.grants.By(&grants, tx, "holder", string(p)) {
			if err != nil {
				return err
			}
			if g.usable(now) == nil && g.serves(s, endpoint) {
				held = append(held, g)
			}
		}
		return nil
	})
	return held, err
}
