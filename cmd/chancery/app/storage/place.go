package storage

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"chancery/cmd/chancery/app/backend"
	"chancery/cmd/chancery/app/config"
	"chancery/store"
)

// A place is where records are: a file of bbolt, or a PostgreSQL database.
type place struct {
	path string        // of the file
	dsn  config.Secret // of the database; empty: a file

	durability string // what the settings accept of the database
}

// String is the place as people are shown it.
func (p place) String() string {
	if p.dsn != "" {
		return p.dsn.String()
	}
	return p.path
}

const placeHelp = `bolt:FILE, or a PostgreSQL database: postgres://HOST/NAME without a password,
env:VARIABLE or file:FILE that holds the DSN`

// parsePlace reads --from and --to.
func parsePlace(flag, text string, env func(string) string) (place, error) {
	kind, rest, _ := strings.Cut(text, ":")
	switch {
	case kind == "bolt" && rest != "":
		if info, err := os.Stat(rest); err == nil && info.IsDir() {
			return place{}, usage("--%s %s is a folder; name the file in it, such as bolt:%s", flag, text, filepath.Join(rest, "chancery.db"))
		}
		return place{path: rest}, nil
	case rest != "" && slices.Contains([]string{"env", "file", "postgres", "postgresql"}, kind):
		dsn, err := config.GivenDSN(text, env)
		if err != nil {
			return place{}, usage("--%s: %v", flag, err)
		}
		return place{dsn: dsn}, nil
	}
	return place{}, usage("--%s is %s", flag, placeHelp)
}

// open opens the store. The caller closes it.
func (p place) open(ctx context.Context, n *node) (store.DB, error) {
	var s config.Node
	if p.dsn == "" {
		path, err := filepath.Abs(p.path)
		if err != nil {
			return nil, err
		}
		s.Store.Bolt = &config.Bolt{Path: path}
	} else {
		s.Store.Postgres = &config.Postgres{DSN: p.dsn, Durability: p.durability}
	}
	var db store.DB
	err := store.Guard(func() (err error) {
		db, err = backend.Open(ctx, s, n.dir, backend.Options{Env: n.Env}, n.Schemas...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return db, nil
}
