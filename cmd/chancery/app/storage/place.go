package storage

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"chancery/cmd/chancery/app/backend"
	"chancery/cmd/chancery/app/config"
	"chancery/store"
)

// A place is where records are: a file of bbolt, or a PostgreSQL database.
type place struct {
	path string        // of the file
	dsn  config.Secret // of the database; empty: a file
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

// maxDSN is more than anybody writes.
const maxDSN = 16 << 10

// parsePlace reads --from and --to.
func parsePlace(flag, text string, env func(string) string) (place, error) {
	kind, rest, _ := strings.Cut(text, ":")
	switch {
	case kind == "bolt" && rest != "":
		if info, err := os.Stat(rest); err == nil && info.IsDir() {
			return place{}, usage("--%s %s is a folder; name the file in it, such as bolt:%s", flag, text, filepath.Join(rest, "chancery.db"))
		}
		return place{path: rest}, nil
	case kind == "env" && rest != "":
		if dsn := strings.TrimSpace(env(rest)); dsn != "" {
			return place{dsn: config.Secret(dsn)}, nil
		}
		return place{}, usage("--%s: the environment variable %s is empty", flag, rest)
	case kind == "file" && rest != "":
		doc, err := os.ReadFile(rest)
		if err != nil {
			return place{}, err
		}
		dsn := strings.TrimSpace(string(doc))
		if dsn == "" || len(doc) > maxDSN {
			return place{}, usage("--%s: %s does not hold a DSN", flag, rest)
		}
		return place{dsn: config.Secret(dsn)}, nil
	case kind == "postgres" || kind == "postgresql":
		u, err := url.Parse(text)
		if err != nil {
			return place{}, usage("--%s is not a DSN that can be read", flag)
		}
		if _, has := u.User.Password(); has || u.Query().Has("password") {
			return place{}, usage("--%s holds a password, which every user of this machine can see: put the DSN into a file or the environment, and give file:FILE or env:VARIABLE", flag)
		}
		return place{dsn: config.Secret(text)}, nil
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
		s.Store.Postgres = &config.Postgres{DSN: p.dsn}
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
