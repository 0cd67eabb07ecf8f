package store_test

import (
	"bytes"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"chancery/store"
)

// one is a Reader with one document.
type one struct{ asked int }

func (r *one) Get(table, key string) ([]byte, error) {
	r.asked++
	if key != "there" {
		return nil, store.ErrNotFound
	}
	return []byte("1"), nil
}

func (r *one) Known(string) error { return nil }

func (r *one) Scan(table, from, to string) iter.Seq2[store.Pair, error] {
	return func(yield func(store.Pair, error) bool) { yield(store.Pair{Key: "there", Doc: []byte("1")}, nil) }
}

func TestOverlayWrites(t *testing.T) {
	o := store.NewOverlay(&one{})
	if err := errors.Join(o.Delete("t", "there"), o.Insert("t", "there", []byte("2")), o.Put("t", "a", nil)); err != nil {
		t.Fatal(err)
	}
	o.End()
	if o.Get("t", "a"); o.Put("t", "a", nil) == nil {
		t.Error("Put worked after the end")
	}
	var got []string
	for _, w := range o.Writes() {
		got = append(got, string('0'+rune(w.Kind))+w.Key+string(w.Doc))
	}
	if s := strings.Join(got, " "); s != "3there 1there2 2a" {
		t.Errorf("writes = %s", s)
	}
}

// TestBlindOverlay checks the overlay of a backend that finds out itself what
// exists.
func TestBlindOverlay(t *testing.T) {
	base := &one{}
	o := store.NewOverlay(base)
	o.Blind = true
	if err := o.Insert("t", "there", nil); err != nil || base.asked > 0 {
		t.Errorf("Insert = %v, asked %d times", err, base.asked)
	}
	if err := o.Insert("t", "there", nil); !errors.Is(err, store.ErrExists) || !errors.Is(o.Err(), store.ErrExists) {
		t.Errorf("second Insert = %v, want ErrExists", err)
	}
	o = store.NewOverlay(base)
	if err := o.Insert("t", "there", nil); !errors.Is(err, store.ErrExists) {
		t.Errorf("Insert that looks = %v, want ErrExists", err)
	}
}

func TestID(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	random := bytes.NewReader(bytes.Repeat([]byte{0xf7}, 1000))
	last := ""
	for i := range 50 {
		id := store.NewID(now.Add(time.Duration(i)*time.Millisecond), random)
		if !store.ValidID(id) || id[0] != '7' {
			t.Fatalf("ID %q", id)
		}
		if id <= last {
			t.Errorf("%s does not follow %s, which is older", id, last)
		}
		last = id
		for i := range len(id) {
			for _, c := range []byte{0, 'w', 'A', ' ', 0xff} {
				bad := []byte(id)
				bad[i] = c
				if store.ValidID(string(bad)) {
					t.Errorf("%q is taken for an ID", bad)
				}
			}
		}
	}
	if store.ValidID(last[1:]) || store.ValidID(last+"0") || store.ValidID("") {
		t.Error("an ID of another length is taken for one")
	}
}
