package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// dirs makes directories, durably. What it made once it does not look at again.
type dirs struct {
	known sync.Map
}

// make makes a directory and those above it.
func (d *dirs) make(dir string) error {
	if _, ok := d.known.Load(dir); ok {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) {
			if err := d.make(parent); err != nil {
				return err
			}
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Also when it was there: whoever made it may have died before this.
	if err := syncDir(parent); err != nil {
		return err
	}
	d.known.Store(dir, true)
	return nil
}

// forget is for when a directory turns out to be gone.
func (d *dirs) forget() { d.known.Clear() }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
