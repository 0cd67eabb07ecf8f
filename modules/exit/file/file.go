// Package file is an exit that writes each certificate to a file of its own.
//
// A certificate is in PATH/xx/ISSUER-SERIAL.pem, where ISSUER is the first eight
// digits of the CA key's identifier, SERIAL the serial number, both hexadecimal,
// and xx the last two digits of the serial number. Nothing that a requester
// wrote is in a file name. A revocation, hold or release is a line of JSON at
// the end of PATH/revoked.jsonl. Events come at least once: a certificate told
// again is the same file, a revocation told again is another line with the same
// "id".
package file

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"chancery/engine"
)

// Config says where to write what.
type Config struct {
	// Path is the directory, under the server's data unless it is absolute. It
	// is made when it is not there. Required.
	Path string `json:"path"`

	// Events are what is written: issued, revoked. Optional; default: both.
	Events []engine.EventKind `json:"events,omitempty"`
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
		c.Events = []engine.EventKind{engine.EventIssued, engine.EventRevoked}
	}
	if len(c.Events) == 0 {
		return nil, errors.New("events is empty, so nothing would be written; leave it out for issued and revoked")
	}
	for _, k := range c.Events {
		if k != engine.EventIssued && k != engine.EventRevoked {
			return nil, fmt.Errorf("events: %q is not written to files, only issued and revoked", k)
		}
	}
	return &exit{dir: dir, events: slices.Clone(c.Events)}, nil
}

type exit struct {
	dir    string
	events []engine.EventKind
	known  sync.Map   // directories that are there, durably
	log    sync.Mutex // held while revoked.jsonl is written
}

// Wants implements [engine.Exit].
func (x *exit) Wants() []engine.EventKind { return slices.Clone(x.events) }

// Tell implements [engine.Exit].
func (x *exit) Tell(_ context.Context, ev engine.Event) error {
	switch ev.Kind {
	case engine.EventIssued:
		return x.certificate(ev)
	case engine.EventRevoked:
		return x.revocation(ev)
	}
	return nil
}

func (x *exit) certificate(ev engine.Event) error {
	dir, name, err := place(ev)
	if err != nil {
		return err
	}
	if len(ev.DER) == 0 {
		return fmt.Errorf("event %s has no certificate", ev.ID)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ev.DER})
	dir = filepath.Join(x.dir, dir)
	if err := x.makeDir(dir); err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	err = write(path, os.O_EXCL, text)
	switch {
	case errors.Is(err, fs.ErrExist):
		return again(path, text)
	case errors.Is(err, fs.ErrNotExist): // somebody removed the directory meanwhile
		x.known.Clear()
	}
	return err
}

// again writes a file that is there already: whole, or what a crash left of it.
// A sync that failed may have thrown the bytes away and succeed the next time,
// so even equal bytes are written anew.
func again(path string, text []byte) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if bytes.Equal(old, text) {
		return write(path, 0, text) // in place, so that a reader never sees less
	}
	return write(path, os.O_TRUNC, text)
}

// write makes the file, and returns when it is on the disk. Syncing a new file
// also makes its name durable on the file systems that journal names (ext4, xfs,
// btrfs); where that is not so, the event was settled too early, and the
// certificate is still in the CA's own records.
func write(path string, flag int, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|flag, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// place says where the certificate of ev belongs. Issuer and serial are checked
// although the engine made them: they become a file name.
func place(ev engine.Event) (dir, name string, err error) {
	issuer, serial := ev.Issuer, ev.Serial
	if len(issuer) < 8 || !lowerHex(issuer) || serial == "" || len(serial) > 40 || !lowerHex(serial) {
		return "", "", fmt.Errorf("event %s names no certificate: issuer %.48q, serial %.48q", ev.ID, issuer, serial)
	}
	last := "0" + serial
	return last[len(last)-2:], issuer[:8] + "-" + serial + ".pem", nil
}

func lowerHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
