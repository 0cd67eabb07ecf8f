// Package postgres keeps documents in a PostgreSQL database that many processes
// share: a table of byte keys and documents for each table and each index.
//
// A View is a REPEATABLE READ transaction. An Update is a SERIALIZABLE one that
// sends all its writes and its end in one round trip, and is tried again when
// the database asks for it. Both begin with their first read or write.
//
// Call neither View nor Update inside the function of another: the inner one
// may wait for a connection that the outer one holds.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"chancery/store"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Options are what Open may be told. The zero value is good for tests.
type Options struct {
	// Log receives what an administrator should know; nil for none.
	Log *slog.Logger

	// AllowUnsafe accepts a server that answers a commit before it is on disk
	// (synchronous_commit=off), so that a crash of the server loses the last
	// ones although they were acknowledged. Nothing else is given up by it.
	AllowUnsafe bool

	// Jitter returns a random number in [0, 1), by which the waits between
	// tries differ among nodes; nil for one that needs no seed.
	Jitter func() float64

	// Patience bounds how long an Update that must be tried again, or finds no
	// server, goes on, and how long Open waits for processes that use tables
	// which it has to change; 10 s if zero.
	Patience time.Duration
}

// DB is a [store.DB] in one schema of a PostgreSQL database.
type DB struct {
	o      Options
	pool   *pgxpool.Pool
	stmts  *statements
	schema string

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // transactions, and the sweeper of rests

	rests    []*session // see rest
	sweeping bool       // sweep will run
	waiting  int        // for a connection

	updates, commits, retries, lost atomic.Uint64
}

var _ store.DB = (*DB)(nil)

// Open connects to the database that dsn names, a URL or key=value pairs as libpq
// takes them, and makes there a table for each schema and each index. They lie
// in the first schema of search_path in the dsn, or in the schema chancery, which
// is made if it is missing.
//
// It refuses a server whose settings lose data, tables in a format newer than
// their schema, and to change tables while processes with other schemas use
// them. It builds the indexes that are new.
func Open(ctx context.Context, dsn string, o Options, schemas ...store.Schema) (*DB, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	conf, schema, err := configure(dsn)
	if err != nil {
		return nil, err
	}
	d := &DB{o: o, schema: schema}
	if d.stmts, err = declare(schema, schemas); err != nil {
		return nil, err
	}
	if err := d.prepare(ctx, conf, schemas); err != nil {
		return nil, err
	}
	conf.AfterConnect = d.welcome(schemas)
	if d.pool, err = pgxpool.NewWithConfig(ctx, conf); err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	if err := d.pool.Ping(ctx); err != nil {
		d.pool.Close()
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	return d, nil
}

// Stats are figures since Open.
type Stats struct {
	Updates uint64 // that have written something
	Commits uint64 // for them: one each, retries not counted
	Retries uint64 // of functions of Updates, for whatever reason
	Unknown uint64 // Updates whose outcome could not be learnt

	// Exchanges counts how often a transaction has waited for the server.
	Exchanges uint64

	Conns int // connections to the server now
	Busy  int // of them, those in use
	Most  int // connections that there may be
}

// Stats says what was done since Open.
func (d *DB) Stats() Stats {
	p := d.pool.Stat()
	return Stats{
		Updates: d.updates.Load(), Commits: d.commits.Load(), Retries: d.retries.Load(), Unknown: d.lost.Load(), Exchanges: d.stmts.exchanges.Load(),
		Conns: int(p.TotalConns()), Busy: int(p.AcquiredConns()), Most: int(p.MaxConns()),
	}
}

// View implements [store.DB].
func (d *DB) View(ctx context.Context, fn func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !d.enter() {
		return store.ErrClosed
	}
	defer d.running.Done()
	r := d.reader(ctx, stmtView)
	defer r.end()
	return fn(store.ReadOnly(r))
}

// enter reports whether transactions may still begin. One that has begun calls
// running.Done.
func (d *DB) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.running.Add(1)
	}
	return !d.closed
}

// Close refuses new transactions and waits for those that run.
func (d *DB) Close() error {
	d.mu.Lock()
	again := d.closed
	d.closed = true
	d.mu.Unlock()
	d.running.Wait()
	if !again {
		d.pool.Close()
	}
	return nil
}

// wait is how long a statement and its answer may take before the connection is
// given up. It is longer than the server's own bound.
const wait = statementTimeout + 5*time.Second

// until is when to give up a connection for a transaction with the context.
func until(ctx context.Context) time.Time {
	t := time.Now().Add(wait)
	if d, ok := ctx.Deadline(); ok && d.Before(t) {
		return d
	}
	return t
}

var errEnded = errors.New("store: Tx used after the function that received it returned")
