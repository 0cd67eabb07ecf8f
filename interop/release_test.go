package interop

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// faultSteps are the names of the fault points, read from the engine's source.
func faultSteps(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../engine/*.go")
	must(t, err)
	call := regexp.MustCompile(`\.fault\("([^"]+)"\)`)
	var steps []string
	for _, file := range files {
		for _, m := range call.FindAllStringSubmatch(read(t, file), -1) {
			if !slices.Contains(steps, m[1]) {
				steps = append(steps, m[1])
			}
		}
	}
	if len(steps) < 5 {
		t.Fatalf("found only the fault points %q in the engine", steps)
	}
	return steps
}

// The release binary holds no fault point: neither the switch nor the names of
// the steps. The build with the tag holds all of them, so the search would find
// them.
func TestReleaseHoldsNoFaultPoint(t *testing.T) {
	t.Parallel()
	released, err := os.ReadFile(release)
	must(t, err)
	withFaults, err := os.ReadFile(faulty)
	must(t, err)
	words := []string{"CHANCERY_FAULT"}
	for _, s := range faultSteps(t) {
		if regexp.MustCompile(`[^a-z]`).MatchString(s) { // a plain word such as "told" is everywhere
			words = append(words, s)
		}
	}
	if len(words) < 3 {
		t.Fatalf("too few names to look for: %q", words)
	}
	for _, w := range words {
		if bytes.Contains(released, []byte(w)) {
			t.Errorf("the release binary holds %q", w)
		}
		if !bytes.Contains(withFaults, []byte(w)) {
			t.Errorf("the build with faults does not hold %q", w)
		}
	}
}
