package storetest

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chancery/store"
)

func testRollback(t *testing.T, db store.DB) {
	boom := errors.New("boom")
	put(t, db, "b", "1")
	if err := db.Update(t.Context(), func(tx store.Tx) error {
		if err := errors.Join(tx.Put(raw, "a", []byte("1")), tx.Delete(raw, "b")); err != nil {
			return err
		}
		return boom
	}); !errors.Is(err, boom) {
		t.Errorf("Update = %v, want the error of its function", err)
	}
	view(t, db, func(tx store.Tx) error { want(t, tx, "a", "-"); want(t, tx, "b", "1"); return nil })
}

// testDoomed checks that a function cannot pass over a write that failed, and
// leave half a record.
func testDoomed(t *testing.T, db store.DB) {
	put(t, db, "a", "1")
	err := db.Update(t.Context(), func(tx store.Tx) error {
		if err := tx.Put(raw, "b", []byte("half")); err != nil {
			return err
		}
		_ = tx.Insert(raw, "a", nil)
		return nil
	})
	if !errors.Is(err, store.ErrExists) {
		t.Errorf("Update = %v, want the ErrExists that its function passed over", err)
	}
	view(t, db, func(tx store.Tx) error { want(t, tx, "b", "-"); return nil })
}

func testSnapshot(t *testing.T, db store.DB) {
	put(t, db, "a", "1")
	view(t, db, func(tx store.Tx) error {
		want(t, tx, "a", "1")
		done := make(chan error, 1)
		go func() {
			done <- db.Update(context.Background(), func(tx store.Tx) error { return tx.Put(raw, "a", []byte("2")) })
		}()
		if err := <-done; err != nil {
			t.Error(err)
		}
		want(t, tx, "a", "1")
		return nil
	})
	view(t, db, func(tx store.Tx) error { want(t, tx, "a", "2"); return nil })
}

func testReadOnly(t *testing.T, db store.DB) {
	put(t, db, "a", "1")
	view(t, db, func(tx store.Tx) error {
		for _, err := range []error{tx.Put(raw, "a", nil), tx.Insert(raw, "b", nil), tx.Delete(raw, "a")} {
			if !errors.Is(err, store.ErrReadOnly) {
				t.Errorf("write inside View = %v, want ErrReadOnly", err)
			}
		}
		return nil
	})
	view(t, db, func(tx store.Tx) error { want(t, tx, "a", "1"); want(t, tx, "b", "-"); return nil })
	boom := errors.New("boom")
	if err := db.View(t.Context(), func(store.Tx) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("View = %v, want the error of its function", err)
	}
}

// testLateTx checks that a Tx that was kept fails, rather than read or write in
// somebody else's transaction.
func testLateTx(t *testing.T, db store.DB) {
	put(t, db, "a", "1")
	var kept []store.Tx
	update(t, db, func(tx store.Tx) error { kept = append(kept, tx); return nil })
	view(t, db, func(tx store.Tx) error { kept = append(kept, tx); return nil })
	for _, tx := range kept {
		if _, err := tx.Get(raw, "a"); err == nil {
			t.Error("Get worked after the end")
		}
		if err := tx.Put(raw, "a", []byte("2")); err == nil {
			t.Error("Put worked after the end")
		}
		for _, err := range tx.Scan(raw, "", "") {
			if err == nil {
				t.Error("Scan worked after the end")
			}
		}
	}
	view(t, db, func(tx store.Tx) error { want(t, tx, "a", "1"); return nil })
}

func testContext(t *testing.T, db store.DB) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	called := func(store.Tx) error { t.Error("called although the context had ended"); return nil }
	if err := db.Update(ctx, called); !errors.Is(err, context.Canceled) {
		t.Errorf("Update = %v, want that the context had ended", err)
	}
	if err := db.View(ctx, called); !errors.Is(err, context.Canceled) {
		t.Errorf("View = %v, want that the context had ended", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	if err := db.Update(ctx, func(tx store.Tx) error {
		cancel() // the work has begun
		return tx.Put(raw, "a", []byte("1"))
	}); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	} else {
		doc := "1"
		if err != nil {
			doc = "-"
		}
		view(t, db, func(tx store.Tx) error { want(t, tx, "a", doc); return nil })
	}
}

func testPanic(t *testing.T, db store.DB) {
	var wg sync.WaitGroup
	for i := range 8 { // some in the same group
		wg.Go(func() {
			defer func() {
				if p := recover(); (i%2 == 0) != (p == "boom") {
					t.Errorf("recovered %v", p)
				}
			}()
			if err := db.Update(context.Background(), func(tx store.Tx) error {
				if err := tx.Put(raw, strconv.Itoa(i), []byte("x")); err != nil {
					return err
				}
				if i%2 == 0 {
					panic("boom")
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	view(t, db, func(tx store.Tx) error { want(t, tx, "0", "-"); want(t, tx, "1", "x"); return nil })
	func() {
		defer func() {
			if recover() != "boom" {
				t.Error("the panic in View was lost")
			}
		}()
		_ = db.View(t.Context(), func(store.Tx) error { panic("boom") })
	}()
	put(t, db, "a", "1")
}

// testGoexit is what a t.Fatal inside a transaction does.
func testGoexit(t *testing.T, db store.DB) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = db.Update(context.Background(), func(tx store.Tx) error {
			_ = tx.Put(raw, "a", []byte("1"))
			runtime.Goexit()
			return nil
		})
	}()
	<-done
	put(t, db, "b", "1")
	view(t, db, func(tx store.Tx) error { want(t, tx, "a", "-"); return nil })
}

func testClosed(t *testing.T, db store.DB) {
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	called := func(store.Tx) error { t.Error("called after Close"); return nil }
	if err := db.Update(t.Context(), called); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Update = %v, want ErrClosed", err)
	}
	if err := db.View(t.Context(), called); !errors.Is(err, store.ErrClosed) {
		t.Errorf("View = %v, want ErrClosed", err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
}

func testNoLostUpdate(t *testing.T, db store.DB) {
	const workers, each = 4, 25
	put(t, db, "n", "0")
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if err := db.Update(context.Background(), func(tx store.Tx) error {
					v, err := tx.Get(raw, "n")
					if err != nil {
						return err
					}
					n, err := strconv.Atoi(string(v))
					if err != nil {
						return err
					}
					return tx.Put(raw, "n", []byte(strconv.Itoa(n+1)))
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	view(t, db, func(tx store.Tx) error { want(t, tx, "n", strconv.Itoa(workers*each)); return nil })
}

// testWriteSkew needs serializability, not just snapshots: two transactions both
// see that the other's seat is free before either takes its own.
func testWriteSkew(t *testing.T, db store.DB) {
	var wg sync.WaitGroup
	var looked [2]chan struct{}
	for i := range looked {
		looked[i] = make(chan struct{})
	}
	for me := range 2 {
		wg.Go(func() {
			var once sync.Once
			if err := db.Update(context.Background(), func(tx store.Tx) error {
				for _, seat := range []string{"0", "1"} {
					switch _, err := tx.Get(raw, seat); {
					case err == nil:
						return nil // taken
					case !errors.Is(err, store.ErrNotFound):
						return err
					}
				}
				once.Do(func() {
					close(looked[me])
					select { // until the other has looked too, unless it cannot meanwhile
					case <-looked[1-me]:
					case <-time.After(time.Second / 10):
					}
				})
				return tx.Insert(raw, strconv.Itoa(me), []byte("mine"))
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	view(t, db, func(tx store.Tx) error {
		if keys, _ := scan(t, tx, raw, "", ""); len(keys) != 1 {
			t.Errorf("%d transactions took the only seat", len(keys))
		}
		return nil
	})
}

func testInsertRace(t *testing.T, db store.DB) {
	race(t, func(i int) error {
		return db.Update(context.Background(), func(tx store.Tx) error {
			return Docs().Insert(tx, &Doc{ID: "same", N: i})
		})
	})
}

func testUniqueRace(t *testing.T, db store.DB) {
	race(t, func(i int) error {
		return db.Update(context.Background(), func(tx store.Tx) error {
			return Docs().Insert(tx, &Doc{ID: strconv.Itoa(i), Mail: "same", Groups: []string{"g"}})
		})
	})
	view(t, db, func(tx store.Tx) error {
		if keys, _ := scan(t, tx, "docs", "", ""); len(keys) != 1 {
			t.Errorf("%d documents, want those of the losers rolled back", len(keys))
		}
		return nil
	})
	if err := store.Verify(t.Context(), db, Schemas()); err != nil {
		t.Error(err)
	}
}

// race checks that of those who want the same, one wins and the others learn it.
func race(t *testing.T, take func(i int) error) {
	t.Helper()
	const racers = 8
	var wg sync.WaitGroup
	var won, lost atomic.Int64
	for i := range racers {
		wg.Go(func() {
			switch err := take(i); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, store.ErrExists):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != racers-1 {
		t.Errorf("%d won and %d lost, want 1 and %d", won.Load(), lost.Load(), racers-1)
	}
}
