package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chancery/store"
	"chancery/store/postgres/pgtest"
	"chancery/store/storetest"
)

const raw = "raw" // of storetest

func open(t testing.TB, dsn string, o Options) *DB {
	t.Helper()
	db, err := Open(context.Background(), dsn, o, storetest.Schemas()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func put(db *DB, key, doc string) error {
	return db.Update(context.Background(), func(tx store.Tx) error { return tx.Put(raw, key, []byte(doc)) })
}

func get(t testing.TB, db *DB, key string) (doc string) {
	t.Helper()
	if err := db.View(context.Background(), func(tx store.Tx) error {
		v, err := tx.Get(raw, key)
		doc = string(v)
		return err
	}); err != nil && !store.Missing(err) {
		t.Fatal(err)
	}
	return doc
}

// increment counts up under a key, and how often its function was called.
func increment(ctx context.Context, db *DB, key string) (calls int, err error) {
	err = db.Update(ctx, func(tx store.Tx) error {
		calls++
		v, err := tx.Get(raw, key)
		if err != nil && !store.Missing(err) {
			return err
		}
		n, _ := strconv.Atoi(string(v))
		return tx.Put(raw, key, []byte(strconv.Itoa(n+1)))
	})
	return calls, err
}

// await waits for a channel, or fails the test.
func await(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("what the test waits for does not come: " + what)
	}
}

// TestLostCommit breaks the connection around a commit, and checks that nothing
// is done twice, nothing is lost, and what cannot be known is said to be so.
func TestLostCommit(t *testing.T) {
	for name, tt := range map[string]struct {
		at    pgtest.Point
		blind bool // the Update reads nothing, so it is one implicit transaction
		calls int
		done  bool
		err   error
	}{
		"committed":            {pgtest.AtAnswer, false, 1, true, nil},
		"committed, blind":     {pgtest.AtAnswer, true, 1, true, nil},
		"not committed":        {pgtest.BeforeCommit, false, 2, true, nil},
		"not committed, blind": {pgtest.BeforeCommit, true, 2, true, nil},
		"not a word":           {pgtest.Silent, false, 1, true, store.ErrUnknown},
		"not a word, blind":    {pgtest.Silent, true, 1, true, store.ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			p := pgtest.NewProxy(t, pgtest.Shared(t))
			// With one connection, whoever asks for the outcome must have given back
			// the one that broke.
			db := open(t, with(t, p.DSN(t, pgtest.DSN(t)), "pool_max_conns", "1"), Options{})
			if _, err := increment(t.Context(), db, "n"); err != nil {
				t.Fatal(err)
			}
			cut := p.CutNext(tt.at)
			calls, err := 0, error(nil)
			if tt.blind {
				err = db.Update(t.Context(), func(tx store.Tx) error { calls++; return tx.Put(raw, "n", []byte("2")) })
			} else {
				calls, err = increment(t.Context(), db, "n")
			}
			await(t, "the cut", cut)
			if !errors.Is(err, tt.err) || calls != tt.calls {
				t.Errorf("Update = %v after %d calls, want %v after %d", err, calls, tt.err, tt.calls)
			}
			if got := get(t, db, "n"); got != "2" {
				t.Errorf("the count is %s, want 2", got)
			}
			if s := db.Stats(); s.Unknown != 0 != (tt.err != nil) {
				t.Errorf("%d outcomes unknown", s.Unknown)
			}
		})
	}
}

// TestCutAmidRows breaks the connection when a Scan has got some of its first rows:
// none may be told twice.
func TestCutAmidRows(t *testing.T) {
	p := pgtest.NewProxy(t, pgtest.Shared(t))
	db := open(t, with(t, p.DSN(t, pgtest.DSN(t)), "pool_max_conns", "1"), Options{})
	for _, key := range []string{"a", "b", "c"} {
		if err := put(db, key, "x"); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	scan := func(tx store.Tx) error {
		got = nil
		for p, err := range tx.Scan(raw, "", "") {
			if err != nil {
				return err
			}
			got = append(got, p.Key)
		}
		return nil
	}
	for name, do := range map[string]func(context.Context, func(store.Tx) error) error{"View": db.View, "Update": db.Update} {
		cut := p.CutNext(pgtest.AmidRows)
		err := do(t.Context(), scan)
		await(t, "the cut", cut)
		if err == nil && !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("%s: rows %v", name, got)
		}
		if name == "Update" && err != nil {
			t.Errorf("%s is not tried again: %v", name, err)
		}
	}
}

// TestLostDeletion loses the answer to an Update that leaves nothing behind by
// which it could be known, but for the number of its transaction.
func TestLostDeletion(t *testing.T) {
	for at, want := range map[pgtest.Point]int{pgtest.AtAnswer: 1, pgtest.BeforeCommit: 2} {
		p := pgtest.NewProxy(t, pgtest.Shared(t))
		db := open(t, p.DSN(t, pgtest.DSN(t)), Options{})
		if err := put(db, "a", "1"); err != nil {
			t.Fatal(err)
		}
		cut := p.CutNext(at)
		calls := 0
		err := db.Update(t.Context(), func(tx store.Tx) error { calls++; return tx.Delete(raw, "a") })
		await(t, "the cut", cut)
		if err != nil || calls != want {
			t.Errorf("Update = %v after %d calls, want nil after %d", err, calls, want)
		}
		if got := get(t, db, "a"); got != "" {
			t.Errorf("a = %q, though it was deleted", got)
		}
	}
}

// TestLostCommitAndServer checks that an outcome is not waited for beyond the
// bound.
func TestLostCommitAndServer(t *testing.T) {
	p := pgtest.NewProxy(t, pgtest.Shared(t))
	db := open(t, p.DSN(t, pgtest.DSN(t)), Options{Patience: 50 * time.Millisecond})
	cut := p.CutNext(pgtest.AtAnswer)
	go func() {
		<-cut
		p.Down(true)
	}()
	err := put(db, "a", "1")
	if err != nil && !errors.Is(err, store.ErrUnknown) {
		t.Errorf("Update = %v, want ErrUnknown", err)
	}
	p.Down(true)
	began := time.Now()
	if err := put(db, "b", "1"); err == nil || errors.Is(err, store.ErrUnknown) {
		t.Errorf("Update without a server = %v, want an error that says that nothing was written", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to say so", took)
	}
	p.Down(false)
	if got := get(t, db, "a"); got != "1" {
		t.Errorf("a = %q", got)
	}
	if got := get(t, db, "b"); got != "" {
		t.Errorf("b = %q, though it was refused", got)
	}
}

// TestBlackHole checks that a network which swallows everything holds nobody
// beyond his deadline.
func TestBlackHole(t *testing.T) {
	p := pgtest.NewProxy(t, pgtest.Shared(t))
	db := open(t, p.DSN(t, pgtest.DSN(t)), Options{})
	if err := put(db, "a", "1"); err != nil {
		t.Fatal(err)
	}
	p.Hole(true)
	defer p.Hole(false)
	for name, fn := range map[string]func(context.Context) error{
		"blind": func(ctx context.Context) error {
			return db.Update(ctx, func(tx store.Tx) error { return tx.Put(raw, "b", nil) })
		},
		"with reads": func(ctx context.Context) error { _, err := increment(ctx, db, "c"); return err },
		"View": func(ctx context.Context) error {
			return db.View(ctx, func(tx store.Tx) error { _, err := tx.Get(raw, "a"); return err })
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		began := time.Now()
		err := fn(ctx)
		cancel()
		if err == nil || time.Since(began) > 5*time.Second {
			t.Errorf("%s: %v after %v, want an error at the deadline", name, err, time.Since(began))
		}
		if name != "blind" && errors.Is(err, store.ErrUnknown) {
			t.Errorf("%s: nothing was written, and the error says %v", name, err)
		}
	}
}

// TestCuts cuts connections at any moment while many count, and checks each
// count against what was acknowledged.
func TestCuts(t *testing.T) {
	p := pgtest.NewProxy(t, pgtest.Shared(t))
	db := open(t, p.DSN(t, pgtest.DSN(t)), Options{})
	stop := make(chan struct{})
	counted := countUp(t, db, stop)
	for range 30 {
		counted.waitFor(t, 20)
		p.Cut()
	}
	close(stop)
	counted.check(t, db)
	t.Logf("%+v", db.Stats())
}

// TestLostCommitAndRestart crashes the server after it has committed and before
// its answer is there: another run of it must say what became of the
// transaction, though it may give the same number again.
func TestLostCommitAndRestart(t *testing.T) {
	for name, deletes := range map[string]bool{"a row is left": false, "nothing is left": true} {
		c := pgtest.Start(t)
		p := pgtest.NewProxy(t, c)
		db := open(t, with(t, p.DSN(t, c.DSN(t)), "pool_max_conns", "1"), Options{})
		if err := put(db, "a", "1"); err != nil {
			t.Fatal(err)
		}
		cut := p.CutNext(pgtest.AtAnswer)
		ended := make(chan error)
		go func() {
			ended <- db.Update(context.Background(), func(tx store.Tx) error {
				if deletes {
					return tx.Delete(raw, "a")
				}
				return tx.Put(raw, "a", []byte("2"))
			})
		}()
		await(t, "the cut", cut)
		p.Down(true)
		c.Kill9(t)
		c.Restart(t)
		p.Down(false)
		// What was asked before the crash is answered by the first run.
		if err := <-ended; err != nil && !(deletes && errors.Is(err, store.ErrUnknown)) {
			t.Errorf("%s: Update = %v", name, err)
		}
		if got := get(t, db, "a"); got == "1" {
			t.Errorf("%s: what was committed is gone", name)
		}
	}
}

// TestStandby turns the server into a read-only standby under a process that
// uses it, and back.
func TestStandby(t *testing.T) {
	c := pgtest.Start(t)
	db := open(t, c.DSN(t), Options{Patience: 300 * time.Millisecond})
	if err := put(db, "a", "1"); err != nil {
		t.Fatal(err)
	}
	c.Stop(t)
	c.Standby(t, true)
	c.Restart(t)
	if err := put(db, "a", "2"); err == nil || errors.Is(err, store.ErrUnknown) {
		t.Errorf("Update on a standby = %v, want an error that says that nothing was written", err)
	}
	c.Stop(t)
	c.Standby(t, false)
	c.Restart(t)
	if err := put(db, "a", "3"); err != nil {
		t.Errorf("Update on the server that is a primary again = %v", err)
	}
	if got := get(t, db, "a"); got != "3" {
		t.Errorf("a = %q", got)
	}
}

// TestReadOnlySession makes writes fail as after a fail-over that a connection
// has outlived: it is given up for another one.
func TestReadOnlySession(t *testing.T) {
	db := open(t, with(t, pgtest.DSN(t), "pool_max_conns", "1"), Options{})
	s, err := db.pooled(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.pool.Exec(t.Context(), "set default_transaction_read_only = on"); err != nil {
		t.Fatal(err)
	}
	s.release()
	if err := put(db, "a", "1"); err != nil {
		t.Errorf("Update = %v", err)
	}
	if n := db.Stats().Retries; n != 1 {
		t.Errorf("%d retries, want 1", n)
	}
}

// TestServerKilled kills the server under load, as a crash does.
func TestServerKilled(t *testing.T) {
	c := pgtest.Start(t)
	db := open(t, c.DSN(t), Options{})
	stop := make(chan struct{})
	counted := countUp(t, db, stop)
	for range 3 {
		counted.waitFor(t, 100)
		c.Kill9(t)
		c.Restart(t)
	}
	counted.waitFor(t, 100)
	c.Stop(t)
	c.Restart(t)
	counted.waitFor(t, 100)
	close(stop)
	counted.check(t, db)
	if err := store.Verify(t.Context(), db, storetest.Schemas()); err != nil {
		t.Error(err)
	}
	t.Logf("%+v", db.Stats())
}

// A counting is many writers, each with a count of its own.
type counting struct {
	wg    sync.WaitGroup
	acked [8]atomic.Int64
	maybe [8]atomic.Int64 // of which the outcome was not known
	all   atomic.Int64
}

func countUp(t *testing.T, db *DB, stop <-chan struct{}) *counting {
	c := &counting{}
	for i := range c.acked {
		c.wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch _, err := increment(context.Background(), db, fmt.Sprint("n", i)); {
				case err == nil:
					c.acked[i].Add(1)
					c.all.Add(1)
				case errors.Is(err, store.ErrUnknown):
					c.maybe[i].Add(1)
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	return c
}

// waitFor waits for so many more acknowledgements.
func (c *counting) waitFor(t *testing.T, n int64) {
	t.Helper()
	want := c.all.Load() + n
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for c.all.Load() < want {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the writers do not go on")
		}
	}
}

func (c *counting) check(t *testing.T, db *DB) {
	t.Helper()
	c.wg.Wait()
	for i := range c.acked {
		acked, maybe := c.acked[i].Load(), c.maybe[i].Load()
		n, _ := strconv.ParseInt(get(t, db, fmt.Sprint("n", i)), 10, 64)
		if n < acked || n > acked+maybe {
			t.Errorf("writer %d: %d acknowledged, %d unknown, and the count is %d", i, acked, maybe, n)
		}
	}
}
