package postgres

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"chancery/store"
	"chancery/store/postgres/pgtest"
	"chancery/store/storetest"
)

// with adds a setting of the session to an address.
func with(t *testing.T, dsn, name, value string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20") // libpq's addresses are no forms
	return u.String()
}

// refuses checks that Open refuses, and says why in these words.
func refuses(t *testing.T, dsn string, words ...string) {
	t.Helper()
	db, err := Open(t.Context(), dsn, Options{}, storetest.Schemas()...)
	if err == nil {
		db.Close()
		t.Errorf("opened, want an error that says %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error = %v, want that it says %q", err, w)
		}
	}
}

func TestUnsafeServersAreRefused(t *testing.T) {
	c := pgtest.Start(t, "fsync=off")
	dsn := c.DSN(t)
	refuses(t, dsn, "fsync=off", "Set fsync = on")
	c.Stop(t)
	c.Restart(t, "fsync=on", "full_page_writes=off")
	refuses(t, dsn, "full_page_writes=off", "Set full_page_writes = on")
	c.Stop(t)
	c.Restart(t, "full_page_writes=on", "synchronous_commit=off")
	refuses(t, dsn, "synchronous_commit=off", UnsafeWords)
	db, err := Open(t.Context(), dsn, Options{AllowUnsafe: true}, storetest.Schemas()...)
	if err != nil {
		t.Fatalf("accepted in words, and still: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	for _, value := range []string{"local", "remote_write", "remote_apply", "on"} { // durable here; what standbys have is the administrator's choice
		open(t, with(t, dsn, "synchronous_commit", value), Options{})
	}
	c.Stop(t)
	c.Standby(t, true)
	c.Restart(t, "synchronous_commit=on")
	refuses(t, dsn, "standby", "name the primary")
	refuses(t, with(t, dsn, "target_session_attrs", "any"), "standby", "name the primary")
}

func TestUnfitDatabasesAreRefused(t *testing.T) {
	refuses(t, with(t, pgtest.DSN(t), "default_transaction_read_only", "on"), "read-only", "name the primary")
	c := pgtest.Shared(t)
	for name, create := range map[string]string{
		"latin": "create database latin encoding 'LATIN1' locale_provider libc locale 'C' template template0",
		"ascii": "create database ascii encoding 'SQL_ASCII' locale_provider libc locale 'C' template template0",
	} {
		if err := c.Exec("postgres", create); err != nil {
			t.Fatal(err)
		}
		refuses(t, c.Address(name), "encoding", "ENCODING 'UTF8'")
	}
	refuses(t, "postgres://u:secret@127.0.0.1:1/x?connect_timeout=1", "connecting to the database")
	refuses(t, "no=such thing", "dsn")
	_, err := Open(t.Context(), "postgres://u:secret@127.0.0.1:x/x", Options{})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error = %v, want one without the password", err)
	}
}

func TestOldServersAreRefused(t *testing.T) {
	for version, want := range map[int]string{130022: "PostgreSQL 13: upgrade it to 14", 90624: "PostgreSQL 9", 140000: ""} {
		s := settings{version: version, fsync: "on", pages: "on", commit: "on", encoding: "UTF8", isolation: "serializable"}
		err := s.check(false)
		if (err == nil) != (want == "") || err != nil && !(errors.Is(err, ErrRefused) && strings.Contains(err.Error(), want)) {
			t.Errorf("%d: %v, want %q", version, err, want)
		}
	}
	s := settings{version: 150000, fsync: "on", pages: "on", commit: "on", encoding: "UTF8", isolation: "read committed"}
	if err := s.check(false); err == nil || !strings.Contains(err.Error(), "pooler") {
		t.Errorf("a pooler that drops settings: %v", err)
	}
}

// TestSchema checks where tables lie.
func TestSchema(t *testing.T) {
	dsn := pgtest.DSN(t)
	for _, schema := range []string{"", "other", `"Upper Case"`} {
		place := dsn
		if schema != "" {
			place = with(t, dsn, "search_path", schema+", public")
		}
		db := open(t, place, Options{})
		if got := get(t, db, "a"); got != "" {
			t.Errorf("schema %q shows another's document %q", schema, got)
		}
		if err := put(db, "a", "1"); err != nil {
			t.Error(err)
		}
	}
	var in string
	ask(t, dsn, `select string_agg(schemaname, ', ' order by schemaname) from pg_tables where tablename = 'raw'`, &in)
	if in != "Upper Case, chancery, other" {
		t.Errorf("the tables lie in %s", in)
	}
}

// TestTablesInUse checks that no process changes tables under another that does
// not know the change.
func TestTablesInUse(t *testing.T) {
	dsn := pgtest.DSN(t)
	old := storetest.Docs()
	old.Indexes = old.Indexes[1:]
	ctx := context.Background()
	db, err := Open(ctx, dsn, Options{}, old.Schema())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	other := open2(t, dsn, old.Schema(), store.Schema{Name: "new", Version: 1}) // a new table harms nobody
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, dsn, Options{Patience: time.Second / 5}, storetest.Docs().Schema()); err == nil || !strings.Contains(err.Error(), "stop all nodes") {
		t.Errorf("a new index while another process writes: %v", err)
	}
	newer := *old
	newer.Version = 2
	if _, err := Open(ctx, dsn, Options{Patience: time.Second / 5}, newer.Schema()); err == nil || !strings.Contains(err.Error(), "stop all nodes") {
		t.Errorf("a new format while another process writes: %v", err)
	}
	// The server forgets a process that it has lost; the tables change; the
	// process comes back.
	ask(t, dsn, "select count(pg_terminate_backend(pid)) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()", new(int))
	open2(t, dsn, storetest.Docs().Schema())
	err = db.Update(ctx, func(tx store.Tx) error { return old.Insert(tx, &storetest.Doc{ID: "1", Groups: []string{"g"}}) })
	if !errors.Is(err, ErrRefused) {
		t.Errorf("a process that does not know of an index writes: %v", err)
	}
}

func open2(t *testing.T, dsn string, schemas ...store.Schema) *DB {
	t.Helper()
	db, err := Open(context.Background(), dsn, Options{}, schemas...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// TestOrdinaryRole uses the database as a role that owns it and may nothing else.
func TestOrdinaryRole(t *testing.T) {
	dsn := pgtest.DSN(t)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	for _, sql := range []string{"create role ordinary login", "alter database " + name + " owner to ordinary"} {
		if err := pgtest.Shared(t).Exec("postgres", sql); err != nil {
			t.Fatal(err)
		}
	}
	dsn = with(t, dsn, "user", "ordinary")
	db := open(t, dsn, Options{})
	if err := put(db, "a", "1"); err != nil {
		t.Error(err)
	}
	var n int
	if ask(t, dsn, "select count(*) from chancery.v_raw", &n); n != 1 {
		t.Errorf("the view shows %d rows", n)
	}
	t.Cleanup(func() {
		if err := pgtest.Shared(t).Exec("postgres", "alter database "+name+" owner to chancery"); err != nil {
			t.Error(err)
		}
		if err := pgtest.Shared(t).Exec(name, "drop owned by ordinary cascade"); err != nil {
			t.Error(err)
		}
		if err := pgtest.Shared(t).Exec("postgres", "drop role ordinary"); err != nil {
			t.Error(err)
		}
	})
}
