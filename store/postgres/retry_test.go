package postgres

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"chancery/store"
	"chancery/store/postgres/pgtest"
)

// TestWriteSkew has 64 writers keep the sum of two accounts from falling below
// zero, of which each takes from one after it looked at both. Snapshots alone
// would let two of them take the last.
func TestWriteSkew(t *testing.T) {
	const writers, each, pairs = 64, 10, 8
	db := open(t, pgtest.DSN(t), Options{})
	account := func(pair, side int) string { return fmt.Sprintf("%d/%d", pair, side) }
	balance := func(tx store.Tx, pair, side int) (n int, err error) {
		v, err := tx.Get(raw, account(pair, side))
		if err == nil {
			n, err = strconv.Atoi(string(v))
		}
		return n, err
	}
	for p := range pairs {
		for side := range 2 {
			if err := put(db, account(p, side), "20"); err != nil {
				t.Fatal(err)
			}
		}
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				pair, side := (w+i)%pairs, w%2
				if err := db.Update(context.Background(), func(tx store.Tx) error {
					mine, err := balance(tx, pair, side)
					if err != nil {
						return err
					}
					other, err := balance(tx, pair, 1-side)
					if err != nil || mine+other < 1 {
						return err
					}
					return tx.Put(raw, account(pair, side), []byte(strconv.Itoa(mine-1)))
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := db.View(t.Context(), func(tx store.Tx) error {
		for p := range pairs {
			a, err := balance(tx, p, 0)
			if err != nil {
				return err
			}
			b, err := balance(tx, p, 1)
			if err != nil {
				return err
			}
			if a+b != 0 { // 80 have asked for the 40 that there were
				t.Errorf("pair %d has %d and %d left, want nothing", p, a, b)
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	t.Logf("%+v", db.Stats())
}

// TestNoDeadlock has many write the same keys in different orders. Waiting for
// one another they would be found out after a second only.
func TestNoDeadlock(t *testing.T) {
	dsn := pgtest.DSN(t)
	db := open(t, dsn, Options{})
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 20 {
				if err := db.Update(context.Background(), func(tx store.Tx) error {
					for k := range 10 {
						key := strconv.Itoa((k*(w*2+1) + i) % 10)
						if err := tx.Put(raw, key, []byte{byte(w)}); err != nil {
							return err
						}
					}
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := count(t, dsn, "select deadlocks from pg_stat_database where datname = current_database()"); n != 0 {
		t.Errorf("%d deadlocks", n)
	}
}

// TestInsertAgain checks that ErrExists is said only of a key that is there.
func TestInsertAgain(t *testing.T) {
	db := open(t, pgtest.DSN(t), Options{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				err := db.Update(context.Background(), func(tx store.Tx) error { return tx.Insert(raw, "flicker", nil) })
				if err == nil {
					err = db.Update(context.Background(), func(tx store.Tx) error { return tx.Delete(raw, "flicker") })
				} else if code(err) != "" {
					t.Errorf("Insert = %v, want ErrExists of a key that was seen", err)
					continue
				} else {
					continue
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestOneRoundTrip counts what an Update and a View send.
func TestOneRoundTrip(t *testing.T) {
	p := pgtest.NewProxy(t, pgtest.Shared(t))
	db := open(t, p.DSN(t, pgtest.DSN(t)), Options{})
	for range 2 { // prepares the statements
		if err := put(db, "a", "1"); err != nil {
			t.Fatal(err)
		}
		get(t, db, "a")
	}
	for name, tt := range map[string]struct {
		fn   func()
		want int64
	}{
		"Update without reads": {func() {
			if err := db.Update(t.Context(), func(tx store.Tx) error {
				for i := range 10 {
					if err := tx.Put(raw, strconv.Itoa(i), nil); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		}, 1},
		"Update with a read": {func() {
			if _, err := increment(t.Context(), db, "n"); err != nil {
				t.Error(err)
			}
		}, 2},
		"Update of much": {func() {
			if err := db.Update(t.Context(), func(tx store.Tx) error {
				for i := range 5 {
					if err := tx.Put(raw, strconv.Itoa(i), make([]byte, 3<<20)); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
			if n := len(get(t, db, "4")); n != 3<<20 {
				t.Errorf("the last document has %d bytes", n)
			}
		}, 5 + 1},
		"Update of many": {func() {
			if err := db.Update(t.Context(), func(tx store.Tx) error {
				for i := range 2*mostWrites + 1 {
					if err := tx.Put(raw, strconv.Itoa(i), nil); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		}, 3},
		"Update that says what it reads": {func() {
			if err := db.Update(t.Context(), func(tx store.Tx) error {
				store.Ahead(tx, store.Ref{Table: raw, Key: "a"}, store.Ref{Table: raw, Key: "b"}, store.Ref{Table: raw, Key: "c"})
				for _, key := range []string{"a", "b", "c"} {
					if _, err := tx.Get(raw, key); err != nil && !store.Missing(err) {
						return err
					}
				}
				return tx.Put(raw, "d", nil)
			}); err != nil {
				t.Error(err)
			}
		}, 2},
		"View that says what it reads": {func() {
			if err := db.View(t.Context(), func(tx store.Tx) error {
				var refs []store.Ref
				for k := range 2 * mostAhead {
					refs = append(refs, store.Ref{Table: raw, Key: strconv.Itoa(k)})
				}
				store.Ahead(tx, refs...)
				for _, r := range refs {
					if _, err := tx.Get(r.Table, r.Key); err != nil && !store.Missing(err) {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		}, 2},
		"View of one Get": {func() { get(t, db, "a") }, 1},
		"View of nothing": {func() {
			if err := db.View(t.Context(), func(store.Tx) error { return nil }); err != nil {
				t.Error(err)
			}
		}, 0},
	} {
		before := db.Stats().Exchanges
		tt.fn()
		if got := db.Stats().Exchanges - before; int64(got) != tt.want {
			t.Errorf("%s: waits for the server %d times, want %d", name, got, tt.want)
		}
	}
}

func count(t *testing.T, dsn, sql string) (n int) {
	t.Helper()
	ask(t, dsn, sql, &n)
	return n
}
