package validate

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Rows of the catalogues of attacks (XN) and conformance (T) about validation
// that wait for something, and for what.
var waiting = map[string]string{
	"XN_017": "several perspectives: there is one validator",
	"XN_030": "device-attest-01",
}

// Each row has a test that bears its number, somewhere in the tree.
func TestCatalogueOfValidation(t *testing.T) {
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	all := ""
	err := filepath.WalkDir("../../../..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			src, rerr := os.ReadFile(path)
			for _, m := range declared.FindAllStringSubmatch(string(src), -1) {
				all += " " + m[1] + "_"
			}
			return rerr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i := range 30 {
		ids = append(ids, fmt.Sprintf("XN_%03d", i+1))
	}
	for i := range 38 {
		if n := i + 1; n <= 16 || n >= 27 { // between them is renewal information
			ids = append(ids, fmt.Sprintf("T%03d", n))
		}
	}
	for _, id := range ids {
		shown := strings.Contains(all, " Test"+id+"_") || strings.Contains(all, "_"+id+"_")
		if shown == (waiting[id] != "") {
			t.Errorf("%s: shown %v, waiting for %q", id, shown, waiting[id])
		}
	}
}
