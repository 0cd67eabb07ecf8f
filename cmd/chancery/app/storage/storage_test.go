package storage

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/cmd/chancery/app/cli"
	"chancery/engine"
	"chancery/store"
	"chancery/store/bolt"
	"chancery/store/postgres"
)

func TestPlaces(t *testing.T) {
	dir := t.TempDir()
	dsn := filepath.Join(dir, "dsn")
	if err := os.WriteFile(dsn, []byte(" postgres://u:secret@db/x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(name string) string { return map[string]string{"DSN": "host=db user=u password=secret"}[name] }
	for text, want := range map[string]string{
		"bolt:x.db":                       "x.db",
		"file:" + dsn:                     "postgres://u:xxxxx@db/x",
		"env:DSN":                         "host=db user=u password=xxxxx",
		"postgres://u@db/x":               "postgres://u@db/x",
		"postgresql://db/x?port=5433":     "postgresql://db/x?port=5433",
		"":                                "error",
		"x.db":                            "error",
		"bolt:":                           "error",
		"bolt:" + dir:                     "error",
		"file:" + empty:                   "error",
		"file:" + dir + "/missing":        "error",
		"env:OTHER":                       "error",
		"postgres://u:secret@db/x":        "error",
		"postgres://db/x?password=secret": "error",
		"postgres://u:sec%ret@db/x":       "error",
	} {
		p, err := parsePlace("to", text, env)
		got := p.String()
		if err != nil {
			got = "error"
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "sec%ret") {
				t.Errorf("%s: the error shows the password: %v", text, err)
			}
			if usage := (*cli.ExitError)(nil); !errors.As(err, &usage) && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: %v is no error of usage", text, err)
			}
		}
		if got != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}

// What the settings accept of a database, checks and copies accept too.
func TestOwnPlaceIsTheSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "chancery.yaml")
	if err := os.WriteFile(file, []byte("store: {postgres: {dsn: 'postgres://db/x', durability: '"+postgres.UnsafeWords+"'}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := &node{file: file}
	if p, err := n.own(); err != nil || p.dsn != "postgres://db/x" || p.durability != postgres.UnsafeWords {
		t.Errorf("%+v, %v", p, err)
	}
}

// A database from which a node serves is not copied; of a file, the lock says so.
func TestServedDatabaseIsBusy(t *testing.T) {
	db, err := bolt.Open(filepath.Join(t.TempDir(), "db"), bolt.Options{}, engine.Schemas()...)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	now := time.Now()
	n := &node{Options: Options{Now: func() time.Time { return now }}}
	database := place{dsn: "postgres://db/x"}
	if err := n.busy(t.Context(), database, db); err != nil {
		t.Errorf("nobody serves: %v", err)
	}
	rows := store.Table[engine.Node]{Name: "nodes", Version: 1, Key: func(n *engine.Node) string { return n.ID }}
	if err := db.Update(t.Context(), func(tx store.Tx) error {
		return rows.Insert(tx, &engine.Node{ID: "1", Name: "n7", Beat: now})
	}); err != nil {
		t.Fatal(err)
	}
	if err := n.busy(t.Context(), database, db); err == nil || !strings.Contains(err.Error(), "n7") {
		t.Errorf("n7 serves: %v", err)
	}
	if err := n.busy(t.Context(), place{path: "x"}, db); err != nil {
		t.Errorf("a file: %v", err)
	}
	now = now.Add(time.Minute)
	if err := n.busy(t.Context(), database, db); err != nil {
		t.Errorf("n7 is gone: %v", err)
	}
}

// TestProgress: elsewhere than on a terminal, what is new is said at once and the
// rest now and then.
func TestProgress(t *testing.T) {
	var out bytes.Buffer
	now := time.Now()
	p := newProgress(&out, func() time.Time { return now })
	for i := range 11 {
		p.show("rows", i, 10, "so far")
		now = now.Add(time.Second)
	}
	p.show("other", 0, 10, "")
	p.end()
	if want := "rows 0 % so far\nrows 50 % so far\nrows 100 % so far\nother 0 % \n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	out.Reset()
	p = newProgress(&out, func() time.Time { return now })
	p.terminal = true
	p.show("rows", 5, 10, "long")
	now = now.Add(time.Second)
	p.show("rows", 6, 10, "")
	p.end()
	lines := strings.Split(out.String(), "\r")
	if len(lines) != 5 || len(lines[1]) != len(lines[2]) || strings.TrimSpace(lines[3]) != "" {
		t.Errorf("a shorter bar does not cover the longer one: %q", lines)
	}
}
