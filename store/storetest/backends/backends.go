// Package backends runs the tests of a package on every backend, from the same
// files. The package's TestMain says so,
//
//	func TestMain(m *testing.M) { os.Exit(backends.Run(m)) }
//
// and its tests open their databases here. With CHANCERY_STORE=bolt or postgres
// only that one is run, for whoever looks for a fault.
package backends

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"chancery/store"
	"chancery/store/bolt"
	"chancery/store/postgres"
	"chancery/store/postgres/pgtest"
)

// Variable is the variable of the environment that names the backend.
const Variable = "CHANCERY_STORE"

// The names of the backends.
const (
	Bolt     = "bolt"
	Postgres = "postgres"
)

// Run runs the tests of a binary once for each backend and returns the exit
// code. Fuzzing and listing are done once, on bolt.
func Run(m *testing.M) int {
	flag.Parse()
	names := []string{Bolt, Postgres}
	if name := os.Getenv(Variable); name != "" {
		if !slices.Contains(names, name) {
			fmt.Fprintf(os.Stderr, "%s=%s: there is no such store, only %q\n", Variable, name, names)
			return 2
		}
		names = []string{name}
	} else if given("test.fuzz") || given("test.fuzzworker") || given("test.list") {
		names = names[:1]
	}
	code := 0
	for _, name := range names {
		os.Setenv(Variable, name)
		fmt.Println("store:", name)
		code = max(code, pgtest.Run(m))
	}
	return code
}

func given(name string) bool {
	f := flag.Lookup(name)
	return f != nil && f.Value.String() != f.DefValue
}

// A DB is a database that can say how much was done with it.
type DB interface {
	store.DB
	Updates() uint64 // that wrote something, since Open
	Retries() uint64 // of their functions
	Plain() store.DB // without the checks of these tests
}

// A Place is where the database of a test is. It is gone when the test is.
type Place struct {
	file     string
	database string // of the cluster that the tests share
	dsn      string
	fast     bool // a benchmark's
}

// New makes a place for an empty database of the backend that the tests run on.
func New(t testing.TB) Place {
	t.Helper()
	switch os.Getenv(Variable) {
	case Bolt:
		_, fast := t.(*testing.B)
		return Place{file: filepath.Join(t.TempDir(), "db"), fast: fast}
	case Postgres:
		name := databases.take(t)
		return Place{database: name, dsn: pgtest.Shared(t).Address(name)}
	}
	t.Fatal("the TestMain of this package does not call backends.Run")
	return Place{}
}

// Shared reports whether several processes could have the database open.
func (p Place) Shared() bool { return p.dsn != "" }

// Settings are the lines of chancery.yaml by which a node keeps its records here,
// in its data directory or in the database.
func (p Place) Settings() string {
	if !p.Shared() {
		return ""
	}
	return fmt.Sprintf("store: {postgres: {dsn: %q, durability: %q}}\n", p.dsn, postgres.UnsafeWords)
}

// Empty deletes all records of a shared database, which nobody has open.
func (p Place) Empty(t testing.TB) {
	t.Helper()
	if err := pgtest.Shared(t).Exec(p.database, empty); err != nil {
		t.Fatal(err)
	}
}

// Open opens the database, again if it was closed.
func (p Place) Open(log *slog.Logger, schemas ...store.Schema) (DB, error) {
	if p.Shared() {
		db, err := postgres.Open(context.Background(), p.dsn, postgres.Options{Log: log, AllowUnsafe: true}, schemas...)
		return postgresDB{db}, err
	}
	db, err := bolt.Open(p.file, bolt.Options{Log: log}, schemas...)
	return boltDB{db, p.fast}, err
}

// databases are those that tests have used and emptied: making tables takes many
// times as long as deleting what one test left in them.
var databases pool

type pool struct {
	mu   sync.Mutex
	free []string
}

// take returns the name of an empty database, and takes it back when the test
// has ended.
func (p *pool) take(t testing.TB) string {
	t.Helper()
	c := pgtest.Shared(t)
	name := p.last()
	if name == "" {
		name = c.Database(t)
		// No test crashes this server: commits need not wait for the disk.
		if err := c.Exec("postgres", "alter database "+name+" set synchronous_commit = off"); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := c.Exec(name, empty); err != nil {
			t.Errorf("the test left its database open: %v", err)
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.free = append(p.free, name)
	})
	return name
}

func (p *pool) last() (name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		name, p.free = p.free[n-1], p.free[:n-1]
	}
	return name
}

// empty deletes all documents. What says which tables there are stays.
const empty = `do $$ declare name text; begin
	set local lock_timeout = '10s';
	for name in select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = 'chancery' and tablename <> '_tables' loop
		execute 'delete from ' || name;
	end loop;
end $$`

type boltDB struct {
	*bolt.DB
	fast bool
}

// Update calls fn twice, the first time for nothing, as a database does where
// others write at the same time: a function that has another effect than through
// its Tx is found out.
func (d boltDB) Update(ctx context.Context, fn func(store.Tx) error) error {
	if d.fast {
		return d.DB.Update(ctx, fn)
	}
	again := errors.New("again")
	err := d.DB.Update(ctx, func(tx store.Tx) error {
		if err := fn(strict{tx}); err != nil {
			return err
		}
		return again
	})
	if !errors.Is(err, again) {
		return err
	}
	return d.DB.Update(ctx, func(tx store.Tx) error { return fn(strict{tx}) })
}

// A strict transaction refuses what store.Tx forbids for the sake of databases
// with several writers.
type strict struct{ store.Tx }

func (strict) Scan(table, _, _ string) iter.Seq2[store.Pair, error] {
	return func(yield func(store.Pair, error) bool) {
		yield(store.Pair{}, fmt.Errorf("Scan of %s inside an Update: scan in a View, and check again by Get", table))
	}
}

func (d boltDB) Updates() uint64 {
	updates, _ := d.Stats()
	return updates
}

func (boltDB) Retries() uint64 { return 0 }

func (d boltDB) Plain() store.DB { return d.DB }

type postgresDB struct{ *postgres.DB }

func (d postgresDB) Plain() store.DB { return d.DB }

func (d postgresDB) Updates() uint64 { return d.Stats().Updates }
func (d postgresDB) Retries() uint64 { return d.Stats().Retries }
