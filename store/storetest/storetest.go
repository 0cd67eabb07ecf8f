// Package storetest checks that a [store.DB] keeps its promises.
package storetest

import (
	"context"
	"errors"
	"testing"

	"chancery/store"
)

// An Opener opens the database that lies at place, a directory of the test, or
// an empty one where there is none yet. The test closes it.
type Opener func(t *testing.T, place string, schemas ...store.Schema) (store.DB, error)

// Run checks a backend.
func Run(t *testing.T, open Opener) {
	for _, tt := range []struct {
		name string
		fn   func(*testing.T, store.DB)
	}{
		{"Documents", testDocuments},
		{"HostileDocuments", testHostileDocuments},
		{"Ownership", testOwnership},
		{"Keys", testKeys},
		{"UnknownTable", testUnknownTable},
		{"Insert", testInsert},
		{"ReadOwnWrites", testReadOwnWrites},
		{"ScanOrder", testScanOrder},
		{"ScanPages", testScanPages},
		{"Ahead", testAhead},
		{"AheadRace", testAheadRace},
		{"Rollback", testRollback},
		{"Doomed", testDoomed},
		{"Snapshot", testSnapshot},
		{"ReadOnly", testReadOnly},
		{"LateTx", testLateTx},
		{"Context", testContext},
		{"Panic", testPanic},
		{"Goexit", testGoexit},
		{"Closed", testClosed},
		{"NoLostUpdate", testNoLostUpdate},
		{"WriteSkew", testWriteSkew},
		{"InsertRace", testInsertRace},
		{"UniqueRace", testUniqueRace},
		{"UniqueIndex", testUniqueIndex},
		{"IndexFollowsValue", testIndexFollowsValue},
		{"NotText", testNotText},
		{"By", testBy},
		{"Range", testRange},
		{"Damage", testDamage},
		{"Verify", testVerify},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.fn(t, fresh(t, open)) })
	}
	t.Run("Twice", func(t *testing.T) {
		for _, fn := range []func(*testing.T, store.DB){testInsert, testIndexFollowsValue, testNoLostUpdate} {
			fn(t, Twice(fresh(t, open)))
		}
	})
	t.Run("Reopen", func(t *testing.T) { testReopen(t, open) })
	t.Run("NewerFormat", func(t *testing.T) { testNewerFormat(t, open) })
	t.Run("NewIndex", func(t *testing.T) { testNewIndex(t, open) })
	t.Run("NewUniqueIndex", func(t *testing.T) { testNewUniqueIndex(t, open) })
	t.Run("IndexLeftAlone", func(t *testing.T) { testIndexLeftAlone(t, open) })
}

// A Doc is the record of the suite's table.
type Doc struct {
	ID, Mail string
	Groups   []string
	Raw      []byte
	N        int
}

// Docs returns the suite's table.
func Docs() *store.Table[Doc] {
	return &store.Table[Doc]{
		Name: "docs", Version: 1, Key: func(d *Doc) string { return d.ID },
		Indexes: []store.Index[Doc]{
			{Name: "group", Keys: func(d *Doc) []string { return d.Groups }},
			{Name: "mail", Unique: true, Keys: func(d *Doc) []string {
				if d.Mail == "" {
					return nil
				}
				return []string{d.Mail}
			}},
			{Name: "raw", Keys: func(d *Doc) []string {
				if d.Raw == nil {
					return nil
				}
				return []string{string(d.Raw)}
			}},
		},
	}
}

// raw is a table of which the suite writes the documents itself.
const raw = "raw"

// blobs are raw bytes with a checksum.
func blobs() store.Blobs { return store.Blobs{Name: "blobs"} }

// Schemas are those of the suite's tables.
func Schemas() []store.Schema {
	return []store.Schema{Docs().Schema(), blobs().Schema(), {Name: raw, Version: 1}}
}

// Twice returns db with an Update that calls its function twice, the first time
// for nothing, as a backend does that must try again. A function which has other
// effects than through its Tx is found out by it.
func Twice(db store.DB) store.DB { return twice{db} }

type twice struct{ store.DB }

func (d twice) Update(ctx context.Context, fn func(store.Tx) error) error {
	again := errors.New("again")
	err := d.DB.Update(ctx, func(tx store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return again
	})
	if !errors.Is(err, again) {
		return err
	}
	return d.DB.Update(ctx, fn)
}

func fresh(t *testing.T, open Opener) store.DB {
	t.Helper()
	return reopen(t, open, t.TempDir(), Schemas()...)
}

func reopen(t *testing.T, open Opener, place string, schemas ...store.Schema) store.DB {
	t.Helper()
	db, err := open(t, place, schemas...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func update(t *testing.T, db store.DB, fn func(tx store.Tx) error) {
	t.Helper()
	if err := db.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func view(t *testing.T, db store.DB, fn func(tx store.Tx) error) {
	t.Helper()
	if err := db.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, db store.DB, key, doc string) {
	t.Helper()
	update(t, db, func(tx store.Tx) error { return tx.Put(raw, key, []byte(doc)) })
}

// want checks what the raw table has under key; "-" stands for nothing.
func want(t *testing.T, tx store.Tx, key, doc string) {
	t.Helper()
	switch v, err := tx.Get(raw, key); {
	case doc == "-":
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get(%q) = %q, %v, want ErrNotFound", key, v, err)
		}
	case err != nil || string(v) != doc:
		t.Errorf("Get(%q) = %q, %v, want %q", key, v, err, doc)
	}
}

func scan(t *testing.T, tx store.Tx, table, from, to string) (keys, docs []string) {
	t.Helper()
	for p, err := range tx.Scan(table, from, to) {
		if err != nil {
			t.Fatalf("Scan(%q, %q): %v", from, to, err)
		}
		keys = append(keys, p.Key)
		docs = append(docs, string(p.Doc))
	}
	return keys, docs
}
