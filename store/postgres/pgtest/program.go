package pgtest

import (
	"context"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// New starts a cluster for a program that is no test, with settings such as
// "shared_buffers=1GB" beyond the usual ones. It ends with Close, or with the
// process.
func New(settings ...string) (*Cluster, error) { return start(settings) }

// Close ends the server and removes all that it had.
func (c *Cluster) Close() { c.destroy() }

// Create makes an empty database and returns its name, for Address.
func (c *Cluster) Create() (name string, err error) {
	name = "d" + strconv.FormatInt(c.names.Add(1), 10)
	return name, c.Exec("postgres", "create database "+name+" template template0")
}

// PID is the server's first process, the parent of all others; 0 while it does
// not run.
func (c *Cluster) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return 0
	}
	return c.server.Pid
}

// Transactions is how many transactions a database has seen: ended by COMMIT,
// and by ROLLBACK, as those do that only read. A session says what it did at
// most a second after it, or ten when nobody uses it.
func (c *Cluster) Transactions(database string) (committed, rolledBack int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.Address("postgres"))
	if err != nil {
		return 0, 0, err
	}
	err = conn.QueryRow(ctx, "select xact_commit, xact_rollback from pg_stat_database where datname = $1", database).Scan(&committed, &rolledBack)
	return committed, rolledBack, errors.Join(err, conn.Close(ctx))
}
