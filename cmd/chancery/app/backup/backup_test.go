package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/cmd/chancery/app/datadir"
	"chancery/engine"
	"chancery/store/archive"
)

// load issues from several goroutines until it is stopped, and remembers what was
// acknowledged.
type load struct {
	mu    sync.Mutex
	acked []engine.CertID
}

func (l *load) soFar() []engine.CertID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]engine.CertID{}, l.acked...)
}

// A backup that is made under load is of one moment: it restores to any backend,
// what was acknowledged before it is in it, and what came after comes back from
// the published lists and the journal.
func TestBackupUnderLoad(t *testing.T) {
	for _, from := range []string{"bolt", "postgres"} {
		t.Run("from "+from, func(t *testing.T) {
			old := newHome(t, from)
			n := old.start()
			stop := run(t, n)
			l := &load{}
			var all sync.WaitGroup
			end := make(chan struct{})
			for worker := range 4 {
				all.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-end:
							return
						default:
						}
						id, err := enrolled(n, fmt.Sprintf("w%d-%d", worker, i))
						if err != nil {
							t.Error(err)
							return
						}
						l.mu.Lock()
						l.acked = append(l.acked, id)
						l.mu.Unlock()
					}
				})
			}
			until(t, "40 certificates", func() bool { return len(l.soFar()) >= 40 })
			before := l.soFar()
			file := old.backup(n)
			after := len(l.soFar())
			until(t, "20 more", func() bool { return len(l.soFar()) >= after+20 })
			close(end)
			all.Wait()
			acked := l.soFar()
			gone := map[engine.CertID]int{before[0]: 4, acked[len(acked)-1]: 1}
			for id, reason := range gone {
				old.must(n.Engine.Revoke(t.Context(), engine.Revocation{ID: id, Reason: reason, By: "olga"}))
			}
			until(t, "the list and the journal have all of it", func() bool {
				s, err := listed(n.Engine, acked[0].Issuer, t)
				return err == nil && s == len(gone) && strings.Count(old.journal(), `"kind":"revoked"`) == len(gone) &&
					strings.Count(old.journal(), `"kind":"issued"`) >= len(acked)
			})
			stop()
			lists := old.lists(n)
			old.must(n.Close())

			v, err := Verify(t.Context(), file, old.Dir, old.place().Schemas)
			if err != nil || len(v.Wrong) > 0 || v.Genuine != "yes" || v.Sums["certificates"].Documents < len(before) {
				t.Fatalf("%+v, %v", v, err)
			}
			for _, to := range []string{"bolt", "postgres"} {
				t.Run("to "+to, func(t *testing.T) {
					h := newHome(t, to)
					h.keysOf(old)
					h.must(Restore(t.Context(), file, h.place(), Evidence{CRLs: lists, Journals: []string{old.Dir.Path("issued")}}))
					n := h.start()
					for _, id := range acked {
						c, der, err := n.Engine.Certificate(t.Context(), id)
						if err != nil || len(der) == 0 {
							t.Fatalf("%s was acknowledged and is lost: %v", id, err)
						}
						if _, revoked := gone[id]; (c.Status == engine.Revoked) != revoked {
							t.Errorf("%s is %s", id, c.Status)
						}
					}
					sound(t, n)
					h.must(n.Engine.Release(t.Context(), engine.Actor{Person: "ada", Roles: []engine.Role{engine.Admin}}))
					run(t, n)
					enroll(t, n, "after")
					until(t, "a new list", func() bool {
						k, err := listed(n.Engine, acked[0].Issuer, t)
						return err == nil && k == len(gone)
					})
				})
			}
		})
	}
}

// listed is how many entries the current list of a CA key has.
func listed(e *engine.Engine, keyID string, t *testing.T) (int, error) {
	c, err := e.CRL(t.Context(), keyID)
	if err != nil {
		return 0, err
	}
	return entriesOf(c.DER)
}

// No secret of the data directory is in a backup, in any spelling that it has
// there.
func TestNoSecretIsInABackup(t *testing.T) {
	h := newHome(t, "bolt")
	h.write(h.File, "node: n1\n")
	n := h.start()
	enroll(t, n, "a")
	_, secret, err := n.Engine.CreateGrant(t.Context(), engine.Actor{Person: "ada", Roles: []engine.Role{engine.Admin}}, engine.Grant{Protocol: engine.Native})
	h.must(err)
	b, err := os.ReadFile(h.backup(n))
	h.must(err)
	look := func(what string, canary []byte) {
		t.Helper()
		if len(canary) < 16 {
			t.Fatalf("%s: %q is too short to look for", what, canary)
		}
		if bytes.Contains(b, canary) {
			t.Errorf("the backup holds %s", what)
		}
	}
	look("the secret of a grant", []byte(secret))
	n0 := 0
	for _, pattern := range []string{"seal.key", "keys/*", "admin.key", "tls.pem"} {
		files, err := filepath.Glob(h.Dir.Path(pattern))
		h.must(err)
		for _, f := range files {
			text, err := os.ReadFile(f)
			h.must(err)
			n0++
			for _, canary := range canaries(t, text) {
				look(f, canary)
			}
		}
	}
	if n0 < 6 {
		t.Errorf("only %d files with secrets were looked at", n0)
	}
	if !bytes.Contains(b, []byte("authorities")) {
		t.Error("the policy is not there: the test is blind")
	}
}

func TestPasswordOfTheDatabaseIsLeftOut(t *testing.T) {
	const dsn = "postgres://u:hunter2@db/chancery"
	for _, doc := range []string{"store:\n  postgres:\n    dsn: " + dsn + "\n", "store: {postgres: {dsn: \"postgres://u:h\\u0075nter2@db/chancery\"}}\n"} {
		h := newHome(t, "bolt")
		h.write(h.File, doc)
		s := source(t, h)
		files, err := s.files()
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		if strings.Contains(string(files[0].Content), "nter2") {
			t.Errorf("%s", files[0].Content)
		}
	}
}

// A file is there whole or not at all, and an older one stays until then.
func TestSave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.backup")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	for name, write := range map[string]func(io.Writer) error{
		"fails":   func(w io.Writer) error { _, _ = io.WriteString(w, archive.Magic); return broken },
		"cut off": func(w io.Writer) error { _, err := io.WriteString(w, archive.Magic); return err },
		"empty":   func(io.Writer) error { return nil },
	} {
		if _, err := Save(path, write); err == nil {
			t.Errorf("%s: taken", name)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != "old" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		if there, _ := datadir.Exists(path + ".tmp"); there {
			t.Errorf("%s: something is left", name)
		}
	}
	if _, err := Save(path, func(io.Writer) error {
		_, err := Save(path, func(io.Writer) error { return nil })
		return err
	}); err == nil || !strings.Contains(err.Error(), "another backup") {
		t.Errorf("two at the same time: %v", err)
	}
	// In a folder of many, somebody else may have put a link there.
	theirs := filepath.Join(t.TempDir(), "theirs")
	if err := errors.Join(os.WriteFile(theirs, []byte("theirs"), 0o644), os.Symlink(theirs, path+".tmp")); err != nil {
		t.Fatal(err)
	}
	if _, err := Save(path, func(io.Writer) error { return nil }); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("a link: %v", err)
	}
	if b, err := os.ReadFile(theirs); err != nil || string(b) != "theirs" {
		t.Errorf("what the link leads to: %q, %v", b, err)
	}
	if err := os.Remove(path + ".tmp"); err != nil {
		t.Fatal(err)
	}
	// What one that was killed left is taken over.
	if err := os.WriteFile(path+".tmp", bytes.Repeat([]byte("x"), 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	h := newHome(t, "bolt")
	n := h.start()
	s, err := Save(path, func(w io.Writer) error { return Write(t.Context(), Of(n), w) })
	if info, serr := os.Stat(path); err != nil || serr != nil || info.Size() != s.Bytes || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, %v", info, err, serr)
	}
}

// Whoever gave up before the backup was written leaves nothing.
func TestSpoolGivesUp(t *testing.T) {
	h := newHome(t, "bolt")
	n := h.start()
	s := Of(n)
	s.Now = func() time.Time { return time.Now() }
	ctx, cancel := contextThatEnds(t)
	cancel()
	if _, err := Spool(ctx, s); err == nil {
		t.Error("made for nobody")
	}
	if left, _ := filepath.Glob(h.Dir.Path("backup-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	m, err := Spool(t.Context(), s)
	h.must(err)
	if left, _ := filepath.Glob(h.Dir.Path("backup-*")); len(left) > 0 {
		t.Errorf("has a name: %v", left)
	}
	h.must(m.Close())
}
