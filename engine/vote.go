package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"chancery/store"
)

// voteLife is how long an approval is good for.
const voteLife = 7 * 24 * time.Hour

// Approve adds the actor's vote for exactly the certificate that the request
// would make now, whose digest the actor saw (an empty digest means "as it is").
// Then policy runs again: a vote is a fact for it and no bypass, and if what it
// would sign has changed, the request pends again.
//
// A person votes once, and not for a request of their own.
func (e *Engine) Approve(ctx context.Context, a Actor, id, digest, note string) (Disposition, error) {
	if err := a.Require(Officer); err != nil {
		return nil, err
	}
	if !store.ValidID(id) {
		return nil, ErrNoRequest
	}
	var r *Request
	err := e.update(ctx, func(tx store.Tx) error {
		var err error
		r, err = requests.Change(tx, id, func(r *Request) error {
			return vote(r, a, digest, note, e.now())
		})
		if errors.Is(err, errVoted) {
			return err
		}
		if store.Missing(err) {
			return ErrNoRequest
		} else if err != nil {
			return err
		}
		return e.audit(tx, a, "approve", id, note)
	})
	if errors.Is(err, errVoted) {
		// The vote is there, but what it allows may not have been done: issuing was
		// frozen, or the process died. Go on from the row as it is.
		if r, err = e.Request(ctx, id); err == nil && !r.KeyPerRun && !r.movable() {
			return nil, fmt.Errorf("%w: %s has approved this already; another officer must", ErrForbidden, a.Person)
		}
	}
	if err != nil {
		return nil, err
	}
	e.Log.InfoContext(ctx, "approved", "request", id, "by", a.Person)
	if r.KeyPerRun { // the right is spent by whoever of this requester asks next
		return Pended{r.ID, retryAfter(r, e.now())}, nil
	}
	return e.decideAgain(ctx, r)
}

// errVoted says that the vote exists.
var errVoted = errors.New("voted already")

func vote(r *Request, a Actor, digest, note string, now time.Time) error {
	switch {
	case r.State != Pending:
		return fmt.Errorf("%w: it is %s", ErrNotPending, r.State)
	case a.Principal != "" && a.Principal == r.Requester:
		return fmt.Errorf("%w: you made this request yourself; another officer must approve it", ErrForbidden)
	case digest != "" && digest != r.Digest:
		return fmt.Errorf("%w: the certificate has changed since you looked; look again with explain", ErrNotPending)
	}
	for _, v := range r.Votes {
		if v.By == a.Person && v.Digest == r.Digest && now.Sub(v.At) < voteLife {
			return errVoted
		}
	}
	v := Vote{By: a.Person, At: now, Digest: r.Digest, Note: note}
	for _, p := range r.Pends {
		v.Steps = append(v.Steps, p.Step)
	}
	r.Votes = append(slices.Clone(r.Votes), v)
	return nil
}

func (e *Engine) decideAgain(ctx context.Context, r *Request) (Disposition, error) {
	ctx = context.WithoutCancel(ctx) // the vote is committed
	if err := e.load(ctx, r); err != nil {
		return nil, err
	}
	d, err := e.advance(ctx, e.setup.Load(), r, &newRow{done: true})
	return e.orOther(ctx, r, d, err)
}

// Deny ends a pending request. The detail is shown to the requester.
func (e *Engine) Deny(ctx context.Context, a Actor, id, detail string) (Disposition, error) {
	if err := a.Require(Officer); err != nil {
		return nil, err
	}
	if !store.ValidID(id) {
		return nil, ErrNoRequest
	}
	set := e.setup.Load()
	var r *Request
	var queued []*Delivery
	err := e.update(ctx, func(tx store.Tx) error {
		now := e.now()
		var err error
		r, err = requests.Change(tx, id, func(r *Request) error {
			if r.State != Pending {
				return fmt.Errorf("%w: it is %s", ErrNotPending, r.State)
			}
			r.State, r.Ended = StateDenied, now
			r.Refusal = &Denied{Reason: Rejected, Detail: detail}
			return nil
		})
		if store.Missing(err) {
			return ErrNoRequest
		} else if err != nil {
			return err
		}
		if queued, err = e.announce(tx, set, EventDenied, r, now); err != nil {
			return err
		}
		return e.audit(tx, a, "deny", id, detail)
	})
	if err != nil {
		return nil, err
	}
	e.hand(queued)
	return e.disposition(ctx, r)
}
