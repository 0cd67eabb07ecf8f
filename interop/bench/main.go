// Bench measures the figures that the project promises, on fresh installations
// with fsync on, over both backends, and prints what must be, what is aimed at,
// and what was measured. The unit s is the CPU price of one P-256 signature,
// sampled during the same run: it moves much less with the machine's mood than
// seconds do. On PostgreSQL the CPU of both programs counts. docs/performance.md
// says more.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	b := &bench{}
	only := flag.String("only", "", "take only the figures whose name matches this regular expression")
	flag.BoolVar(&b.short, "short", false, "small numbers: a look in two to three minutes (docs/performance.md says what it leaves out)")
	list := flag.Bool("list", false, "print the names of the figures and end")
	flag.StringVar(&b.chancery, "chancery", "bin/chancery", "the binary to measure")
	flag.StringVar(&b.load, "load", "bin/load", "the load driver")
	flag.StringVar(&b.outFile, "out", "", "write JSON lines to this file")
	flag.IntVar(&b.prefill, "prefill", 10000, "certificates in a store before timed runs")
	flag.IntVar(&b.n, "n", 3000, "operations of each timed run")
	flag.IntVar(&b.acme, "acme", 10000, "ACME certificates before memory is read again")
	flag.IntVar(&b.full, "full", 50000, "certificates in a store that has grown")
	flag.StringVar(&b.dir, "dir", "", "folder for the data (default: a temporary one, removed at the end)")
	flag.Parse()
	b.rest = 3 * time.Second
	if b.short {
		b.rest = time.Second
		b.prefill, b.n, b.acme, b.full = 1000, 600, 1800, 5000
	}
	var err error
	if b.only, err = regexp.Compile(*only); err != nil {
		fmt.Fprintln(os.Stderr, "bench: -only:", err)
		os.Exit(2)
	}
	if *list {
		for _, p := range b.parts() {
			fmt.Println(strings.Join(p.figures, "\n"))
		}
		return
	}
	if err := b.main(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A bench is one run of all measurements.
type bench struct {
	chancery, load, outFile, dir string
	prefill, n, acme, full       int
	short                        bool
	only                         *regexp.Regexp
	rest                         time.Duration // before memory and CPU are read

	rows []row
	out  *os.File
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
	before := machine()
	b.line(before)
	// What was measured is shown even when the rest could not be.
	err = b.measure()
	return errors.Join(err, b.print(os.Stdout, before, machine()))
}

// A part takes figures that need the same installation in the same state.
type part struct {
	figures []string // names of its rows, as -only sees them
	take    func() error
}

func (b *bench) parts() []part {
	return []part{
		{[]string{figFirstStart}, b.firstStart},
		{b.fileFigures(), b.file},
		{[]string{figCompacted}, b.compactedDisk},
		{[]string{figPurged}, b.acmeDisk},
		{b.growthFigures(bolt), func() error { return b.growth(bolt) }},
		{b.sharedFigures(), b.shared},
		{b.growthFigures(postgres), func() error { return b.growth(postgres) }},
		{nodesFigures(), b.nodes},
	}
}

// measure takes every figure that is wanted, one after the other.
func (b *bench) measure() error {
	for _, p := range b.parts() {
		if !b.wants(p.figures...) {
			continue
		}
		if err := p.take(); err != nil {
			return err
		}
	}
	return nil
}

// wants reports whether one of the figures is to be taken.
func (b *bench) wants(figures ...string) bool {
	for _, f := range figures {
		if b.only.MatchString(f) {
			return true
		}
	}
	return false
}

// loaded is what the driver says of one run, as far as it is used here.
type loaded struct {
	N          int     `json:"n"`
	Errors     int     `json:"errors"`
	FirstError string  `json:"first_error"`
	Units      float64 `json:"server_cpu_in_p256_signs"`
	MS         float64 `json:"server_cpu_ms_per_op"`
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

// driveAll is drive that also shows the first error, where errors are counted.
func (b *bench) driveAll(args []string) (loaded, string, error) {
	l, text, err := b.drive(args...)
	if err == nil && l.Errors > 0 {
		fmt.Fprintln(os.Stderr, "the first error:", l.FirstError)
	}
	return l, text, err
}
