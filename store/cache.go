package store

import (
	"bytes"
	"iter"
	"sync"
)

// A Cache saves decoding rows that are read over and over and seldom change. It
// is never stale: the document is read each time, and only what the very same
// bytes were decoded to is used again. The zero Cache is ready for use.
type Cache[T any] struct {
	mu   sync.RWMutex
	rows map[string]cached[T]
}

type cached[T any] struct {
	doc []byte
	v   *T
}

// maxCached bounds a cache. One that is full starts anew.
const maxCached = 4096

// Get is Table.Get through the cache. The record is shared: it must not be
// changed, and neither must what its fields refer to.
func (c *Cache[T]) Get(t *Table[T], tx Tx, key string) (*T, error) {
	doc, err := tx.Get(t.Name, key)
	if err != nil {
		return nil, err
	}
	c.mu.RLock()
	hit, ok := c.rows[key]
	c.mu.RUnlock()
	if ok && bytes.Equal(hit.doc, doc) {
		return hit.v, nil
	}
	v, err := t.decode(doc)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rows == nil || len(c.rows) >= maxCached {
		c.rows = map[string]cached[T]{}
	}
	c.rows[key] = cached[T]{bytes.Clone(doc), v}
	return v, nil
}

// By is Table.By through the cache, from the first on.
func (c *Cache[T]) By(t *Table[T], tx Tx, index, value string) iter.Seq2[*T, error] {
	return t.follow(tx, index, entry(value), escape(value)+pastTerminator, func(tx Tx, key string) (*T, error) {
		return c.Get(t, tx, key)
	})
}

// One is Table.One through the cache.
func (c *Cache[T]) One(t *Table[T], tx Tx, index, value string) (*T, error) {
	key, err := tx.Get(t.index(index), entry(value))
	if err != nil {
		return nil, err
	}
	return c.Get(t, tx, string(key))
}
