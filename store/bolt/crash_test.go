package bolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

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

func write(path string) error {
	db, err := Open(path, Options{}, storetest.Schemas()...)
	if err != nil {
		return err
	}
	return storetest.Write(db, 64)
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
		n := storetest.Kill(t, crashFile+"="+path, 1500, acked)
		db, err := Open(path, Options{}, storetest.Schemas()...)
		if err != nil {
			t.Fatal(err)
		}
		storetest.CheckKilled(t, db, acked)
		checkPages(t, db)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d acknowledgements in this run, %d records in all", n, len(acked))
		if t.Failed() {
			return
		}
	}
}

func checkPages(t *testing.T, db *DB) {
	t.Helper()
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
