package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"chancery/store"

	"go.etcd.io/bbolt"
)

// ErrFull is in the error of an Update for which the disk has no room. Nothing
// of it was written, and later Updates may succeed.
var ErrFull = errors.New("the disk is full: make room where the database is")

// Update implements [store.DB]. It runs fn in the goroutine of the caller, so
// that a panic is the caller's own, while the committer waits.
func (d *DB) Update(ctx context.Context, fn func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{ctx: ctx, say: make(chan message, 1)}
	if !d.queue.push(r) {
		return store.ErrClosed
	}
	var m message
	select {
	case m = <-r.say:
	case <-ctx.Done():
		if r.state.CompareAndSwap(waiting, left) {
			return ctx.Err()
		}
		m = <-r.say
	}
	if !m.turn {
		return m.err
	}
	err := d.run(r, m.base, fn)
	if outcome := <-r.say; outcome.err != nil {
		return outcome.err
	}
	return err
}

// run is one turn. It lets the committer go on however fn ends.
func (d *DB) run(r *request, base store.Reader, fn func(store.Tx) error) error {
	r.tx = store.NewOverlay(base)
	defer func() {
		r.tx.End()
		d.ran <- struct{}{}
	}()
	err := fn(r.tx)
	if err == nil {
		err = r.tx.Err()
	}
	r.ok = err == nil
	return err
}

// committer takes what waits, in turn after turn, until the queue is closed or
// the disk fails.
func (d *DB) committer() {
	defer close(d.stopped)
	var rs []*request
	var pace pace
	for range d.queue.wake {
		pace.gather(&d.queue)
		var closed bool
		rs, closed = d.queue.take(rs)
		if closed {
			answer(rs, store.ErrClosed)
			return
		}
		if len(rs) == 0 {
			continue
		}
		n, start := len(rs), time.Now()
		if err := d.group(rs); err != nil {
			d.poison(err)
			return
		}
		pace.did(n, d.queue.len(), time.Since(start))
	}
}

// answer tells requests that have not begun that they never will.
func answer(rs []*request, err error) {
	for _, r := range rs {
		if r.state.CompareAndSwap(waiting, begun) {
			r.say <- message{err: err}
		}
	}
}

// poison ends the store after a write that failed in a way that leaves the
// content of the file unknown.
func (d *DB) poison(err error) {
	d.gone.Store(true)
	d.queue.close()
	rs, _ := d.queue.take(nil)
	answer(rs, failed(err))
	d.o.Log.Error("the database could not be written: this process must end", "error", err)
	if d.o.Fatal != nil {
		d.o.Fatal(failed(err))
	}
}

func failed(err error) error { return fmt.Errorf("%w: writing failed: %w", store.ErrClosed, err) }

// group runs the requests over one bbolt transaction, commits it, and answers
// them. It returns an error only when nothing more may be trusted.
func (d *DB) group(rs []*request) error {
	tx, err := d.b.Begin(true)
	if err != nil {
		answer(rs, failed(err))
		return err
	}
	base := d.reader(tx)
	held := rs[:0] // whose answer depends on the commit
	wrote := 0
	for _, r := range rs {
		if !r.state.CompareAndSwap(waiting, begun) {
			continue
		}
		if err := r.ctx.Err(); err != nil {
			r.say <- message{err: err}
			continue
		}
		r.say <- message{turn: true, base: base}
		<-d.ran
		if r.ok && len(r.tx.Writes()) > 0 {
			if err == nil {
				err = d.apply(base, r.tx.Writes())
			}
			wrote++
		}
		if wrote == 0 { // it saw only what is durable
			r.say <- message{}
			continue
		}
		held = append(held, r)
	}
	if wrote == 0 {
		return tx.Rollback()
	}
	if err != nil { // the only cause is a document too large for bbolt
		_ = tx.Rollback()
	} else if err = d.commitSafely(tx); err == nil {
		d.updates.Add(uint64(wrote))
		d.commits.Add(1)
	}
	var fatal error
	if err != nil {
		if err, fatal = d.judge(err); fatal != nil {
			d.gone.Store(true) // before the first answer
		}
	}
	for _, r := range held {
		r.say <- message{err: err}
	}
	return fatal
}

func (d *DB) apply(base *reader, ws []store.Write) error {
	for i := range ws {
		w := &ws[i]
		b, err := base.bucket(w.Table)
		if err != nil {
			return err
		}
		key := []byte(w.Key)
		if w.Kind == store.KindInsert {
			d.fills[d.tables[w.Table]].inserting(d.seed, b, key)
		}
		if w.Kind == store.KindDelete {
			err = b.Delete(key)
		} else {
			err = b.Put(key, d.forms[d.tables[w.Table]].wrap(w.Doc))
		}
		if err != nil {
			return fmt.Errorf("store: %s: %w", w.Table, err)
		}
	}
	return nil
}

// commitSafely makes an error of bbolt's panics, which say that pages make no
// sense.
func (d *DB) commitSafely(tx *bbolt.Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the file is damaged: %v", p)
		}
	}()
	return d.commit(tx)
}

// judge tells a full disk, after which the file is as it was, from every other
// failure.
func (d *DB) judge(err error) (outcome, fatal error) {
	if noRoom(err) {
		return fmt.Errorf("store: %w: %w", ErrFull, err), nil
	}
	return failed(err), err
}

// noRoom reports whether the commit failed because there is no room for new
// pages. Nothing refers to these yet, so bbolt's roll back is enough. A failed
// fsync is another matter whatever its reason: it may have dropped pages that it
// had promised to keep.
func noRoom(err error) bool {
	var path *fs.PathError
	full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
	if errors.As(err, &path) && path.Op == "write" && full {
		return true
	}
	text, resizing := strings.CutPrefix(err.Error(), "file resize error: ") // bbolt keeps only the text
	return resizing && (strings.HasSuffix(text, syscall.ENOSPC.Error()) || strings.HasSuffix(text, syscall.EDQUOT.Error()))
}
