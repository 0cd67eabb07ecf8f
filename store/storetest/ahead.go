package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"chancery/store"
)

// testAhead checks that saying what will be read changes nothing of what is read:
// more documents than go out at once, missing and empty ones, own writes, an
// unknown table.
func testAhead(t *testing.T, db store.DB) {
	var refs []store.Ref
	for k := range 150 {
		key := fmt.Sprintf("k%03d", k)
		refs = append(refs, store.Ref{Table: raw, Key: key})
		if k%2 == 0 {
			put(t, db, key, key+"!")
		}
	}
	put(t, db, "k100", "")
	refs = append(refs, store.Ref{Table: raw, Key: "k002"}) // twice
	check := func(tx store.Tx) error {
		store.Ahead(tx, refs...)
		for k := range 150 {
			key := fmt.Sprintf("k%03d", k)
			switch {
			case k == 100:
				want(t, tx, key, "")
			case k%2 == 0:
				want(t, tx, key, key+"!")
			default:
				want(t, tx, key, "-")
			}
		}
		doc, err := tx.Get(raw, "k004")
		if err != nil {
			return err
		}
		clear(doc) // it is ours
		want(t, tx, "k004", "k004!")
		return nil
	}
	view(t, db, check)
	update := func(tx store.Tx) error {
		if err := tx.Put(raw, "k004", []byte("k004!")); err != nil {
			return err
		}
		if err := check(tx); err != nil {
			return err
		}
		if err := errors.Join(tx.Put(raw, "k001", []byte("new")), tx.Delete(raw, "k002")); err != nil {
			return err
		}
		want(t, tx, "k001", "new")
		want(t, tx, "k002", "-")
		return nil
	}
	if err := db.Update(t.Context(), update); err != nil {
		t.Fatal(err)
	}
	view(t, db, func(tx store.Tx) error {
		store.Ahead(tx)
		store.Ahead(tx, store.Ref{Table: "nowhere", Key: "a"}, store.Ref{Table: raw, Key: "k001"})
		want(t, tx, "k001", "new")
		if _, err := tx.Get("nowhere", "a"); err == nil {
			t.Error("there is a document in a table that there is not")
		}
		return nil
	})
}

// testAheadRace counts up from many goroutines what was read ahead: no Update is
// lost.
func testAheadRace(t *testing.T, db store.DB) {
	const workers, each = 4, 10
	keys := [2]string{"a", "b"}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if err := db.Update(t.Context(), func(tx store.Tx) error {
					store.Ahead(tx, store.Ref{Table: raw, Key: "a"}, store.Ref{Table: raw, Key: "b"})
					for _, key := range keys {
						doc, err := tx.Get(raw, key)
						if err != nil && !store.Missing(err) {
							return err
						}
						if err := tx.Put(raw, key, append(doc, '1')); err != nil {
							return err
						}
					}
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	view(t, db, func(tx store.Tx) error {
		for _, key := range keys {
			if doc, err := tx.Get(raw, key); err != nil || len(doc) != workers*each {
				t.Errorf("%s counts %d, want %d, %v", key, len(doc), workers*each, err)
			}
		}
		return nil
	})
}
