// Bench measures the figures that the project promises, on a fresh installation
// with fsync on, and prints what must be, what is aimed at, and what was
// measured. The unit s is the CPU price of one P-256 signature, sampled during
// the same run: it moves much less with the machine's mood than seconds do.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

func main() {
	b := &bench{}
	flag.StringVar(&b.chancery, "chancery", "bin/chancery", "the binary to measure")
	flag.StringVar(&b.load, "load", "bin/load", "the load driver")
	flag.StringVar(&b.outFile, "out", "", "write JSON lines to this file")
	flag.IntVar(&b.prefill, "prefill", 10000, "certificates in the store before measuring")
	flag.IntVar(&b.n, "n", 3000, "operations of each timed run")
	flag.IntVar(&b.acme, "acme", 10000, "ACME certificates before memory is read again")
	flag.StringVar(&b.dir, "dir", "", "folder for the data (default: a temporary one, removed at the end)")
	flag.Parse()
	if err := b.main(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A bench is one run of all measurements.
type bench struct {
	chancery, load, outFile, dir string
	prefill, n, acme             int

	rows []row
	out  *os.File
}

// A row is one line of the table.
type row struct {
	Name     string  `json:"name"`
	Must     float64 `json:"must"`
	Aim      float64 `json:"aim"`
	Measured float64 `json:"measured"`
	Unit     string  `json:"unit"`
	Pass     bool    `json:"pass"`
	Command  string  `json:"command"`
}

func (b *bench) main() error {
	if b.dir == "" {
		dir, err := os.MkdirTemp("", "chancery-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		b.dir = dir
	}
	var err error
	for _, bin := range []*string{&b.chancery, &b.load} {
		if *bin, err = filepath.Abs(*bin); err != nil {
			return err
		}
	}
	if b.outFile != "" {
		if b.out, err = os.Create(b.outFile); err != nil {
			return err
		}
		defer b.out.Close()
	}
	if err := b.measure(); err != nil {
		return err
	}
	return b.print()
}

// report adds a row; all of them say that less is better.
func (b *bench) report(name string, must, aim, measured float64, unit, command string) {
	r := row{name, must, aim, measured, unit, measured <= must, command}
	b.rows = append(b.rows, r)
	b.line(r)
	fmt.Fprintf(os.Stderr, "%s: %.2f %s\n", name, measured, unit)
}

func (b *bench) line(v any) {
	if b.out != nil {
		_ = json.NewEncoder(b.out).Encode(v)
	}
}

func (b *bench) print() error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "figure\tmust\taim\tmeasured\tunit\t")
	failed := 0
	for _, r := range b.rows {
		word := "ok"
		switch {
		case !r.Pass:
			word = "MISSED"
			failed++
		case r.Measured > r.Aim:
			word = "ok, aim missed"
		}
		fmt.Fprintf(w, "%s\t%.4g\t%.4g\t%.4g\t%s\t%s\n", r.Name, r.Must, r.Aim, r.Measured, r.Unit, word)
	}
	fmt.Fprintln(w)
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range b.rows {
		fmt.Printf("%s:\n    %s\n", r.Name, r.Command)
	}
	if failed > 0 {
		return fmt.Errorf("%d figures missed what they must be", failed)
	}
	return nil
}

// loaded is what the driver says of one run, as far as it is used here.
type loaded struct {
	N          int     `json:"n"`
	Errors     int     `json:"errors"`
	FirstError string  `json:"first_error"`
	Units      float64 `json:"server_cpu_in_p256_signs"`
	Rate       float64 `json:"rate"`
	FirstMS    float64 `json:"first_answer_ms"` // of startup
	Stopped    bool    `json:"stopped_early"`
}

// drive runs the load driver and returns its line and the command that it was.
func (b *bench) drive(args ...string) (loaded, string, error) {
	cmd := exec.Command(b.load, args...)
	cmd.Stderr = os.Stderr
	cmd.Dir = b.dir
	text := "load " + strings.Join(args, " ")
	fmt.Fprintln(os.Stderr, text)
	out, err := cmd.Output()
	if err != nil {
		return loaded{}, text, fmt.Errorf("%s: %w\n%s", text, err, out)
	}
	var l loaded
	if err := json.Unmarshal(out, &l); err != nil {
		return l, text, fmt.Errorf("%s: %w\n%s", text, err, out)
	}
	b.line(json.RawMessage(out))
	if l.Stopped {
		return l, text, errors.New(text + ": not done in time")
	}
	return l, text, nil
}

// clean is drive for runs without any error.
func (b *bench) clean(args ...string) (loaded, string, error) {
	l, text, err := b.drive(args...)
	if err == nil && l.Errors > 0 {
		err = fmt.Errorf("%s: %d errors, the first: %s", text, l.Errors, l.FirstError)
	}
	return l, text, err
}
