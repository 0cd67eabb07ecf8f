package postgres

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"chancery/store"
	"chancery/store/postgres/pgtest"
	"chancery/store/storetest"
)

// write has 16 writers insert, change and delete records for ever, and prints a
// line for what each Update has acknowledged: the state and key of a record.
func write(dsn string) error {
	db, err := Open(context.Background(), dsn, Options{}, storetest.Schemas()...)
	if err != nil {
		return err
	}
	failed := make(chan error, 16)
	for range 16 {
		go func() {
			for {
				if err := lifecycle(db); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

// lifecycle inserts a record, changes it, and deletes every third.
func lifecycle(db *DB) error {
	docs := storetest.Docs()
	d := storetest.Doc{ID: store.NewID(time.Now(), rand.Reader), Groups: []string{"new", "all"}}
	d.Mail, d.Raw = d.ID+"@example.com", bytes.Repeat([]byte(d.ID), 20)
	step := func(name string, fn func(store.Tx) error) error {
		if err := db.Update(context.Background(), fn); err != nil {
			return err
		}
		// One write to a pipe is whole; what stands in it was acknowledged.
		_, err := os.Stdout.WriteString(name + " " + d.ID + "\n")
		return err
	}
	if err := step("inserted", func(tx store.Tx) error { return docs.Insert(tx, &d) }); err != nil {
		return err
	}
	if err := step("changed", func(tx store.Tx) error {
		_, err := docs.Change(tx, d.ID, func(d *storetest.Doc) error {
			d.N, d.Groups, d.Mail = 1, []string{"all", "changed"}, "new-"+d.Mail
			return nil
		})
		return err
	}); err != nil {
		return err
	}
	if d.ID[len(d.ID)-1]%3 != 0 {
		return nil
	}
	return step("deleted", func(tx store.Tx) error {
		got, err := docs.Get(tx, d.ID)
		if err != nil {
			return err
		}
		return docs.Delete(tx, got)
	})
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
		n := kill(t, dsn, acked)
		if err := put(db, "after", "1"); err != nil {
			t.Fatal(err)
		}
		checkKilled(t, db, acked)
		t.Logf("%d acknowledgements in this run, %d records in all", n, len(acked))
		if t.Failed() {
			return
		}
	}
}

// kill runs the writer until a random number of acknowledgements has come, and
// then for a moment that nobody chose, to hit any point of a transaction.
func kill(t *testing.T, dsn string, acked map[string]string) (n int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDSN+"="+dsn)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	after := 1 + mathrand.N(300)
	killed := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		state, key, ok := strings.Cut(lines.Text(), " ")
		if !ok || len(key) != store.IDLength {
			continue // the last line, cut by the kill
		}
		acked[key] = state
		if n++; n >= after && !killed {
			killed = true
			time.AfterFunc(time.Duration(mathrand.N(4000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil || !killed {
		t.Fatalf("the writer ended by itself: %v: %s", err, &stderr)
	}
	return n
}

func checkKilled(t *testing.T, db *DB, acked map[string]string) {
	t.Helper()
	docs := storetest.Docs()
	if err := db.View(t.Context(), func(tx store.Tx) error {
		for key, state := range acked {
			d, err := docs.Get(tx, key)
			missing := errors.Is(err, store.ErrNotFound)
			if err != nil && !missing {
				return err
			}
			// The step after the acknowledged one may have been committed too.
			mayBeGone := key[len(key)-1]%3 == 0 && state != "inserted"
			switch {
			case state == "deleted" && !missing:
				t.Errorf("%s was deleted and is there", key)
			case missing && !mayBeGone:
				t.Errorf("%s was %s and is lost", key, state)
			case !missing && state == "changed" && d.N != 1:
				t.Errorf("%s lost its change", key)
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if err := store.Verify(t.Context(), db, storetest.Schemas()); err != nil {
		t.Error(err)
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
