package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"chancery/store"
)

// Documents and octets that are written in one Update.
const (
	chunkDocs  = 512
	chunkBytes = 1 << 20
)

var (
	// ErrNotEmpty says that a database holds documents already.
	ErrNotEmpty = errors.New("the database is not empty")

	// ErrTables is in the error for a file with tables that this program cannot
	// read.
	ErrTables = errors.New("the backup was made by a program with other tables")
)

// Empty returns ErrNotEmpty, with the name of a table, if one of the schemas'
// has a document.
func Empty(ctx context.Context, db store.DB, schemas []store.Schema) error {
	return db.View(ctx, func(tx store.Tx) error {
		for _, s := range schemas {
			for _, err := range tx.Scan(s.Name, "", "") {
				if err != nil {
					return err
				}
				return fmt.Errorf("%w: it has records in the table %s", ErrNotEmpty, s.Name)
			}
		}
		return nil
	})
}

// Load reads a file into the tables of db, which must be empty, and makes their
// indexes. Each document is checked. When it fails, some of it is in db: Clear
// takes that out again.
func Load(ctx context.Context, r io.Reader, db store.DB, schemas []store.Schema) (*Summary, error) {
	l := &loader{ctx: ctx, db: db, schemas: map[string]store.Schema{}}
	for _, s := range schemas {
		l.schemas[s.Name] = s
	}
	s, err := Read(r, Visitor{Header: l.known, Docs: l.docs})
	if err != nil {
		return nil, err
	}
	return s, l.same(s)
}

type loader struct {
	ctx     context.Context
	db      store.DB
	schemas map[string]store.Schema
}

// known refuses tables that this program does not have, or in a newer format.
func (l *loader) known(h Header) error {
	for _, t := range h.Tables {
		switch s, ok := l.schemas[t.Name]; {
		case !ok:
			return fmt.Errorf("%w: this one has no table %s; use the version that made it, %s, or a newer one", ErrTables, t.Name, h.Program)
		case t.Version > s.Version:
			return fmt.Errorf("%w: the table %s has format %d, newer than this program's %d; use the version that made it, %s, or a newer one", ErrTables, t.Name, t.Version, s.Version, h.Program)
		}
	}
	return nil
}

func (l *loader) docs(table string, all []store.Pair) error {
	s := l.schemas[table]
	for len(all) > 0 {
		n, size := 0, 0
		for n < len(all) && n < chunkDocs && size < chunkBytes {
			if s.Check != nil {
				if err := s.Check(all[n].Key, all[n].Doc); err != nil {
					return fmt.Errorf("%w: %s %q: %w", ErrDamaged, table, all[n].Key, err)
				}
			}
			size += len(all[n].Doc)
			n++
		}
		if err := l.insert(s, all[:n]); err != nil {
			return fmt.Errorf("restoring the table %s: %w", table, err)
		}
		all = all[n:]
	}
	return nil
}

func (l *loader) insert(s store.Schema, all []store.Pair) error {
	return l.db.Update(l.ctx, func(tx store.Tx) error {
		for _, p := range all {
			if err := tx.Insert(s.Name, p.Key, p.Doc); err != nil {
				return err
			}
			for _, ix := range s.Indexes {
				entries, err := ix.Entries(p.Key, p.Doc)
				if err != nil {
					return err
				}
				for _, e := range entries {
					if err := tx.Insert(ix.Name, e.Key, e.Doc); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
}

// same reads back what was written.
func (l *loader) same(s *Summary) error {
	return l.db.View(l.ctx, func(tx store.Tx) error {
		for _, t := range s.Tables {
			got, err := SumOf(l.ctx, tx, t.Name)
			if err != nil {
				return err
			}
			if want := s.Sums[t.Name]; got != want {
				return fmt.Errorf("the table %s has %d documents now that do not add up to the %d of the backup: restore again", t.Name, got.Documents, want.Documents)
			}
		}
		return nil
	})
}

// Clear deletes every document and every index entry of the schemas' tables, a
// chunk at a time.
func Clear(ctx context.Context, db store.DB, schemas []store.Schema) error {
	for _, s := range schemas {
		names := []string{s.Name}
		for _, ix := range s.Indexes {
			names = append(names, ix.Name)
		}
		for _, name := range slices.Backward(names) {
			if err := clearTable(ctx, db, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func clearTable(ctx context.Context, db store.DB, table string) error {
	for {
		var keys []string
		if err := db.View(ctx, func(tx store.Tx) error {
			keys = nil
			for p, err := range tx.Scan(table, "", "") {
				if err != nil {
					return err
				}
				if keys = append(keys, p.Key); len(keys) == chunkDocs {
					break
				}
			}
			return nil
		}); err != nil || len(keys) == 0 {
			return err
		}
		if err := db.Update(ctx, func(tx store.Tx) error {
			for _, k := range keys {
				if err := tx.Delete(table, k); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
}
