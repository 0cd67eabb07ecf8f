package store_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chancery/store"
	"chancery/store/bolt"
	"chancery/store/storetest"
)

func inspected(t *testing.T) (db store.DB, docs *store.Table[storetest.Doc]) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "db"), bolt.Options{}, storetest.Schemas()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	docs = storetest.Docs()
	change(t, db, func(tx store.Tx) error {
		for i := range 50 {
			if err := docs.Insert(tx, document(i)); err != nil {
				return err
			}
		}
		return nil
	})
	return db, docs
}

func change(t *testing.T, db store.DB, fn func(store.Tx) error) {
	t.Helper()
	if err := db.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func document(i int) *storetest.Doc {
	return &storetest.Doc{ID: fmt.Sprintf("d%02d", i), Mail: fmt.Sprintf("m%d@test", i), Groups: []string{"all", fmt.Sprint("g", i%5)}, N: i}
}

// walk inspects everything, most rows at a time, each Step by another Inspector.
func walk(t *testing.T, db store.DB, most int) (found []string, docs int) {
	t.Helper()
	at, rows := store.Place{}, map[string]int(nil)
	for range 10_000 {
		i := store.Inspector{Schemas: storetest.Schemas(), At: at, Rows: rows}
		some, seen, done, err := i.Step(t.Context(), db, most)
		if err != nil {
			t.Fatal(err)
		}
		if seen > most {
			t.Fatalf("%d rows in one step, want %d at most", seen, most)
		}
		for _, f := range some {
			found = append(found, f.Error())
		}
		if at, rows = i.At, i.Rows; done {
			return found, rows[storetest.Docs().Name]
		}
	}
	t.Fatal("there is no end")
	return nil, 0
}

// TestInspectFindsWhatVerifyFinds damages one thing after another.
func TestInspectFindsWhatVerifyFinds(t *testing.T) {
	for _, most := range []int{1, 7, 1000} {
		db, docs := inspected(t)
		if found, n := walk(t, db, most); len(found) > 0 || n != 50 {
			t.Fatalf("%d documents, found %q in an undamaged store", n, found)
		}
		key := document(7).ID
		index := docs.Schema().Indexes[0]
		var doc []byte
		var entries []store.Pair
		change(t, db, func(tx store.Tx) (err error) {
			if doc, err = tx.Get(docs.Name, key); err == nil {
				entries, err = index.Entries(key, doc)
			}
			return err
		})
		for _, damage := range []struct {
			name  string
			do    func(tx store.Tx) error
			finds string
		}{
			{"flipped bit", func(tx store.Tx) error {
				bad := slices.Clone(doc)
				bad[len(bad)-1] ^= 1
				return tx.Put(docs.Name, key, bad)
			}, "damaged"},
			{"no entry", func(tx store.Tx) error { return tx.Delete(index.Name, entries[0].Key) }, "no entry in the index"},
			{"entry of nothing", func(tx store.Tx) error { return tx.Delete(docs.Name, key) }, "which is not there"},
			{"entry too many", func(tx store.Tx) error {
				return tx.Put(index.Name, strings.Replace(entries[0].Key, "\x00\x01", "x\x00\x01", 1), entries[0].Doc)
			}, "which is otherwise"},
			{"under another key", func(tx store.Tx) error { return tx.Put(docs.Name, "other", doc) }, "lies under another key"},
		} {
			change(t, db, damage.do)
			found, _ := walk(t, db, most)
			if !strings.Contains(strings.Join(found, "\n"), damage.finds) {
				t.Errorf("%d at a time, %s: found %q", most, damage.name, found)
			}
			if err := store.Verify(t.Context(), db, storetest.Schemas()); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("%s: Verify finds %v", damage.name, err)
			}
			change(t, db, func(tx store.Tx) error { // as it was
				err := errors.Join(tx.Put(docs.Name, key, doc), tx.Delete(docs.Name, "other"), tx.Delete(index.Name, strings.Replace(entries[0].Key, "\x00\x01", "x\x00\x01", 1)))
				for _, e := range entries {
					err = errors.Join(err, tx.Put(index.Name, e.Key, e.Doc))
				}
				return err
			})
		}
		if found, _ := walk(t, db, most); len(found) > 0 {
			t.Fatalf("found %q when all was mended", found)
		}
	}
}

// TestInspectSurvivesPagesThatMakeNoSense: a panic of the database is a finding.
func TestInspectSurvivesPagesThatMakeNoSense(t *testing.T) {
	db, docs := inspected(t)
	i := store.Inspector{Schemas: storetest.Schemas(), Also: func(_ store.Tx, _, key string, _ []byte) []error {
		if key == document(3).ID {
			panic("page 7: invalid page type") // what bbolt does, and what must come back as a finding
		}
		return nil
	}}
	found, err := i.InspectAll(t.Context(), db, nil)
	if err != nil || len(found) != 1 || found[0].Table != docs.Name || !errors.Is(found[0].Err, store.ErrCorrupt) {
		t.Errorf("found %v, %v", found, err)
	}
}
