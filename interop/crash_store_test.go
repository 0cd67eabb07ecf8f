package interop

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"chancery/engine"
	"chancery/interop/invariants"
	"chancery/store/bolt"
	"chancery/store/postgres"
	"chancery/store/postgres/pgtest"
)

// records are where an installation keeps its records, to be looked at while no
// server runs.
type records interface {
	configure(*ca) // before the first start
	read(*ca) *invariants.State
}

// onEachStore runs a test for each kind of store.
func onEachStore(t *testing.T, name string, test func(*testing.T, records)) {
	t.Run(name+"/bolt", func(t *testing.T) { test(t, boltRecords{t}) })
	t.Run(name+"/postgres", func(t *testing.T) { test(t, &sharedRecords{t: t}) })
}

// boltRecords is the file in the data directory.
type boltRecords struct{ t *testing.T }

func (boltRecords) configure(*ca) {}

// read opens a copy: what a reader might mend, the server must mend itself.
func (b boltRecords) read(c *ca) *invariants.State {
	b.t.Helper()
	file := filepath.Join(b.t.TempDir(), "copy.db")
	copyFile(b.t, file, filepath.Join(c.data, "chancery.db"))
	defer os.Remove(file)
	db, err := bolt.Open(file, bolt.Options{}, engine.Schemas()...)
	must(b.t, err)
	defer db.Close()
	s, err := invariants.Read(b.t.Context(), db)
	must(b.t, err)
	return s
}

// sharedRecords are a database of the cluster that all tests share.
type sharedRecords struct {
	t   *testing.T
	dsn string
}

func (p *sharedRecords) configure(c *ca) {
	p.dsn = pgtest.DSN(p.t)
	c.onPostgres(p.dsn)
}

// onPostgres has the installation keep its records in a database.
func (c *ca) onPostgres(dsn string) {
	write(c.t, c.conf, read(c.t, c.conf)+"store:\n  postgres:\n    dsn: \""+dsn+"\"\n")
}

func (p *sharedRecords) read(*ca) *invariants.State {
	p.t.Helper()
	db, err := postgres.Open(p.t.Context(), p.dsn, postgres.Options{}, engine.Schemas()...)
	must(p.t, err)
	defer db.Close()
	s, err := invariants.Read(p.t.Context(), db)
	must(p.t, err)
	return s
}

func copyFile(t *testing.T, to, from string) {
	t.Helper()
	in, err := os.Open(from)
	must(t, err)
	defer in.Close()
	out, err := os.Create(to)
	must(t, err)
	_, err = io.Copy(out, in)
	must(t, err)
	must(t, out.Close())
}
