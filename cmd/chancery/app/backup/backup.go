// Package backup writes all records of a CA into one file, checks such a file,
// and restores it. A backup holds documents and public files, and never a private
// key, the key that all nodes share, or a passphrase.
package backup

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"chancery/cmd/chancery/app/config"
	"chancery/cmd/chancery/app/datadir"
	"chancery/cmd/chancery/app/node"
	"chancery/engine"
	"chancery/frontends/scep"
	"chancery/store"
	"chancery/store/archive"
	"chancery/store/scrub"
	"chancery/store/transfer"
)

// sealUse names the key under which backups are authenticated.
const sealUse = "backups"

// A Source is what a backup is made of.
type Source struct {
	Dir      datadir.Dir
	File     string // the settings
	Settings config.Node
	Seal     *datadir.Seal
	DB       store.DB
	Schemas  []store.Schema // of all tables of the node
	Version  string         // of the program
	Now      func() time.Time
	Rand     io.Reader
}

// Of is the source that a node is.
func Of(n *node.Node) Source {
	file := n.File
	if file == "" {
		file = n.Dir.Settings()
	}
	return Source{
		Dir: n.Dir, File: file, Settings: n.Settings, Seal: n.Seal, DB: n.DB, Schemas: node.Schemas(n.Tables),
		Version: n.Version, Now: n.Now, Rand: n.Rand,
	}
}

// Offline makes a backup of what no server has open, without making anything
// else of it.
func Offline(ctx context.Context, p Place, version string, w io.Writer) (err error) {
	seal, err := p.Dir.ReadSeal()
	if err != nil {
		return err
	}
	n, err := p.settings()
	if err != nil {
		return err
	}
	db, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if q, err := engine.RestoreOf(ctx, db); err != nil {
		return err
	} else if q != nil && !q.Whole {
		return engine.ErrHalfRestored
	}
	if id, err := node.SealOf(ctx, db); err != nil {
		return err
	} else if id == "" {
		return fmt.Errorf("there is no CA in %s yet", string(p.Dir))
	}
	s := Source{Dir: p.Dir, File: p.settingsFile(), Settings: n, Seal: seal, DB: db, Schemas: p.Schemas, Version: version, Now: p.Now, Rand: p.Rand}
	sum := newCounter(w)
	if err := Write(ctx, s, sum); err != nil {
		return err
	}
	return engine.RecordBackup(ctx, db, console("backup"), p.Now(), p.Rand, fmt.Sprintf("%d octets, SHA-256 %s", sum.n, sum.hex()))
}

// Schemas are those of the tables that a backup has. The RA keys of SCEP are not
// among them: a backup holds no private key, and new ones are made when needed.
func Schemas(all []store.Schema) []store.Schema {
	out := engine.Passing()
	for _, s := range slices.Concat(transfer.Schemas(), scrub.Schemas(), scep.Schemas()) {
		out = append(out, s.Name)
	}
	return archive.Without(all, out...)
}

// Write writes the records, as they are in one snapshot, and the public files
// beside them. The snapshot is held until w has taken all, so w should be a disk.
func Write(ctx context.Context, s Source, w io.Writer) error {
	key, err := s.Seal.Key(sealUse)
	if err != nil {
		return err
	}
	id, err := s.Seal.ID()
	if err != nil {
		return err
	}
	h := archive.Header{Program: s.Version, Made: s.Now().UTC().Truncate(time.Millisecond), Seal: id}
	issuers, err := engine.RecordedIssuers(ctx, s.DB)
	if err != nil {
		return err
	}
	for _, is := range issuers {
		h.CAs = append(h.CAs, archive.CA{Name: is.Authority, KeyID: hex.EncodeToString(is.Chain[0].SubjectKeyId)})
	}
	files, err := s.files()
	if err != nil {
		return err
	}
	return archive.Write(ctx, w, h, files, s.DB, Schemas(s.Schemas), key)
}

// Names of the files that a backup has, but for the CA certificates.
const (
	settingsName = "chancery.yaml"
	policyName   = "policy.yaml"
	rootsName    = "roots.pem"
	founderName  = "admin.crt"
	markerName   = "initialized"
	certsFolder  = "ca"
)

// files are the small public files of the data directory. Those that are not
// there are left out.
func (s Source) files() ([]archive.File, error) {
	paths := map[string]string{
		settingsName: s.File, policyName: s.Dir.Policy(), rootsName: s.Dir.Roots(), founderName: s.Dir.FounderCert(), markerName: s.Dir.Marker(),
	}
	certs, err := filepath.Glob(s.Dir.Path(certsFolder, "*.crt"))
	if err != nil {
		return nil, err
	}
	for _, path := range certs {
		paths[certsFolder+"/"+filepath.Base(path)] = path
	}
	var all []archive.File
	for name, path := range paths {
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		if bytes.Contains(content, []byte("PRIVATE KEY")) {
			return nil, fmt.Errorf("%s holds a private key, which has no place in a backup: move it to a file of its own", path)
		}
		if name == settingsName {
			content = withoutPassword(content, s.Settings)
		}
		all = append(all, archive.File{Name: name, Content: content})
	}
	slices.SortFunc(all, func(a, b archive.File) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// withoutPassword takes the password of a database out of the settings. Where it
// cannot be found as it is written, nothing of the settings is left.
func withoutPassword(doc []byte, n config.Node) []byte {
	if n.Store.Postgres == nil || n.Store.Postgres.DSN == "" {
		return doc
	}
	dsn := n.Store.Postgres.DSN
	if dsn.String() == string(dsn) {
		return doc
	}
	out := bytes.ReplaceAll(doc, []byte(string(dsn)), []byte(dsn.String()))
	if bytes.Equal(out, doc) {
		return []byte("# The settings of the backup held a password, and are left out.\n")
	}
	return out
}

// maxSpool bounds how long a snapshot is held: while it is, a bbolt file cannot
// use again what is deleted, and may grow.
const maxSpool = 30 * time.Minute

// A Made is a finished backup in a file without a name, from its beginning.
type Made struct {
	io.ReadCloser
	Size   int64
	SHA256 string // of all of it
}

// Spool makes a backup in a file of the data directory, which is gone when it is
// closed, whatever happens to the process. So who reads it may be slow: the
// snapshot ended when the disk had it.
func Spool(ctx context.Context, s Source) (_ *Made, err error) {
	ctx, cancel := context.WithTimeout(ctx, maxSpool)
	defer cancel()
	f, err := os.CreateTemp(string(s.Dir), "backup-*.tmp") // 0600; swept at start, too
	if err != nil {
		return nil, err
	}
	m := &Made{ReadCloser: &spool{f}}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	_ = os.Remove(f.Name()) // where the system can; else Close does
	sum := newCounter(f)
	if err := Write(ctx, s, sum); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("the backup took longer than %s and was given up: %w", maxSpool, err)
		}
		return nil, err
	}
	m.Size, m.SHA256 = sum.n, sum.hex()
	_, err = f.Seek(0, io.SeekStart)
	return m, err
}

type spool struct{ *os.File }

func (s *spool) Close() error {
	err := s.File.Close()
	if rerr := os.Remove(s.Name()); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return err
}
