package interop

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/interop/live"
)

// buildOutOfTree builds the program in testdata/outoftree as its owner would:
// a module of its own, in a folder of its own, that requires Chancery.
func buildOutOfTree(t *testing.T) string {
	t.Helper()
	root, err := live.Root()
	must(t, err)
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS("testdata/outoftree")))
	write(t, filepath.Join(dir, "go.sum"), read(t, filepath.Join(root, "go.sum")))
	mod := filepath.Join(dir, "go.mod")
	write(t, mod, strings.ReplaceAll(read(t, mod), "=> ../../..", "=> "+root))
	// What "go mod tidy" would do, as far as it needs no network.
	cmd := exec.Command("go", "build", "-mod=mod", "-buildvcs=false", "-o", "corpca", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "corpca")
}

// TestOutOfTree runs a program that adds a policy, a lint and an exit of its own
// without a change to Chancery.
func TestOutOfTree(t *testing.T) {
	c := newCA(t)
	c.binary = buildOutOfTree(t)
	if out, _, _ := execute(t, c.dir, nil, c.binary, "version"); !strings.HasPrefix(out, "chancery corpca-1,") {
		t.Errorf("version: %s", out)
	}
	c.init()
	c.editPolicy(func(doc map[string]any) {
		child(doc, "policy")["judge"] = []any{"keys", map[string]any{"maxnames": map[string]any{"mots": 2}}}
		exits, _ := doc["exit"].([]any)
		doc["exit"] = append(exits, "ledger")
	})
	if _, errs, code := c.tryCLI("config", "check", "--config", c.conf); code == 0 || !strings.Contains(errs, "mots") || !strings.Contains(errs, "most") {
		t.Errorf("config check of a wrong setting: exit %d\n%s", code, errs)
	}
	c.editPolicy(func(doc map[string]any) {
		child(doc, "policy")["judge"] = []any{"keys", map[string]any{"maxnames": map[string]any{"most": 10}}}
	})
	c.cli("config", "check", "--config", c.conf)

	c.start()
	t.Cleanup(c.stop)
	csr, _ := c.newCSR("www.corp.test", "corp.test")
	leaf := certsOf(t, c.cli("submit", csr))[0]
	var many []string
	for i := range 11 {
		many = append(many, fmt.Sprintf("n%d.corp.test", i))
	}
	for why, asked := range map[string][]string{
		"11 names are too many; ask for at most 10": many,
		"forbidden-word": {"test-do-not-use.corp.test"},
	} {
		csr, _ := c.newCSR(asked...)
		if out, errs, code := c.tryCLI("submit", csr); code != 1 || !strings.Contains(errs, why) {
			t.Errorf("submit of %v: exit %d, want 1 and %q\n%s%s", asked, code, why, out, errs)
		}
	}
	eventually(t, 10*time.Second, func() error {
		text, err := os.ReadFile(filepath.Join(c.data, "ledger.txt"))
		if want := normalSerial(serialOf(leaf)); err != nil || !strings.Contains(string(text), want) {
			return fmt.Errorf("the exit's file has no %s: %q, %v", want, text, err)
		}
		return nil
	})
}

// TestExamplesInTheManual holds the code in docs to what is built and run here:
// a block that names a file must be a part of it.
func TestExamplesInTheManual(t *testing.T) {
	docs := os.DirFS("../docs")
	found := 0
	err := fs.WalkDir(docs, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".md" {
			return err
		}
		text, err := fs.ReadFile(docs, name)
		if err != nil {
			return err
		}
		for _, block := range strings.Split(string(text), "```go ")[1:] {
			file, code, _ := strings.Cut(block, "\n")
			code, _, _ = strings.Cut(code, "```")
			found++
			if !strings.Contains(read(t, filepath.Join("..", file)), code) {
				t.Errorf("docs/%s shows another %s than there is", name, file)
			}
		}
		return nil
	})
	must(t, err)
	if found == 0 {
		t.Error("no example found")
	}
}
