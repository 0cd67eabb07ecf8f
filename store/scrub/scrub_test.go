package scrub

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/store"
	"chancery/store/bolt"
	"chancery/store/storetest"
)

func schemas() []store.Schema {
	return append(append(storetest.Schemas(), Schemas()...), store.Schemas()...)
}

func opened(t *testing.T, rows int) store.DB {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "db"), bolt.Options{}, schemas()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Update(t.Context(), func(tx store.Tx) error {
		for i := range rows {
			if err := storetest.Docs().Insert(tx, &storetest.Doc{ID: fmt.Sprintf("d%03d", i)}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return db
}

// A lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// scrubbed runs until the report is as wanted.
func scrubbed(t *testing.T, db store.DB, log *lines, ok func(Report) bool) Report {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = Run(ctx, db, Options{Schemas: schemas(), Holder: "test", Now: time.Now, Log: slog.New(slog.NewTextHandler(log, nil)), Every: time.Millisecond})
	}()
	defer func() {
		cancel()
		<-done
	}()
	deadline := time.After(20 * time.Second)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		r, err := Last(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		if ok(r) {
			return r
		}
		select {
		case <-deadline:
			t.Fatalf("not within 20 s; the last report is %+v", r)
		case <-look.C:
		}
	}
}

// TestFindsAFlippedBit: in the pass after it was flipped, said in log and report,
// and no longer once it was mended.
func TestFindsAFlippedBit(t *testing.T) {
	db, log := opened(t, 100), new(lines)
	first := scrubbed(t, db, log, func(r Report) bool { return !r.Ended.IsZero() })
	if first.Found != 0 || first.Rows < 100 || log.String() != "" {
		t.Fatalf("%+v, log %q", first, log)
	}
	flip(t, db, "d042")
	bad := scrubbed(t, db, log, func(r Report) bool { return r.Found > 0 && r.Ended.After(first.Ended) })
	if len(bad.Findings) == 0 || !strings.Contains(bad.Findings[0], "d042") || !strings.Contains(log.String(), "d042") {
		t.Errorf("%+v, log %q", bad, log)
	}
	flip(t, db, "d042")
	scrubbed(t, db, log, func(r Report) bool { return r.Found == 0 && r.Ended.After(bad.Ended) })
}

func flip(t *testing.T, db store.DB, key string) {
	t.Helper()
	if err := db.Update(t.Context(), func(tx store.Tx) error {
		doc, err := tx.Get("docs", key)
		if err != nil {
			return err
		}
		doc[len(doc)-1] ^= 1
		return tx.Put("docs", key, doc)
	}); err != nil {
		t.Fatal(err)
	}
}

// TestGoesOnWhereItWas: a pass that another process began is not begun anew.
func TestGoesOnWhereItWas(t *testing.T) {
	db, log := opened(t, 100), new(lines)
	began := time.Now().Add(-time.Hour).UTC()
	if err := db.Update(t.Context(), func(tx store.Tx) error {
		return states.Insert(tx, &state{ID: only, Began: began, At: store.Place{Table: "docs", Key: []byte("d089")}, Rows: 1000, Found: 1, Findings: []string{"one"}})
	}); err != nil {
		t.Fatal(err)
	}
	r := scrubbed(t, db, log, func(r Report) bool { return !r.Ended.IsZero() })
	if r.Rows < 1010 || r.Rows > 1090 || r.Found != 1 || r.Findings[0] != "one" {
		t.Errorf("%+v, want that 1000 rows were read before and the rest now", r)
	}
}

// TestPace: what was there last time is read within a quarter of the time.
func TestPace(t *testing.T) {
	for rows, want := range map[int]int{0: least, 1000: least, 10_000_000: 46, 1_000_000_000: most} {
		r := &runner{Options: Options{Every: 24 * time.Hour}}
		if n := r.batch(&state{Last: Report{Rows: rows}}); n != want {
			t.Errorf("%d rows: %d in each tick, want %d", rows, n, want)
		}
	}
}
