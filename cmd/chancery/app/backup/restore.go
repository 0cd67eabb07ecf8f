package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"chancery/cmd/chancery/app/backend"
	"chancery/cmd/chancery/app/config"
	"chancery/cmd/chancery/app/datadir"
	"chancery/cmd/chancery/app/initca"
	"chancery/engine"
	"chancery/store"
	"chancery/store/archive"
	"chancery/store/transfer"
)

// A Place is where records are restored to.
type Place struct {
	Dir     datadir.Dir
	File    string        // the settings, instead of the one in Dir
	DSN     config.Secret // of a PostgreSQL database, whatever the settings say; may be empty
	Schemas []store.Schema
	Now     func() time.Time
	Rand    io.Reader
	Log     *slog.Logger
	Env     func(string) string
	Say     func(format string, args ...any) // the report
}

// Evidence is what is known of the CA beside a backup.
type Evidence struct {
	CRLs     []string // files or URLs of the last published CRLs
	NoCRL    []string // KEYID=WHY, for CA keys that have none
	Journals []string // files or folders of the file exit
}

// console is who acts at the machine itself, in the audit.
func console(via string) engine.Actor {
	return engine.Actor{Person: fmt.Sprintf("uid:%d", os.Getuid()), Roles: engine.Roles, Via: via}
}

func restorer() engine.Actor { return console("restore") }

// Restore writes the records of a backup into an empty store, makes void what may
// have been used since, and adds the evidence. The CA is in quarantine then.
func Restore(ctx context.Context, path string, p Place, ev Evidence) (err error) {
	s, files, err := read(path)
	if err != nil {
		return err
	}
	seal, err := p.seal(s)
	if err != nil {
		return err
	}
	if err := p.keepFiles(files, true); err != nil { // they say where the records go
		return err
	}
	db, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	begun, err := p.begun(ctx, s, db)
	if err != nil {
		return err
	}
	if err := p.keepFiles(files, false); err != nil {
		return err
	}
	if err := p.load(ctx, path, s, db, begun); err != nil {
		return err
	}
	e, err := p.engine(ctx, seal, db)
	if err != nil {
		return err
	}
	done, err := e.FinishRestore(ctx, restorer())
	p.tell(done)
	if err != nil {
		return err
	}
	p.Say("restored: %d certificates, %d requests, as they were at %s", s.Sums["certificates"].Documents, s.Sums["requests"].Documents, s.Made.Format(time.RFC3339))
	if err := p.pointed(); err != nil {
		return err
	}
	return p.prove(ctx, e, ev)
}

// Add adds evidence to records that were restored and not released yet.
func Add(ctx context.Context, p Place, ev Evidence) (err error) {
	seal, err := p.Dir.ReadSeal()
	if err != nil {
		return err
	}
	db, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	switch q, err := engine.RestoreOf(ctx, db); {
	case err != nil:
		return err
	case q == nil:
		return engine.ErrNoQuarantine
	case !q.Whole:
		return engine.ErrHalfRestored
	}
	e, err := p.engine(ctx, seal, db)
	if err != nil {
		return err
	}
	return p.prove(ctx, e, ev)
}

// seal reads the key that all nodes share, which must be the one that the
// records were made with, and the one that vouches for the backup.
func (p Place) seal(s *archive.Summary) (*datadir.Seal, error) {
	seal, err := p.Dir.ReadSeal()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing: put the key there that these records were made with (it is called %s); a backup never holds it", p.Dir.Seal(), s.Seal)
	} else if err != nil {
		return nil, err
	}
	id, err := seal.ID()
	if err != nil {
		return nil, err
	}
	if id != s.Seal {
		return nil, fmt.Errorf("%s is called %s, and these records were made with the one called %s: put that there", p.Dir.Seal(), id, s.Seal)
	}
	key, err := seal.Key(sealUse)
	if err != nil {
		return nil, err
	}
	if !s.Genuine(key) {
		return nil, errors.New("the backup is whole, but nobody with the key of this CA (seal.key) made it: it is not restored")
	}
	return seal, nil
}

func (p Place) settingsFile() string {
	if p.File != "" {
		return p.File
	}
	return p.Dir.Settings()
}

// settings are those of the node.
func (p Place) settings() (config.Node, error) {
	n, err := config.LoadNode(p.settingsFile(), p.File != "")
	if p.DSN != "" {
		p.overrule(&n, config.Postgres{DSN: p.DSN})
	}
	return n, err
}

// overrule has the settings name the database that was given. What they accept of
// one stays.
func (p Place) overrule(n *config.Node, pg config.Postgres) {
	if n.Store.Postgres != nil {
		pg.Durability = n.Store.Postgres.Durability
	}
	n.Store.Bolt, n.Store.Postgres = nil, &pg
}

// pointed says so when the server would look for its records elsewhere than where
// they were restored to.
func (p Place) pointed() error {
	if p.DSN == "" {
		return nil
	}
	dsn := p.DSN
	p.DSN = ""
	n, err := p.settings()
	if err != nil {
		return err
	}
	if n.Store.Postgres != nil {
		if have, err := n.PostgresDSN(string(p.Dir), p.Env); err == nil && have == dsn {
			return nil
		}
	}
	p.Say("settings: %s names another place for the records than --dsn: change store there before a server starts", p.settingsFile())
	return nil
}

// open opens the store that the settings or the DSN name.
func (p Place) open(ctx context.Context) (store.DB, error) {
	n, err := p.settings()
	if err != nil {
		return nil, err
	}
	db, err := backend.Open(ctx, n, string(p.Dir), backend.Options{Log: p.Log, Env: p.Env}, p.Schemas...)
	if err != nil {
		return nil, err
	}
	if err := transfer.Unfinished(ctx, db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// begun reports whether an earlier restore of this backup into the store did not
// end, and refuses a store with anything else in it.
func (p Place) begun(ctx context.Context, s *archive.Summary, db store.DB) (bool, error) {
	q, err := engine.RestoreOf(ctx, db)
	switch {
	case err != nil:
		return false, err
	case q == nil:
		if err := archive.Empty(ctx, db, Schemas(p.Schemas)); err != nil {
			return false, fmt.Errorf("%w; restore into an empty data directory or database", err)
		}
		return false, nil
	case q.Whole:
		return false, fmt.Errorf("%w: the backup of %s was restored into it already; go on with chancery restore add or release", archive.ErrNotEmpty, q.Backup.Format(time.RFC3339))
	case !q.Backup.Equal(s.Made):
		return false, fmt.Errorf("the restore of the backup of %s did not end here: end that one, or take an empty data directory or database", q.Backup.Format(time.RFC3339))
	}
	return true, nil
}

// load writes the documents. What an earlier try left is taken out first.
func (p Place) load(ctx context.Context, path string, s *archive.Summary, db store.DB, begun bool) error {
	if begun {
		p.Say("an earlier restore did not end; its records are taken out first")
		if err := archive.Clear(ctx, db, Schemas(p.Schemas)); err != nil {
			return err
		}
	} else if err := engine.BeginRestore(ctx, db, s.Made, p.Now(), restorer().Person); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = archive.Load(ctx, f, db, Schemas(p.Schemas))
	return err
}

// engine makes the engine of the restored records, with the CA keys that are
// here.
func (p Place) engine(ctx context.Context, seal *datadir.Seal, db store.DB) (*engine.Engine, error) {
	recorded, err := engine.RecordedIssuers(ctx, db)
	if err != nil {
		return nil, err
	}
	issuers, _, err := initca.Load(p.Dir, nil, recorded)
	if err != nil {
		return nil, err
	}
	for _, is := range issuers {
		if is.Key == nil {
			p.Say("key: authority %s has no key here (%s): put it there before this node is to sign", is.Authority, p.Dir.CAKey(is.Authority))
		}
	}
	mac, err := seal.Key("record hashes")
	if err != nil {
		return nil, err
	}
	return engine.New(ctx, engine.Config{
		DB: db, Log: p.Log, Now: p.Now, Rand: p.Rand, Node: "restore", Issuers: issuers, StatusURL: "http://localhost", MACKey: mac, Restoring: true,
	})
}

func (p Place) tell(done []engine.Change) {
	for _, c := range done {
		p.Say("%s: %s: %s", strings.TrimPrefix(c.Act, "restore-"), c.Object, c.Detail)
	}
}
