package datadir

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
)

// A Seal is the secret that all nodes of a CA share. What is shared under it has
// a key of its own, derived for that use.
type Seal struct{ secret []byte }

// sealSize is the length of the secret in octets.
const sealSize = 32

// MakeSeal writes a new secret, unless there is one. It reports whether it made
// one.
func (d Dir) MakeSeal(random io.Reader) (made bool, err error) {
	there, err := Exists(d.Seal())
	if err != nil || there {
		return false, err
	}
	secret := make([]byte, sealSize)
	if _, err := io.ReadFull(random, secret); err != nil {
		return false, err
	}
	defer clear(secret)
	return true, Write(d.Seal(), []byte(base64.StdEncoding.EncodeToString(secret)+"\n"), 0o600)
}

// ReadSeal reads the secret. It refuses a file that others can read.
func (d Dir) ReadSeal() (*Seal, error) {
	info, err := os.Stat(d.Seal())
	if err != nil {
		return nil, fmt.Errorf("the key that all nodes share is missing: %w; restore it from the backup", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read or changed by others (mode %04o); run: chmod 600 %s", d.Seal(), mode, d.Seal())
	}
	text, err := os.ReadFile(d.Seal())
	if err != nil {
		return nil, err
	}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(secret) != sealSize {
		return nil, fmt.Errorf("%s is damaged: it should hold %d octets in base64; restore it from the backup", d.Seal(), sealSize)
	}
	return &Seal{secret}, nil
}

// Key derives the key for a use.
func (s *Seal) Key(use string) ([]byte, error) {
	return hkdf.Key(sha256.New, s.secret, nil, "chancery "+use, 32)
}

// ID names the secret without telling it, so that a node with another can be
// told from one with the same.
func (s *Seal) ID() (string, error) {
	b, err := s.Key("id")
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(b[:8]), nil
}
