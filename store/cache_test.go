package store_test

import (
	"path/filepath"
	"testing"

	"chancery/store"
	"chancery/store/bolt"
)

type note struct{ ID, Text string }

var notes = store.Table[note]{Name: "notes", Version: 1, Key: func(n *note) string { return n.ID },
	Indexes: []store.Index[note]{{Name: "text", Unique: true, Keys: func(n *note) []string { return []string{n.Text} }}}}

func TestCacheIsNeverStale(t *testing.T) {
	db, err := bolt.Open(filepath.Join(t.TempDir(), "db"), bolt.Options{}, notes.Schema())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var c store.Cache[note]
	put := func(text string) {
		if err := db.Update(t.Context(), func(tx store.Tx) error {
			old, err := notes.Get(tx, "1")
			if store.Missing(err) {
				return notes.Insert(tx, &note{"1", text})
			} else if err != nil {
				return err
			}
			return notes.Put(tx, old, &note{"1", text})
		}); err != nil {
			t.Fatal(err)
		}
	}
	get := func(tx store.Tx, want string) *note {
		n, err := c.Get(&notes, tx, "1")
		if err != nil || n.Text != want {
			t.Errorf("Get = %+v, %v, want %s", n, err, want)
		}
		return n
	}
	view := func(fn func(store.Tx)) {
		if err := db.View(t.Context(), func(tx store.Tx) error { fn(tx); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	put("a")
	view(func(tx store.Tx) {
		if first := get(tx, "a"); first != get(tx, "a") {
			t.Error("the same bytes were decoded twice")
		}
	})
	put("b")
	view(func(tx store.Tx) {
		get(tx, "b")
		if n, err := c.One(&notes, tx, "text", "b"); err != nil || n.Text != "b" {
			t.Errorf("One = %+v, %v", n, err)
		}
		if _, err := c.One(&notes, tx, "text", "a"); !store.Missing(err) {
			t.Errorf("One of a value that is gone = %v", err)
		}
	})
	if err := db.Update(t.Context(), func(tx store.Tx) error { return notes.Delete(tx, &note{"1", "b"}) }); err != nil {
		t.Fatal(err)
	}
	view(func(tx store.Tx) {
		if _, err := c.Get(&notes, tx, "1"); !store.Missing(err) {
			t.Errorf("Get of a deleted row = %v", err)
		}
	})
}
