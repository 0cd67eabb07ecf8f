package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/store"
	"chancery/store/bolt"
	"chancery/store/postgres"
	"chancery/store/postgres/pgtest"
	"chancery/store/storetest"
	"chancery/store/transfer"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

var began = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func schemas() []store.Schema { return append(storetest.Schemas(), transfer.Schemas()...) }

func inBolt(t *testing.T) store.DB {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "db"), bolt.Options{}, schemas()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func inPostgres(t *testing.T) store.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), pgtest.DSN(t), postgres.Options{}, schemas()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// fill makes n records, with keys and octets that no encoding likes.
func fill(t *testing.T, db store.DB, n int) {
	t.Helper()
	docs := storetest.Docs()
	for from := 0; from < n; from += 1000 {
		if err := db.Update(t.Context(), func(tx store.Tx) error {
			for i := from; i < min(from+1000, n); i++ {
				d := &storetest.Doc{ID: fmt.Sprintf("é\x00%05d'", i), Mail: fmt.Sprint(i, "@test"), Groups: []string{"all", fmt.Sprint(i % 7)}, Raw: []byte{0, byte(i), 255}}
				if err := docs.Insert(tx, d); err != nil {
					return err
				}
			}
			return tx.Put("raw", fmt.Sprint("\xfe", from), []byte{})
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func copied(t *testing.T, from, to store.DB) []transfer.Table {
	t.Helper()
	tables, err := transfer.Copy(t.Context(), from, to, schemas(), transfer.Options{Now: began})
	if err != nil {
		t.Fatal(err)
	}
	if err := transfer.Unfinished(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	if err := store.Verify(t.Context(), to, schemas()); err != nil {
		t.Fatal(err)
	}
	return tables
}

// TestRoundTrip goes from a file to PostgreSQL and back to a file.
func TestRoundTrip(t *testing.T) {
	first, between, last := inBolt(t), inPostgres(t), inBolt(t)
	fill(t, first, 2500)
	there := copied(t, first, between)
	back := copied(t, between, last)
	if !slices.Equal(there, back) {
		t.Errorf("there %v\nback %v", there, back)
	}
	rows := map[string]int{}
	for _, table := range there {
		rows[table.Name] = table.Rows
	}
	if want := map[string]int{"docs": 2500, "docs.group": 5000, "docs.mail": 2500, "docs.raw": 2500, "blobs": 0, "raw": 3}; !maps.Equal(rows, want) {
		t.Errorf("rows %v, want %v", rows, want)
	}
}

// TestInterruptedCopyGoesOn ends a copy after each of its batches in turn.
func TestInterruptedCopyGoesOn(t *testing.T) {
	from := inBolt(t)
	fill(t, from, 2500)
	want := copied(t, from, inBolt(t))
	for stop, ended := 1, false; !ended; stop++ {
		to := inBolt(t)
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		_, err := transfer.Copy(ctx, from, to, schemas(), transfer.Options{Now: began, Progress: func(string, string, int) {
			if n++; n == stop {
				cancel()
			}
		}})
		cancel()
		if ended = n < stop; ended {
			break
		}
		if err != nil {
			if err := transfer.Unfinished(t.Context(), to); !errors.Is(err, transfer.ErrUnfinished) {
				t.Fatalf("after %d steps: %v, want ErrUnfinished", stop, err)
			}
		}
		if err == nil {
			continue // it came after the last look at the context
		}
		again := 0
		tables, err := transfer.Copy(t.Context(), from, to, schemas(), transfer.Options{Now: began, Progress: func(doing, _ string, rows int) {
			if doing == "copying" {
				again++
			}
		}})
		if err != nil || !slices.Equal(tables, want) {
			t.Fatalf("after %d steps: %v, %v", stop, tables, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	from, to := inBolt(t), inBolt(t)
	fill(t, from, 10)
	fill(t, to, 1)
	try := func(from, to store.DB, o transfer.Options) error {
		_, err := transfer.Copy(t.Context(), from, to, schemas(), o)
		return err
	}
	if err := try(from, to, transfer.Options{}); !errors.Is(err, transfer.ErrNotEmpty) {
		t.Errorf("a destination with records: %v", err)
	}
	if err := to.Update(t.Context(), func(tx store.Tx) error { // a bit is flipped in it
		docs := storetest.Docs()
		for p, err := range tx.Scan(docs.Name, "", "") {
			if err != nil {
				return err
			}
			p.Doc[len(p.Doc)-1] ^= 1
			return tx.Put(docs.Name, p.Key, p.Doc)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := try(to, inBolt(t), transfer.Options{}); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a source with damage: %v", err)
	}
	for _, source := range []store.DB{from, inPostgres(t)} {
		if _, err := transfer.Copy(t.Context(), source, inBolt(t), transfer.Schemas(), transfer.Options{}); err == nil || !strings.Contains(err.Error(), "does not know") {
			t.Errorf("a source with tables that nobody declared: %v", err)
		}
	}
	half := inBolt(t)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := transfer.Copy(ctx, from, half, schemas(), transfer.Options{Progress: func(string, string, int) { cancel() }}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := try(half, inBolt(t), transfer.Options{}); !errors.Is(err, transfer.ErrUnfinished) {
		t.Errorf("half a copy as a source: %v", err)
	}
	// Something is written to the source between the two halves.
	if err := from.Update(t.Context(), func(tx store.Tx) error {
		return storetest.Docs().Insert(tx, &storetest.Doc{ID: "\x01 before all others"})
	}); err != nil {
		t.Fatal(err)
	}
	err := try(from, half, transfer.Options{})
	if !errors.Is(err, transfer.ErrDiffers) || !strings.Contains(err.Error(), "empty the destination") {
		t.Errorf("a source that changed: %v", err)
	}
	if err := transfer.Unfinished(t.Context(), half); !errors.Is(err, transfer.ErrUnfinished) {
		t.Errorf("a copy that differs can be served: %v", err)
	}
}
