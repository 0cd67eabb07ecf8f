package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"chancery/cmd/chancery/app/datadir"
	"chancery/engine"
	"chancery/store"
	"chancery/store/archive"
	"chancery/store/bolt"
)

// A Verified is what Verify found.
type Verified struct {
	*archive.Summary
	Genuine string   `json:"genuine"` // yes, no, or unknown: without the key that all nodes share
	Wrong   []string `json:"wrong"`
}

// Verify restores a backup into a scratch folder, where it checks every document
// with its index entries, and the records against one another. Dir, which may be
// empty, has the key that tells who made the backup.
func Verify(ctx context.Context, path string, dir datadir.Dir, schemas []store.Schema) (_ *Verified, err error) {
	s, _, err := read(path)
	if err != nil {
		return nil, err
	}
	v := &Verified{Summary: s, Genuine: "unknown", Wrong: []string{}}
	if dir != "" {
		if v.Genuine, err = genuine(s, dir); err != nil {
			return nil, err
		}
	}
	scratch, err := os.MkdirTemp("", "chancery-verify-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	db, err := bolt.Open(filepath.Join(scratch, "chancery.db"), bolt.Options{}, schemas...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := archive.Load(ctx, f, db, Schemas(schemas)); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := store.Verify(ctx, db, schemas); err != nil {
		if !errors.Is(err, store.ErrCorrupt) {
			return nil, err
		}
		v.Wrong = append(v.Wrong, err.Error())
	}
	found, err := engine.CheckRecords(ctx, db)
	for _, f := range found {
		v.Wrong = append(v.Wrong, fmt.Sprint(f))
	}
	return v, err
}

func genuine(s *archive.Summary, dir datadir.Dir) (string, error) {
	seal, err := dir.ReadSeal()
	if err != nil {
		return "", err
	}
	key, err := seal.Key(sealUse)
	if err != nil {
		return "", err
	}
	if s.Genuine(key) {
		return "yes", nil
	}
	return "no", nil
}
