package backup

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/cmd/chancery/app/config"
	"chancery/cmd/chancery/app/datadir"
	"chancery/cmd/chancery/app/node"
	"chancery/engine"
	"chancery/store/archive"
	"chancery/store/postgres"
)

func entriesOf(der []byte) (int, error) {
	l, err := x509.ParseRevocationList(der)
	if err != nil {
		return 0, err
	}
	return len(l.RevokedCertificateEntries), nil
}

// canaries are what of a file with secrets must be nowhere: its lines, and what
// they say in base64.
func canaries(t *testing.T, text []byte) (all [][]byte) {
	t.Helper()
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			continue
		}
		all = append(all, block.Bytes[len(block.Bytes)/2:], []byte(base64.StdEncoding.EncodeToString(block.Bytes)[:40]))
	}
	if len(all) == 0 {
		line := bytes.TrimSpace(text)
		all = append(all, line)
		if raw, err := base64.StdEncoding.DecodeString(string(line)); err == nil {
			all = append(all, raw)
		}
	}
	return all
}

func contextThatEnds(t *testing.T) (context.Context, func()) { return context.WithCancel(t.Context()) }

func source(t *testing.T, h *home) Source {
	t.Helper()
	n, err := config.LoadNode(h.File, true)
	h.must(err)
	return Source{Dir: h.Dir, File: h.File, Settings: n, Now: time.Now}
}

// rewritten is a backup with another header or other files, by somebody who has
// the key or not.
func rewritten(t *testing.T, h *home, n *node.Node, seal *datadir.Seal, change func(*archive.Header, *[]archive.File)) string {
	t.Helper()
	id, err := n.Seal.ID()
	h.must(err)
	key, err := seal.Key(sealUse)
	h.must(err)
	head := archive.Header{Program: "test", Made: time.Now().UTC(), Seal: id}
	files, err := Of(n).files()
	h.must(err)
	change(&head, &files)
	path := filepath.Join(t.TempDir(), "rewritten.backup")
	f, err := os.Create(path)
	h.must(err)
	h.must(errors.Join(archive.Write(t.Context(), f, head, files, n.DB, Schemas(node.Schemas(nil)), key), f.Close()))
	return path
}

func TestRestoreRefuses(t *testing.T) {
	old := newHome(t, "bolt")
	n := old.start()
	file := old.backup(n)
	whole, err := os.ReadFile(file)
	old.must(err)
	alien := newHome(t, "bolt")
	alien.Options.Dir = datadir.Dir(t.TempDir())
	if _, err := alien.Dir.MakeSeal(alien.Rand); err != nil {
		t.Fatal(err)
	}
	other, err := alien.Dir.ReadSeal()
	old.must(err)
	same := func(*archive.Header, *[]archive.File) {}
	evil := func(name string) func(*archive.Header, *[]archive.File) {
		return func(_ *archive.Header, files *[]archive.File) {
			*files = append(*files, archive.File{Name: name, Content: []byte("x")})
		}
	}
	cut := filepath.Join(t.TempDir(), "cut")
	old.write(cut, string(whole[:len(whole)-10]))
	for name, tt := range map[string]struct {
		file    string
		prepare func(h *home)
		want    string
	}{
		"no seal":              {file, func(h *home) { h.must(os.Remove(h.Dir.Seal())) }, "never holds it"},
		"another seal":         {file, func(h *home) { b, _ := os.ReadFile(alien.Dir.Seal()); h.write(h.Dir.Seal(), string(b)) }, "put that there"},
		"cut off":              {cut, nil, "it ends there; it was cut off"},
		"no file":              {filepath.Join(t.TempDir(), "none"), nil, "no such file"},
		"made by somebody":     {rewritten(t, old, n, other, same), nil, "nobody with the key"},
		"a file above":         {rewritten(t, old, n, n.Seal, evil("../x")), nil, "which none has"},
		"a file with a secret": {rewritten(t, old, n, n.Seal, evil("keys/main.key")), nil, "which none has"},
		"a certificate above":  {rewritten(t, old, n, n.Seal, evil("ca/../../x.crt")), nil, "which none has"},
		"another CA's place":   {file, func(h *home) { h.write(h.Dir.CACert("main"), "another") }, "belongs to another CA"},
		"records are there": {file, func(h *home) {
			h.must(os.Remove(h.Dir.Seal()))
			h.start().Close()
			h.must(os.Remove(h.Dir.Seal()))
			h.keysOf(old)
		}, "not empty"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHome(t, "bolt")
			h.keysOf(old)
			if tt.prepare != nil {
				tt.prepare(h)
			}
			err := Restore(t.Context(), tt.file, h.place(), Evidence{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if name != "another CA's place" && name != "records are there" {
				if there, _ := datadir.Exists(h.Dir.Policy()); there {
					t.Error("files were written")
				}
			}
		})
	}
}

// A restore that ended in the middle is done again, and nothing serves until then.
func TestInterruptedRestore(t *testing.T) {
	for _, kind := range []string{"bolt", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			old := newHome(t, "bolt")
			n := old.start()
			id := enroll(t, n, "a")
			file, later := old.backup(n), old.backup(n)
			h := newHome(t, kind)
			h.keysOf(old)
			s, _, err := read(file)
			h.must(err)
			db, err := h.place().open(t.Context())
			h.must(err)
			h.must(h.place().load(t.Context(), file, s, db, false))
			h.must(db.Close())

			if err := Offline(t.Context(), h.place(), "test", &bytes.Buffer{}); !errors.Is(err, engine.ErrHalfRestored) {
				t.Errorf("backup: %v", err)
			}
			if err := Add(t.Context(), h.place(), Evidence{}); !errors.Is(err, engine.ErrHalfRestored) {
				t.Errorf("add: %v", err)
			}
			if err := Restore(t.Context(), later, h.place(), Evidence{}); err == nil || !strings.Contains(err.Error(), "did not end here") {
				t.Errorf("another backup: %v", err)
			}
			h.must(Restore(t.Context(), file, h.place(), Evidence{}))
			if !strings.Contains(h.said.String(), "taken out first") {
				t.Errorf("%s", &h.said)
			}
			if err := Restore(t.Context(), file, h.place(), Evidence{}); !errors.Is(err, archive.ErrNotEmpty) {
				t.Errorf("again: %v", err)
			}
			m := h.start()
			if _, _, err := m.Engine.Certificate(t.Context(), id); err != nil {
				t.Error(err)
			}
			sound(t, m)
		})
	}
}

// A journal may be torn, in any order, and hold what is not ours.
func TestJournalAsItIs(t *testing.T) {
	old := newHome(t, "bolt")
	n := old.start()
	file := old.backup(n)
	stop := run(t, n)
	good, bad := enroll(t, n, "good"), enroll(t, n, "bad")
	old.must(n.Engine.Revoke(t.Context(), engine.Revocation{ID: bad, Reason: 6, By: "olga"}))
	old.must(n.Engine.Revoke(t.Context(), engine.Revocation{ID: bad, Reason: 4, By: "olga"}))
	until(t, "the journal", func() bool {
		return strings.Count(old.journal(), `"kind":"revoked"`) == 2 && strings.Count(old.journal(), "load.test") >= 4 &&
			strings.Count(old.journal(), "CN=OCSP responder") == 2 // the server's own are in it too
	})
	stop()
	alien := newHome(t, "bolt")
	a := alien.start()
	aliens := run(t, a)
	enroll(t, a, "alien")
	until(t, "the other journal", func() bool { return strings.Contains(alien.journal(), "alien") })
	aliens()

	lines := strings.Split(strings.TrimSpace(old.journal()), "\n")
	slices.Reverse(lines) // what was revoked comes before it was issued
	lines = append(lines, lines...)
	lines = append(lines, "", `{"id":"torn`, "\x00\x00", strings.Repeat("x", maxLine+10), strings.TrimSpace(alien.journal()))
	dir := t.TempDir()
	today := time.Now().UTC().Format(time.DateOnly)
	old.write(filepath.Join(dir, today+".jsonl.1"), strings.Join(lines, "\n"))
	old.write(filepath.Join(dir, "2001-01-01.jsonl"), `{"kind":"revoked","issuer":"`+good.Issuer+`","serial":"`+good.Serial+`","status":"revoked"}`)
	old.write(filepath.Join(dir, "notes.jsonl"), "nothing")

	h := newHome(t, "bolt")
	h.keysOf(old)
	h.must(Restore(t.Context(), file, h.place(), Evidence{}))
	h.must(Add(t.Context(), h.place(), Evidence{Journals: []string{dir}}))
	if !strings.Contains(h.said.String(), "4 certificates added") || !strings.Contains(h.said.String(), "3 lines do not parse") || !strings.Contains(h.said.String(), "refused:") {
		t.Errorf("%s", &h.said)
	}
	m := h.start()
	for id, want := range map[engine.CertID]engine.Status{good: engine.Good, bad: engine.Revoked} {
		if c, _, err := m.Engine.Certificate(t.Context(), id); err != nil || c.Status != want {
			t.Errorf("%+v, %v, want %s", c, err, want)
		}
	}
	sound(t, m)
	h.must(m.Close())
	old.write(filepath.Join(dir, today+".jsonl.2.gz"), "")
	if err := Add(t.Context(), h.place(), Evidence{Journals: []string{dir}}); err == nil || !strings.Contains(err.Error(), "unpack it") {
		t.Errorf("compressed: %v", err)
	}
}

// Where the records go is said by who restores, and kept for the next start.
func TestSettingsOfARestore(t *testing.T) {
	h := newHome(t, "bolt")
	p := h.place()
	p.File = ""
	doc, err := p.settingsFor([]byte("node: n7\n"))
	if err != nil || string(doc) != "node: n7\n" {
		t.Errorf("%s, %v", doc, err)
	}
	pg := []byte("node: n7\nstore: {postgres: {dsn: 'postgres://u:xxxxx@db/c'}}\n")
	if _, err := p.settingsFor(pg); err == nil || !strings.Contains(err.Error(), "--dsn") {
		t.Errorf("another's database: %v", err)
	}
	p.DSN = "postgres://u:hunter2@new/c"
	h.must(p.Dir.Make())
	doc, err = p.settingsFor(pg)
	h.must(err)
	h.write(h.Dir.Settings(), string(doc))
	n, err := config.LoadNode(h.Dir.Settings(), true)
	h.must(err)
	dsn, err := n.PostgresDSN(string(h.Dir), h.Env)
	if err != nil || dsn != p.DSN || n.Node != "n7" || strings.Contains(string(doc), "hunter2") {
		t.Errorf("%s %v\n%s", dsn, err, doc)
	}
	h.said.Reset()
	h.must(p.pointed())
	if h.said.Len() > 0 {
		t.Errorf("the settings name this database: %s", h.said.String())
	}
	// Settings that are there stay; who restores is told that they name another.
	h.write(h.Dir.Settings(), "store: {postgres: {dsn: 'postgres://db/other', durability: '"+postgres.UnsafeWords+"'}}\n")
	h.must(p.pointed())
	if !strings.Contains(h.said.String(), h.Dir.Settings()) {
		t.Errorf("another database: %q", h.said.String())
	}
	if n, err := p.settings(); err != nil || n.Store.Postgres.DSN != p.DSN || !n.Store.Postgres.Unsafe() {
		t.Errorf("what was accepted of the database is lost: %+v, %v", n.Store.Postgres, err)
	}
}

// What a journal says is the worst of what it says, whatever the order.
func TestWorstStatusCounts(t *testing.T) {
	at := func(min int) time.Time { return time.Date(2026, 11, 22, 12, min, 0, 0, time.UTC) }
	line := func(min int, status engine.Status, reason string) string {
		b, err := json.Marshal(map[string]any{"kind": "revoked", "at": at(min), "issuer": "ab", "serial": "1", "status": status, "reason": reason})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	all := []string{line(1, engine.Held, "certificateHold"), line(2, engine.Good, "released"), line(3, engine.Revoked, "superseded"), line(4, engine.Revoked, "keyCompromise")}
	for _, tt := range []struct {
		lines  []int
		status engine.Status
		reason int
		at     int
	}{
		{[]int{0}, engine.Held, 6, 1}, {[]int{0, 1}, engine.Good, 0, 2}, {[]int{1, 0}, engine.Good, 0, 2},
		{[]int{0, 1, 2}, engine.Revoked, 4, 3}, {[]int{2, 1, 0}, engine.Revoked, 4, 3},
		{[]int{0, 1, 2, 3}, engine.Revoked, 1, 3}, {[]int{2, 3, 0}, engine.Revoked, 1, 3},
	} {
		j := &journal{last: map[engine.CertID]engine.StatusChange{}}
		for _, i := range tt.lines {
			if err := j.line(t.Context(), []byte(all[i])); err != nil {
				t.Fatal(err)
			}
		}
		got := j.last[engine.CertID{Issuer: "ab", Serial: "1"}]
		if got.Status != tt.status || got.Reason != tt.reason || !got.At.Equal(at(tt.at)) {
			t.Errorf("%v: %+v", tt.lines, got)
		}
	}
}
