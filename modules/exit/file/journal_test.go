package file

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/engine"
)

const today, tomorrow = "2001-09-09.jsonl", "2001-09-10.jsonl"

var noon = time.Date(2001, 9, 9, 12, 0, 0, 0, time.UTC)

func revoked(id string, at time.Time) engine.Event {
	return engine.Event{ID: id, Kind: engine.EventRevoked, At: at, Issuer: issuer, Serial: "1f", Status: engine.Revoked, Reason: "keyCompromise"}
}

// days lists the files of the journal.
func days(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "issued/*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		all[i] = filepath.Base(all[i])
	}
	return all
}

// ids are those of the lines of a file that parse; "_" stands for one that is
// empty, "-" for any other.
func ids(t *testing.T, dir, day string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "issued", day))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for l := range strings.Lines(string(text)) {
		var ev engine.Event
		if l == "\n" {
			ev.ID = "_"
		} else if json.Unmarshal([]byte(l), &ev) != nil {
			ev.ID = "-"
		}
		out = append(out, ev.ID)
	}
	return strings.Join(out, " ")
}

func tell(t *testing.T, x *exit, all ...engine.Event) {
	t.Helper()
	if err := x.TellAll(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

func TestLineHoldsTheEvent(t *testing.T) {
	dir := t.TempDir()
	x := newExit(t, dir, false)
	full := issued("1f00", []byte("der"))
	full.At, full.NotAfter = noon, noon.Add(time.Hour)
	denied := engine.Event{ID: "d", Kind: engine.EventDenied, At: noon, RequestID: "../r", Reason: "policy", Detail: "two\nlines\u2028<b>\xff"}
	tell(t, x, full, denied, revoked("r", noon))
	if got := days(t, dir); !slices.Equal(got, []string{today}) {
		t.Fatalf("files %v", got)
	}
	if got := tree(t, dir); len(got) != 0 {
		t.Errorf("certificates were not asked for: %v", got)
	}
	path := filepath.Join(dir, "issued", today)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	for l := range strings.Lines(string(text)) {
		var m map[string]any
		if err := json.Unmarshal([]byte(l), &m); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
		got = append(got, m)
	}
	if len(got) != 3 {
		t.Fatalf("%d lines", len(got))
	}
	in, _ := got[0]["certificate"].(string)
	block, rest := pem.Decode([]byte(in))
	if block == nil || block.Type != "CERTIFICATE" || string(block.Bytes) != "der" || len(rest) != 0 {
		t.Errorf("certificate %q", in)
	}
	if got[0]["id"] != "e1f00" || got[0]["kind"] != "issued" || got[0]["serial"] != "1f00" || got[0]["not_after"] != "2001-09-09T13:00:00Z" || got[0]["names"] == nil {
		t.Errorf("%v", got[0])
	}
	if got[1]["detail"] != "two\nlines\u2028<b>\ufffd" || got[1]["certificate"] != nil {
		t.Errorf("%v", got[1])
	}
	if got[2]["status"] != "revoked" || got[2]["reason"] != "keyCompromise" || got[2]["at"] != "2001-09-09T12:00:00Z" {
		t.Errorf("%v", got[2])
	}
}

func TestToldAgainIsAnotherLine(t *testing.T) {
	dir := t.TempDir()
	tell(t, newExit(t, dir, false), revoked("e1", noon), revoked("e2", noon))
	tell(t, newExit(t, dir, false), revoked("e2", noon))
	if got := ids(t, dir, today); got != "e1 e2 e2" {
		t.Error(got)
	}
}

func TestDayIsThatOfTheEventInUTC(t *testing.T) {
	dir := t.TempDir()
	x := newExit(t, dir, false)
	midnight := time.Date(2001, 9, 10, 0, 0, 0, 0, time.UTC)
	west := time.FixedZone("", -5*3600)
	tell(t, x, revoked("e1", noon))
	tell(t, x, revoked("e2", midnight), revoked("e3", midnight.Add(-1)), revoked("e4", midnight.In(west)))
	tell(t, x, revoked("e5", midnight.Add(time.Hour)))
	tell(t, x, revoked("e6", noon.In(west)))
	if a, b := ids(t, dir, today), ids(t, dir, tomorrow); a != "e1 e3 e6" || b != "e2 e4 e5" {
		t.Errorf("%q, %q", a, b)
	}
	if got := days(t, dir); len(got) != 2 {
		t.Errorf("%v", got)
	}
}

// One sync for a batch, whatever its size, and one for each further file.
func TestBatchIsOneSync(t *testing.T) {
	x := newExit(t, t.TempDir(), false)
	syncs := 0
	x.journal.sync = func(f *os.File) error { syncs++; return f.Sync() }
	var all []engine.Event
	for i := range 64 {
		all = append(all, revoked(fmt.Sprint("e", i), noon))
	}
	for _, tt := range []struct {
		batch []engine.Event
		want  int
	}{
		{all[:1], 1}, {all[:8], 1}, {all, 1}, {nil, 0},
		{[]engine.Event{revoked("a", noon.AddDate(0, 0, 1)), all[0], revoked("b", noon.AddDate(0, 0, 1)), all[1]}, 2},
	} {
		syncs = 0
		tell(t, x, tt.batch...)
		if syncs != tt.want {
			t.Errorf("%d events: %d syncs, want %d", len(tt.batch), syncs, tt.want)
		}
	}
}

// Whatever is at the end of the file, the lines after it are whole.
func TestTornLineSpoilsOnlyItself(t *testing.T) {
	for _, tt := range []struct{ name, left, want string }{
		{"nothing", "", "e2 e3"},
		{"a line", `{"id":"e1"}` + "\n", "e1 e2 e3"},
		{"part of a line", `{"id":"e1"}` + "\n" + `{"id":"e2","ki`, "e1 - e2 e3"},
		{"a line without its end", `{"id":"e1"}`, "e1 e2 e3"},
		{"zeros", `{"id":"e1"}` + "\n\x00\x00\x00", "e1 - e2 e3"},
		{"one byte", "{", "- e2 e3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, open := range []bool{false, true} { // found at start, or under the open file
				dir := t.TempDir()
				x := newExit(t, dir, false)
				if open {
					tell(t, x, revoked("e0", noon))
				} else if err := os.Mkdir(filepath.Join(dir, "issued"), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "issued", today), []byte(tt.left), 0o644); err != nil {
					t.Fatal(err)
				}
				tell(t, x, revoked("e2", noon))
				tell(t, x, revoked("e3", noon))
				if got := ids(t, dir, today); got != tt.want {
					t.Errorf("open %t: %q, want %q", open, got, tt.want)
				}
			}
		})
	}
}

func TestRotation(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(day string) error
		want string // then in the file
	}{
		{"renamed", func(day string) error { return os.Rename(day, day+".1") }, "e2 e3"},
		{"removed", os.Remove, "e2 e3"},
		{"directory removed", func(day string) error { return os.RemoveAll(filepath.Dir(day)) }, "e2 e3"},
		{"copied and truncated", func(day string) error { return os.Truncate(day, 0) }, "e2 e3"},
		{"replaced", func(day string) error {
			return errors.Join(os.WriteFile(day+".new", []byte("{}\n{"), 0o644), os.Rename(day+".new", day))
		}, " - e2 e3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			x := newExit(t, dir, false)
			tell(t, x, revoked("e1", noon))
			if err := tt.do(filepath.Join(dir, "issued", today)); err != nil {
				t.Fatal(err)
			}
			tell(t, x, revoked("e2", noon))
			tell(t, x, revoked("e3", noon))
			if got := ids(t, dir, today); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			if tt.name == "renamed" && ids(t, dir, today+".1") != "e1" {
				t.Error("the old file changed")
			}
		})
	}
}

// A batch that the disk did not take is refused, and taken when it works again.
func TestDiskFails(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name        string
		fail, mend  func(x *exit, dir string) error
		first, want string
	}{
		{"write", func(x *exit, _ string) error { return x.journal.f.Close() }, nil, "e1", "e1 _ e2 e3 e4"},
		{"sync", func(x *exit, _ string) error {
			x.journal.sync = func(*os.File) error { return broken }
			return nil
		}, func(x *exit, _ string) error {
			x.journal.sync = (*os.File).Sync
			return nil
		}, "e1 e2 e3", "e1 e2 e3 _ e2 e3 e4"},
		{"open", func(_ *exit, dir string) error {
			return errors.Join(os.Rename(dir+"/issued", dir+"/away"), os.WriteFile(dir+"/issued", nil, 0o644))
		}, func(_ *exit, dir string) error {
			return errors.Join(os.Remove(dir+"/issued"), os.Rename(dir+"/away", dir+"/issued"))
		}, "", "e1 e2 e3 e4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			x := newExit(t, dir, false)
			tell(t, x, revoked("e1", noon))
			if err := tt.fail(x, dir); err != nil {
				t.Fatal(err)
			}
			batch := []engine.Event{revoked("e2", noon), revoked("e3", noon)}
			if err := x.TellAll(t.Context(), batch); err == nil {
				t.Fatal("taken by a disk that fails")
			}
			if tt.first != "" && ids(t, dir, today) != tt.first {
				t.Errorf("first %q, want %q", ids(t, dir, today), tt.first)
			}
			if tt.mend != nil {
				if err := tt.mend(x, dir); err != nil {
					t.Fatal(err)
				}
			}
			tell(t, x, batch...)
			tell(t, x, revoked("e4", noon))
			if got := ids(t, dir, today); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// Two exits on one directory, as while a new policy document takes over, and
// several calls of each at the same time.
func TestLinesDoNotMix(t *testing.T) {
	dir := t.TempDir()
	exits := []*exit{newExit(t, dir, false), newExit(t, dir, false)}
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			ev := issued(fmt.Sprintf("%x", i), make([]byte, 1000))
			ev.At = noon
			if err := exits[i%2].TellAll(t.Context(), []engine.Event{ev, ev}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	seen := map[string]int{}
	for id := range strings.FieldsSeq(ids(t, dir, today)) {
		seen[id]++
	}
	for i := range 40 {
		if n := seen[fmt.Sprintf("e%x", i)]; n != 2 {
			t.Errorf("event %x: %d lines", i, n)
		}
	}
	// One exit may look while the other writes, take that for a torn line, and
	// leave an empty one: no harm to any reader.
	delete(seen, "_")
	if len(seen) != 40 {
		t.Errorf("%d different lines", len(seen))
	}
}
