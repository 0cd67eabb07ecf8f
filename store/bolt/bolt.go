// Package bolt keeps documents in a single bbolt file. One goroutine commits
// all the Updates that wait at the same time, with one fsync for all of them.
//
// Call neither View nor Update inside the function of another: the inner one
// may wait for the outer one.
package bolt

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"chancery/store"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Options are what Open may be told. The zero value is good for tests.
type Options struct {
	// Log receives what an administrator should know; nil for none.
	Log *slog.Logger

	// Fatal is called once when the disk refused a write. What the file then
	// holds cannot be known before it is opened again, so the process must exit.
	Fatal func(error)
}

// DB is a [store.DB] in one file. Its View may show what an Update that is being
// answered at this moment has written.
type DB struct {
	b      *bbolt.DB
	o      Options
	tables map[string]int // position in names and in the buckets of a reader
	names  [][]byte
	fills  []fill
	forms  []*form      // nil for indexes
	seed   maphash.Seed // of the hashes in fills

	queue   queue
	ran     chan struct{} // the function of the Update whose turn it was has returned
	stopped chan struct{} // the committer has ended
	commit  func(*bbolt.Tx) error
	gone    atomic.Bool
	closing sync.Once

	updates, commits atomic.Uint64
}

var _ store.DB = (*DB)(nil)

const (
	// lockWait is long enough for a process that is just exiting.
	lockWait = time.Second

	// growth is how much the file grows at once: little enough that a small
	// file stays small, enough that the fsync of growing does not count.
	growth = 1 << 20

	// pageSize, of new files, lets pages be fuller than 4 KiB would: no page may
	// keep fewer than two documents when it is split, and of 700 bytes there are
	// but five in 4 KiB. A certificate takes 20 % less disk, at the same speed.
	pageSize = 8 << 10

	// mapped is how much of the file is mapped from the start. Addresses cost
	// nothing, and mapping more later must wait for every reader.
	mapped = 1 << 30
)

// Open opens the file, or makes it, with a table for each schema and each
// index. It refuses tables in a format newer than their schema, and builds the
// indexes that are new.
func Open(path string, o Options, schemas ...store.Schema) (*DB, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	b, err := openFile(path)
	if err != nil {
		return nil, err
	}
	d := &DB{
		b: b, o: o, tables: map[string]int{},
		ran: make(chan struct{}), stopped: make(chan struct{}),
		commit: (*bbolt.Tx).Commit, seed: maphash.MakeSeed(),
	}
	d.queue.wake = make(chan struct{}, 1)
	if err := d.prepare(schemas); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	go d.committer()
	return d, nil
}

// ErrHeld is in the error of Open and Compact when another process has the file
// open.
var ErrHeld = errors.New("stop it, or use another data directory")

func openFile(path string) (b *bbolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // of pages that the file does not have
	defer func() {
		if p := recover(); p != nil { // bbolt's way of saying that pages make no sense
			err = fmt.Errorf("%s is damaged: restore it from a backup: %v", path, p)
		}
	}()
	_, missing := os.Stat(path)
	options := &bbolt.Options{
		Timeout: lockWait, FreelistType: bbolt.FreelistMapType, NoFreelistSync: true, NoStatistics: true,
		PageSize: pageSize,
	}
	if strconv.IntSize == 64 && runtime.GOOS != "windows" { // there the file takes the size of the map
		options.InitialMmapSize = mapped
	}
	b, err = openCurrent(path, options, os.OpenFile)
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("another chancery process has %s open: %w", filepath.Dir(path), ErrHeld)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%s is no database or damaged: restore it from a backup: %w", path, err)
	case err != nil:
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	b.AllocSize = growth
	if missing != nil {
		err = syncDir(filepath.Dir(path))
	} else {
		err = complete(b, path)
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// complete refuses a file that lost its end: reading what it does not have would
// end the process later, without a word of why.
func complete(b *bbolt.DB, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return b.View(func(tx *bbolt.Tx) error {
		if tx.Size() > info.Size() {
			return fmt.Errorf("%s is damaged, its end is missing (%d octets of %d are there): restore it from a backup", path, info.Size(), tx.Size())
		}
		return nil
	})
}

// openCurrent opens the file that has the name when the lock is ours. While we
// waited for the lock, Compact may have put another in its place.
func openCurrent(path string, options *bbolt.Options, openFile func(string, int, os.FileMode) (*os.File, error)) (*bbolt.DB, error) {
	for {
		var opened os.FileInfo
		options.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := openFile(name, flag, mode)
			if err == nil {
				opened, err = f.Stat()
			}
			return f, err
		}
		b, err := bbolt.Open(path, 0o600, options)
		if err != nil {
			return nil, err
		}
		if now, err := os.Stat(path); err == nil && os.SameFile(opened, now) {
			return b, nil
		} else if err = errors.Join(err, b.Close()); err != nil {
			return nil, err
		}
	}
}

// syncDir makes the name of a new file survive the loss of power.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // has no such thing
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Sole reports that no other process can have the file open, so that whoever
// asks to lead may lead at once.
func (d *DB) Sole() bool { return true }

// Stats says how many Updates have written something, and in how many commits.
func (d *DB) Stats() (updates, commits uint64) { return d.updates.Load(), d.commits.Load() }

// View implements [store.DB].
func (d *DB) View(ctx context.Context, fn func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.gone.Load() {
		return store.ErrClosed
	}
	tx, err := d.b.Begin(false)
	if err != nil {
		return fmt.Errorf("%w: %w", store.ErrClosed, err)
	}
	r := d.reader(tx)
	defer func() {
		r.end()
		_ = tx.Rollback() // of a read transaction cannot fail
	}()
	return fn(store.ReadOnly(r))
}

// Close refuses new transactions and waits for those that run.
func (d *DB) Close() error {
	var err error
	d.closing.Do(func() {
		d.queue.close()
		<-d.stopped
		if d.gone.Swap(true) {
			return // after a failed write nothing may touch the file again; the exit frees it
		}
		// A file closed in order brings its list of free pages, so that opening
		// it need not look at every page.
		d.b.NoFreelistSync = false
		err = errors.Join(d.b.Update(func(*bbolt.Tx) error { return nil }), d.b.Close())
	})
	return err
}
