package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// maxFindings bounds what Verify reports: more would not help.
const maxFindings = 100

// Verify reads every document and every index entry of the schemas in one View.
// It returns an error that names what is damaged and which index entries are
// missing or untrue, and that wraps ErrCorrupt; or nil when all is well.
func Verify(ctx context.Context, db DB, schemas []Schema) error {
	return db.View(ctx, func(tx Tx) error {
		v := verifier{ctx: ctx, tx: tx}
		for _, s := range schemas {
			if err := v.table(s); err != nil {
				return errors.Join(append(v.findings, err)...)
			}
		}
		return errors.Join(v.findings...)
	})
}

type verifier struct {
	ctx      context.Context
	tx       Tx
	findings []error
}

var errTooMany = errors.New("there is more damage; restore a backup")

// found notes one thing that is wrong.
func (v *verifier) found(err error) error {
	if !errors.Is(err, ErrCorrupt) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	v.findings = append(v.findings, err)
	if len(v.findings) >= maxFindings {
		return errTooMany
	}
	return nil
}

// table checks that each document is whole and has its entries, and that each
// index has no others. Entries are counted first and looked at one by one only
// when there are too many.
func (v *verifier) table(s Schema) error {
	entries := make([]int, len(s.Indexes))
	for p, err := range v.tx.Scan(s.Name, "", "") {
		if err == nil {
			err = v.ctx.Err()
		}
		if err != nil {
			return err
		}
		if s.Check != nil {
			if err := s.Check(p.Key, p.Doc); err != nil {
				if err := v.found(fmt.Errorf("%s %q: %w", s.Name, p.Key, err)); err != nil {
					return err
				}
				continue
			}
		}
		for i, ix := range s.Indexes {
			n, err := v.entries(ix, p)
			if err != nil {
				return err
			}
			entries[i] += n
		}
	}
	for i, ix := range s.Indexes {
		n := 0
		for _, err := range v.tx.Scan(ix.Name, "", "") {
			if err != nil {
				return err
			}
			n++
		}
		if n == entries[i] {
			continue
		}
		if err := v.untrue(s, ix); err != nil {
			return err
		}
	}
	return nil
}

// entries checks that the document has its entries in the index, and counts
// those that it has.
func (v *verifier) entries(ix IndexSchema, p Pair) (n int, err error) {
	pairs, err := ix.Entries(p.Key, p.Doc)
	if err != nil {
		return 0, v.found(fmt.Errorf("%s of %q: %w", ix.Name, p.Key, err))
	}
	for _, e := range pairs {
		doc, err := v.tx.Get(ix.Name, e.Key)
		switch {
		case errors.Is(err, ErrNotFound):
			err = v.found(fmt.Errorf("%s has no entry %q for %q", ix.Name, e.Key, p.Key))
		case err == nil && !bytes.Equal(doc, e.Doc):
			n++
			err = v.found(fmt.Errorf("%s has the entry %q of %q for another", ix.Name, e.Key, p.Key))
		case err == nil:
			n++
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// untrue reports the entries of the index that no document asks for.
func (v *verifier) untrue(s Schema, ix IndexSchema) error {
	for e, err := range v.tx.Scan(ix.Name, "", "") {
		if err == nil {
			err = v.ctx.Err()
		}
		if err != nil {
			return err
		}
		key := e.owner()
		doc, err := v.tx.Get(s.Name, key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err == nil && asksFor(ix, key, doc, e) {
			continue
		}
		if err := v.found(fmt.Errorf("%s has the entry %q for %q, which is not so", ix.Name, e.Key, key)); err != nil {
			return err
		}
	}
	return nil
}

func asksFor(ix IndexSchema, key string, doc []byte, e Pair) bool {
	pairs, err := ix.Entries(key, doc)
	if err != nil {
		return true // is reported as damage of the document
	}
	for _, p := range pairs {
		if p.Key == e.Key && bytes.Equal(p.Doc, e.Doc) {
			return true
		}
	}
	return false
}
