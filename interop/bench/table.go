package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// A row is one line of the table. Less is better, where there is a bound.
type row struct {
	Name     string   `json:"name"`
	Must     *float64 `json:"must,omitempty"` // nil: the figure is only told
	Aim      *float64 `json:"aim,omitempty"`
	Measured float64  `json:"measured"`
	Unit     string   `json:"unit"`
	Pass     bool     `json:"pass"`
	Command  string   `json:"command"`
}

// report adds a row with its bounds, if it is wanted.
func (b *bench) report(name string, must, aim, measured float64, unit, command string) {
	b.add(row{name, &must, &aim, measured, unit, measured <= must, command})
}

// tell adds a row that promises nothing, if it is wanted.
func (b *bench) tell(name string, measured float64, unit, command string) {
	b.add(row{name, nil, nil, measured, unit, true, command})
}

func (b *bench) add(r row) {
	if !b.wants(r.Name) {
		return
	}
	b.rows = append(b.rows, r)
	b.line(r)
	fmt.Fprintf(os.Stderr, "%s: %.2f %s\n", r.Name, r.Measured, r.Unit)
}

func (b *bench) line(v any) {
	if b.out != nil {
		_ = json.NewEncoder(b.out).Encode(v)
	}
}

// verdict is the last word of a row.
func (r row) verdict() string {
	switch {
	case r.Must == nil:
		return "told"
	case !r.Pass:
		return "MISSED"
	case r.Measured > *r.Aim:
		return "ok, aim missed"
	}
	return "ok"
}

func bound(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.4g", *v)
}

// print writes the table, and the command of each figure. It is an error if one
// missed what it must be.
func (b *bench) print(out io.Writer, before, after state) error {
	fmt.Fprintf(out, "%s, %d CPUs (%s), load average %s before, %s after\n\n", before.Date, before.CPUs, before.CPU, before.Load, after.Load)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "figure\tmust\taim\tmeasured\tunit\t")
	failed := 0
	for _, r := range b.rows {
		if !r.Pass {
			failed++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.4g\t%s\t%s\n", r.Name, bound(r.Must), bound(r.Aim), r.Measured, r.Unit, r.verdict())
	}
	fmt.Fprintln(w)
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range b.rows {
		fmt.Fprintf(out, "%s:\n    %s\n", r.Name, r.Command)
	}
	if failed > 0 {
		return fmt.Errorf("%d figures missed what they must be", failed)
	}
	return nil
}

// A state is what else a figure depends on.
type state struct {
	Date string `json:"date"`
	CPU  string `json:"cpu"`
	CPUs int    `json:"cpus"`
	Load string `json:"load_average"` // over 1, 5 and 15 minutes
}

// machine is the state of this machine now.
func machine() state {
	s := state{Date: time.Now().UTC().Format(time.RFC3339), CPU: "model not known", CPUs: runtime.NumCPU(), Load: "not known"}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for l := range strings.Lines(string(text)) {
			if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == "model name" {
				s.CPU = strings.TrimSpace(v)
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		if f := strings.Fields(string(text)); len(f) > 2 {
			s.Load = strings.Join(f[:3], " ")
		}
	}
	return s
}
