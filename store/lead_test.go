package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"chancery/store"
	"chancery/store/bolt"
)

// shared is a DB as several nodes have it: it may fail for one of them.
type shared struct {
	store.DB
	broken atomic.Bool
}

var errBroken = errors.New("no route to the database")

func (d *shared) Sole() bool { return false }

func (d *shared) View(ctx context.Context, fn func(store.Tx) error) error {
	if d.broken.Load() {
		return errBroken
	}
	return d.DB.View(ctx, fn)
}

func (d *shared) Update(ctx context.Context, fn func(store.Tx) error) error {
	if d.broken.Load() {
		return errBroken
	}
	return d.DB.Update(ctx, fn)
}

func openLeases(t *testing.T) store.DB {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "db"), bolt.Options{}, store.Schemas()...)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// A node is one that leads when it can.
type node struct {
	db     shared
	leads  atomic.Bool
	began  time.Time
	lease  store.Lease
	cancel context.CancelFunc
	ended  chan error
}

func start(t *testing.T, db store.DB, name string) *node {
	n := &node{db: shared{DB: db}, ended: make(chan error, 1)}
	var ctx context.Context
	ctx, n.cancel = context.WithCancel(t.Context())
	go func() {
		n.ended <- store.Lead(ctx, &n.db, "crl", name, store.LeadOptions{}, func(ctx context.Context, l store.Lease) error {
			n.began, n.lease = time.Now(), l
			n.leads.Store(true)
			<-ctx.Done()
			n.leads.Store(false)
			return nil
		})
	}()
	return n
}

func (n *node) stop(t *testing.T) {
	t.Helper()
	n.cancel()
	if err := <-n.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Lead = %v, want that the context ended", err)
	}
}

func check(db store.DB, l store.Lease) error {
	return db.Update(context.Background(), func(tx store.Tx) error { return l.Check(tx) })
}

func TestLeadAlone(t *testing.T) {
	db := openLeases(t)
	defer db.Close()
	boom := errors.New("boom")
	err := store.Lead(t.Context(), db, "crl", "me", store.LeadOptions{}, func(ctx context.Context, l store.Lease) error {
		return errors.Join(check(db, l), boom)
	})
	if err == nil || err.Error() != "boom" {
		t.Errorf("Lead = %v, want the error of the function and a good lease", err)
	}
}

func TestLeadTakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openLeases(t)
		defer db.Close()
		a := start(t, db, "a")
		synctest.Wait()
		b := start(t, db, "b")
		for range 60 {
			time.Sleep(time.Second)
			if !a.leads.Load() || b.leads.Load() {
				t.Fatal("the leader lives and is not left alone")
			}
		}
		if err := check(db, a.lease); err != nil {
			t.Error(err)
		}
		a.stop(t)
		stopped := time.Now()
		time.Sleep(2 * time.Second)
		if !b.leads.Load() || b.began.Sub(stopped) > time.Second {
			t.Errorf("a lease given back was not taken within a beat")
		}
		if err := check(db, a.lease); !errors.Is(err, store.ErrLost) {
			t.Errorf("the old lease: %v, want ErrLost", err)
		}
		if err := check(db, b.lease); err != nil || b.lease.Epoch != a.lease.Epoch+2-1 {
			t.Errorf("the new lease %v: %v", b.lease, err)
		}
		b.stop(t)
	})
}

// TestLeaderVanishes checks that a leader which cannot reach the database stops
// before another begins.
func TestLeaderVanishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openLeases(t)
		defer db.Close()
		a := start(t, db, "a")
		synctest.Wait()
		b := start(t, db, "b")
		time.Sleep(10*time.Second + 300*time.Millisecond)
		first := a.lease
		a.db.broken.Store(true)
		broke := time.Now()
		for a.leads.Load() {
			if b.leads.Load() {
				t.Fatal("two lead")
			}
			time.Sleep(10 * time.Millisecond)
		}
		for !b.leads.Load() && time.Since(broke) < time.Minute {
			time.Sleep(10 * time.Millisecond)
		}
		if took := b.began.Sub(broke); took < 3*time.Second || took > 6*time.Second {
			t.Errorf("took over after %v, want about 4 s", took)
		}
		if err := check(db, a.lease); !errors.Is(err, store.ErrLost) {
			t.Errorf("the old lease: %v, want ErrLost", err)
		}
		a.db.broken.Store(false)
		time.Sleep(time.Minute)
		if a.leads.Load() || !b.leads.Load() {
			t.Error("the old leader came back while another leads")
		}
		b.stop(t)
		time.Sleep(2 * time.Second)
		if !a.leads.Load() || a.lease.Epoch != 3 {
			t.Errorf("the old leader does not lead again: %v", a.lease)
		}
		if err := check(db, first); !errors.Is(err, store.ErrLost) {
			t.Errorf("the first lease of a leader that leads again: %v, want ErrLost", err)
		}
		a.stop(t)
	})
}

// TestBlindLooker checks that a node which could not look does not take what it
// did not see for standing still.
func TestBlindLooker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openLeases(t)
		defer db.Close()
		a := start(t, db, "a")
		synctest.Wait()
		b := start(t, db, "b")
		time.Sleep(time.Second)
		// The leader's beats fail for a moment, so that b sees the same before
		// and after it could not look for longer than that moment.
		a.db.broken.Store(true)
		b.db.broken.Store(true)
		time.Sleep(2500 * time.Millisecond)
		a.db.broken.Store(false)
		time.Sleep(10 * time.Second)
		b.db.broken.Store(false)
		time.Sleep(10 * time.Second)
		if b.leads.Load() || !a.leads.Load() {
			t.Fatal("two lead")
		}
		a.stop(t)
		b.stop(t)
	})
}

func TestOneLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openLeases(t)
		defer db.Close()
		var nodes []*node
		for i := range 5 {
			nodes = append(nodes, start(t, db, fmt.Sprint(i)))
		}
		for len(nodes) > 0 {
			time.Sleep(1500 * time.Millisecond)
			leader := -1
			for i, n := range nodes {
				if !n.leads.Load() {
					continue
				}
				if leader >= 0 {
					t.Fatal("two lead")
				}
				leader = i
			}
			if leader < 0 {
				t.Fatal("nobody leads")
			}
			nodes[leader].stop(t)
			nodes = append(nodes[:leader], nodes[leader+1:]...)
		}
	})
}

func TestLeadReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openLeases(t)
		defer db.Close()
		boom := errors.New("boom")
		for range 2 { // the second would wait if the first kept the lease
			began := time.Now()
			err := store.Lead(t.Context(), &shared{DB: db}, "crl", "a", store.LeadOptions{}, func(context.Context, store.Lease) error { return boom })
			if err != boom || time.Since(began) > 0 {
				t.Errorf("Lead = %v after %v", err, time.Since(began))
			}
		}
	})
}
