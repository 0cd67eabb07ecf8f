// Package datadir knows what lies where in a server's data directory, and
// writes it so that after a crash each file is there whole or not at all.
package datadir

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Default is the data directory when nobody names one.
const Default = "chancery-data"

// A Dir is the path of a data directory.
type Dir string

// Path joins a name in the directory.
func (d Dir) Path(name ...string) string {
	return filepath.Join(append([]string{string(d)}, name...)...)
}

// Settings is the node's settings.
func (d Dir) Settings() string { return d.Path("chancery.yaml") }

// Policy is the CA policy document.
func (d Dir) Policy() string { return d.Path("policy.yaml") }

// Roots is the trust bundle for clients.
func (d Dir) Roots() string { return d.Path("roots.pem") }

// FounderCert is the certificate of the first administrator.
func (d Dir) FounderCert() string { return d.Path("admin.crt") }

// FounderKey is the first administrator's private key.
func (d Dir) FounderKey() string { return d.Path("admin.key") }

// TLS is key and certificate of the https and admin listeners, in one file so
// that they always belong together.
func (d Dir) TLS() string { return d.Path("tls.pem") }

// Seal is the secret that all nodes share.
func (d Dir) Seal() string { return d.Path("seal.key") }

// Socket is the address of the local administration.
func (d Dir) Socket() string { return d.Path("admin.sock") }

// Serving says where a running server listens.
func (d Dir) Serving() string { return d.Path("serving.json") }

// RootPass is the passphrase of the root key.
func (d Dir) RootPass() string { return d.Path("keys", "root.pass") }

// CAKey is the private key of a CA: root, management, or an authority's.
func (d Dir) CAKey(name string) string { return d.Path("keys", name+".key") }

// CACert is the certificate of a CA.
func (d Dir) CACert(name string) string { return d.Path("ca", name+".crt") }

// Marker is written last at first start.
func (d Dir) Marker() string { return d.Path("initialized") }

// Make makes the directory and those in it, for their owner only.
func (d Dir) Make() error {
	for _, p := range []string{string(d), d.Path("keys"), d.Path("ca")} {
		if err := os.MkdirAll(p, 0o700); err != nil {
			return fmt.Errorf("cannot make the data directory: %w", err)
		}
	}
	// It may have been there, for everybody to look into.
	if err := os.Chmod(string(d), 0o700); err != nil {
		return err
	}
	return d.sweep()
}

// sweep deletes what a crash left half written: it may be half a key.
func (d Dir) sweep() error {
	for _, in := range []string{string(d), d.Path("keys"), d.Path("ca")} {
		entries, err := os.ReadDir(in)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Type().IsRegular() && strings.HasSuffix(e.Name(), ".tmp") {
				if err := os.Remove(filepath.Join(in, e.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Initialized is what the marker says.
type Initialized struct {
	// Authorities are the key identifiers of the CAs that were made, by name. A
	// CA that is named here is never made again.
	Authorities map[string]string `json:"authorities"`
}

// ReadMarker returns nil if the first start has not ended.
func (d Dir) ReadMarker() (*Initialized, error) {
	b, err := os.ReadFile(d.Marker())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var i Initialized
	if err := json.Unmarshal(b, &i); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w; restore it from the backup", d.Marker(), err)
	}
	return &i, nil
}

// WriteMarker ends the first start.
func (d Dir) WriteMarker(i Initialized) error { return d.writeJSON(d.Marker(), i, 0o600) }

// Addresses are where a running server is found.
type Addresses struct {
	HTTPS string `json:"https"`
	HTTP  string `json:"http"`
	Admin string `json:"admin"`
	PID   int    `json:"pid"`
}

// WriteServing records where the server listens.
func (d Dir) WriteServing(a Addresses) error { return d.writeJSON(d.Serving(), a, 0o644) }

// ReadServing reads where the server listens.
func (d Dir) ReadServing() (a Addresses, err error) {
	b, err := os.ReadFile(d.Serving())
	if errors.Is(err, fs.ErrNotExist) {
		return a, fmt.Errorf("no server runs on %s (there is no serving.json); start it with: chancery serve --data %s", string(d), string(d))
	} else if err != nil {
		return a, err
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return a, fmt.Errorf("%s is damaged: %w", d.Serving(), err)
	}
	return a, nil
}

func (d Dir) writeJSON(path string, v any, mode fs.FileMode) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return Write(path, append(b, '\n'), mode)
}

// Exists reports whether there is a file.
func Exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Write writes or replaces a file. Whoever reads it meanwhile or after a crash
// finds the old or the new content, whole; when it returns nil the new one is
// on the disk.
func Write(path string, content []byte, mode fs.FileMode) error {
	var suffix [6]byte
	rand.Read(suffix[:]) // never fails
	temp := path + "." + hex.EncodeToString(suffix[:]) + ".tmp"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
