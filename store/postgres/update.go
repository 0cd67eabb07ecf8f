package postgres

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"chancery/store"
)

// Update implements [store.DB]. When the server cannot be reached, or does not
// say what became of the commit, the error is, or wraps, store.ErrUnknown if it
// may have been done; otherwise nothing was written.
func (d *DB) Update(ctx context.Context, fn func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !d.enter() {
		return store.ErrClosed
	}
	defer d.running.Done()
	var p pace
	blind := true
	for {
		again, err := d.attempt(ctx, fn, blind)
		if again == never {
			return err
		}
		if again == afresh {
			d.reset()
		}
		// Somebody has the key of an Insert, or had it for a moment. The next
		// try looks before it inserts, so that it finds out.
		blind = again != looking
		d.retries.Add(1)
		if !p.wait(ctx, d.o) {
			if ctx.Err() != nil {
				err = fmt.Errorf("%w: %w", ctx.Err(), err)
			}
			return fmt.Errorf("store: the database was too busy or away, nothing was written: try again: %w", err)
		}
	}
}

// A verdict says what is to follow an attempt.
type verdict int

const (
	never   verdict = iota // it is over
	soon                   // the database wants it tried again
	looking                // the same, and Insert is to look first
	afresh                 // the same, by new connections
)

// attempt runs fn once, and commits what it wrote.
func (d *DB) attempt(ctx context.Context, fn func(store.Tx) error, blind bool) (verdict, error) {
	r := d.reader(ctx, stmtUpdate)
	defer r.end()
	o := store.NewOverlay(r)
	o.Blind = blind
	err := call(o, fn)
	if r.err != nil { // whatever fn made of it
		return judge(r.err), r.err
	}
	if err != nil {
		return never, err
	}
	if err := ctx.Err(); err != nil {
		return never, err
	}
	ws := o.Writes()
	if len(ws) == 0 {
		return d.commitReads(r)
	}
	return d.commit(ctx, r, ws)
}

func call(o *store.Overlay, fn func(store.Tx) error) error {
	defer o.End()
	if err := fn(o); err != nil {
		return err
	}
	return o.Err()
}

// commitReads ends a transaction that has written nothing. What it has seen is
// only then sure to be serializable.
func (d *DB) commitReads(r *reader) (verdict, error) {
	if r.s == nil {
		return never, nil
	}
	r.s.add(stmtCommit)
	if err := r.s.exchange(until(r.ctx), nil); err != nil {
		return judge(err), fmt.Errorf("store: %w", err)
	}
	return never, nil
}

// What goes to the server at once is bounded: the answers to so many writes fit
// into the buffers of a connection whatever we do meanwhile, and so many bytes
// into memory.
const (
	mostWrites = 1000
	mostSent   = 4 << 20
)

// part is how many of the writes go to the server at once.
func part(ws []store.Write) int {
	size := 0
	for i := range ws {
		if size += len(ws[i].Doc); i > 0 && (i == mostWrites || size > mostSent) {
			return i
		}
	}
	return len(ws)
}

// commit sends all writes and the commit, in one exchange but for huge Updates.
func (d *DB) commit(ctx context.Context, r *reader, ws []store.Write) (verdict, error) {
	ws = inOrder(d.stmts, ws)
	var err error
	if r.s == nil {
		if r.s, err = d.acquire(ctx); err != nil {
			return judge(err), err
		}
		if part(ws) < len(ws) { // or else all of it is one implicit transaction
			r.s.add(stmtUpdate)
		}
	}
	s := r.s
	for n := part(ws); n < len(ws); n = part(ws) {
		d.write(s, ws[:n], -1)
		ws = ws[n:]
		if err := s.exchange(until(ctx), nil); err != nil {
			return judge(err), fmt.Errorf("store: writing: %w", err)
		}
	}
	witness := witness(ws)
	if witness < 0 {
		s.add(stmtNumber)
	}
	d.write(s, ws, witness)
	// The server is to tell the number before it commits, or it could be lost
	// together with the answer.
	s.buf = append(s.buf, flushMessage...)
	if s.open {
		s.add(stmtCommit)
	}
	var number []byte
	err = s.exchange(until(ctx), func(row [][]byte) { number = bytes.Clone(row[0]) })
	if lost := (*lostError)(nil); errors.As(err, &lost) && (number != nil || !lost.undone) {
		r.s = nil // others who ask need its place in the pool, as we do
		s.release()
		err = d.outcome(ctx, lost, s.server, number, ws[max(witness, 0)])
	}
	if err != nil {
		return judge(err), fmt.Errorf("store: writing: %w", err)
	}
	d.updates.Add(1)
	d.commits.Add(1)
	return never, nil
}

// inOrder sorts writes by table and key, so that no two transactions wait for
// each other. Writes of the same key stay in their order.
func inOrder(stmts *statements, ws []store.Write) []store.Write {
	ws = slices.Clone(ws)
	slices.SortStableFunc(ws, func(a, b store.Write) int {
		return cmp.Or(stmts.tables[a.Table]-stmts.tables[b.Table], strings.Compare(a.Key, b.Key))
	})
	return ws
}

// witness is which of the writes tells the number of the transaction, and what
// it leaves behind may be looked for later; -1 if all are deletions.
func witness(ws []store.Write) int {
	return slices.IndexFunc(ws, func(w store.Write) bool { return w.Kind != store.KindDelete })
}

// write queues writes.
func (d *DB) write(s *session, ws []store.Write, witness int) {
	var key []byte
	for i := range ws {
		w := &ws[i]
		key = append(key[:0], w.Key...)
		kind := stmtDelete
		switch {
		case w.Kind == store.KindInsert && i == witness:
			kind = stmtInsertFirst
		case w.Kind == store.KindInsert:
			kind = stmtInsert
		case w.Kind == store.KindPut && i == witness:
			kind = stmtPutFirst
		case w.Kind == store.KindPut:
			kind = stmtPut
		}
		stmt, err := d.stmts.of(w.Table, kind)
		if err != nil {
			panic(err) // the overlay knows the tables
		}
		if w.Kind == store.KindDelete {
			s.add(stmt, key)
		} else {
			s.add(stmt, key, w.Doc)
		}
	}
}

// pace is the waiting between tries.
type pace struct {
	tries int
	since time.Time
}

const (
	shortest = time.Millisecond // the first wait, at most
	longest  = 200 * time.Millisecond
)

// wait waits a little longer each time. It reports false when there was enough
// of it.
func (p *pace) wait(ctx context.Context, o Options) bool {
	if p.tries == 0 {
		p.since = time.Now()
	}
	most := min(shortest<<min(p.tries, 10), longest)
	p.tries++
	if time.Since(p.since) > o.Patience {
		return false
	}
	timer := time.NewTimer(time.Duration(float64(most) * o.Jitter()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
