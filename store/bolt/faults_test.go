package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"chancery/store"
	"chancery/store/storetest"

	"go.etcd.io/bbolt"
)

const raw = "raw" // of storetest

func openTest(t *testing.T, o Options) (*DB, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	db, err := Open(path, o, storetest.Schemas()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db, path
}

func put(db *DB, key string, size int) error {
	return db.Update(context.Background(), func(tx store.Tx) error { return tx.Put(raw, key, make([]byte, size)) })
}

func TestLocked(t *testing.T) {
	_, path := openTest(t, Options{})
	db, err := Open(path, Options{}, storetest.Schemas()...)
	if err == nil {
		db.Close()
		t.Fatal("opened twice")
	}
	if want := "another chancery process has " + filepath.Dir(path) + " open"; !strings.Contains(err.Error(), want) {
		t.Errorf("error = %v, want %q", err, want)
	}
}

func TestFileMode(t *testing.T) {
	_, path := openTest(t, Options{})
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, want that only the owner reads it", info.Mode())
	}
}

func TestNoDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	for _, content := range []string{"x", strings.Repeat("no database ", 10000)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if db, err := Open(path, Options{}); err == nil {
			db.Close()
			t.Errorf("opened a file that begins with %.20q", content)
		} else if !strings.Contains(err.Error(), path) {
			t.Errorf("error does not name the file: %v", err)
		}
	}
}

// A file that lost its end is refused wherever it was cut.
func TestXD_007_FileWithoutItsEnd(t *testing.T) {
	db, path := openTest(t, Options{})
	for n := range 40 {
		if err := put(db, fmt.Sprint(n), 20<<10); err != nil {
			t.Fatal(err)
		}
	}
	var used int64
	if err := db.b.View(func(tx *bbolt.Tx) error { used = tx.Size(); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := used - 1; size > 0; size -= used/16 + 1 {
		cut := filepath.Join(t.TempDir(), "db")
		if err := os.WriteFile(cut, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if db, err := Open(cut, Options{}, storetest.Schemas()...); err == nil {
			db.Close()
			t.Errorf("%d octets of %d were opened", size, used)
		} else if !strings.Contains(err.Error(), cut) || !strings.Contains(err.Error(), "restore it from a backup") {
			t.Errorf("%d octets of %d: %v", size, used, err)
		}
	}
}

// TestFailedWrite checks that after a write that the disk refused nothing goes
// on as if nothing had happened.
func TestFailedWrite(t *testing.T) {
	for name, failure := range map[string]error{
		"write":            &os.PathError{Op: "write", Path: "db", Err: syscall.EIO},
		"fsync":            syscall.EIO,
		"fsync, disk full": syscall.ENOSPC, // pages may be gone that were there
		"growing, fsync":   fmt.Errorf("file sync error: %s", &os.PathError{Op: "sync", Path: "db", Err: syscall.ENOSPC}),
	} {
		t.Run(name, func(t *testing.T) {
			fatal := make(chan error, 2)
			db, _ := openTest(t, Options{Fatal: func(err error) { fatal <- err }})
			if err := put(db, "before", 1); err != nil {
				t.Fatal(err)
			}
			<-held(t, db, func(tx *bbolt.Tx) error {
				_ = tx.Rollback()
				return failure
			}, 8, func(err error) {
				if !errors.Is(err, store.ErrClosed) || err.Error() == store.ErrClosed.Error() {
					t.Errorf("Update = %v, want ErrClosed with the reason", err)
				}
			})
			if err := <-fatal; !strings.Contains(err.Error(), failure.Error()) {
				t.Errorf("Fatal was told %v, want %v", err, failure)
			}
			if err := put(db, "after", 1); !errors.Is(err, store.ErrClosed) {
				t.Errorf("later Update = %v, want ErrClosed", err)
			}
			if err := db.View(t.Context(), func(store.Tx) error { return nil }); !errors.Is(err, store.ErrClosed) {
				t.Errorf("later View = %v, want ErrClosed", err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			if len(fatal) > 0 {
				t.Error("Fatal was called twice")
			}
		})
	}
}

// held makes writers wait for one commit, which fn then does. It returns a
// channel that is closed when all have their answer.
func held(t *testing.T, db *DB, fn func(*bbolt.Tx) error, writers int, answered func(error)) <-chan struct{} {
	t.Helper()
	inside, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	db.commit = func(tx *bbolt.Tx) error {
		once.Do(func() {
			close(inside)
			<-release
		})
		return fn(tx)
	}
	var wg sync.WaitGroup
	update := func() { answered(put(db, "held", 1)) }
	wg.Go(update)
	<-inside
	for range writers - 1 {
		wg.Go(update)
	}
	waitFor(t, func() bool { return db.queue.len() == writers-1 })
	close(release)
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	return done
}

// waitFor waits until ok, or fails the test.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("what the test waits for does not come")
		}
	}
}

func TestGroup(t *testing.T) {
	db, _ := openTest(t, Options{})
	if err := put(db, "first", 1); err != nil {
		t.Fatal(err)
	}
	<-held(t, db, (*bbolt.Tx).Commit, 9, func(err error) {
		if err != nil {
			t.Error(err)
		}
	})
	if updates, commits := db.Stats(); updates != 10 || commits != 3 {
		t.Errorf("%d updates took %d commits, want 10 and 3", updates, commits)
	}
}

// TestGroupAnswers checks who has to wait for the fsync: whoever wrote, and
// whoever saw what is not durable yet.
func TestGroupAnswers(t *testing.T) {
	db, _ := openTest(t, Options{})
	db.commit = func(tx *bbolt.Tx) error {
		t.Error("committed nothing")
		return tx.Commit()
	}
	boom := errors.New("boom")
	for _, want := range []error{nil, boom} {
		if err := db.Update(t.Context(), func(tx store.Tx) error { return want }); err != want {
			t.Errorf("Update = %v, want %v", err, want)
		}
	}
	db.commit = (*bbolt.Tx).Commit
	if err := put(db, "first", 1); err != nil {
		t.Fatal(err)
	}
	commits := 0
	<-held(t, db, func(tx *bbolt.Tx) error {
		if commits++; commits == 1 {
			return tx.Commit()
		}
		_ = tx.Rollback()
		return &os.PathError{Op: "write", Path: "db", Err: syscall.ENOSPC}
	}, 3, func(error) {
		// Both saw or wrote what the second commit lost, whatever they made of it.
		err := db.Update(t.Context(), func(tx store.Tx) error {
			if err := tx.Insert(raw, "lost", nil); err != nil {
				return boom
			}
			return nil
		})
		if !errors.Is(err, ErrFull) || errors.Is(err, boom) {
			t.Errorf("Update = %v, want that the disk was full", err)
		}
	})
}

func TestContextEndsInQueue(t *testing.T) {
	db, _ := openTest(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	begun, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := db.Update(t.Context(), func(store.Tx) error { close(begun); <-release; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-begun
	wg.Go(func() {
		err := db.Update(ctx, func(tx store.Tx) error { return tx.Put(raw, "late", nil) })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Update = %v, want that its context ended", err)
		}
		close(release) // it returned before its turn could come
	})
	waitFor(t, func() bool { return db.queue.len() == 1 })
	cancel()
	wg.Wait()
	if err := db.View(t.Context(), func(tx store.Tx) error { _, err := tx.Get(raw, "late"); return err }); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what was given up was written: %v", err)
	}
}

// TestBuildResumes ends the building of an index after a chunk.
func TestBuildResumes(t *testing.T) {
	docs := storetest.Docs()
	plain := storetest.Docs()
	plain.Indexes = nil
	path := filepath.Join(t.TempDir(), "db")
	db, err := Open(path, Options{}, plain.Schema())
	if err != nil {
		t.Fatal(err)
	}
	const n = 2*chunk + chunk/2
	if err := db.Update(t.Context(), func(tx store.Tx) error {
		for i := range n {
			if err := plain.Insert(tx, &storetest.Doc{ID: fmt.Sprintf("%05d", i), Mail: fmt.Sprint(i)}); err != nil {
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

	seen := 0
	counted := func(limit int) store.Schema {
		s := docs.Schema()
		mail := s.Indexes[1].Entries
		s.Indexes[1].Entries = func(key string, doc []byte) ([]store.Pair, error) {
			if seen++; seen > limit {
				return nil, errors.New("the process ends here")
			}
			return mail(key, doc)
		}
		return s
	}
	if db, err := Open(path, Options{}, counted(chunk+10)); err == nil {
		db.Close()
		t.Fatal("an index that is half built was opened")
	}
	seen = 0
	db, err = Open(path, Options{}, counted(n))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if seen != n-chunk {
		t.Errorf("%d documents were looked at, want those after the first chunk, %d", seen, n-chunk)
	}
	if err := store.Verify(t.Context(), db, []store.Schema{docs.Schema()}); err != nil {
		t.Error(err)
	}
}
