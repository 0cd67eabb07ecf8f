package bolt

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
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/store"
	"chancery/store/storetest"

	"go.etcd.io/bbolt"
)

// crashFile, in the environment, makes the test binary the process to be killed.
const crashFile = "CHANCERY_CRASH_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashFile); path != "" {
		fmt.Fprintln(os.Stderr, write(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// write has 64 writers insert, change and delete records for ever, and prints a
// line for what each Update has acknowledged: the state and key of a record.
func write(path string) error {
	db, err := Open(path, Options{}, storetest.Schemas()...)
	if err != nil {
		return err
	}
	failed := make(chan error, 64)
	for range 64 {
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

// TestCrash kills a process that writes, again and again, and checks after each
// time that nothing acknowledged is lost and that records and indexes agree.
func TestCrash(t *testing.T) {
	kills := 10
	if os.Getenv("CHANCERY_LONG") != "" {
		kills = 200
	}
	path := filepath.Join(t.TempDir(), "db")
	acked := map[string]string{} // key to the last state acknowledged
	for range kills {
		n := kill(t, path, acked)
		db, err := Open(path, Options{}, storetest.Schemas()...)
		if err != nil {
			t.Fatal(err)
		}
		checkCrashed(t, db, acked)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d acknowledgements in this run, %d records in all", n, len(acked))
		if t.Failed() {
			return
		}
	}
}

// kill runs the writer until a random number of acknowledgements has come, and
// then for a moment that nobody chose, to hit any point of a commit.
func kill(t *testing.T, path string, acked map[string]string) (n int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashFile+"="+path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	after := 1 + mathrand.N(1500)
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

func checkCrashed(t *testing.T, db *DB, acked map[string]string) {
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
	if err := db.b.View(func(tx *bbolt.Tx) error {
		var errs []error
		for err := range tx.Check() {
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}); err != nil {
		t.Errorf("the pages of the file: %v", err)
	}
}
