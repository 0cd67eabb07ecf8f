package file

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"chancery/engine"
)

// line is what the journal holds of an event.
type line struct {
	*engine.Event
	Certificate string `json:"certificate,omitempty"` // PEM
}

// A page is what a batch adds to the journal of one day.
type page struct {
	day  string
	text bytes.Buffer // begins with a newline, for a file whose last line has none
}

// roomPerLine is about what a line with a certificate takes.
const roomPerLine = 2 << 10

// pages writes events as lines. Mostly all are of one day; around midnight, and
// with events that are told again, they are not. The latest is the last, so that
// its file is the one that stays open.
func pages(all []engine.Event) ([]*page, error) {
	var out []*page
	for i := range all {
		ev := &all[i]
		day := ev.At.UTC().Format(time.DateOnly)
		k := slices.IndexFunc(out, func(p *page) bool { return p.day == day })
		if k < 0 {
			p := &page{day: day}
			p.text.Grow(roomPerLine * (len(all) - i))
			p.text.WriteByte('\n')
			k, out = len(out), append(out, p)
		}
		l := line{Event: ev}
		if len(ev.DER) > 0 {
			l.Certificate = string(inPEM(ev.DER))
		}
		if err := json.NewEncoder(&out[k].text).Encode(l); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b *page) int { return cmp.Compare(a.day, b.day) })
	return out, nil
}

// A journal is a directory with a file for each day. The file of the last append
// stays open until it is released.
type journal struct {
	dir  string
	dirs *dirs
	sync func(*os.File) error

	mu     sync.Mutex
	f      *os.File    // nil: none is open
	day    string      // of f
	opened fs.FileInfo // says which file f is
	size   int64       // of f after the last append; 0: not known
	failed map[string]bool
}

func newJournal(dir string, d *dirs) *journal {
	return &journal{dir: dir, dirs: d, sync: (*os.File).Sync, failed: map[string]bool{}}
}

// append returns when the page is on the disk.
func (j *journal) append(p *page) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	size, err := j.ready(p.day)
	if err != nil {
		return err
	}
	text := p.text.Bytes()
	torn, err := j.torn(size)
	if err == nil {
		if !torn {
			text = text[1:]
		}
		_, err = j.f.Write(text)
	}
	if err == nil {
		err = j.sync(j.f)
	}
	if err != nil {
		j.failed[p.day] = true
		return errors.Join(err, j.close())
	}
	delete(j.failed, p.day)
	j.size = size + int64(len(text))
	return nil
}

// ready sees to it that the file of the day is open, and says how long it is.
// Whoever rotates logs may have renamed or removed the open one meanwhile.
func (j *journal) ready(day string) (size int64, err error) {
	path := filepath.Join(j.dir, day+".jsonl")
	if j.f != nil && j.day == day {
		info, err := os.Stat(path)
		if err == nil && os.SameFile(info, j.opened) {
			return info.Size(), nil
		}
	}
	if err := j.close(); err != nil {
		return 0, err
	}
	f, err := j.open(path)
	if errors.Is(err, fs.ErrNotExist) { // somebody removed the directory meanwhile
		j.dirs.forget()
		f, err = j.open(path)
	}
	if err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err == nil {
		// Also when the file was there: whoever made it may have died before this.
		err = syncDir(j.dir)
	}
	if err != nil {
		return 0, errors.Join(err, f.Close())
	}
	j.f, j.day, j.opened, j.size = f, day, info, 0
	return info.Size(), nil
}

func (j *journal) open(path string) (*os.File, error) {
	if err := j.dirs.make(j.dir); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
}

// torn says that the last line of the open file may have no end, so that a line
// after it would be spoiled with it. After a failed sync, what can be read at the
// end of the file need not be what is on the disk. Another exit on the directory
// may be writing just now: then this can be wrong, and an empty line the result.
func (j *journal) torn(size int64) (bool, error) {
	if size == 0 || j.failed[j.day] {
		return size > 0, nil
	}
	if size == j.size {
		return false, nil // it ends as the last append left it
	}
	var last [1]byte
	_, err := j.f.ReadAt(last[:], size-1)
	return last[0] != '\n', err
}

// release closes what is open. All of it is on the disk.
func (j *journal) release() {
	j.mu.Lock()
	defer j.mu.Unlock()
	_ = j.close()
}

func (j *journal) close() error {
	if j.f == nil {
		return nil
	}
	f := j.f
	j.f = nil
	return f.Close()
}
