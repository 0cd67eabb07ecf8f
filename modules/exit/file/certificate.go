package file

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"chancery/engine"
)

// certificate writes the certificate of ev to its own file, where it may be
// already, whole or not.
func (x *exit) certificate(ev *engine.Event) error {
	dir, name, err := place(ev)
	if err != nil {
		return err
	}
	if len(ev.DER) == 0 {
		return fmt.Errorf("event %s has no certificate", ev.ID)
	}
	text := inPEM(ev.DER)
	dir = filepath.Join(x.dir, dir)
	if err := x.dirs.make(dir); err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	err = write(path, os.O_EXCL, text)
	switch {
	case errors.Is(err, fs.ErrExist):
		return again(path, text)
	case errors.Is(err, fs.ErrNotExist): // somebody removed the directory meanwhile
		x.dirs.forget()
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
func place(ev *engine.Event) (dir, name string, err error) {
	issuer, serial := ev.Issuer, ev.Serial
	if len(issuer) < 8 || !lowerHex(issuer) || serial == "" || len(serial) > 40 || !lowerHex(serial) {
		return "", "", fmt.Errorf("event %s names no certificate: issuer %.48q, serial %.48q", ev.ID, issuer, serial)
	}
	last := "0" + serial
	return last[len(last)-2:], issuer[:8] + "-" + serial + ".pem", nil
}

func lowerHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

func inPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
