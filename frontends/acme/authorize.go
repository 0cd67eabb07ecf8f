package acme

import (
	"slices"
	"time"

	"chancery/engine"
	"chancery/engine/names"
	"chancery/store"
)

// newAuthz makes the row of an authorization, pending or, where the grant of the
// account vouches for the name, valid (RFC 8555, Section 7.4.1).
func (c *call) newAuthz(n names.Name, below bool, g *engine.Grant) (*authz, error) {
	a := &authz{
		ID: store.NewIDFor(c.f.deps.DB, c.now, c.f.deps.Rand), Account: c.account.ID, Name: stored(n), Below: below,
		Expires: c.now.Add(orderLife).Unix(),
	}
	if g != nil && !below && g.Vouches(n) {
		a.Grant, a.State, a.Validated, a.By = g.ID, valid, c.now.Unix(), c.f.deps.Node
		until := c.now.Add(authzLife)
		if !g.Expires.IsZero() && g.Expires.Before(until) {
			until = g.Expires
		}
		a.Expires = until.Unix()
		return a, nil
	}
	methods := c.ep.challengesFor(n, below)
	if len(methods) == 0 {
		return nil, identifierProblem([]subproblem{{rejectedIdentifier, n.Value + ": this endpoint has no challenge that proves such a name", identifier{Type: string(n.Type), Value: n.Value}}})
	}
	for _, m := range methods {
		ch, err := newChallenge(m, c.f.deps.Rand)
		if err != nil {
			return nil, err
		}
		a.Challenges = append(a.Challenges, ch)
	}
	return a, nil
}

// authorizations finds or makes an authorization for each name of an order, and
// says which are new. Names below the same domain share one.
func (c *call) authorizations(all []wanted, g *engine.Grant) (as, fresh []*authz, err error) {
	held, err := c.held(all, g)
	if err != nil {
		return nil, nil, err
	}
	below := map[string]*authz{}
	for i, w := range all {
		n, a := w.name, held[i]
		if a == nil && w.ancestor != "" && !(g != nil && g.Vouches(n)) {
			n, a = names.Name{Type: names.DNS, Value: w.ancestor}, below[w.ancestor]
		}
		if a == nil {
			sub := n != w.name
			if a, err = c.newAuthz(n, sub, g); err != nil {
				return nil, nil, err
			}
			if sub {
				below[w.ancestor] = a
			}
			fresh = append(fresh, a)
		}
		as = append(as, a)
	}
	return as, fresh, nil
}

// held finds valid authorizations that the account has already, made without an
// order. Those of orders are good for that order alone.
func (c *call) held(all []wanted, g *engine.Grant) ([]*authz, error) {
	found := make([]*authz, len(all))
	if !c.ep.PreAuthorize {
		return found, nil
	}
	err := c.f.view(c.ctx, func(tx store.Tx) error {
		clear(found)
		for i, w := range all {
			if g != nil && g.Vouches(w.name) {
				continue
			}
			a, err := c.heldFor(tx, w.name)
			if err != nil {
				return err
			}
			found[i] = a
		}
		return nil
	})
	return found, err
}

func (c *call) heldFor(tx store.Tx, n names.Name) (*authz, error) {
	candidates := []string{stored(n)}
	if c.ep.Subdomains {
		candidates = append(candidates, above(n)...)
	}
	for _, name := range candidates {
		for a, err := range authzs.By(tx, "pre", "n"+provedValue(c.account.ID, name), "") {
			if err != nil {
				return nil, err
			}
			if c.usable(a, n) {
				return a, nil
			}
		}
	}
	return nil, nil
}

// usable reports whether an authorization that exists is good for a name of a new
// order: own, valid, of exactly that name or for all below, and by a challenge
// that the endpoint would still take for it.
func (c *call) usable(a *authz, n names.Name) bool {
	if a.Account != c.account.ID || !a.Pre || a.status(c.now) != "valid" || a.Grant != "" || len(a.Challenges) != 1 {
		return false
	}
	exact := a.Name == stored(n)
	if !exact && !(a.Below && c.ep.Subdomains && slices.Contains(above(n), a.Name)) {
		return false
	}
	// It must last as long as a client may reasonably take to finalize.
	if time.Unix(a.Expires, 0).Sub(c.now) < time.Hour {
		return false
	}
	return slices.Contains(c.ep.challengesFor(n, a.Below), a.Challenges[0].Type)
}
