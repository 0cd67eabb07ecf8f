package file

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"chancery/engine"
)

// makeDir makes a directory and those above it, durably. What it made once it
// does not look at again.
func (x *exit) makeDir(dir string) error {
	if _, ok := x.known.Load(dir); ok {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) {
			if err := x.makeDir(parent); err != nil {
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
	x.known.Store(dir, true)
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// revocation appends one line. A line that a crash cut short is ended first, so
// that it spoils only itself: the event was not settled and comes again.
func (x *exit) revocation(ev engine.Event) error {
	line, err := json.Marshal(ev)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if err := x.makeDir(x.dir); err != nil {
		return err
	}
	x.log.Lock()
	defer x.log.Unlock()
	f, err := os.OpenFile(filepath.Join(x.dir, "revoked.jsonl"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	cut, err := unfinished(f)
	if err == nil {
		if cut {
			line = append([]byte{'\n'}, line...)
		}
		_, err = f.Write(line)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// unfinished says that the last line of the file has no end.
func unfinished(f *os.File) (bool, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || end == 0 {
		return false, err
	}
	var last [1]byte
	_, err = f.ReadAt(last[:], end-1)
	return last[0] != '\n', err
}
