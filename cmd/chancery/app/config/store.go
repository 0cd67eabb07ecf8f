package config

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"chancery/engine"
	"chancery/store/postgres"
)

// Store says where records are kept: in one of them.
type Store struct {
	Bolt     *Bolt     `json:"bolt,omitempty"`
	Postgres *Postgres `json:"postgres,omitempty"`

	// Scrub is how often everything is read and checked beside serving.
	Scrub engine.Duration `json:"scrub"`
}

// Bolt is a file on this machine.
type Bolt struct {
	Path string `json:"path"` // relative to the data directory
}

// Postgres is a database that several nodes share. How to reach it is in one of
// the two; with neither, in the environment variable [DSNVariable].
type Postgres struct {
	DSN     Secret `json:"dsn,omitempty"`      // such as postgres://chancery@db.example.org/chancery
	DSNFile string `json:"dsn_file,omitempty"` // a file that holds it, so that a password need not stand in the settings; relative to the data directory

	// Durability, if not empty, is postgres.UnsafeWords: the administrator takes
	// a server that answers commits before they are on disk.
	Durability string `json:"durability,omitempty"`
}

// Unsafe reports whether the administrator has accepted, in words, that a crash
// of the server may lose what it acknowledged last.
func (p *Postgres) Unsafe() bool { return p.Durability == postgres.UnsafeWords }

// DSNVariable is the environment variable that holds the DSN when the settings
// leave it out.
const DSNVariable = "CHANCERY_STORE_DSN"

// DSNFile is where a DSN that is given on a command line is kept, under the data
// directory.
const DSNFile = "store.dsn"

// A Secret is a text that may hold a password. It prints without.
type Secret string

// passwords are where a DSN of either form holds one.
var passwords = regexp.MustCompile(`(?i)(password|passfile|sslpassword)(\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)`)

// String is the text with every password replaced.
func (s Secret) String() string {
	text := string(s)
	if strings.Contains(text, "://") {
		u, err := url.Parse(text)
		if err != nil {
			return "(a DSN that cannot be read)"
		}
		text = u.Redacted()
	}
	return passwords.ReplaceAllString(text, "${1}${2}xxxxx")
}

// HasPassword reports whether the text tells one, or cannot be read.
func (s Secret) HasPassword() bool {
	if strings.Contains(string(s), "://") {
		u, err := url.Parse(string(s))
		if err != nil {
			return true
		}
		if _, has := u.User.Password(); has {
			return true
		}
	}
	return passwords.MatchString(string(s))
}

// GivenDSN reads what a command line says of a database: env:VARIABLE or file:FILE
// that holds the DSN, or the DSN itself without a password.
func GivenDSN(text string, env func(string) string) (Secret, error) {
	kind, rest, _ := strings.Cut(text, ":")
	switch kind {
	case "env":
		if dsn := strings.TrimSpace(env(rest)); dsn != "" {
			return Secret(dsn), nil
		}
		return "", fmt.Errorf("the environment variable %s is empty", rest)
	case "file":
		return dsnIn(rest)
	}
	if Secret(text).HasPassword() {
		return "", errors.New("it holds a password, which every user of this machine can see, or cannot be read: put the DSN into a file or the environment, and give file:FILE or env:VARIABLE")
	}
	return Secret(text), nil
}

// dsnIn reads a file that holds a DSN.
func dsnIn(path string) (Secret, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	dsn := strings.TrimSpace(string(text))
	switch {
	case len(text) > maxDSN:
		return "", fmt.Errorf("%s is longer than %d bytes: is this the right file?", path, maxDSN)
	case dsn == "":
		return "", fmt.Errorf("%s is empty", path)
	}
	return Secret(dsn), nil
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText is String, for JSON and logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// boltFile is where records are kept unless the settings say so.
const boltFile = "chancery.db"

// fill completes what the settings left open.
func (s *Store) fill(at map[string]Position) {
	if _, named := at["store.postgres"]; named && s.Postgres == nil { // "postgres:" and nothing under it
		s.Postgres = &Postgres{}
	}
	if s.Bolt == nil && s.Postgres == nil {
		s.Bolt = &Bolt{}
	}
	if s.Bolt != nil && s.Bolt.Path == "" {
		s.Bolt.Path = boltFile
	}
}

func (s *Store) check(fail func(key, format string, args ...any)) {
	if time.Duration(s.Scrub) < time.Second {
		fail("store.scrub", "%v is too often; expects a time such as 24h", time.Duration(s.Scrub))
	}
	if s.Postgres == nil {
		return
	}
	if s.Bolt != nil {
		fail("store", "records are kept in one place: give bolt or postgres, not both; chancery store copy moves them from one to the other")
	}
	if s.Postgres.DSN != "" && s.Postgres.DSNFile != "" {
		fail("store.postgres", "give dsn or dsn_file, not both")
	}
	if s.Postgres.Durability != "" && !s.Postgres.Unsafe() {
		fail("store.postgres.durability", "leave it out, or accept a server with synchronous_commit=off in these words: %q", postgres.UnsafeWords)
	}
}

// BoltPath is the path of the database file for a data directory.
func (n *Node) BoltPath(dir string) string { return under(dir, n.Store.Bolt.Path) }

func under(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// maxDSN is more than anybody writes.
const maxDSN = 16 << 10

// PostgresDSN is how to reach the database: from the settings, from the file that
// they name, or from the environment, which env reads. Files are relative to the
// data directory dir.
func (n *Node) PostgresDSN(dir string, env func(string) string) (Secret, error) {
	p := n.Store.Postgres
	if p == nil {
		return "", errors.New("the settings name no PostgreSQL; see store.postgres in chancery.yaml")
	}
	dsn := p.DSN
	switch {
	case p.DSNFile != "":
		var err error
		if dsn, err = dsnIn(under(dir, p.DSNFile)); err != nil {
			return "", fmt.Errorf("store.postgres.dsn_file: %w", err)
		}
	case dsn == "":
		if dsn = Secret(env(DSNVariable)); dsn == "" {
			return "", fmt.Errorf("store.postgres names no database: give dsn or dsn_file, or set %s", DSNVariable)
		}
	}
	return dsn, nil
}
