package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"chancery/store"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// tablesTable keeps a tableState under the name of each table.
const tablesTable = "_tables"

// A tableState is what the database says of one of its tables.
type tableState struct {
	Version int                    // of the format; no document is newer
	Indexes map[string]*indexState // that follow the documents
}

// An indexState says how far the index is built.
type indexState struct {
	Done  bool
	After []byte `json:",omitempty"` // the last key whose entries are in the index
}

// A preparer makes tables, on a connection of its own. One process prepares at a
// time.
type preparer struct {
	d       *DB
	conn    *pgx.Conn
	schemas []store.Schema
	states  map[string]*tableState
	alone   bool // no process uses the tables, and none can begin to
}

// Advisory locks of a schema. Whoever prepares holds the first, every connection
// that reads or writes shares the second, and whoever changes tables that are in
// use already has it alone: a process that does not know of an index would not
// keep it in step.
const (
	lockPrepare = "hashtextextended('chancery prepare ' || $1, 0)"
	lockUse     = "hashtextextended('chancery use ' || $1, 0)"
)

// prepare makes the tables of the schemas and finishes their indexes.
func (d *DB) prepare(ctx context.Context, conf *pgxpool.Config, schemas []store.Schema) (err error) {
	conf = conf.Copy()
	conf.ConnConfig.RuntimeParams["statement_timeout"] = "0" // an index of millions of entries is dropped
	conn, err := connect(ctx, conf)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	is, err := inspect(ctx, conn, d.o.AllowUnsafe)
	if err != nil {
		return err
	}
	if is.lax {
		d.o.Log.WarnContext(ctx, "synchronous_commit=off was accepted: "+UnsafeWords)
	}
	p := &preparer{d: d, conn: conn, schemas: schemas}
	if err := p.lock(ctx, lockPrepare, 0, "another process prepares the database: waiting for it"); err != nil {
		return fmt.Errorf("preparing the database: %w", err)
	}
	if err := p.tables(ctx); err != nil {
		return fmt.Errorf("preparing the database: %w", err)
	}
	for _, s := range schemas {
		for _, ix := range s.Indexes {
			if err := p.build(ctx, s, ix); err != nil {
				return fmt.Errorf("building the index %s: %w", ix.Name, err)
			}
		}
	}
	_, err = conn.Exec(ctx, "select pg_advisory_unlock_all()") // the end of a session comes a little after Close
	return err
}

// lock takes an advisory lock for the life of the connection. It gives up after
// the time most, if that is not 0.
func (p *preparer) lock(ctx context.Context, key string, most time.Duration, waiting string) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for told := false; ; {
		var ok bool
		if err := p.conn.QueryRow(ctx, "select pg_try_advisory_lock("+key+")", p.d.schema).Scan(&ok); err != nil || ok {
			return err
		}
		if most > 0 && time.Since(began) > most {
			return errLocked
		}
		if !told {
			p.d.o.Log.InfoContext(ctx, waiting)
			told = true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var errLocked = errors.New("somebody else has the lock")

// exclude makes sure that no other process uses the tables. It waits a little for
// one that is just ending.
func (p *preparer) exclude(ctx context.Context) error {
	if p.alone {
		return nil
	}
	err := p.lock(ctx, lockUse, p.d.o.Patience, "another process uses the tables that are to change: waiting for it to end")
	if errors.Is(err, errLocked) {
		return errors.New("another process uses the tables that this version changes: stop all nodes, then start this version")
	}
	p.alone = err == nil
	return err
}

// tables makes what is missing, in one transaction.
func (p *preparer) tables(ctx context.Context) error {
	if err := p.base(ctx); err != nil {
		return err
	}
	var err error
	if p.states, err = readStates(ctx, p.conn, p.d.schema); err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, p.conn, func(tx pgx.Tx) error {
		for _, s := range p.schemas {
			if err := p.table(ctx, tx, s); err != nil {
				return err
			}
		}
		return p.people(ctx, tx)
	})
}

// base makes the schema and the table of states.
func (p *preparer) base(ctx context.Context) error {
	var schema, table bool
	if err := p.conn.QueryRow(ctx, `select exists (select from pg_namespace where nspname = $1),
		to_regclass($2) is not null`, p.d.schema, quote(p.d.schema, tablesTable)).Scan(&schema, &table); err != nil {
		return err
	}
	if !schema {
		if _, err := p.conn.Exec(ctx, "create schema "+quote(p.d.schema)); err != nil {
			return fmt.Errorf("%w (make it yourself: CREATE SCHEMA %s AUTHORIZATION the_user_of_the_dsn)", err, quote(p.d.schema))
		}
	}
	if !table {
		_, err := p.conn.Exec(ctx, "create table "+quote(p.d.schema, tablesTable)+" (name text primary key, state json not null)")
		return err
	}
	return nil
}

// table compares the schema with what the database says of the table.
func (p *preparer) table(ctx context.Context, tx pgx.Tx, s store.Schema) error {
	st, old := p.states[s.Name]
	if !old {
		st = &tableState{Version: s.Version, Indexes: map[string]*indexState{}}
		p.states[s.Name] = st
		if err := p.create(ctx, tx, s.Name); err != nil {
			return err
		}
	}
	if st.Version > s.Version {
		return fmt.Errorf("the table %s has format %d, newer than this program's %d: use the newer program", s.Name, st.Version, s.Version)
	}
	if old && fits(st, s) == nil {
		return nil
	}
	if old {
		if err := p.exclude(ctx); err != nil {
			return err
		}
	}
	if st.Version < s.Version { // the values of its indexes may be others now
		st.Version = s.Version
		clear(st.Indexes)
	}
	for name := range st.Indexes {
		// Whoever opens without an index does not keep it in step.
		if !slices.ContainsFunc(s.Indexes, func(ix store.IndexSchema) bool { return ix.Name == name }) {
			delete(st.Indexes, name)
			if _, err := tx.Exec(ctx, "drop table if exists "+quote(p.d.schema, name)); err != nil {
				return err
			}
		}
	}
	for _, ix := range s.Indexes {
		if st.Indexes[ix.Name] != nil {
			continue
		}
		if err := p.create(ctx, tx, ix.Name); err != nil {
			return err
		}
		st.Indexes[ix.Name] = &indexState{Done: !old}
	}
	return writeState(ctx, tx, p.d.schema, s.Name, st)
}

// create makes an empty table.
func (p *preparer) create(ctx context.Context, tx pgx.Tx, name string) error {
	t := quote(p.d.schema, name)
	if _, err := tx.Exec(ctx, "drop table if exists "+t+" cascade"); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "create table "+t+" (key bytea primary key, doc bytea not null)")
	return err
}

// fits says why a process with the schema cannot use the table as it is.
func fits(st *tableState, s store.Schema) error {
	if st == nil || st.Version != s.Version || len(st.Indexes) != len(s.Indexes) {
		return fmt.Errorf("the table %s is not what this version needs", s.Name)
	}
	for _, ix := range s.Indexes {
		if is := st.Indexes[ix.Name]; is == nil || !is.Done {
			return fmt.Errorf("the index %s is not what this version needs", ix.Name)
		}
	}
	return nil
}

// join has a connection share the tables. It refuses when another process has
// changed them since Open.
func (d *DB) join(ctx context.Context, conn *pgx.Conn, schemas []store.Schema) error {
	if _, err := conn.Exec(ctx, "select pg_advisory_lock_shared("+lockUse+")", d.schema); code(err) == queryCanceled {
		return refused("another process is changing the tables: try again when it has ended")
	} else if err != nil {
		return fmt.Errorf("sharing the tables: %w", err)
	}
	states, err := readStates(ctx, conn, d.schema)
	if err != nil {
		return err
	}
	for _, s := range schemas {
		if err := fits(states[s.Name], s); err != nil {
			return refused("%v: another version has changed it; start this node again, with that version", err)
		}
	}
	return nil
}

func readStates(ctx context.Context, conn *pgx.Conn, schema string) (map[string]*tableState, error) {
	rows, err := conn.Query(ctx, "select name, state::text from "+quote(schema, tablesTable))
	if err != nil {
		return nil, err
	}
	states := map[string]*tableState{}
	var name, text string
	_, err = pgx.ForEachRow(rows, []any{&name, &text}, func() error {
		st := &tableState{}
		if err := json.Unmarshal([]byte(text), st); err != nil {
			return fmt.Errorf("%w: what %s says of %s: %w", store.ErrCorrupt, tablesTable, name, err)
		}
		if st.Indexes == nil {
			st.Indexes = map[string]*indexState{}
		}
		states[name] = st
		return nil
	})
	return states, err
}

// Tables names all tables in the schema, also those that it was not opened with.
func (d *DB) Tables(ctx context.Context) ([]string, error) {
	c, err := d.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	defer c.Release()
	states, err := readStates(ctx, c.Conn(), d.schema)
	return slices.Sorted(maps.Keys(states)), err
}

func writeState(ctx context.Context, tx pgx.Tx, schema, table string, st *tableState) error {
	text, err := json.Marshal(st)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "insert into "+quote(schema, tablesTable)+" values ($1, $2::text::json) on conflict (name) do update set state = excluded.state",
		table, string(text))
	return err
}
