package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func newBench(only string) *bench {
	return &bench{prefill: 10, n: 10, acme: 20, full: 50000, only: regexp.MustCompile(only)}
}

// Every figure has a name of its own, and -only takes those that match and no
// installation for the others.
func TestOnly(t *testing.T) {
	b := newBench("")
	seen := map[string]bool{}
	for _, p := range b.parts() {
		for _, f := range p.figures {
			if seen[f] {
				t.Errorf("two figures are called %q", f)
			}
			seen[f] = true
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d figures", len(seen))
	}
	for only, want := range map[string]int{
		"":                 8,
		"PostgreSQL":       3, // one node, growth, two nodes
		"bbolt":            1,
		"^native submit":   4, // both backends, and what they grow by
		"^disk":            3,
		"no such figure":   0,
		"errors|two nodes": 3,
	} {
		b := newBench(only)
		parts := 0
		for _, p := range b.parts() {
			if b.wants(p.figures...) {
				parts++
			}
		}
		if parts != want {
			t.Errorf("-only %q takes %d parts, want %d", only, parts, want)
		}
	}
}

// The table says of each figure whether it is what it must be, and only a
// figure that must be something fails the run.
func TestTable(t *testing.T) {
	b := newBench("^[abcd]$")
	file, err := os.Create(filepath.Join(t.TempDir(), "lines"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	b.out = file
	b.report("a", 10, 5, 4, "s", "load a")
	b.report("b", 10, 5, 10, "s", "load b")
	b.tell("c", 99, "%", "load c")
	b.report("unwanted", 1, 1, 2, "s", "load x")
	var out bytes.Buffer
	is := state{Date: "2026-11-22", CPU: "A CPU", CPUs: 2, Load: "1 2 3"}
	if err := b.print(&out, is, is); err != nil {
		t.Errorf("nothing was missed: %v", err)
	}
	for _, line := range []string{
		`a +10 +5 +4 +s +ok`, `b +10 +5 +10 +s +ok, aim missed`, `c +99 +% +told`, `    load c`,
		`2026-11-22, 2 CPUs \(A CPU\), load average 1 2 3 before, 1 2 3 after`,
	} {
		if !regexp.MustCompile(`(?m)^` + line + `$`).Match(out.Bytes()) {
			t.Errorf("no line %s in\n%s", line, &out)
		}
	}
	if strings.Contains(out.String(), "unwanted") {
		t.Errorf("a figure that is not wanted:\n%s", &out)
	}
	b.report("d", 10, 5, 10.1, "s", "load d")
	if err := b.print(&out, is, is); err == nil || !strings.Contains(out.String(), "MISSED") {
		t.Errorf("what was missed: %v\n%s", err, &out)
	}
	lines, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	for l := range strings.Lines(string(lines)) {
		row := map[string]any{}
		if err := json.Unmarshal([]byte(l), &row); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	if len(rows) != 4 || rows[0]["must"] != 10.0 || rows[2]["must"] != nil || rows[3]["pass"] != false {
		t.Errorf("lines: %s", lines)
	}
}

func TestReadCounters(t *testing.T) {
	got, err := readCounters(strings.NewReader("# HELP a_total Things.\n# TYPE a_total counter\na_total 12\nb{x=\"y z\"} 3\nc 1.5e+06\n"))
	if want := map[string]float64{"a_total": 12, "c": 1.5e6}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if _, err := readCounters(strings.NewReader("a twelve\n")); err == nil {
		t.Error("a value that is no number")
	}
}

// What two nodes did between two looks, and the share of what was done again.
func TestUse(t *testing.T) {
	before, after := use{100, 1, 1000, 50}, use{300, 11, 3000, 150}
	d := after.minus(before)
	if d != (use{200, 10, 2000, 100}) || d.share() != 5 || d.plus(d) != (use{400, 20, 4000, 200}) {
		t.Errorf("%+v, %v %%", d, d.share())
	}
	if s := (use{}).share(); s != 0 {
		t.Errorf("nothing done: %v", s)
	}
	if g := percentMore(20, 23); g < 14.99 || g > 15.01 {
		t.Errorf("from 20 to 23: %v %%", g)
	}
}

func TestMachine(t *testing.T) {
	if s := machine(); s.CPUs < 1 || s.CPU == "model not known" || strings.Count(s.Load, " ") != 2 {
		t.Errorf("%+v", s)
	}
}
