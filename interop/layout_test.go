package interop

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// A rule says what the packages under a folder may import of this module. The
// first rule whose folder holds a package is the one for it.
type rule struct {
	under string
	ours  []string // folders; its own always
	never []string // packages of others
}

const module = "chancery"

// rules is who may import whom. It is a statement of policy: change it in a
// review of its own, not to make a build pass.
func rules() []rule {
	web, sql := []string{"net/http", "database/sql"}, []string{"go.etcd.io/bbolt", "github.com/jackc/pgx"}
	return []rule{
		{under: "cmd", ours: []string{"frontends", "modules", "engine", "store"}, never: sql},
		{under: "frontends/native/client"},
		{under: "frontends/access"}, // shared like internal, and with cmd
		{under: "frontends/internal", ours: []string{"engine", "store"}, never: sql},
		{under: "frontends/*", ours: []string{"frontends/internal", "frontends/access", "engine", "store"}, never: sql},
		{under: "modules/signer/*"},
		{under: "modules/*/*", ours: []string{"engine"}, never: sql},
		{under: "modules", ours: []string{"engine"}, never: sql},
		{under: "engine/*", ours: []string{"engine/*"}, never: slices.Concat(web, sql)},
		{under: "engine", ours: []string{"store"}, never: slices.Concat(web, sql)},
		{under: "store/bolt", ours: []string{"store"}, never: []string{"net/http", "database/sql", sql[1]}},
		{under: "store/postgres", ours: []string{"store"}, never: []string{"net/http", "database/sql", sql[0]}},
		{under: "store", never: slices.Concat(web, sql)},
		{under: "interop/invariants", ours: []string{"engine", "store"}},             // judges records, not what users see
		{under: "interop/bench", ours: []string{"interop", "store/postgres/pgtest"}}, // starts what it measures
		{under: "interop"},
	}
}

const maxLines = 500

// TestLayout holds the law: who imports whom, that nothing but the engine signs,
// that nothing happens before main, and that files stay readable.
func TestLayout(t *testing.T) {
	files, wrong := inspect(t, os.DirFS(".."))
	for _, w := range wrong {
		t.Error(w)
	}
	if files < 50 {
		t.Errorf("only %d files were looked at: the test is blind", files)
	}
}

// inspect reads the files itself, rather than ask go list, so that the test
// cache knows what the result depends on.
func inspect(t *testing.T, root fs.FS) (files int, wrong []string) {
	t.Helper()
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch base := path.Base(name); {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (base[0] == '.' || base[0] == '_' || base == "testdata" || base == "bin" || base == "chancery-data"):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		src, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		files++
		if lines := bytes.Count(src, []byte("\n")); lines > maxLines {
			wrong = append(wrong, fmt.Sprintf("%s has %d lines; above %d nobody reads it", name, lines, maxLines))
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, name, src, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		wrong = append(wrong, imports(name, f)...)
		wrong = append(wrong, uses(name, set, f)...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, wrong
}

func imports(name string, f *ast.File) (wrong []string) {
	pkg := path.Dir(name)
	i := slices.IndexFunc(rules(), func(r rule) bool { return holds(r.under, pkg) })
	if i < 0 {
		return []string{name + " lies where no rule says what it may import"}
	}
	r := rules()[i]
	for _, spec := range f.Imports {
		imp, _ := strconv.Unquote(spec.Path.Value)
		if spec.Name != nil && spec.Name.Name == "." {
			wrong = append(wrong, name+" imports "+imp+" into its own names")
		}
		if !r.admits(pkg, imp) {
			wrong = append(wrong, name+" imports "+imp)
		}
	}
	return wrong
}

func (r rule) admits(pkg, imp string) bool {
	if rel, ok := strings.CutPrefix(imp, module+"/"); ok || imp == module {
		return within(rel, root(r.under, pkg)) || slices.ContainsFunc(r.ours, func(o string) bool { return holds(o, rel) })
	}
	return !slices.ContainsFunc(r.never, func(n string) bool { return within(imp, n) })
}

// uses finds what may not be called outside the engine, and what runs unasked.
func uses(name string, set *token.FileSet, f *ast.File) (wrong []string) {
	at := func(n ast.Node) string { return set.Position(n.Pos()).String() }
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			wrong = append(wrong, at(fn)+": func init; let main call what must happen")
		}
	}
	if within(name, "engine") || within(name, "interop") {
		return wrong
	}
	x509 := ""
	for _, spec := range f.Imports {
		if spec.Path.Value == `"crypto/x509"` {
			x509 = "x509"
			if spec.Name != nil {
				x509 = spec.Name.Name
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && x509 != "" {
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == x509 && (sel.Sel.Name == "CreateCertificate" || sel.Sel.Name == "CreateRevocationList") {
				wrong = append(wrong, at(sel)+": x509."+sel.Sel.Name+"; only the engine signs")
			}
		}
		return true
	})
	return wrong
}

// holds says that a package is at or below a folder; a * in the folder stands
// for one element.
func holds(folder, pkg string) bool { return root(folder, pkg) != "" }

// root is the part of pkg that a folder's pattern matches, or nothing.
func root(folder, pkg string) string {
	want, have := strings.Split(folder, "/"), strings.Split(pkg, "/")
	if len(have) < len(want) {
		return ""
	}
	for i, w := range want {
		if w != "*" && w != have[i] {
			return ""
		}
	}
	return strings.Join(have[:len(want)], "/")
}

func within(name, under string) bool { return name == under || strings.HasPrefix(name, under+"/") }

// TestLayoutCatches breaks each part of the law once, so that the test above
// cannot go blind.
func TestLayoutCatches(t *testing.T) {
	for _, tt := range []struct {
		file, src string
		says      string // empty: lawful
	}{
		{"cmd/chancery/app/a.go", `import "chancery/store/bolt"`, ""},
		{"frontends/acme/a.go", `import ("chancery/engine/names"; "chancery/frontends/internal/jose"; "chancery/store"; "net/http")`, ""},
		{"frontends/acme/wire/a.go", `import "chancery/frontends/acme"`, ""},
		{"frontends/acme/a.go", `import "chancery/frontends/est"`, "imports chancery/frontends/est"},
		{"frontends/acme/a.go", `import "chancery/modules"`, "imports chancery/modules"},
		{"frontends/acme/a.go", `import "chancery/cmd/chancery/app"`, "imports chancery/cmd/chancery/app"},
		{"frontends/acme/a.go", `import "go.etcd.io/bbolt"`, "imports go.etcd.io/bbolt"},
		{"frontends/internal/x/a.go", `import "github.com/jackc/pgx/v5"`, "imports github.com/jackc/pgx/v5"},
		{"frontends/native/a.go", `import ("chancery/frontends/native/client"; "chancery/frontends/access")`, ""},
		{"frontends/access/a.go", `import "chancery/engine"`, "imports chancery/engine"},
		{"frontends/native/client/a.go", `import "chancery/engine"`, "imports chancery/engine"},
		{"modules/modules.go", `import "chancery/modules/exit/file"`, ""},
		{"modules/exit/file/a.go", `import "chancery/engine"`, ""},
		{"modules/exit/file/a.go", `import "chancery/modules/exit/webhook"`, "imports chancery/modules/exit/webhook"},
		{"modules/exit/file/a.go", `import "chancery/modules"`, "imports chancery/modules"},
		{"modules/exit/file/a.go", `import "chancery/store"`, "imports chancery/store"},
		{"modules/signer/file/a.go", `import "chancery/engine/keys"`, "imports chancery/engine/keys"},
		{"engine/a.go", `import ("chancery/store"; "chancery/engine/names")`, ""},
		{"engine/a.go", `import "net/http"`, "imports net/http"},
		{"engine/a.go", `import "net/http/httptest"`, "imports net/http/httptest"},
		{"engine/a.go", `import "database/sql"`, "imports database/sql"},
		{"engine/a.go", `import "chancery/modules"`, "imports chancery/modules"},
		{"engine/names/a.go", `import "chancery/engine/keys"`, ""},
		{"engine/names/a.go", `import "chancery/engine"`, "imports chancery/engine"},
		{"engine/names/a.go", `import "chancery/store"`, "imports chancery/store"},
		{"engine/names/a.go", `import "go.etcd.io/bbolt"`, "imports go.etcd.io/bbolt"},
		{"store/bolt/a.go", `import ("chancery/store"; "go.etcd.io/bbolt")`, ""},
		{"store/bolt/a.go", `import "chancery/engine"`, "imports chancery/engine"},
		{"store/bolt/a.go", `import "github.com/jackc/pgx/v5"`, "imports github.com/jackc/pgx/v5"},
		{"store/postgres/a.go", `import ("chancery/store"; "github.com/jackc/pgx/v5/pgxpool")`, ""},
		{"store/postgres/pgtest/a.go", `import "github.com/jackc/pgx/v5"`, ""},
		{"store/postgres/a.go", `import "go.etcd.io/bbolt"`, "imports go.etcd.io/bbolt"},
		{"store/postgres/a.go", `import "database/sql"`, "imports database/sql"},
		{"store/a.go", `import "github.com/jackc/pgx/v5"`, "imports github.com/jackc/pgx/v5"},
		{"store/storetest/a.go", `import ("chancery/store/bolt"; "chancery/store/postgres")`, ""},
		{"cmd/chancery/app/a.go", `import "github.com/jackc/pgx/v5"`, "imports github.com/jackc/pgx/v5"},
		{"interop/live/a.go", `import "chancery/engine"`, "imports chancery/engine"},
		{"interop/invariants/a.go", `import ("chancery/engine"; "chancery/store")`, ""},
		{"interop/invariants/a.go", `import "chancery/store/bolt"`, ""},
		{"interop/invariants/a.go", `import "chancery/frontends/acme"`, "imports chancery/frontends/acme"},
		{"interop/bench/a.go", `import ("chancery/interop/live"; "chancery/store/postgres/pgtest")`, ""},
		{"interop/bench/a.go", `import "chancery/store/postgres"`, "imports chancery/store/postgres"},
		{"interop/load/a.go", `import "chancery/store/postgres/pgtest"`, "imports chancery/store/postgres/pgtest"},
		{"util/a.go", ``, "no rule says"},
		{"frontends/acme/a.go", `import . "crypto/x509"`, "into its own names"},
		{"cmd/a/a.go", `import "crypto/x509"` + "\nvar _ = x509.CreateCertificate", "only the engine signs"},
		{"cmd/a/a.go", `import y "crypto/x509"` + "\nvar _ = y.CreateRevocationList", "only the engine signs"},
		{"cmd/a/a.go", `import "crypto/x509"` + "\nvar _ = x509.CreateCertificateRequest", ""},
		{"engine/a.go", `import "crypto/x509"` + "\nvar _ = x509.CreateCertificate", ""},
		{"cmd/a/a.go", "func init() {}", "let main call"},
		{"cmd/a/a.go", "type x int\nfunc (x) init() {}", ""},
		{"cmd/a/a.go", strings.Repeat("\n", maxLines+1), "nobody reads it"},
		{"cmd/a/a_test.go", `import "example.org/anything"` + "\nfunc init() {}", ""},
		{"cmd/a/testdata/a.go", "func init() {}", ""},
	} {
		_, wrong := inspect(t, fstest.MapFS{tt.file: {Data: []byte("package p\n" + tt.src)}})
		if tt.says == "" && len(wrong) > 0 || tt.says != "" && (len(wrong) != 1 || !strings.Contains(wrong[0], tt.says)) {
			t.Errorf("%s: %.80q: %q, want %q", tt.file, tt.src, wrong, tt.says)
		}
	}
}
