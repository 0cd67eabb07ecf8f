package interop

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every test that docs/features.md names is in the tree.
func TestFeaturesAreShown(t *testing.T) {
	t.Parallel()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	have := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			for _, m := range declared.FindAllStringSubmatch(read(t, path), -1) {
				have[m[1]] = true
			}
		}
		return err
	})
	must(t, err)
	named := regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w+`).FindAllString(read(t, "../docs/features.md"), -1)
	if len(named) < 30 {
		t.Fatalf("docs/features.md names only %d tests", len(named))
	}
	for _, name := range named {
		if !have[name] {
			t.Errorf("docs/features.md names %s, which is not there", name)
		}
	}
}
