package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"chancery/store"
)

// inside is a DB that shows what a transaction sees.
type inside struct{ tx store.Tx }

func (d inside) View(_ context.Context, fn func(store.Tx) error) error   { return fn(d.tx) }
func (d inside) Update(_ context.Context, fn func(store.Tx) error) error { return fn(d.tx) }
func (inside) Close() error                                              { return nil }

func closeDB(t *testing.T, db store.DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func testReopen(t *testing.T, open Opener) {
	place := t.TempDir()
	db := reopen(t, open, place, Schemas()...)
	put(t, db, "a", "1")
	for i := range 3 {
		closeDB(t, db)
		db = reopen(t, open, place, Schemas()...)
		view(t, db, func(tx store.Tx) error { want(t, tx, "a", "1"); return nil })
		put(t, db, fmt.Sprint(i), "1")
	}
}

func testNewerFormat(t *testing.T, open Opener) {
	place := t.TempDir()
	newer := Docs()
	newer.Version = 2
	db := reopen(t, open, place, newer.Schema())
	update(t, db, func(tx store.Tx) error { return newer.Insert(tx, &Doc{ID: "1"}) })
	view(t, db, func(tx store.Tx) error {
		if _, err := Docs().Get(tx, "1"); err == nil || errors.Is(err, store.ErrCorrupt) {
			t.Errorf("a record of a newer format = %v, want an error that says so", err)
		}
		return nil
	})
	closeDB(t, db)
	if db, err := open(t, place, Docs().Schema()); err == nil {
		db.Close()
		t.Error("a table of a newer format was opened")
	} else if !strings.Contains(err.Error(), "docs") || !strings.Contains(err.Error(), "newer") {
		t.Errorf("error does not say what is newer: %v", err)
	}
	db = reopen(t, open, place, newer.Schema())
	view(t, db, func(tx store.Tx) error { _, err := newer.Get(tx, "1"); return err })
}

// many is more than an index takes in one transaction when it is built.
const many = 2500

func testNewIndex(t *testing.T, open Opener) {
	place := t.TempDir()
	plain := Docs()
	plain.Indexes = nil
	db := reopen(t, open, place, plain.Schema())
	update(t, db, func(tx store.Tx) error {
		for i := range many {
			d := &Doc{ID: fmt.Sprintf("%05d", i), Mail: fmt.Sprint(i), Groups: []string{fmt.Sprint(i % 3), "all"}}
			if err := plain.Insert(tx, d); err != nil {
				return err
			}
		}
		return nil
	})
	closeDB(t, db)
	db = reopen(t, open, place, Docs().Schema())
	if err := store.Verify(t.Context(), db, []store.Schema{Docs().Schema()}); err != nil {
		t.Error(err)
	}
	view(t, db, func(tx store.Tx) error {
		n := 0
		for _, err := range Docs().By(tx, "group", "all", "") {
			if err != nil {
				return err
			}
			n++
		}
		if n != many {
			t.Errorf("the new index has %d records, want %d", n, many)
		}
		_, err := Docs().One(tx, "mail", "1234")
		return err
	})
}

func testNewUniqueIndex(t *testing.T, open Opener) {
	place := t.TempDir()
	plain := Docs()
	plain.Indexes = nil
	db := reopen(t, open, place, plain.Schema())
	update(t, db, func(tx store.Tx) error {
		return errors.Join(plain.Insert(tx, &Doc{ID: "1", Mail: "m"}), plain.Insert(tx, &Doc{ID: "2", Mail: "m"}))
	})
	closeDB(t, db)
	if db, err := open(t, place, Docs().Schema()); err == nil {
		db.Close()
		t.Error("a unique index was built over records that share a value")
	} else if !strings.Contains(err.Error(), "docs.mail") {
		t.Errorf("error does not name the index: %v", err)
	}
	db = reopen(t, open, place, plain.Schema()) // still works without
	view(t, db, func(tx store.Tx) error { _, err := plain.Get(tx, "2"); return err })
}

// testIndexLeftAlone checks an index that a program without it did not keep in
// step.
func testIndexLeftAlone(t *testing.T, open Opener) {
	place := t.TempDir()
	plain := Docs()
	plain.Indexes = plain.Indexes[1:]
	db := reopen(t, open, place, Docs().Schema())
	insert(t, db, Doc{ID: "1", Groups: []string{"g"}}, Doc{ID: "2", Groups: []string{"g"}})
	closeDB(t, db)

	db = reopen(t, open, place, plain.Schema())
	update(t, db, func(tx store.Tx) error {
		d, err := plain.Get(tx, "1")
		if err != nil {
			return err
		}
		return errors.Join(plain.Delete(tx, d), plain.Insert(tx, &Doc{ID: "3", Groups: []string{"g"}}))
	})
	closeDB(t, db)

	db = reopen(t, open, place, Docs().Schema())
	view(t, db, func(tx store.Tx) error {
		if got := ids(t, Docs().By(tx, "group", "g", "")); got != "2 3" {
			t.Errorf("group g has %q, want 2 and 3", got)
		}
		return nil
	})
	if err := store.Verify(t.Context(), db, []store.Schema{Docs().Schema()}); err != nil {
		t.Error(err)
	}
}
