package backup

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/cmd/chancery/app/datadir"
	"chancery/cmd/chancery/app/node"
	"chancery/engine"
	"chancery/engine/names"
	"chancery/store"
	"chancery/store/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// A home is a data directory with settings that name its store.
type home struct {
	t *testing.T
	node.Options
	said bytes.Buffer
}

// newHome keeps its records in a file, or with "postgres" in a database.
func newHome(t *testing.T, kind string) *home {
	t.Helper()
	h := &home{t: t}
	base := t.TempDir()
	h.Options = node.Options{
		Dir: datadir.Dir(filepath.Join(base, "data")), File: filepath.Join(base, "conf.yaml"), Version: "test",
		Rand: rand.Reader, Stderr: io.Discard, Now: time.Now, Say: t.Logf, Env: func(string) string { return "" },
	}
	conf := "node: n1\n"
	if kind == "postgres" {
		conf += "store: {postgres: {dsn: '" + pgtest.DSN(t) + "'}}\n"
	}
	h.write(h.File, conf)
	return h
}

func (h *home) write(path, text string) {
	h.t.Helper()
	h.must(os.MkdirAll(filepath.Dir(path), 0o700))
	h.must(os.WriteFile(path, []byte(text), 0o600))
}

func (h *home) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *home) try() (*node.Node, error) {
	n, err := node.Prepare(h.t.Context(), h.Options, false)
	if err == nil {
		err = n.Start(h.t.Context(), "http://127.0.0.1:1")
	}
	if err == nil {
		h.t.Cleanup(func() { _ = n.Close() })
		err = n.Finish(h.t.Context())
	}
	return n, err
}

func (h *home) start() *node.Node {
	h.t.Helper()
	n, err := h.try()
	h.must(err)
	return n
}

// place is where chancery restore restores to.
func (h *home) place() Place {
	h.said.Reset()
	return Place{
		Dir: h.Dir, File: h.File, Schemas: node.Schemas(nil), Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler), Env: h.Env,
		Say: func(format string, args ...any) { fmt.Fprintf(&h.said, format+"\n", args...) },
	}
}

// keysOf copies what no backup holds.
func (h *home) keysOf(other *home) {
	h.t.Helper()
	for _, name := range []string{"seal.key", "keys/main.key", "keys/management.key", "admin.key"} {
		b, err := os.ReadFile(other.Dir.Path(name))
		h.must(err)
		h.write(h.Dir.Path(name), string(b))
	}
}

// run runs the engine until the test or stop ends it.
func run(t *testing.T, n *node.Node) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = n.Engine.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

// enroll issues a certificate and returns its number.
func enroll(t *testing.T, n *node.Node, id string) engine.CertID {
	t.Helper()
	c, err := enrolled(n, id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func enrolled(n *node.Node, id string) (engine.CertID, error) {
	key, err := node.NewKey(n)
	if err != nil {
		return engine.CertID{}, err
	}
	return enrolledFor(n, id, key)
}

func enrolledFor(n *node.Node, id string, key *ecdsa.PrivateKey) (engine.CertID, error) {
	name, err := names.Parse(names.DNS, id+".load.test")
	if err != nil {
		return engine.CertID{}, err
	}
	chain, err := n.Enroll(context.Background(), node.Own{Profile: engine.ProfileTLS, ID: id, CN: id, Names: []names.Name{name}}, key)
	if err != nil {
		return engine.CertID{}, err
	}
	row, err := n.Engine.Identify(context.Background(), chain[0])
	if err != nil {
		return engine.CertID{}, err
	}
	return row.CertID, nil
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end, tick := time.After(30*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			t.Fatal("not within 30 s: ", what)
		case <-tick.C:
		}
	}
}

// backup makes a backup in a file, as a server does.
func (h *home) backup(n *node.Node) string {
	h.t.Helper()
	path := filepath.Join(h.t.TempDir(), "one.backup")
	_, err := Save(path, func(w io.Writer) error {
		m, err := Spool(h.t.Context(), Of(n))
		if err != nil {
			return err
		}
		k, err := io.Copy(w, m)
		if err == nil && k != m.Size {
			err = errors.New("another size than was said")
		}
		return errors.Join(err, m.Close())
	})
	h.must(err)
	left, err := filepath.Glob(h.Dir.Path("*.tmp"))
	if err != nil || len(left) > 0 {
		h.t.Errorf("left behind: %v, %v", left, err)
	}
	return path
}

// lists writes the current CRLs to files.
func (h *home) lists(n *node.Node) (files []string) {
	h.t.Helper()
	all, err := n.Engine.Authorities(h.t.Context())
	h.must(err)
	for _, a := range all {
		c, err := n.Engine.CRL(h.t.Context(), a.KeyID)
		h.must(err)
		files = append(files, filepath.Join(h.t.TempDir(), a.Name+".crl"))
		h.write(files[len(files)-1], string(c.DER))
	}
	return files
}

// sound checks all records of a node.
func sound(t *testing.T, n *node.Node) {
	t.Helper()
	if err := store.Verify(t.Context(), n.DB, node.Schemas(nil)); err != nil {
		t.Error(err)
	}
	found, err := engine.CheckRecords(t.Context(), n.DB)
	if err != nil {
		t.Error(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

func (h *home) journal() string {
	all, err := filepath.Glob(h.Dir.Path("issued", "*.jsonl"))
	h.must(err)
	var text strings.Builder
	for _, f := range all {
		b, err := os.ReadFile(f)
		h.must(err)
		text.Write(b)
	}
	return text.String()
}
