package engine

import (
	"context"
	"iter"
	"sync/atomic"
	"testing"

	"chancery/store"
)

// A far store counts how often whoever uses it would wait if it were on another
// machine: for each read that was not made with others, and for each commit.
type far struct {
	store.DB
	waits atomic.Int64
}

func (f *far) View(ctx context.Context, fn func(store.Tx) error) error {
	return f.DB.View(ctx, func(tx store.Tx) error {
		far := &farTx{Tx: tx}
		defer func() { f.waits.Add(far.waits) }()
		return fn(far)
	})
}

func (f *far) Update(ctx context.Context, fn func(store.Tx) error) error {
	var last *farTx // of the runs of fn
	err := f.DB.Update(ctx, func(tx store.Tx) error {
		last = &farTx{Tx: tx}
		return fn(last)
	})
	f.waits.Add(last.waits + 1)
	return err
}

type farTx struct {
	store.Tx
	waits int64
	known map[store.Ref]bool
}

func (tx *farTx) Ahead(refs []store.Ref) {
	if len(refs) > 0 {
		tx.waits++
	}
	tx.known = map[store.Ref]bool{}
	for _, r := range refs {
		tx.known[r] = true
	}
}

func (tx *farTx) Get(table, key string) ([]byte, error) {
	if !tx.known[store.Ref{Table: table, Key: key}] {
		tx.waits++
	}
	return tx.Tx.Get(table, key)
}

func (tx *farTx) Scan(table, from, to string) iter.Seq2[store.Pair, error] {
	tx.waits++
	return tx.Tx.Scan(table, from, to)
}

// TestWaits counts how often an issuance waits for a store that is elsewhere, and
// how often its answer does that is asked for again.
func TestWaits(t *testing.T) {
	w := newWorld(t)
	f := &far{DB: w.DB}
	w.DB = f
	w.issue(w.submission("first", newKey(t), "first.example.com")) // looks at what stays
	f.waits.Store(0)
	s := w.submission("waits", newKey(t), "waits.example.com")
	w.issue(s)
	// Is it the first (1), pending ones before it (1), what may have changed (1)
	// and the decision (1), the request (1) and the certificate (1).
	if n := f.waits.Swap(0); n != 6 {
		t.Errorf("an issuance waits %d times, want 6", n)
	}
	w.issue(s)
	// The Key and its request (2), whether it was revoked (1), the bytes (1).
	if n := f.waits.Swap(0); n != 4 {
		t.Errorf("a repeat waits %d times, want 4", n)
	}
}
