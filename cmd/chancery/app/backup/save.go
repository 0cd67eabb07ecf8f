package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"chancery/store/archive"
)

// A counter counts and hashes what goes through it.
type counter struct {
	w io.Writer
	h hash.Hash
	n int64
}

func newCounter(w io.Writer) *counter { return &counter{w: w, h: sha256.New()} }

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.h.Write(p[:n])
	c.n += int64(n)
	return n, err
}

func (c *counter) hex() string { return hex.EncodeToString(c.h.Sum(nil)) }

// Save writes a backup to a file, which is there whole or not at all: it is
// written under another name, read again from its beginning to its end, and on
// the disk before it gets its name. An older file of the name is replaced only
// then.
func Save(path string, write func(io.Writer) error) (*archive.Summary, error) {
	f, err := claim(path + ".tmp")
	if err != nil {
		return nil, err
	}
	err = write(f)
	var s *archive.Summary
	if err == nil {
		s, err = reread(f)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(f.Name(), path) // while it is ours
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()), f.Close())
	}
	return s, errors.Join(f.Close(), syncDir(filepath.Dir(path)))
}

// claim opens a file for this process alone, empty. One that an interrupted
// backup left is taken over; a link is not followed, for in a folder of many
// somebody else may have put it there.
func claim(path string) (*os.File, error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file: remove it, or write the backup elsewhere", path)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	mine, err := lock(f)
	switch {
	case err == nil && !mine:
		err = fmt.Errorf("%s: another backup into the same file is being made", path)
	case err == nil:
		err = errors.Join(f.Truncate(0), f.Chmod(0o600))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func reread(f *os.File) (*archive.Summary, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return archive.Read(f, archive.Visitor{})
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// read checks a backup from its beginning to its end, and brings the files in it.
func read(path string) (*archive.Summary, map[string][]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	files := map[string][]byte{}
	s, err := archive.Read(f, archive.Visitor{File: func(one archive.File) error {
		files[one.Name] = one.Content
		return nil
	}})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, files, nil
}
