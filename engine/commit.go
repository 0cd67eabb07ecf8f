package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"chancery/store"
)

// record makes a new request durable before it is decided. The client will be
// told to try again, and Run or the client's repeat goes on from the row.
func (e *Engine) record(ctx context.Context, r *Request, n *newRow) error {
	if n.done {
		return nil
	}
	err := e.update(ctx, func(tx store.Tx) error { return e.insert(tx, r, n) })
	if err = e.insertError(err); err != nil {
		return err
	}
	n.done = true
	e.fault("recorded")
	return nil
}

// release takes the Key from the ended request that has it, if one does and no
// longer answers for it.
func (e *Engine) release(tx store.Tx, r *Request) error {
	old, err := requests.One(tx, "key", r.Key)
	if store.Missing(err) {
		return nil
	} else if err != nil {
		return err
	}
	revoked, err := revokedIfIssued(tx, old)
	if err != nil {
		return err
	}
	if answers, err := replays(old, r, revoked, e.now()); err != nil {
		return err
	} else if answers {
		return errMoved
	}
	ended := *old
	ended.Released = true
	return requests.Put(tx, old, &ended)
}

// insert adds the row of a new request, with its body and what the frontend adds.
// Reading where nothing is, as the first of a Key would, is what transactions of
// others that insert there collide with.
func (e *Engine) insert(tx store.Tx, r *Request, n *newRow) error {
	if !n.first {
		if err := e.release(tx, r); err != nil {
			return err
		}
	}
	if err := requests.Insert(tx, r); err != nil {
		return err
	}
	if err := raws.Insert(tx, bodyKey(r.ID), n.body); err != nil {
		return err
	}
	if n.also != nil {
		return n.also(tx, r.ID)
	}
	return nil
}

func revokedIfIssued(tx store.Tx, r *Request) (bool, error) {
	if r.State != StateIssued {
		return false, nil
	}
	c, err := certificates.Get(tx, r.Cert.key())
	if err != nil {
		return false, err
	}
	return c.Status == Revoked, nil
}

// insertError: a Key that another Submit took in the same moment is a race that
// the caller resolves.
func (e *Engine) insertError(err error) error {
	if errors.Is(err, store.ErrExists) {
		return errMoved
	}
	return err
}

// commitDecision makes the outcome durable: the request's new state, why, and if
// it is to be issued the serial and the exact bytes to be signed. From here on
// the request ends in that certificate or in none.
func (e *Engine) commitDecision(ctx context.Context, set *setup, r *Request, o *outcome, n *newRow) (*Request, error) {
	var next Request
	var queued []*Delivery
	err := e.update(ctx, func(tx store.Tx) error {
		queued = nil
		next = *r
		old := r
		if n.done {
			var err error
			if old, err = requests.Get(tx, r.ID); err != nil {
				return err
			}
			if old.State != r.State || len(old.Votes) != len(r.Votes) {
				return errMoved
			}
		}
		now := e.now()
		if err := e.decided(tx, set, &next, o); err != nil {
			return err
		}
		if !n.done {
			if err := e.insert(tx, &next, n); err != nil {
				return err
			}
		} else if err := requests.Put(tx, old, &next); err != nil {
			return err
		}
		if next.State == Issuing {
			if err := raws.Put(tx, certKey(next.ID), o.rendered.Twin); err != nil {
				return err
			}
		}
		if err := e.keepTrail(tx, next.ID, o, now); err != nil {
			return err
		}
		var err error
		queued, err = e.closeOlder(tx, set, &next, o, now)
		if err != nil {
			return err
		}
		d, err := e.announceDecision(tx, set, old, &next, now)
		queued = append(queued, d...)
		return err
	})
	if err = e.insertError(err); err != nil {
		return nil, err
	}
	n.done = true
	e.hand(queued)
	next.tbs, next.twin = o.rendered.TBS, o.rendered.Cert
	return &next, nil
}

// decided writes the outcome into the row, after checking again, inside the
// transaction, what may have changed since policy looked: freezes, blocked keys
// and grants.
func (e *Engine) decided(tx store.Tx, set *setup, r *Request, o *outcome) error {
	now := e.now()
	r.Policy, r.Profile, r.Pends, r.Votes, r.Counted = set.version, o.draft.Profile, o.pends, o.votes, len(o.votes)
	r.State, r.Refusal, r.Same, r.Digest = o.state, o.refusal, "", ""
	if o.state == Pending {
		r.Same = sameHash(r)
	}
	if o.state == Pending || len(o.votes) > 0 {
		r.Digest = o.rendered.Digest
	}
	if o.state == Issuing {
		refs := []store.Ref{freezes.At(freezeKey), blocked.At(hashText(r.Asked.Key))}
		for _, g := range o.grants {
			refs = append(refs, grants.At(g))
		}
		store.Ahead(tx, refs...)
	}
	if o.state != StateDenied {
		if err := e.withheld(tx, r); err != nil {
			return err
		}
		if err := e.frozen(tx, o); err != nil {
			return err
		}
	}
	if o.state == Issuing {
		if why, err := blocked.Get(tx, hashText(r.Asked.Key)); err == nil {
			r.State, r.Refusal = StateDenied, &Denied{Reason: BadKey, Detail: "this key may not be certified any more: " + string(why) + "; make a new key"}
		} else if !store.Missing(err) {
			return err
		}
	}
	if r.State == Issuing {
		denied, err := e.reserveGrants(tx, r, o.grants, now)
		if err != nil {
			return err
		}
		if denied != nil {
			r.State, r.Refusal = StateDenied, denied
		}
	}
	switch r.State {
	case Issuing:
		r.Ended = now
		r.Cert = CertID{o.issuer.keyID, serialText(o.serial)}
		r.Handed = o.issuer.Key == nil
	case StateDenied:
		r.Ended = now
		return countDenial(tx, r)
	}
	return nil
}

// closeOlder ends the pending requests that this one supersedes; their votes
// have moved here.
func (e *Engine) closeOlder(tx store.Tx, set *setup, r *Request, o *outcome, now time.Time) ([]*Delivery, error) {
	var queued []*Delivery
	if r.State == StateDenied {
		return nil, nil
	}
	for _, seen := range o.older {
		old, err := requests.Get(tx, seen.ID)
		if err != nil {
			return nil, err
		}
		if old.State != Pending || len(old.Votes) != len(seen.Votes) {
			return nil, errMoved // it was decided or voted on in this moment; look again
		}
		ended := *old
		ended.State, ended.Ended, ended.Votes = StateDenied, now, nil
		ended.Refusal = &Denied{Reason: Superseded, Detail: "a newer request for the same names took its place: " + r.ID}
		if err := requests.Put(tx, old, &ended); err != nil {
			return nil, err
		}
		d, err := e.announce(tx, set, EventDenied, &ended, now)
		if err != nil {
			return nil, err
		}
		queued = append(queued, d...)
	}
	return queued, nil
}

func (e *Engine) announceDecision(tx store.Tx, set *setup, old, r *Request, now time.Time) ([]*Delivery, error) {
	switch {
	case r.State == StateDenied:
		return e.announce(tx, set, EventDenied, r, now)
	case r.State == Pending && (old.State != Pending || !slices.Equal(old.Pends, r.Pends)):
		return e.announce(tx, set, EventPending, r, now)
	}
	return nil, nil
}
