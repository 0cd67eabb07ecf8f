package storetest

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"chancery/store"
)

func insert(t *testing.T, db store.DB, docs ...Doc) {
	t.Helper()
	update(t, db, func(tx store.Tx) error {
		for _, d := range docs {
			if err := Docs().Insert(tx, &d); err != nil {
				return err
			}
		}
		return nil
	})
}

func ids(t *testing.T, seq iter.Seq2[*Doc, error]) string {
	t.Helper()
	var out []string
	for d, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, d.ID)
	}
	return strings.Join(out, " ")
}

func testUniqueIndex(t *testing.T, db store.DB) {
	insert(t, db, Doc{ID: "1", Mail: "m"})
	for _, d := range []Doc{{ID: "1"}, {ID: "2", Mail: "m"}} {
		err := db.Update(t.Context(), func(tx store.Tx) error { return Docs().Insert(tx, &d) })
		if !errors.Is(err, store.ErrExists) {
			t.Errorf("Insert(%v) = %v, want ErrExists", d, err)
		}
	}
	insert(t, db, Doc{ID: "2", Mail: "n"})
	update(t, db, func(tx store.Tx) error { // keeps its own
		_, err := Docs().Change(tx, "1", func(d *Doc) error { d.N++; return nil })
		return err
	})
	err := db.Update(t.Context(), func(tx store.Tx) error {
		_, err := Docs().Change(tx, "2", func(d *Doc) error { d.Mail = "m"; return nil })
		return err
	})
	if !errors.Is(err, store.ErrExists) {
		t.Errorf("taking another's value = %v, want ErrExists", err)
	}
	view(t, db, func(tx store.Tx) error {
		if d, err := Docs().One(tx, "mail", "m"); err != nil || d.ID != "1" || d.N != 1 {
			t.Errorf("One = %v, %v", d, err)
		}
		if _, err := Docs().One(tx, "mail", "none"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("One of no such value = %v, want ErrNotFound", err)
		}
		return nil
	})
}

func testIndexFollowsValue(t *testing.T, db store.DB) {
	insert(t, db, Doc{ID: "1", Mail: "m", Groups: []string{"g", "h", "g"}}, Doc{ID: "2", Groups: []string{"g"}})
	update(t, db, func(tx store.Tx) error {
		_, err := Docs().Change(tx, "1", func(d *Doc) error {
			d.Groups, d.Mail = []string{"h", "i"}, ""
			return nil
		})
		return err
	})
	view(t, db, func(tx store.Tx) error {
		for group, wanted := range map[string]string{"g": "2", "h": "1", "i": "1", "j": ""} {
			if got := ids(t, Docs().By(tx, "group", group, "")); got != wanted {
				t.Errorf("group %s has %q, want %q", group, got, wanted)
			}
		}
		if _, err := Docs().One(tx, "mail", "m"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("stale entry in the unique index: %v", err)
		}
		return nil
	})
	update(t, db, func(tx store.Tx) error {
		d, err := Docs().Get(tx, "1")
		if err != nil {
			return err
		}
		return Docs().Delete(tx, d)
	})
	view(t, db, func(tx store.Tx) error {
		if keys, _ := scan(t, tx, "docs.group", "", ""); len(keys) != 1 {
			t.Errorf("%d entries after Delete, want 1", len(keys))
		}
		return nil
	})
	if err := store.Verify(t.Context(), db, Schemas()); err != nil {
		t.Error(err)
	}
}

// testNotText checks that JSON does not turn a text into another, under which
// its index entries would not be found again.
func testNotText(t *testing.T, db store.DB) {
	for _, s := range []string{"\xff", "a\xc3", "\\\xff", "\\\\\xed\xa0\x80"} {
		err := db.Update(t.Context(), func(tx store.Tx) error { return Docs().Insert(tx, &Doc{ID: "1", Mail: s}) })
		if !errors.Is(err, store.ErrText) {
			t.Errorf("Insert of %q = %v, want ErrText", s, err)
		}
	}
	for i, s := range []string{"\ufffd", `\ufffd`, `\\ufffd`, "\x00\u2028<&>"} {
		insert(t, db, Doc{ID: fmt.Sprint(i), Mail: s})
		view(t, db, func(tx store.Tx) error {
			if d, err := Docs().One(tx, "mail", s); err != nil || d.Mail != s {
				t.Errorf("One of %q = %v, %v", s, d, err)
			}
			return nil
		})
	}
}

// values are prefixes of one another and hold what separates values from keys.
func values() []string {
	return []string{"", "\x00", "\x00\x01", "\x00\x01a", "\x00\x02", "\x00\xff", "\x01", "a", "a\x00", "a\x00\x01", "a\x00\x01b",
		"a\x00\xff", "a\x00b", "a\x01", "ab", "b", "\xff", "\xff\xff"}
}

func testBy(t *testing.T, db store.DB) {
	for i, v := range values() {
		insert(t, db, Doc{ID: fmt.Sprintf("%02d", i), Raw: []byte(v)}, Doc{ID: fmt.Sprintf("%02d\x00\x01", i), Raw: []byte(v)},
			Doc{ID: fmt.Sprintf("%02dx", i), Raw: []byte(v)})
	}
	view(t, db, func(tx store.Tx) error {
		for i, v := range values() {
			id := fmt.Sprintf("%02d", i)
			for after, wanted := range map[string]string{
				"": id + " " + id + "\x00\x01 " + id + "x", id: id + "\x00\x01 " + id + "x",
				id + "\x00\x01": id + "x", id + "x": "", id + "w": id + "x",
			} {
				if got := ids(t, Docs().By(tx, "raw", v, after)); got != wanted {
					t.Errorf("By(%q, %q) = %q, want %q", v, after, got, wanted)
				}
			}
		}
		return nil
	})
}

func testRange(t *testing.T, db store.DB) {
	for i, v := range values() {
		insert(t, db, Doc{ID: fmt.Sprintf("%02d", i), Raw: []byte(v)})
	}
	sorted := values()
	slices.Sort(sorted)
	view(t, db, func(tx store.Tx) error {
		for _, from := range values() {
			for _, to := range values() {
				var wanted []string
				for _, v := range sorted {
					if v >= from && (to == "" || v < to) {
						wanted = append(wanted, v)
					}
				}
				var got []string
				for d, err := range Docs().Range(tx, "raw", from, to) {
					if err != nil {
						return err
					}
					got = append(got, string(d.Raw))
				}
				if !slices.Equal(got, wanted) {
					t.Errorf("Range(%q, %q) = %q, want %q", from, to, got, wanted)
				}
				var under []string
				for v, err := range Docs().Values(tx, "raw", from, to) {
					if err != nil {
						return err
					}
					under = append(under, v)
				}
				if !slices.Equal(under, wanted) {
					t.Errorf("Values(%q, %q) = %q, want %q", from, to, under, wanted)
				}
				for most, n := range map[int]int{1: min(1, len(wanted)), 1000: len(wanted)} {
					if got, err := Docs().Count(tx, "raw", from, to, most); got != n || err != nil {
						t.Errorf("Count(%q, %q, %d) = %d, %v, want %d", from, to, most, got, err, n)
					}
				}
			}
		}
		return nil
	})
}

func testDamage(t *testing.T, db store.DB) {
	insert(t, db, Doc{ID: "1", Mail: "m"})
	update(t, db, func(tx store.Tx) error { return blobs().Insert(tx, "1", []byte("der")) })
	for _, table := range []string{"docs", "blobs"} {
		var whole []byte
		view(t, db, func(tx store.Tx) (err error) { whole, err = tx.Get(table, "1"); return err })
		for i := range len(whole) + 1 {
			doc := slices.Clone(whole[:min(i, len(whole))]) // cut short
			if i%2 == 0 && i < len(whole) {
				doc = slices.Clone(whole)
				doc[i] ^= 1 // a flipped bit
			}
			if i == len(whole) {
				doc = append(slices.Clone(whole), 0)
			}
			update(t, db, func(tx store.Tx) error { return tx.Put(table, "1", doc) })
			view(t, db, func(tx store.Tx) error {
				_, err := Docs().Get(tx, "1")
				if table == "blobs" {
					_, err = blobs().Get(tx, "1")
				}
				if !errors.Is(err, store.ErrCorrupt) {
					t.Errorf("%s: damage %d = %v, want ErrCorrupt", table, i, err)
				}
				return nil
			})
		}
	}
}

func testVerify(t *testing.T, db store.DB) {
	put := func(table, key, doc string) func(store.Tx) error {
		return func(tx store.Tx) error { return tx.Put(table, key, []byte(doc)) }
	}
	insert(t, db, Doc{ID: "1", Mail: "m", Groups: []string{"g"}}, Doc{ID: "2", Mail: "n", Groups: []string{"g"}})
	if err := store.Verify(t.Context(), db, Schemas()); err != nil {
		t.Fatalf("Verify of a sound store = %v", err)
	}
	for name, harm := range map[string]func(store.Tx) error{
		"damaged document": put("docs", "3", "xxxxxxxx"),
		"damaged blob":     put("blobs", "3", "xxxxxxxx"),
		"missing entry":    func(tx store.Tx) error { return tx.Delete("docs.group", "g\x00\x011") },
		"missing unique":   func(tx store.Tx) error { return tx.Delete("docs.mail", "m\x00\x01") },
		"untrue entry":     put("docs.group", "h\x00\x011", ""),
		"entry of nobody":  put("docs.group", "g\x00\x01nobody", ""),
		"another's unique": put("docs.mail", "m\x00\x01", "2"),
		"untrue unique":    put("docs.mail", "o\x00\x01", "2"),
		"under another key": func(tx store.Tx) error {
			d, err := tx.Get("docs", "1")
			return errors.Join(err, tx.Put("docs", "4", d))
		},
	} {
		found := errors.New("rolled back")
		err := db.Update(t.Context(), func(tx store.Tx) error {
			if err := harm(tx); err != nil {
				return err
			}
			return fmt.Errorf("%w: %w", found, store.Verify(t.Context(), inside{tx}, Schemas()))
		})
		if !errors.Is(err, found) || !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: Verify = %v, want ErrCorrupt", name, err)
		}
	}
}
