// Package file is an exit that keeps a journal of what happened: one line of
// JSON for each event, in PATH/YYYY-MM-DD.jsonl, by the day of the event in UTC.
//
// A line is the event as [engine.Event] says, and "certificate", in PEM, if there
// is one. An event is taken when its line is on the disk. For whoever reads the
// journal:
//
//   - Events come at least once: one that is told again is another line with the
//     same "id", perhaps in a file of a day that is over.
//   - A crash can leave part of a line, and a full disk too. What follows begins
//     on a line of its own. So skip lines that are empty or do not parse; their
//     events come again.
//   - Files may be renamed while the server runs; the next batch makes a new one.
//     One that is on its way still goes into the old file, so that is not to be
//     compressed or deleted at once. Nothing here deletes files.
//
// With "certificates", each issued certificate is also a file of its own,
// PATH/xx/ISSUER-SERIAL.pem, where ISSUER is the first eight digits of the CA
// key's identifier, SERIAL the serial number, both hexadecimal, and xx the last
// two digits of the serial number. A certificate told again is the same file. It
// is there before its line is. It costs the disk a new file for each certificate,
// which is many times what a line costs.
//
// Nothing that a requester wrote is in a file name.
package file

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"chancery/engine"
)

// Config says where to write what.
type Config struct {
	// Path is the directory, under the server's data unless it is absolute. It
	// is made when it is not there. Required.
	Path string `json:"path"`

	// Events are what is written: issued, pending, denied, revoked. Optional;
	// default: all of them.
	Events []engine.EventKind `json:"events,omitempty"`

	// Certificates says that each issued certificate is also written to a file
	// of its own. Optional; default: only to the journal.
	Certificates bool `json:"certificates,omitempty"`
}

// New makes the exit. The directory need not exist yet.
func New(c Config, d engine.Deps) (engine.Exit, error) {
	if c.Path == "" {
		return nil, errors.New("path is missing; name a directory, such as issued")
	}
	if slices.Contains(strings.Split(filepath.ToSlash(c.Path), "/"), "..") {
		return nil, fmt.Errorf("path %q leads upwards; leave the .. out", c.Path)
	}
	dir := filepath.Clean(c.Path)
	if !filepath.IsAbs(dir) {
		if d.Dir == "" {
			return nil, fmt.Errorf("path %q is relative, and there is no data directory; write an absolute path", c.Path)
		}
		dir = filepath.Join(d.Dir, dir)
	}
	if c.Events == nil {
		c.Events = engine.EventKinds
	}
	if len(c.Events) == 0 {
		return nil, errors.New("events is empty, so nothing would be written; leave it out for all of them")
	}
	for _, k := range c.Events {
		if !slices.Contains(engine.EventKinds, k) {
			return nil, fmt.Errorf("events: there is no %q, only %q", k, engine.EventKinds)
		}
	}
	if c.Certificates && !slices.Contains(c.Events, engine.EventIssued) {
		return nil, errors.New("certificates are to be written, but events leaves issued out; add it")
	}
	x := &exit{dir: dir, events: slices.Clone(c.Events), certificates: c.Certificates}
	x.journal = newJournal(dir, &x.dirs)
	return x, nil
}

type exit struct {
	dir          string
	events       []engine.EventKind
	certificates bool
	dirs         dirs
	journal      *journal
}

// Wants implements [engine.Exit].
func (x *exit) Wants() []engine.EventKind { return slices.Clone(x.events) }

// Release implements [engine.Releaser].
func (x *exit) Release() { x.journal.release() }

// Tell implements [engine.Exit].
func (x *exit) Tell(ctx context.Context, ev engine.Event) error {
	return x.TellAll(ctx, []engine.Event{ev})
}

// TellAll implements [engine.Batcher]: one write and one sync for all events of a
// day. When it fails, some may be written; they come again.
func (x *exit) TellAll(_ context.Context, all []engine.Event) error {
	pages, err := pages(all)
	if err != nil {
		return err
	}
	if x.certificates {
		for i := range all {
			if all[i].Kind != engine.EventIssued {
				continue
			}
			if err := x.certificate(&all[i]); err != nil {
				return err
			}
		}
	}
	for _, p := range pages {
		if err := x.journal.append(p); err != nil {
			return err
		}
	}
	return nil
}
