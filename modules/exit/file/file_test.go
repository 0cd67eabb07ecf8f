package file

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"chancery/engine"
	"chancery/engine/names"
)

const issuer = "ab12cd34ef56ab12cd34ef56ab12cd34ef56ab12"

func issued(serial string, der []byte) engine.Event {
	return engine.Event{
		ID: "e" + serial, Kind: engine.EventIssued, Issuer: issuer, Serial: serial, DER: der,
		Names: []names.Name{{Type: names.DNS, Value: "../../etc/passwd"}}, Subject: "CN=../../x", RequestID: "../r",
	}
}

func newExit(t testing.TB, dir string, certificates bool) *exit {
	t.Helper()
	x, err := New(Config{Path: "issued", Certificates: certificates}, engine.Deps{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return x.(*exit)
}

// tree lists the files of certificates below dir.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(p, ".jsonl") {
			out = append(out, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWritesCertificates(t *testing.T) {
	dir := t.TempDir()
	x := newExit(t, dir, true)
	for _, serial := range []string{"1f00", "7", "abcdef"} {
		if err := x.Tell(t.Context(), issued(serial, []byte("der "+serial))); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"issued/00/ab12cd34-1f00.pem", "issued/07/ab12cd34-7.pem", "issued/ef/ab12cd34-abcdef.pem"}
	if got := tree(t, dir); !slices.Equal(got, want) {
		t.Fatalf("files %v, want %v", got, want)
	}
	path := filepath.Join(dir, want[0])
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" || string(block.Bytes) != "der 1f00" || len(rest) != 0 {
		t.Errorf("%s", text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// However far an earlier attempt came, telling again leaves one whole file.
func TestToldAgainAfterACrash(t *testing.T) {
	ev := issued("1f00", bytes.Repeat([]byte("certificate "), 80))
	whole := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ev.DER})
	for name, left := range map[string][]byte{
		"nothing": nil, "an empty file": {}, "half": whole[:len(whole)/2], "all": whole,
		"blocks of zeros": make([]byte, len(whole)), "more than all": append(slices.Clone(whole), "rest of something"...),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "issued/00/ab12cd34-1f00.pem")
			if left != nil {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, left, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			x := newExit(t, dir, true)
			for range 2 {
				if err := x.Tell(t.Context(), ev); err != nil {
					t.Fatal(err)
				}
				if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, whole) {
					t.Fatalf("%q, %v", got, err)
				}
			}
			if got := tree(t, dir); len(got) != 1 {
				t.Errorf("left behind: %v", got)
			}
		})
	}
}

func TestDirectoryRemovedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	x := newExit(t, dir, true)
	if err := x.Tell(t.Context(), issued("1f00", []byte("x"))); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "issued")); err != nil {
		t.Fatal(err)
	}
	if err := x.Tell(t.Context(), issued("2f00", []byte("x"))); err == nil {
		t.Error("the first attempt notices that the directory is gone")
	}
	if err := x.Tell(t.Context(), issued("2f00", []byte("x"))); err != nil {
		t.Errorf("the second makes it again: %v", err)
	}
}

func TestRefusesOtherNames(t *testing.T) {
	dir := t.TempDir()
	x := newExit(t, dir, true)
	for _, tt := range []struct{ issuer, serial string }{
		{"../../../x", "1f"}, {issuer, "../1f"}, {issuer, ""}, {"", "1f"}, {"ab12", "1f"}, {issuer, "1F"}, {issuer, "1f/x"},
		{"ab12cd3/", "1f"}, {issuer, "1f\x00"}, {issuer, strings.Repeat("1", 41)},
	} {
		ev := issued(tt.serial, []byte("x"))
		ev.Issuer = tt.issuer
		if err := x.Tell(t.Context(), ev); err == nil {
			t.Errorf("%q %q was written", tt.issuer, tt.serial)
		}
	}
	if err := x.Tell(t.Context(), issued("1f", nil)); err == nil {
		t.Error("an event without a certificate was taken")
	}
	if got := tree(t, dir); len(got) != 0 {
		t.Errorf("wrote %v", got)
	}
	if got := days(t, dir); len(got) != 0 {
		t.Errorf("the journal says that they are written: %v", got)
	}
}

func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	x := newExit(t, dir, true)
	var all sync.WaitGroup
	for i := range 64 {
		for range 2 { // told twice, as after a lease that ran out too early
			all.Go(func() {
				if err := x.Tell(t.Context(), issued(fmt.Sprintf("1%03x", i), []byte("x"))); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	if got := tree(t, dir); len(got) != 64 {
		t.Errorf("%d files", len(got))
	}
}

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		config Config
		dir    string
		says   string
	}{
		{Config{}, "/data", "path is missing"},
		{Config{Path: "../issued"}, "/data", "leads upwards; leave the .. out"},
		{Config{Path: "a/../../b"}, "/data", "leads upwards"},
		{Config{Path: "/var/../etc"}, "/data", "leads upwards"},
		{Config{Path: "issued"}, "", "write an absolute path"},
		{Config{Path: "issued", Events: []engine.EventKind{"renewed"}}, "/data", `there is no "renewed", only ["issued"`},
		{Config{Path: "issued", Events: []engine.EventKind{"denied"}, Certificates: true}, "/data", "events leaves issued out; add it"},
		{Config{Path: "issued", Events: []engine.EventKind{"issued", "denied"}, Certificates: true}, "/data", ""},
		{Config{Path: "issued", Events: []engine.EventKind{}}, "/data", "events is empty"},
		{Config{Path: "/var/issued"}, "", ""},
		{Config{Path: "..issued"}, "/data", ""},
	} {
		_, err := New(tt.config, engine.Deps{Dir: tt.dir})
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%+v: %v, want %q", tt.config, err, tt.says)
		}
	}
	x, err := New(Config{Path: "issued", Events: []engine.EventKind{engine.EventRevoked}}, engine.Deps{Dir: "/data"})
	if err != nil || !slices.Equal(x.Wants(), []engine.EventKind{engine.EventRevoked}) {
		t.Errorf("%v, %v", x.Wants(), err)
	}
	x, err = New(Config{Path: "issued"}, engine.Deps{Dir: "/data"})
	if err != nil || !slices.Equal(x.Wants(), engine.EventKinds) {
		t.Errorf("by default %v, %v", x.Wants(), err)
	}
}
