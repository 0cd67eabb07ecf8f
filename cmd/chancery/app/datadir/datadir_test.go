package datadir

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWriteReplacesWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, want := range []string{"one", "another one"} {
		if err := Write(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != want {
			t.Errorf("%q %v", b, err)
		}
	}
	if all, _ := filepath.Glob(path + "*"); len(all) != 1 {
		t.Errorf("left behind: %v", all)
	}
	if err := Write(filepath.Join(t.TempDir(), "no", "such"), nil, 0o600); err == nil {
		t.Error("written into nowhere")
	}
}

func TestMakeTightens(t *testing.T) {
	d := Dir(filepath.Join(t.TempDir(), "data"))
	if err := os.Mkdir(string(d), 0o755); err != nil {
		t.Fatal(err)
	}
	half := d.Path("admin.key.0123456789ab.tmp")
	if err := os.WriteFile(half, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	if there, _ := Exists(half); there {
		t.Error("half a file was left")
	}
	if fi, err := os.Stat(string(d)); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
}

func TestSeal(t *testing.T) {
	d := Dir(t.TempDir())
	if _, err := d.ReadSeal(); err == nil {
		t.Error("a seal from nowhere")
	}
	if made, err := d.MakeSeal(rand.Reader); err != nil || !made {
		t.Fatal(made, err)
	}
	if made, err := d.MakeSeal(rand.Reader); err != nil || made {
		t.Fatal("made again", err)
	}
	s, err := d.ReadSeal()
	if err != nil {
		t.Fatal(err)
	}
	a, err1 := s.Key("a")
	b, err2 := s.Key("b")
	again, _ := s.Key("a")
	if err1 != nil || err2 != nil || len(a) != 32 || bytes.Equal(a, b) || !bytes.Equal(a, again) {
		t.Error("derived keys are not one for each use")
	}
	id, err := s.ID()
	text, _ := os.ReadFile(d.Seal())
	if err != nil || len(id) != 16 || strings.Contains(string(text), id) {
		t.Error(id, err)
	}
	if err := os.Chmod(d.Seal(), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := d.ReadSeal(); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a seal that others can read: %v", err)
	}
}

func TestMarkerAndServing(t *testing.T) {
	d := Dir(t.TempDir())
	if m, err := d.ReadMarker(); m != nil || err != nil {
		t.Error(m, err)
	}
	if err := d.WriteMarker(Initialized{map[string]string{"main": "ab"}}); err != nil {
		t.Fatal(err)
	}
	if m, err := d.ReadMarker(); err != nil || m.Authorities["main"] != "ab" {
		t.Error(m, err)
	}
	if _, err := d.ReadServing(); err == nil || !strings.Contains(err.Error(), "chancery serve") {
		t.Error(err)
	}
	want := Addresses{"a:1", "b:2", "c:3", 4}
	if err := d.WriteServing(want); err != nil {
		t.Fatal(err)
	}
	if got, err := d.ReadServing(); err != nil || got != want {
		t.Error(got, err)
	}
}
