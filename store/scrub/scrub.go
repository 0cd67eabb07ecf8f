// Package scrub reads everything stored, slowly and again and again, while the
// database is served, so that a disk that forgets is noticed while there is
// still a backup from before. Of the nodes on a shared database one does it. How
// far it came and what it found is in the database: a restart goes on there.
package scrub

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"chancery/store"
)

// Options are what Run is told.
type Options struct {
	Schemas []store.Schema
	Also    func(tx store.Tx, table, key string, doc []byte) []error // see [store.Inspector]
	Holder  string                                                   // name of this process, see [store.Lead]
	Now     func() time.Time
	Log     *slog.Logger

	// Every is how often everything is read.
	Every time.Duration
}

const (
	// tick is how often some rows are read. Reading is spread evenly so that
	// nobody waits for it, and in Views of a few milliseconds: on bbolt a long one
	// would keep pages from being used again.
	tick = 100 * time.Millisecond

	// A pass is to take a share of the time in which it should be done.
	share = 4

	// The rows of a tick.
	least, most = 32, 1000

	// noteEvery is how often the position is written: what a restart reads again
	// costs less than more commits would.
	noteEvery = time.Minute

	// firstWait leaves the first minute of a process to those who wait for it.
	firstWait = time.Minute

	// keep is how many findings of a pass are remembered in words.
	keep = 20
)

// A Report says what reading everything found.
type Report struct {
	Began    time.Time `json:"began,omitzero"` // the pass that is under way
	Ended    time.Time `json:"ended,omitzero"` // the last one that came to the end
	Rows     int       `json:"rows"`           // read in that one: documents and index entries
	Found    int       `json:"found"`          // in that one, and in the one under way
	Findings []string  `json:"findings,omitempty"`
}

// A state is the one row of the table.
type state struct {
	ID          string
	At          store.Place
	Began       time.Time
	Rows, Found int // so far
	Findings    []string
	Last        Report // of the pass before
}

const only = "scrub"

var states = &store.Table[state]{Name: "scrubs", Version: 1, Key: func(s *state) string { return s.ID }}

// Schemas are those of the table that this package needs.
func Schemas() []store.Schema { return []store.Schema{states.Schema()} }

// Last says what was found last.
func Last(ctx context.Context, db store.DB) (r Report, err error) {
	err = db.View(ctx, func(tx store.Tx) error {
		s, err := states.Get(tx, only)
		if store.Missing(err) {
			return nil
		} else if err != nil {
			return err
		}
		r = s.report()
		return nil
	})
	return r, err
}

func (s *state) report() Report {
	r := s.Last
	r.Began = s.Began
	r.Found = max(r.Found, s.Found) // the same damage is found again
	if len(s.Findings) >= len(r.Findings) {
		r.Findings = s.Findings
	}
	return r
}

// Run reads until ctx is done, as soon as this process leads.
func Run(ctx context.Context, db store.DB, o Options) error {
	return store.Lead(ctx, db, "scrub", o.Holder, store.LeadOptions{Log: o.Log}, func(ctx context.Context, l store.Lease) error {
		r := &runner{Options: o, db: db, lease: l}
		if err := wait(ctx, min(firstWait, o.Every)); err != nil {
			return err
		}
		for {
			if err := r.pass(ctx); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				r.Log.ErrorContext(ctx, "reading the records through", "err", err)
				if err := wait(ctx, noteEvery); err != nil {
					return err
				}
			}
		}
	})
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type runner struct {
	Options
	db    store.DB
	lease store.Lease
}

// pass waits until it is time, and reads what is left of one pass.
func (r *runner) pass(ctx context.Context) error {
	s, err := r.load(ctx)
	if err != nil {
		return err
	}
	if s.Began.IsZero() {
		if err := wait(ctx, s.Last.Ended.Add(r.Every).Sub(r.Now())); err != nil {
			return err
		}
		s.Began = r.Now().UTC()
	}
	i := store.Inspector{Schemas: r.Schemas, Also: r.Also, At: s.At}
	noted := r.Now()
	each := time.NewTicker(tick)
	defer each.Stop()
	for done := false; !done; {
		var found []store.Finding
		var seen int
		if found, seen, done, err = i.Step(ctx, r.db, r.batch(s)); err != nil {
			return err
		}
		s.At, s.Rows, s.Found = i.At, s.Rows+seen, s.Found+len(found)
		r.tell(ctx, s, found)
		if done {
			s = &state{ID: only, Last: Report{Ended: r.Now().UTC(), Rows: s.Rows, Found: s.Found, Findings: s.Findings}}
		}
		if now := r.Now(); done || len(found) > 0 || now.Sub(noted) >= noteEvery || now.Before(noted) {
			if err := r.note(ctx, s); err != nil {
				return err
			}
			noted = now
		}
		select {
		case <-each.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// batch is how many rows are read in a tick, by how many there were last.
func (r *runner) batch(s *state) int {
	return max(least, min(most, int(int64(s.Last.Rows)*int64(tick)/max(1, int64(r.Every)/share))))
}

// tell makes findings heard.
func (r *runner) tell(ctx context.Context, s *state, found []store.Finding) {
	for _, f := range found {
		if len(s.Findings) < keep {
			s.Findings = append(s.Findings, strings.ToValidUTF8(f.Error(), "?"))
			r.Log.ErrorContext(ctx, "a record is damaged: keep the backups that there are, and see chancery store check", "table", f.Table, "finding", f.Error())
		}
	}
}

// load reads the state. One that is damaged itself is made anew.
func (r *runner) load(ctx context.Context) (s *state, err error) {
	err = r.db.View(ctx, func(tx store.Tx) error {
		s, err = states.Get(tx, only)
		return err
	})
	switch {
	case store.Missing(err):
		return &state{ID: only}, nil
	case err != nil && ctx.Err() == nil:
		r.Log.ErrorContext(ctx, "how far the records were read is not known; reading begins anew", "err", err)
		return &state{ID: only}, nil
	}
	return s, err
}

func (r *runner) note(ctx context.Context, s *state) error {
	return r.db.Update(ctx, func(tx store.Tx) error {
		if err := r.lease.Check(tx); err != nil {
			return err
		}
		return states.Put(tx, s, s)
	})
}
