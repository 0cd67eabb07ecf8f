package acme

import (
	"context"
	"errors"
	"sync"
	"time"

	"chancery/store"
)

const (
	maxTries       = 3                // RFC 8555, Section 8.2
	retryAfterFail = 5 * time.Second  // the same
	lease          = 15 * time.Second // longer than one attempt can take
	sweepEvery     = 500 * time.Millisecond
	sweepMost      = 200  // attempts that one sweep begins
	sweepLook      = 2000 // rows that it looks at
)

var errStopping = errors.New("acme: the server is stopping")

// attempt validates a challenge once, beside its caller, who has begun it. It
// returns nil when the server is stopping.
func (f *Frontend) attempt(a *authz, ch challenge, thumbprint string) <-chan finding {
	result := make(chan finding, 1)
	started := f.tasks.start(func() {
		defer f.doing.validated(a.Account)
		found := f.validate(a, ch, thumbprint)
		if f.base.Err() != nil && found.err != nil {
			found.err = errStopping // it did not fail, it was interrupted
		}
		result <- found
	})
	if !started {
		f.doing.validated(a.Account)
		return nil
	}
	return result
}

// errUnchanged ends an Update that has nothing to write.
var errUnchanged = errors.New("acme: nothing to write")

// change changes a pending authorization whose challenge i is not decided.
// Otherwise it returns the row as it is.
func (f *Frontend) change(ctx context.Context, nonce spending, id string, i int, fn func(*authz), also ...func(store.Tx, *authz) error) (a *authz, err error) {
	now := f.deps.Now()
	err = f.deps.DB.Update(ctx, func(tx store.Tx) error {
		old, err := authzs.Get(tx, id)
		if err != nil {
			return err
		}
		a = old
		if old.status(now) != "pending" || i >= len(old.Challenges) {
			return errUnchanged
		}
		v := *old
		v.Challenges = append([]challenge(nil), old.Challenges...)
		fn(&v)
		a = &v
		if err := nonce.in(tx); err != nil {
			return err
		}
		for _, write := range also {
			if err := write(tx, &v); err != nil {
				return err
			}
		}
		return authzs.Put(tx, old, &v)
	})
	if errors.Is(err, errUnchanged) {
		err = nil
	}
	return a, err
}

// accept records that a challenge was accepted. leased says that this node is
// validating it; otherwise whoever has room may begin at once.
func (f *Frontend) accept(ctx context.Context, nonce spending, id string, i int, thumbprint string, leased bool) (*authz, error) {
	return f.change(ctx, nonce, id, i, func(a *authz) {
		if a.Challenges[i].State != "" {
			return
		}
		a.Challenges[i].State = processing
		a.Thumbprint = thumbprint
		a.Due = f.deps.Now().UnixMilli()
		if leased {
			a.Due += lease.Milliseconds()
		}
	})
}

// settle records what an attempt found.
func (f *Frontend) settle(ctx context.Context, nonce spending, id string, i int, thumbprint string, result finding) (*authz, error) {
	if errors.Is(result.err, errStopping) {
		return f.accept(ctx, nonce, id, i, thumbprint, false)
	}
	now := f.deps.Now()
	var of failure
	if result.err != nil {
		of = f.failure(ctx, id)
	}
	a, err := f.change(ctx, nonce, id, i, func(a *authz) {
		ch := &a.Challenges[i]
		if result.err == nil {
			ch.State, ch.Error = valid, nil
			// RFC 8555, Section 7.1.4: a valid one lists the challenge that was
			// validated.
			a.Challenges = []challenge{{Type: ch.Type, Token: ch.Token, State: valid}}
			a.State, a.Validated, a.By = valid, now.Unix(), f.deps.Node
			a.Expires = now.Add(authzLife).Unix()
			if !result.until.IsZero() {
				a.Expires = min(a.Expires, result.until.Unix())
			}
			a.Thumbprint, a.Due = "", 0
			return
		}
		ch.Tries++
		ch.Error = validationProblem(result.err)
		if ch.Tries < maxTries {
			ch.State = processing
			a.Thumbprint, a.Due = thumbprint, now.Add(retryAfterFail).UnixMilli()
			return
		}
		ch.State, a.State = invalid, invalid
		a.Thumbprint, a.Due = "", 0
		a.Failed = now.Unix()
	}, of.in)
	if err == nil {
		f.count(of, a)
	}
	return a, err
}

// finish waits for an attempt, records it and ends it. Should recording fail,
// the lease ends and somebody makes another attempt.
func (f *Frontend) finish(id string, i int, thumbprint string, result <-chan finding) {
	defer f.doing.recorded(id)
	found := <-result
	// It is worth recording even while the server is stopping.
	ctx := context.WithoutCancel(f.base)
	var err error
	if errors.Is(found.err, errStopping) {
		_, err = f.change(ctx, spending{}, id, i, func(a *authz) { a.Due = f.deps.Now().UnixMilli() }) // whoever comes next
	} else {
		_, err = f.settle(ctx, spending{}, id, i, thumbprint, found)
	}
	if err != nil {
		f.deps.Log.Error("recording a validation", "authorization", id, "err", err)
	}
}

// Run validates challenges that were accepted but not finished, here or on a
// node that is gone, and deletes what retention says. It returns when ctx is
// done and all validations have ended.
func (f *Frontend) Run(ctx context.Context) error {
	var purging sync.WaitGroup
	purging.Go(func() { f.runPurge(ctx) })
	defer purging.Wait()
	defer f.tasks.close()
	defer f.stop()
	every := time.NewTicker(sweepEvery)
	defer every.Stop()
	for {
		if err := f.sweep(ctx); err != nil && ctx.Err() == nil {
			f.deps.Log.ErrorContext(ctx, "looking for unfinished validations", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// sweep begins the attempts that are due. An account with many may not hide the
// others behind those that it has no room for: these are passed over, and where
// one sweep stops looking the next goes on.
func (f *Frontend) sweep(ctx context.Context) error {
	due, err := f.due(ctx)
	if err != nil {
		return err
	}
	for _, a := range due {
		if ctx.Err() != nil {
			return nil
		}
		if err := f.take(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// due finds rows that an attempt may be made for. Only Run calls it.
func (f *Frontend) due(ctx context.Context) (due []*authz, err error) {
	now := f.deps.Now().UnixMilli()
	var next string
	err = f.view(ctx, func(tx store.Tx) error {
		due, next = nil, ""
		looked := 0
		for a, err := range authzs.Range(tx, "due", f.sweepFrom, dueValue(now+1)) {
			if err != nil {
				return err
			}
			if f.doing.room(a) {
				due = append(due, a)
			}
			if looked++; looked == sweepLook || len(due) == sweepMost {
				next = dueValue(a.Due)
				return nil
			}
		}
		return nil
	})
	f.sweepFrom = next
	return due, err
}

// take leases one row and begins an attempt for it, if there is room.
func (f *Frontend) take(ctx context.Context, a *authz) error {
	if f.doing.begin(a, a.accepted()) != begun {
		return nil
	}
	taken, at, err := f.lease(ctx, a.ID)
	if err == nil && at >= 0 {
		if result := f.attempt(taken, taken.Challenges[at], taken.Thumbprint); result != nil {
			if !f.tasks.start(func() { f.finish(a.ID, at, taken.Thumbprint, result) }) {
				f.doing.recorded(a.ID)
			}
			return nil
		}
	} else {
		f.doing.validated(a.Account)
	}
	f.doing.recorded(a.ID)
	return err
}

// lease takes a row for this node. What it returns as at is the challenge to
// validate, or negative when there is nothing to be done.
func (f *Frontend) lease(ctx context.Context, id string) (*authz, int, error) {
	var taken *authz
	at := -1
	err := f.deps.DB.Update(ctx, func(tx store.Tx) error {
		taken, at = nil, -1
		old, err := authzs.Get(tx, id)
		if err != nil {
			return err
		}
		now := f.deps.Now()
		if old.Due == 0 || old.Due > now.UnixMilli() {
			return errUnchanged // another node has it
		}
		a := *old
		for i, ch := range a.Challenges {
			if ch.State == processing {
				at = i
			}
		}
		owner, err := f.accounts.Get(&accounts, tx, a.Account)
		if err != nil {
			return err
		}
		switch {
		case owner.State != "": // RFC 8555, Section 7.3.6: what the account began is cancelled
			a.State, a.Due, a.Thumbprint = deactivated, 0, ""
			at = -1
		case at < 0 || a.status(now) != "pending":
			a.Due = 0
			at = -1
		default:
			a.Due = now.Add(lease).UnixMilli()
		}
		taken = &a
		return authzs.Put(tx, old, &a)
	})
	if errors.Is(err, errUnchanged) || errors.Is(err, store.ErrNotFound) {
		return nil, -1, nil
	}
	return taken, at, err
}
