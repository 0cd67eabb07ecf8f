package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"chancery/store"
	"chancery/store/postgres/pgtest"
	"chancery/store/storetest"
)

func write(dsn string) error {
	db, err := Open(context.Background(), dsn, Options{}, storetest.Schemas()...)
	if err != nil {
		return err
	}
	return storetest.Write(db, 16)
}

// TestKilledWriters kills a process that writes while another one uses the same
// tables, and checks each time that nothing acknowledged is lost, that records
// and indexes agree, and that the dead hold nobody up.
func TestKilledWriters(t *testing.T) {
	kills := 5
	if os.Getenv("CHANCERY_LONG") != "" {
		kills = 100
	}
	dsn := pgtest.DSN(t)
	db := open(t, dsn, Options{})
	acked := map[string]string{} // key to the last state acknowledged
	for range kills {
		n := storetest.Kill(t, crashDSN+"="+dsn, 300, acked)
		if err := put(db, "after", "1"); err != nil {
			t.Fatal(err)
		}
		storetest.CheckKilled(t, db, acked)
		t.Logf("%d acknowledgements in this run, %d records in all", n, len(acked))
		if t.Failed() {
			return
		}
	}
}

// TestIndexBuildGoesOn stops the building of an index at a document, as a kill
// would, and checks that the next Open goes on from there.
func TestIndexBuildGoesOn(t *testing.T) {
	dsn := pgtest.DSN(t)
	plain := storetest.Docs()
	plain.Indexes = nil
	db := open2(t, dsn, plain.Schema())
	const many = 2*chunk + 500
	if err := db.Update(t.Context(), func(tx store.Tx) error {
		for i := range many {
			if err := plain.Insert(tx, &storetest.Doc{ID: fmt.Sprintf("%05d", i), Groups: []string{"all"}}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	stopped := errors.New("killed")
	seen := 0
	counting := func(until int) store.Schema {
		s := storetest.Docs().Schema()
		entries := s.Indexes[0].Entries
		s.Indexes[0].Entries = func(key string, doc []byte) ([]store.Pair, error) {
			if seen++; seen > until {
				return nil, stopped
			}
			return entries(key, doc)
		}
		return s
	}
	if _, err := Open(t.Context(), dsn, Options{}, counting(chunk+100)); !errors.Is(err, stopped) {
		t.Fatalf("Open = %v, want that it was stopped", err)
	}
	seen = 0
	db = open2(t, dsn, counting(many))
	if want := many - chunk; seen != want {
		t.Errorf("the second Open indexed %d documents, want the %d that were left", seen, want)
	}
	if err := store.Verify(t.Context(), db, []store.Schema{storetest.Docs().Schema()}); err != nil {
		t.Error(err)
	}
}

// TestFirstStarts opens an empty database by many processes at once.
func TestFirstStarts(t *testing.T) {
	dsn := pgtest.DSN(t)
	ended := make(chan error)
	const nodes = 6
	for i := range nodes {
		go func() {
			db, err := Open(context.Background(), dsn, Options{}, storetest.Schemas()...)
			if err == nil {
				err = errors.Join(put(db, fmt.Sprint(i), "1"), db.Close())
			}
			ended <- err
		}()
	}
	for range nodes {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
