// Package backend opens the store that a node's settings name: the one place
// that knows which kinds there are. What serves and what works beside it, such
// as copying and checking, open it here.
package backend

import (
	"context"
	"log/slog"

	"chancery/cmd/chancery/app/config"
	"chancery/store"
	"chancery/store/bolt"
	"chancery/store/postgres"
)

// Options are what Open may be told.
type Options struct {
	Log   *slog.Logger
	Fatal func(error)         // the disk refused a write; bolt only
	Env   func(string) string // reads the environment, where the DSN may be
}

// Open opens the store of a node with the data directory dir, with tables for
// the schemas.
func Open(ctx context.Context, n config.Node, dir string, o Options, schemas ...store.Schema) (store.DB, error) {
	if n.Store.Postgres == nil {
		return bolt.Open(n.BoltPath(dir), bolt.Options{Log: o.Log, Fatal: o.Fatal}, schemas...)
	}
	dsn, err := n.PostgresDSN(dir, o.Env)
	if err != nil {
		return nil, err
	}
	return postgres.Open(ctx, string(dsn), postgres.Options{Log: o.Log, AllowUnsafe: n.Store.Postgres.Unsafe()}, schemas...)
}

// Shared reports whether other processes may have the store open too.
func Shared(db store.DB) bool {
	s, ok := db.(interface{ Sole() bool })
	return !ok || !s.Sole()
}

// Stats says what was done with a store since it was opened. The connections are
// those of PostgreSQL, and none on bolt.
func Stats(db store.DB) (s postgres.Stats, ok bool) {
	switch db := db.(type) {
	case interface{ Stats() postgres.Stats }:
		return db.Stats(), true
	case interface {
		Stats() (updates, commits uint64)
	}:
		s.Updates, s.Commits = db.Stats()
		return s, true
	}
	return s, false
}
