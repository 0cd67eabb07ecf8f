package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"chancery/store"
)

func testDocuments(t *testing.T, db store.DB) {
	view(t, db, func(tx store.Tx) error { want(t, tx, "a", "-"); return nil })
	put(t, db, "a", "1")
	view(t, db, func(tx store.Tx) error { want(t, tx, "a", "1"); return nil })
	put(t, db, "a", "2")
	update(t, db, func(tx store.Tx) error { return tx.Delete(raw, "missing") })
	view(t, db, func(tx store.Tx) error { want(t, tx, "a", "2"); want(t, tx, "aa", "-"); return nil })
	update(t, db, func(tx store.Tx) error { return tx.Delete(raw, "a") })
	view(t, db, func(tx store.Tx) error { want(t, tx, "a", "-"); return nil })

	update(t, db, func(tx store.Tx) error { return blobs().Insert(tx, "b", []byte("der")) })
	view(t, db, func(tx store.Tx) error {
		if b, err := blobs().Get(tx, "b"); err != nil || string(b) != "der" {
			t.Errorf("blob = %q, %v", b, err)
		}
		return nil
	})
}

// hostile are keys and documents that break collations, encodings and C.
func hostile() []string {
	return []string{
		"\x00", "\x00\x00", "\x00\x01", "\x00\xff", "\x01", "B", "Z", "a", "a\x00", "a\x00b", "a|b", "ab", "a}", "é", "e\u0301",
		"日", "\xc3", "\xc3\x28", "\xed\xa0\x80", "\xfe", "\xff", "\xff\xff", "'; drop table docs; --", `\x61`, " ", "%", "\r\n",
		strings.Repeat("k", store.MaxKey),
	}
}

func testHostileDocuments(t *testing.T, db store.DB) {
	docs := append(hostile(), "", `{"a":"\u0000"}`, strings.Repeat("\x00", 1<<20))
	update(t, db, func(tx store.Tx) error {
		for i, doc := range docs {
			if err := tx.Put(raw, strconv.Itoa(i), []byte(doc)); err != nil {
				return err
			}
		}
		return nil
	})
	view(t, db, func(tx store.Tx) error {
		for i, doc := range docs {
			if v, err := tx.Get(raw, strconv.Itoa(i)); err != nil || string(v) != doc {
				t.Errorf("a document of %d bytes came back as one of %d, %v", len(doc), len(v), err)
			}
		}
		return nil
	})
}

// testOwnership checks that what is handed over and what is returned is nobody
// else's.
func testOwnership(t *testing.T, db store.DB) {
	put(t, db, "old", "1")
	update(t, db, func(tx store.Tx) error {
		doc := []byte("2")
		if err := tx.Put(raw, "new", doc); err != nil {
			return err
		}
		doc[0] = 'x'
		for _, key := range []string{"old", "new"} {
			v, err := tx.Get(raw, key)
			if err != nil {
				return err
			}
			v[0] = 'x'
			for p, err := range tx.Scan(raw, key, key+"\x00") {
				if err != nil {
					return err
				}
				p.Doc[0] = 'x'
			}
		}
		return nil
	})
	var kept []byte
	view(t, db, func(tx store.Tx) (err error) {
		want(t, tx, "old", "1")
		want(t, tx, "new", "2")
		kept, err = tx.Get(raw, "old")
		return err
	})
	put(t, db, "old", "3")
	if kept[0] = kept[0] + 0; string(kept) != "1" {
		t.Errorf("a document kept after its transaction became %q", kept)
	}
}

func testKeys(t *testing.T, db store.DB) {
	for _, key := range []string{"", strings.Repeat("k", store.MaxKey+1)} {
		for name, write := range map[string]func(store.Tx) error{
			"Put":    func(tx store.Tx) error { return tx.Put(raw, key, []byte("1")) },
			"Insert": func(tx store.Tx) error { return tx.Insert(raw, key, []byte("1")) },
		} {
			if err := db.Update(t.Context(), write); !errors.Is(err, store.ErrKey) {
				t.Errorf("%s under a key of %d bytes = %v, want ErrKey", name, len(key), err)
			}
		}
		view(t, db, func(tx store.Tx) error { want(t, tx, key, "-"); return nil })
	}
}

func testUnknownTable(t *testing.T, db store.DB) {
	for name, fn := range map[string]func(store.Tx) error{
		"Get":    func(tx store.Tx) error { _, err := tx.Get("nosuch", "a"); return err },
		"Put":    func(tx store.Tx) error { return tx.Put("nosuch", "a", nil) },
		"Insert": func(tx store.Tx) error { return tx.Insert("nosuch", "a", nil) },
		"Delete": func(tx store.Tx) error { return tx.Delete("nosuch", "a") },
		"Scan": func(tx store.Tx) error {
			for _, err := range tx.Scan("nosuch", "", "") {
				return err
			}
			return nil
		},
	} {
		if err := db.Update(t.Context(), fn); err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s in a table that is in no schema = %v, want an error of its own", name, err)
		}
	}
}

func testInsert(t *testing.T, db store.DB) {
	insert := func(key, doc string) error {
		return db.Update(t.Context(), func(tx store.Tx) error { return tx.Insert(raw, key, []byte(doc)) })
	}
	if err := insert("a", "1"); err != nil {
		t.Fatal(err)
	}
	if err := insert("a", "2"); !errors.Is(err, store.ErrExists) {
		t.Errorf("second Insert = %v, want ErrExists", err)
	}
	err := db.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(tx.Insert(raw, "b", nil), tx.Insert(raw, "b", nil))
	})
	if !errors.Is(err, store.ErrExists) {
		t.Errorf("second Insert in one transaction = %v, want ErrExists", err)
	}
	update(t, db, func(tx store.Tx) error { // free again
		return errors.Join(tx.Delete(raw, "a"), tx.Insert(raw, "a", []byte("3")))
	})
	view(t, db, func(tx store.Tx) error { want(t, tx, "a", "3"); want(t, tx, "b", "-"); return nil })
}

func testReadOwnWrites(t *testing.T, db store.DB) {
	for _, k := range []string{"b", "d", "f", "h"} {
		put(t, db, k, "old")
	}
	update(t, db, func(tx store.Tx) error {
		err := errors.Join(
			tx.Put(raw, "d", []byte("new")), tx.Delete(raw, "f"), tx.Insert(raw, "a", []byte("new")),
			tx.Insert(raw, "e", []byte("new")), tx.Put(raw, "i", []byte("x")), tx.Put(raw, "i", []byte("new")),
			tx.Insert(raw, "g", []byte("x")), tx.Delete(raw, "g"),
			tx.Put("blobs", "c", []byte("another table")))
		if err != nil {
			return err
		}
		for i := range 40 { // more than are searched one by one
			if err := tx.Put(raw, fmt.Sprintf("z%02d", i), []byte("new")); err != nil {
				return err
			}
		}
		want(t, tx, "d", "new")
		want(t, tx, "f", "-")
		want(t, tx, "g", "-")
		want(t, tx, "z07", "new")
		keys, docs := scan(t, tx, raw, "", "z")
		if got := fmt.Sprint(keys, docs); got != "[a b d e h i] [new old new new old new]" {
			t.Errorf("Scan within the transaction: %s", got)
		}
		if keys, _ := scan(t, tx, raw, "b", "e"); fmt.Sprint(keys) != "[b d]" {
			t.Errorf("Scan of a part within the transaction: %q", keys)
		}
		if keys, _ := scan(t, tx, raw, "z38", ""); fmt.Sprint(keys) != "[z38 z39]" {
			t.Errorf("Scan of the end within the transaction: %q", keys)
		}
		return nil
	})
	view(t, db, func(tx store.Tx) error {
		keys, docs := scan(t, tx, raw, "", "z")
		if got := fmt.Sprint(keys, docs); got != "[a b d e h i] [new old new new old new]" {
			t.Errorf("Scan after the transaction: %s", got)
		}
		return nil
	})
}

func testScanOrder(t *testing.T, db store.DB) {
	keys := hostile()
	slices.Sort(keys)
	for i := len(keys) - 1; i >= 0; i -= 2 { // some stored, some in the transaction itself
		put(t, db, keys[i], "x")
	}
	bounds := append([]string{"", "a|", "zz", "\x00\x00\x00"}, keys...)
	check := func(tx store.Tx) error {
		for _, from := range bounds {
			for _, to := range bounds {
				var wanted []string
				for _, k := range keys {
					if k >= from && (to == "" || k < to) {
						wanted = append(wanted, k)
					}
				}
				if got, _ := scan(t, tx, raw, from, to); !slices.Equal(got, wanted) {
					t.Fatalf("Scan(%q, %q) = %q, want %q", from, to, got, wanted)
				}
			}
		}
		return nil
	}
	update(t, db, func(tx store.Tx) error {
		for i := len(keys) - 2; i >= 0; i -= 2 {
			if err := tx.Put(raw, keys[i], []byte("x")); err != nil {
				return err
			}
		}
		return check(tx)
	})
	view(t, db, check)
}

func testScanPages(t *testing.T, db store.DB) {
	const n = 1000
	doc := bytes.Repeat([]byte("d"), 100)
	update(t, db, func(tx store.Tx) error {
		for i := range n {
			if err := tx.Put(raw, fmt.Sprintf("%05d", i), append(doc, strconv.Itoa(i)...)); err != nil {
				return err
			}
		}
		return nil
	})
	view(t, db, func(tx store.Tx) error {
		i := 0
		for p, err := range tx.Scan(raw, "", "") {
			if err != nil || p.Key != fmt.Sprintf("%05d", i) || string(p.Doc[len(doc):]) != strconv.Itoa(i) {
				t.Fatalf("document %d = %q %q, %v", i, p.Key, p.Doc, err)
			}
			if _, err := tx.Get(raw, p.Key); err != nil { // reads between the pages
				t.Fatal(err)
			}
			i++
		}
		if i != n {
			t.Errorf("scanned %d documents, want %d", i, n)
		}
		for range tx.Scan(raw, "", "") {
			break // an iterator may be left
		}
		return nil
	})
	update(t, db, func(tx store.Tx) error { // emptied pages are passed over
		for i := range n - 1 {
			if err := tx.Delete(raw, fmt.Sprintf("%05d", i)); err != nil {
				return err
			}
		}
		if keys, _ := scan(t, tx, raw, "", ""); len(keys) != 1 {
			t.Errorf("%d documents left, want 1", len(keys))
		}
		return nil
	})
}
