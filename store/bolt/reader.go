package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"chancery/store"

	"go.etcd.io/bbolt"
)

// A reader is a [store.Reader] over a bbolt transaction.
type reader struct {
	d       *DB
	tx      *bbolt.Tx
	buckets []*bbolt.Bucket // those used so far
}

var errEnded = errors.New("store: Tx used after the function that received it returned")

func (d *DB) reader(tx *bbolt.Tx) *reader {
	return &reader{d: d, tx: tx, buckets: make([]*bbolt.Bucket, len(d.names))}
}

// end makes a Tx that was kept too long fail instead of reading memory that is
// no longer mapped.
func (r *reader) end() { r.tx, r.buckets = nil, nil }

func (r *reader) bucket(table string) (*bbolt.Bucket, error) {
	if r.tx == nil {
		return nil, errEnded
	}
	i, ok := r.d.tables[table]
	if !ok {
		return nil, unknown(table)
	}
	if r.buckets[i] == nil {
		b := r.tx.Bucket(r.d.names[i])
		if b.Writable() {
			b.FillPercent = r.d.fills[i].percent()
		}
		r.buckets[i] = b
	}
	return r.buckets[i], nil
}

func unknown(table string) error {
	return fmt.Errorf("store: the table %s was not declared when the store was opened", table)
}

func (r *reader) Known(table string) error {
	if _, ok := r.d.tables[table]; !ok {
		return unknown(table)
	}
	return nil
}

func (r *reader) Get(table, key string) ([]byte, error) {
	b, err := r.bucket(table)
	if err != nil {
		return nil, err
	}
	v := b.Get([]byte(key))
	if v == nil {
		return nil, store.ErrNotFound
	}
	return r.d.forms[r.d.tables[table]].open(v), nil
}

func (r *reader) Scan(table, from, to string) iter.Seq2[store.Pair, error] {
	return func(yield func(store.Pair, error) bool) {
		b, err := r.bucket(table)
		if err != nil {
			yield(store.Pair{}, err)
			return
		}
		c, end, form := b.Cursor(), []byte(to), r.d.forms[r.d.tables[table]]
		for k, v := c.Seek([]byte(from)); k != nil; k, v = c.Next() {
			if to != "" && bytes.Compare(k, end) >= 0 {
				return
			}
			if !yield(store.Pair{Key: string(k), Doc: form.open(v)}, nil) {
				return
			}
			if r.tx == nil {
				yield(store.Pair{}, errEnded)
				return
			}
		}
	}
}
