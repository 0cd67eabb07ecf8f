package engine

import (
	"context"
	"sync"
	"time"

	"chancery/store"
)

// Run resumes what a crash interrupted, delivers events, publishes CRLs and
// deletes what retention says, until ctx is done. It returns when all of it has
// stopped. Only one Run runs at a time; after Use gave other exits, end it and
// run it again.
func (e *Engine) Run(ctx context.Context) error {
	e.runMutex.Lock()
	defer e.runMutex.Unlock()
	set := e.setup.Load()
	if err := e.parkForeign(ctx, set); err != nil && ctx.Err() == nil {
		e.Log.ErrorContext(ctx, "looking for events of exits that are gone", "err", err)
	}
	var wg sync.WaitGroup
	for _, o := range set.Exits {
		wg.Go(func() { e.runExit(ctx, o) })
	}
	wg.Go(func() { e.runClock(ctx) })
	wg.Go(func() { e.runCRLs(ctx) })
	wg.Go(func() { e.runEpochs(ctx) })
	wg.Go(func() { e.runSigning(ctx) })
	wg.Go(func() { e.lead(ctx, "chores", 3*time.Second, e.chores) })
	wg.Wait()
	return ctx.Err()
}

// lead does what one node does for all, whenever this one leads. Another takes over
// after four beats.
func (e *Engine) lead(ctx context.Context, what string, beat time.Duration, fn func(context.Context, store.Lease) error) {
	err := store.Lead(ctx, e.DB, what, e.process, store.LeadOptions{Beat: beat, Still: 4 * beat, Log: e.Log}, fn)
	if err != nil && ctx.Err() == nil {
		e.Log.ErrorContext(ctx, "stopped before its time", "what", what, "err", err)
	}
}

// runSigning signs what was decided and not signed, on every node with a CA key:
// another node may not have it.
func (e *Engine) runSigning(ctx context.Context) {
	if len(e.SignsWith()) == 0 {
		return
	}
	often := 5 * time.Second
	if !e.sole() {
		often = 500 * time.Millisecond // somebody waits for what a node without the key decided
	}
	e.runResumer(ctx, often, Issuing)
}

// chores are what one node does for all: votes that were not acted on, requests
// that were interrupted, and what is to be forgotten.
func (e *Engine) chores(ctx context.Context, _ store.Lease) error {
	var wg sync.WaitGroup
	wg.Go(func() { e.runResumer(ctx, 5*time.Second, Pending, Received) })
	wg.Go(func() { every(ctx, 10*time.Minute, e.purge) })
	wg.Go(func() { every(ctx, time.Minute, e.forgetNodes) })
	wg.Go(func() { every(ctx, time.Minute, e.warnLate) })
	wg.Wait()
	return ctx.Err()
}

func (e *Engine) runResumer(ctx context.Context, often time.Duration, states ...State) {
	p := &resumer{after: map[State]string{}, states: states}
	// What an earlier process left in the middle is nobody else's, where there is
	// only one process; elsewhere another node may be at it right now.
	if e.sole() {
		p.pass(ctx, e, 0)
	}
	every(ctx, often, func(ctx context.Context) { p.pass(ctx, e, staleAfter) })
}

func every(ctx context.Context, d time.Duration, fn func(context.Context)) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		fn(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// staleAfter is how long a request is left to the Submit that works on it.
const staleAfter = 15 * time.Second

// sole reports whether this is the only process on the store.
func (e *Engine) sole() bool {
	s, ok := e.DB.(interface{ Sole() bool })
	return ok && s.Sole()
}

// A resumer goes through the requests that were left in the middle, some in each
// pass, so that many that cannot go on do not keep others waiting.
type resumer struct {
	after  map[State]string // where the last pass ended
	states []State          // to look at
}

// pass takes up what was left for longer than min.
func (p *resumer) pass(ctx context.Context, e *Engine, min time.Duration) {
	if e.ClockError() != nil {
		return
	}
	if q, err := e.Quarantine(ctx); q != nil || err != nil {
		return // until somebody has seen what became of them
	}
	for _, state := range p.states {
		stale, err := p.find(ctx, e, state, min)
		if err != nil {
			e.Log.ErrorContext(ctx, "looking for interrupted requests", "err", err)
			continue
		}
		for _, r := range stale {
			if ctx.Err() != nil {
				return
			}
			if err := e.resumeOne(ctx, r); err != nil {
				e.Log.WarnContext(ctx, "an interrupted request cannot go on yet", "request", r.ID, "err", err)
			}
		}
	}
}

func (p *resumer) find(ctx context.Context, e *Engine, state State, min time.Duration) (stale []*Request, err error) {
	seen, last := 0, ""
	err = e.view(ctx, func(tx store.Tx) error {
		stale, seen, last = nil, 0, ""
		for r, err := range requests.By(tx, "state", string(state), p.after[state]) {
			if err != nil {
				return err
			}
			// A vote for a client with a new key for each run waits for the client.
			waits := r.State == Pending && r.KeyPerRun
			if r.movable() && !waits && (r.Handed || left(e.now().Sub(r.since()), min)) && e.mine(r) {
				stale = append(stale, r)
			}
			if seen++; seen == batchSize {
				last = r.ID
				return nil
			}
		}
		return nil
	})
	p.after[state] = last
	return stale, err
}

// left reports whether a request was left for longer than min. One from the
// future was decided by a clock that was wrong, so it was.
func left(age, min time.Duration) bool { return age >= min || age < -clockBehind }

// mine reports whether this node can go on with r: what is decided needs the key.
func (e *Engine) mine(r *Request) bool {
	if r.State != Issuing {
		return true
	}
	is := e.issuers[r.Cert.Issuer]
	return is != nil && is.Key != nil
}

// since is when the request came to the state that it is in.
func (r *Request) since() time.Time {
	switch {
	case r.State == Issuing:
		return r.Ended // decided
	case len(r.Votes) > 0:
		return r.Votes[len(r.Votes)-1].At
	}
	return r.Received
}

func (e *Engine) resumeOne(ctx context.Context, r *Request) error {
	if r.State == Issuing && e.now().Sub(r.since()) > abandonAfter {
		return e.abandon(ctx, r)
	}
	_, err := e.resume(ctx, r)
	return err
}

// A Health is what monitoring wants to know.
type Health struct {
	Policy     string               // version in use
	Pending    int                  // requests that wait for officers; counted up to 10,000
	Waiting    int                  // deliveries that some exit has not taken yet; likewise
	Parked     int                  // deliveries given up on, waiting for an operator; likewise
	CRLs       map[string]time.Time // nextUpdate by key identifier
	Frozen     []Freeze
	Founder    *Founder
	FounderNow bool // the founder's credential still holds its roles
}

// Health reads the figures for status and metrics.
func (e *Engine) Health(ctx context.Context) (*Health, error) {
	h := &Health{CRLs: map[string]time.Time{}}
	set := e.setup.Load()
	if set == nil {
		return nil, ErrUndecided
	}
	h.Policy = set.version
	err := e.view(ctx, func(tx store.Tx) error {
		h.Pending, h.Waiting, h.Parked = 0, 0, 0
		for _, err := range requests.By(tx, "state", string(Pending), "") {
			if err != nil {
				return err
			}
			if h.Pending++; h.Pending == 10_000 {
				break
			}
		}
		for d, err := range deliveries.All(tx, "", "") {
			if err != nil {
				return err
			}
			if d.Parked {
				h.Parked++
			} else {
				h.Waiting++
			}
			if h.Parked+h.Waiting == 10_000 {
				break
			}
		}
		for id := range e.issuers {
			c, err := crls.Get(tx, id)
			if store.Missing(err) {
				continue
			} else if err != nil {
				return err
			}
			h.CRLs[id] = c.NextUpdate
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if h.Frozen, err = e.Freezes(ctx); err != nil {
		return nil, err
	}
	h.Founder, h.FounderNow, err = e.Founder(ctx)
	return h, err
}
