package est_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// elsewhere says of a row of the catalogues where it is shown, or what it waits for.
var elsewhere = map[string]string{
	"E017": "TestEST_XE003_OldTLS here, and cmd/chancery/app/serve for the listener",
	"E039": "EST over CoAP (RFC 9148) is not built",
	"E040": "EST over CoAP (RFC 9148) is not built",
}

// TestCatalogue holds that each row of the catalogues of conformance (E-001 …
// E-040) and of attacks (XE-001 … XE-011) has a test that bears its number.
func TestCatalogue(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`(?m)^func (TestEST_\w+)\(`).FindAllSubmatch(src, -1) {
			for _, row := range regexp.MustCompile(`_(X?E\d{3})`).FindAllSubmatch(name[1], -1) {
				rows = append(rows, string(row[1]))
			}
		}
	}
	check := func(row string) {
		_, is := elsewhere[row]
		if has := slices.Contains(rows, row); has == is {
			t.Errorf("%s: a test %v, an excuse %v", row, has, is)
		}
	}
	for n := 1; n <= 40; n++ {
		check(fmt.Sprintf("E%03d", n))
	}
	for n := 1; n <= 11; n++ {
		check(fmt.Sprintf("XE%03d", n))
	}
}
