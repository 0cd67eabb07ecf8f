package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"chancery/store"

	"go.etcd.io/bbolt"
)

// filled is a file with some certificates of which half were deleted again.
func filled(t *testing.T, n int) (path string, schemas []store.Schema) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "db")
	schemas = []store.Schema{certs.Schema(), ders.Schema(), csrs.Schema(), tbss.Schema()}
	db := open(t, path, schemas)
	for i := range n {
		if err := issue(db, i); err != nil {
			t.Fatal(err)
		}
	}
	odd := false
	var gone []*cert
	if err := db.View(t.Context(), func(tx store.Tx) error {
		for c, err := range certs.All(tx, "", "") {
			if err != nil {
				return err
			}
			if odd = !odd; odd {
				gone = append(gone, c)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Update(t.Context(), func(tx store.Tx) error {
		for _, c := range gone {
			if err := errors.Join(certs.Delete(tx, c), ders.Delete(tx, c.ID), csrs.Delete(tx, c.ID)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	shut(t, db)
	return path, schemas
}

func open(t *testing.T, path string, schemas []store.Schema) *DB {
	t.Helper()
	db, err := Open(path, Options{}, schemas...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func shut(t *testing.T, db *DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// content is everything in all tables and indexes.
func content(t *testing.T, db *DB) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := db.View(t.Context(), func(tx store.Tx) error {
		for name := range db.tables {
			for p, err := range tx.Scan(name, "", "") {
				if err != nil {
					return err
				}
				got, err := tx.Get(name, p.Key)
				if err != nil || !bytes.Equal(got, p.Doc) {
					t.Errorf("%s %q: Get has %q, %v", name, p.Key, got, err)
				}
				all[name+" "+p.Key] = string(p.Doc)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func same(t *testing.T, got, want map[string]string) {
	t.Helper()
	for k := range want {
		if got[k] != want[k] {
			t.Fatalf("%q is %q, want %q", k, got[k], want[k])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d documents and entries, want %d", len(got), len(want))
	}
}

// TestCompact shows that the file is much smaller and holds the same, that it
// can be written to, gets new indexes, and can be compacted again.
func TestCompact(t *testing.T) {
	path, schemas := filled(t, 160)
	db := open(t, path, schemas)
	want := content(t, db)
	shut(t, db)
	last, of := 0, 0
	c, err := Compact(t.Context(), path, func(n, all int) { last, of = n, all })
	if err != nil {
		t.Fatal(err)
	}
	if c.After >= c.Before || c.Documents != 3*80 || last != of {
		t.Errorf("%+v, progress %d of %d", c, last, of)
	}
	db = open(t, path, schemas)
	same(t, content(t, db), want)

	for i := range 10 { // plain rows beside packed ones
		if err := issue(db, 1000+i); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Update(t.Context(), func(tx store.Tx) error { return csrs.Put(tx, "empty", nil) }); err != nil {
		t.Fatal(err)
	}
	if err := store.Verify(t.Context(), db, schemas); err != nil {
		t.Fatal(err)
	}
	shut(t, db)

	more := certs
	more.Indexes = append(more.Indexes[:len(more.Indexes):len(more.Indexes)], store.Index[cert]{Name: "rest", Keys: func(c *cert) []string { return []string{c.Rest[:4]} }})
	schemas[0] = more.Schema()
	db = open(t, path, schemas) // builds the index from packed rows
	if err := store.Verify(t.Context(), db, schemas); err != nil {
		t.Fatal(err)
	}
	want = content(t, db)
	shut(t, db)
	if _, err := Compact(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	db = open(t, path, schemas)
	same(t, content(t, db), want)
}

// TestCompactByALink: the file that the link leads to is made anew where it lies.
func TestCompactByALink(t *testing.T) {
	path, schemas := filled(t, 40)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	c, err := Compact(t.Context(), link, nil)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is none any more: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != c.After {
		t.Errorf("the file stayed as it was: %+v, %v", c, err)
	}
	if n := len(content(t, open(t, link, schemas))); n == 0 {
		t.Error("nothing is left")
	}
}

func TestCompactRefusesAFileInUse(t *testing.T) {
	path, schemas := filled(t, 2)
	open(t, path, schemas)
	if _, err := Compact(t.Context(), path, nil); !errors.Is(err, ErrHeld) {
		t.Errorf("%v, want ErrHeld", err)
	}
}

// TestCompactThatEndsEarlyChangesNothing: what it began is deleted, and what one
// that was killed left is no hindrance.
func TestCompactThatEndsEarlyChangesNothing(t *testing.T) {
	path, schemas := filled(t, 50)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Compact(ctx, path, func(done, of int) {
		if done == of/4 {
			cancel()
		}
	}); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, want that it was cancelled", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the file is another: %v", err)
	}
	if _, err := os.Stat(path + ".compact"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the new file was left: %v", err)
	}
	if err := os.WriteFile(path+".compact", before[:len(before)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Compact(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	if err := store.Verify(t.Context(), open(t, path, schemas), schemas); err != nil {
		t.Error(err)
	}
}

// TestDamageInPackedRows flips every bit of a packed value in turn: none gives
// another document, and a scan goes on behind it.
func TestDamageInPackedRows(t *testing.T) {
	path, schemas := filled(t, 20)
	if _, err := Compact(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	db := open(t, path, schemas)
	name := []byte(certs.Name)
	var key, value []byte
	if err := db.b.View(func(tx *bbolt.Tx) error {
		k, v := tx.Bucket(name).Cursor().First()
		key, value = bytes.Clone(k), bytes.Clone(v)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if value[0] != packed {
		t.Fatalf("the first row is not packed")
	}
	want, err := row(t, db, string(key))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 * len(value) {
		bad := bytes.Clone(value)
		bad[i/8] ^= 1 << (i % 8)
		if err := db.b.Update(func(tx *bbolt.Tx) error { return tx.Bucket(name).Put(key, bad) }); err != nil {
			t.Fatal(err)
		}
		got, err := row(t, db, string(key))
		if !errors.Is(err, store.ErrCorrupt) && fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("bit %d: %v, %v", i, got, err)
		}
	}
	if n := len(content(t, db)); n == 0 {
		t.Error("nothing behind the damage")
	}
}

func row(t *testing.T, db *DB, key string) (c *cert, err error) {
	err = db.View(t.Context(), func(tx store.Tx) error {
		c, err = certs.Get(tx, key)
		return err
	})
	return c, err
}

// TestOpenTakesTheFileThatHasTheName: whoever waited for the lock while Compact
// put another file there gets that one.
func TestOpenTakesTheFileThatHasTheName(t *testing.T) {
	path, schemas := filled(t, 5)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	replaced := 0
	b, err := openCurrent(path, &bbolt.Options{}, func(name string, flag int, mode os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(name, flag, mode)
		if replaced++; replaced == 1 {
			err = errors.Join(err, os.WriteFile(path+".new", whole, 0o600), os.Rename(path+".new", path))
		}
		return f, err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := Open(path, Options{}, schemas...); !errors.Is(err, ErrHeld) || replaced != 2 {
		t.Errorf("opened %d times; the file with the name is not the one that is held: %v", replaced, err)
	}
}

// TestCompactOfDamagedPages spoils one page after another: Compact ends with an
// error and leaves the file, or did not need the page.
func TestCompactOfDamagedPages(t *testing.T) {
	path, schemas := filled(t, 20)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for at := 2 * pageSize; at+pageSize <= len(whole); at += pageSize {
		if !bytes.ContainsFunc(whole[at:at+pageSize], func(r rune) bool { return r != 0 }) {
			continue // never used
		}
		bad := bytes.Clone(whole)
		copy(bad[at+8:at+16], "\xff\xff\xff\xff\xff\xff\xff\xff") // kind, count and length of the page
		path := filepath.Join(t.TempDir(), "db")                  // bbolt does not let go of one that it could not open
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Compact(t.Context(), path, nil); err == nil {
			if err := store.Verify(t.Context(), open(t, path, schemas), schemas); err != nil {
				t.Errorf("page at %d: %v", at, err)
			}
			continue
		}
		failed++
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, bad) {
			t.Errorf("page at %d: the file was changed: %v", at, err)
		}
	}
	if failed == 0 {
		t.Error("no page was needed")
	}
}
