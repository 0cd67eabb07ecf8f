package bolt

import (
	"bytes"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"chancery/store"
	"chancery/store/storetest"

	"go.etcd.io/bbolt"
)

// sector is what a disk writes whole.
const sector = 512

// XD-006: the power fails during a commit. A disk that keeps its promise at each
// fdatasync may have written any of the sectors since, and none of the others:
// bbolt writes the pages, syncs, writes one of its two meta pages, syncs. From
// each such file the store opens with everything before the commit, and with all
// or nothing of it.
func TestXD_006_PowerFails(t *testing.T) {
	commits, states := 8, 6
	if os.Getenv("CHANCERY_LONG") != "" {
		commits, states = 100, 40
	}
	db, path := openTest(t, Options{})
	random := mathrand.New(mathrand.NewPCG(6, 6))
	docs := storetest.Docs()
	insert := func(n int) {
		t.Helper()
		if err := db.Update(t.Context(), func(tx store.Tx) error {
			for k := range 20 {
				id := fmt.Sprintf("%05d-%02d", n, k)
				if err := docs.Insert(tx, &storetest.Doc{ID: id, Mail: id, Raw: bytes.Repeat([]byte(id), 30)}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	insert(0)
	for n := 1; n <= commits; n++ {
		before := contents(t, path)
		insert(n)
		after := contents(t, path)
		for s := range states {
			// Half of the time the power fails before the first sync, half of the
			// time between the syncs.
			second := s%2 == 1
			lost := powerFails(random, before, after, second)
			done := opensAs(t, lost, n)
			if !second && done {
				t.Errorf("commit %d is there before its meta page was written", n)
			}
		}
		if !opensAs(t, after, n) {
			t.Errorf("commit %d is lost though it was synced", n)
		}
	}
}

func contents(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// powerFails makes a file that may be left of a commit. second is the moment
// after the pages were synced, when a meta page is being written.
func powerFails(random *mathrand.Rand, before, after []byte, second bool) []byte {
	lost := make([]byte, len(after)) // growing the file was synced by itself
	copy(lost, before)
	const metas = 2 * pageSize
	for at := 0; at < len(after); at += sector {
		end := min(at+sector, len(after))
		meta := at < metas
		if written := !meta && second || meta == second && random.IntN(2) == 0; written {
			copy(lost[at:end], after[at:end])
		}
	}
	return lost
}

// opensAs opens a file, checks everything in it, and reports whether the last
// commit is there.
func opensAs(t *testing.T, file []byte, last int) (done bool) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := Open(path, Options{}, storetest.Schemas()...)
	if err != nil {
		t.Fatalf("commit %d: %v", last, err)
	}
	defer db.Close()
	if err := store.Verify(t.Context(), db, storetest.Schemas()); err != nil {
		t.Errorf("commit %d: %v", last, err)
	}
	if err := db.b.View(func(tx *bbolt.Tx) error {
		var errs []error
		for err := range tx.Check() {
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}); err != nil {
		t.Errorf("commit %d: the pages of the file: %v", last, err)
	}
	count := map[string]int{}
	docs := storetest.Docs()
	if err := db.View(t.Context(), func(tx store.Tx) error {
		for d, err := range docs.All(tx, "", "") {
			if err != nil {
				return err
			}
			count[d.ID[:5]]++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for n := range last {
		if got := count[fmt.Sprintf("%05d", n)]; got != 20 {
			t.Errorf("commit %d has %d of 20 records after the power failed in commit %d", n, got, last)
		}
	}
	switch n := count[fmt.Sprintf("%05d", last)]; n {
	case 0:
		return false
	case 20:
		return true
	default:
		t.Errorf("commit %d is there by %d of 20 records", last, n)
		return false
	}
}
