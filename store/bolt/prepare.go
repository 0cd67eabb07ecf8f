package bolt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"chancery/store"

	"go.etcd.io/bbolt"
)

// tablesBucket keeps a tableState under the name of each table.
const tablesBucket = "_tables"

// A tableState is what the file says of one of its tables.
type tableState struct {
	Version int                    // of the format; no document is newer
	Indexes map[string]*indexState // that follow the documents

	// Framed says that the documents lie in the way of form, with the dictionary
	// Dict: the file was compacted.
	Framed bool   `json:",omitempty"`
	Dict   []byte `json:",omitempty"`
}

// An indexState says how far the index is built.
type indexState struct {
	Done  bool
	After []byte `json:",omitempty"` // the last key whose entries are in the index
}

// chunk is how many documents are indexed in one transaction.
const chunk = 1000

var errUnchanged = errors.New("nothing to write")

// prepare makes the buckets of the schemas and finishes their indexes.
func (d *DB) prepare(schemas []store.Schema) error {
	for _, s := range schemas {
		if err := d.declare(s); err != nil {
			return err
		}
	}
	err := d.b.Update(func(tx *bbolt.Tx) error {
		changed := false
		for _, s := range schemas {
			c, err := d.prepareTable(tx, s)
			if err != nil {
				return err
			}
			changed = changed || c
		}
		if !changed {
			return errUnchanged // spares the commit
		}
		return nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return fmt.Errorf("preparing the database: %w", err)
	}
	for _, s := range schemas {
		for _, ix := range s.Indexes {
			if err := d.build(s, ix); err != nil {
				return fmt.Errorf("building the index %s: %w", ix.Name, err)
			}
		}
	}
	return nil
}

func (d *DB) declare(s store.Schema) error {
	names := []string{s.Name}
	for _, ix := range s.Indexes {
		names = append(names, ix.Name)
	}
	for _, n := range names {
		if _, ok := d.tables[n]; ok || n == "" || n[0] == '_' {
			return fmt.Errorf("store: the table name %q is declared twice or not allowed", n)
		}
		d.tables[n] = len(d.names)
		d.names = append(d.names, []byte(n))
	}
	d.fills = make([]fill, len(d.names))
	d.forms = make([]*form, len(d.names))
	return nil
}

// prepareTable compares the schema with what the file says of the table.
func (d *DB) prepareTable(tx *bbolt.Tx, s store.Schema) (changed bool, err error) {
	st, err := readState(tx, s.Name)
	if err != nil {
		return false, err
	}
	d.forms[d.tables[s.Name]] = newForm(st)
	if st.Version > s.Version {
		return false, fmt.Errorf("the table %s has format %d, newer than this program's %d: use the newer program", s.Name, st.Version, s.Version)
	}
	if st.Version < s.Version { // the values of its indexes may be others now
		st.Version, changed = s.Version, true
		clear(st.Indexes)
	}
	docs, err := tx.CreateBucketIfNotExists([]byte(s.Name))
	if err != nil {
		return false, err
	}
	for name := range st.Indexes {
		// Whoever opens without an index does not keep it in step.
		if !slices.ContainsFunc(s.Indexes, func(ix store.IndexSchema) bool { return ix.Name == name }) {
			delete(st.Indexes, name)
			if err := dropBucket(tx, name); err != nil {
				return false, err
			}
			changed = true
		}
	}
	for _, ix := range s.Indexes {
		if st.Indexes[ix.Name] != nil {
			continue
		}
		if err := dropBucket(tx, ix.Name); err != nil {
			return false, err
		}
		if _, err := tx.CreateBucket([]byte(ix.Name)); err != nil {
			return false, err
		}
		first, _ := docs.Cursor().First()
		st.Indexes[ix.Name] = &indexState{Done: first == nil}
		changed = true
	}
	if !changed {
		return false, nil
	}
	return true, writeState(tx, s.Name, st)
}

func dropBucket(tx *bbolt.Tx, name string) error {
	if tx.Bucket([]byte(name)) == nil {
		return nil
	}
	return tx.DeleteBucket([]byte(name))
}

// build adds to an index that is not done the entries of all documents, a chunk
// in each transaction, so that a process that ends meanwhile goes on from there.
func (d *DB) build(s store.Schema, ix store.IndexSchema) error {
	told := false
	for done := false; !done; {
		err := d.b.Update(func(tx *bbolt.Tx) error {
			st, err := readState(tx, s.Name)
			if err != nil {
				return err
			}
			is := st.Indexes[ix.Name]
			if is.Done {
				done = true
				return errUnchanged
			}
			if !told {
				d.o.Log.Info("building a new index", "index", ix.Name)
				told = true
			}
			if err := d.buildChunk(tx, s, ix, is); err != nil {
				return err
			}
			done = is.Done
			return writeState(tx, s.Name, st)
		})
		if err != nil && !errors.Is(err, errUnchanged) {
			return err
		}
	}
	return nil
}

func (d *DB) buildChunk(tx *bbolt.Tx, s store.Schema, ix store.IndexSchema, is *indexState) error {
	entries, form := tx.Bucket([]byte(ix.Name)), d.forms[d.tables[s.Name]]
	c := tx.Bucket([]byte(s.Name)).Cursor()
	k, doc := c.Seek(is.After)
	if k != nil && bytes.Equal(k, is.After) {
		k, doc = c.Next()
	}
	for n := 0; k != nil; k, doc = c.Next() {
		if n++; n > chunk {
			return nil
		}
		pairs, err := ix.Entries(string(k), form.open(doc))
		if err != nil {
			return fmt.Errorf("the document %q: %w", k, err)
		}
		for _, p := range pairs {
			if entries.Get([]byte(p.Key)) != nil {
				return fmt.Errorf("the document %q: another has the same value, which must be unique: %w", k, store.ErrExists)
			}
			if err := entries.Put([]byte(p.Key), p.Doc); err != nil {
				return fmt.Errorf("the document %q: %w", k, err)
			}
		}
		is.After = bytes.Clone(k)
	}
	is.Done, is.After = true, nil
	return nil
}

// Tables names all tables in the file, also those that it was not opened with.
func (d *DB) Tables(context.Context) (names []string, err error) {
	err = d.b.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(tablesBucket))
		if b == nil {
			return nil
		}
		return b.ForEach(func(name, _ []byte) error {
			names = append(names, string(name))
			return nil
		})
	})
	return names, err
}

func readState(tx *bbolt.Tx, table string) (*tableState, error) {
	st := &tableState{Indexes: map[string]*indexState{}}
	b := tx.Bucket([]byte(tablesBucket))
	if b == nil {
		return st, nil
	}
	v := b.Get([]byte(table))
	if v == nil {
		return st, nil
	}
	if err := json.Unmarshal(v, st); err != nil {
		return nil, fmt.Errorf("%w: what %s says of %s: %w", store.ErrCorrupt, tablesBucket, table, err)
	}
	if st.Indexes == nil {
		st.Indexes = map[string]*indexState{}
	}
	return st, nil
}

func writeState(tx *bbolt.Tx, table string, st *tableState) error {
	b, err := tx.CreateBucketIfNotExists([]byte(tablesBucket))
	if err != nil {
		return err
	}
	v, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return b.Put([]byte(table), v)
}
