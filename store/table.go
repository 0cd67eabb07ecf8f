package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// A Table keeps records of one kind as JSON, each under its key, and keeps the
// entries of its indexes in step with them.
type Table[T any] struct {
	Name    string
	Version int             // of the format of T; from 1
	Key     func(*T) string // of the record; must not change once inserted
	Indexes []Index[T]
}

// An Index finds records by something other than their key.
type Index[T any] struct {
	Name   string
	Unique bool              // no two records share a value
	Keys   func(*T) []string // values under which the record is found; none: not in this index
}

// A Schema is what a backend must know of a table: its name, its format, and
// the names of the tables that hold its index entries.
type Schema struct {
	Name    string
	Version int
	Indexes []IndexSchema

	// Check tells what is wrong with a stored document, for Verify; nil where
	// any bytes are right.
	Check func(key string, doc []byte) error
}

// An IndexSchema names an index and can make its entries from a stored
// document, so that an index added later is built when the store is opened.
type IndexSchema struct {
	Name    string // of the table that holds the entries
	Entries func(key string, doc []byte) ([]Pair, error)
}

// Schema describes the table to a backend.
func (t *Table[T]) Schema() Schema {
	s := Schema{Name: t.Name, Version: t.Version, Check: func(key string, doc []byte) error {
		v, err := t.decode(doc)
		if err == nil && t.Key(v) != key {
			err = fmt.Errorf("%w: the record of %q lies under another key", ErrCorrupt, t.Key(v))
		}
		return err
	}}
	for _, ix := range t.Indexes {
		s.Indexes = append(s.Indexes, IndexSchema{t.index(ix.Name), func(key string, doc []byte) ([]Pair, error) {
			v, err := t.decode(doc)
			if err != nil {
				return nil, err
			}
			var pairs []Pair
			for _, e := range ix.entries(key, v) {
				pairs = append(pairs, Pair{e, ix.doc(key)})
			}
			return pairs, nil
		}})
	}
	return s
}

// Get returns the record with the key, or ErrNotFound.
func (t *Table[T]) Get(tx Tx, key string) (*T, error) {
	doc, err := tx.Get(t.Name, key)
	if err != nil {
		return nil, err
	}
	return t.decode(doc)
}

// Insert adds a new record. ErrExists says that its key, or its value in a
// unique index, is taken.
func (t *Table[T]) Insert(tx Tx, v *T) error {
	doc, err := t.encode(v)
	if err != nil {
		return err
	}
	key := t.Key(v)
	if err := tx.Insert(t.Name, key, doc); err != nil {
		return err
	}
	for _, ix := range t.Indexes {
		for _, e := range ix.entries(key, v) {
			if err := tx.Insert(t.index(ix.Name), e, ix.doc(key)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Put replaces the record that Get returned as old in this transaction. Only
// index entries that differ are written.
func (t *Table[T]) Put(tx Tx, old, v *T) error {
	key := t.Key(v)
	if t.Key(old) != key {
		return fmt.Errorf("store: %s: the key of a record changed", t.Name)
	}
	doc, err := t.encode(v)
	if err != nil {
		return err
	}
	if err := tx.Put(t.Name, key, doc); err != nil {
		return err
	}
	for _, ix := range t.Indexes {
		before, after := ix.entries(key, old), ix.entries(key, v)
		for _, e := range before {
			if !slices.Contains(after, e) {
				if err := tx.Delete(t.index(ix.Name), e); err != nil {
					return err
				}
			}
		}
		for _, e := range after {
			if !slices.Contains(before, e) {
				if err := tx.Insert(t.index(ix.Name), e, ix.doc(key)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Change gets the record, lets fn change it, and puts it back. fn must replace
// slices and maps that it changes rather than write into them.
func (t *Table[T]) Change(tx Tx, key string, fn func(*T) error) (*T, error) {
	old, err := t.Get(tx, key)
	if err != nil {
		return nil, err
	}
	v := *old
	if err := fn(&v); err != nil {
		return nil, err
	}
	return &v, t.Put(tx, old, &v)
}

// Delete removes a record with its index entries.
func (t *Table[T]) Delete(tx Tx, v *T) error {
	key := t.Key(v)
	for _, ix := range t.Indexes {
		for _, e := range ix.entries(key, v) {
			if err := tx.Delete(t.index(ix.Name), e); err != nil {
				return err
			}
		}
	}
	return tx.Delete(t.Name, key)
}

// All yields the records with from <= key < to in order of their keys.
func (t *Table[T]) All(tx Tx, from, to string) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for p, err := range tx.Scan(t.Name, from, to) {
			var v *T
			if err == nil {
				v, err = t.decode(p.Doc)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// One returns the record that the unique index has under value, or ErrNotFound.
func (t *Table[T]) One(tx Tx, index, value string) (*T, error) {
	key, err := tx.Get(t.index(index), entry(value))
	if err != nil {
		return nil, err
	}
	return t.Get(tx, string(key))
}

// By yields the records that the index has under exactly value, in order of
// their keys, from the one after the key after.
func (t *Table[T]) By(tx Tx, index, value, after string) iter.Seq2[*T, error] {
	from := entry(value)
	to := escape(value) + pastTerminator
	if after != "" {
		from += after + "\x00"
	}
	return t.follow(tx, index, from, to, t.Get)
}

// Range yields the records that the index has under values with
// from <= value < to, in order of value; an empty to means no end.
func (t *Table[T]) Range(tx Tx, index, from, to string) iter.Seq2[*T, error] {
	return t.follow(tx, index, escape(from), escape(to), t.Get)
}

// Count counts the entries of the index with from <= value < to, up to most. It
// reads no records.
func (t *Table[T]) Count(tx Tx, index, from, to string, most int) (n int, err error) {
	for _, err := range tx.Scan(t.index(index), escape(from), escape(to)) {
		if err != nil || n == most {
			return n, err
		}
		n++
	}
	return n, nil
}

// Values yields the values with from <= value < to under which the index has
// records, in their order. It reads no records.
func (t *Table[T]) Values(tx Tx, index, from, to string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for p, err := range tx.Scan(t.index(index), escape(from), escape(to)) {
			value, _, _ := strings.Cut(p.Key, terminator)
			if !yield(strings.ReplaceAll(value, "\x00\xff", "\x00"), err) || err != nil {
				return
			}
		}
	}
}

func (t *Table[T]) follow(tx Tx, index, from, to string, get func(Tx, string) (*T, error)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for p, err := range tx.Scan(t.index(index), from, to) {
			var v *T
			if err == nil {
				v, err = get(tx, p.owner())
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

func (t *Table[T]) index(name string) string { return t.Name + "." + name }

// entries are the keys of the record in the index: the escaped value, and for an
// index that is not unique also the record's key.
func (ix *Index[T]) entries(key string, v *T) []string {
	values := ix.Keys(v)
	if len(values) == 0 {
		return nil
	}
	out := make([]string, 0, len(values))
	for _, val := range values {
		e := entry(val)
		if !ix.Unique {
			e += key
		}
		if !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}

func (ix *Index[T]) doc(key string) []byte {
	if ix.Unique {
		return []byte(key)
	}
	return nil
}

// owner is the key of the record that an index entry leads to. A unique index
// holds it as the document, the others in the entry's own key.
func (p Pair) owner() string {
	if len(p.Doc) > 0 {
		return string(p.Doc)
	}
	_, key, _ := strings.Cut(p.Key, terminator)
	return key
}

// The terminator ends a value in an index key. A zero byte inside a value is
// followed by 0xff, so that bytewise order of entries is order of values.
const (
	terminator     = "\x00\x01"
	pastTerminator = "\x00\x02"
)

func escape(value string) string { return strings.ReplaceAll(value, "\x00", "\x00\xff") }

func entry(value string) string { return escape(value) + terminator }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encoding makes equal records equal bytes, and brings nil back as nil.
var encoding = json.JoinOptions(json.Deterministic(true), json.FormatNilSliceAsNull(true), json.FormatNilMapAsNull(true))

// encode is the checksum, the format version, and the JSON.
func (t *Table[T]) encode(v *T) ([]byte, error) {
	body, err := json.Marshal(v, encoding)
	if err != nil {
		if bad := (*jsontext.SyntacticError)(nil); errors.As(err, &bad) { // the only one that a Go value can give
			return nil, fmt.Errorf("%w: a record of %s", ErrText, t.Name)
		}
		return nil, fmt.Errorf("store: encoding a record of %s: %w", t.Name, err)
	}
	return seal(byte(t.Version), body), nil
}

func (t *Table[T]) decode(doc []byte) (*T, error) {
	version, body, err := open(doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	if int(version) > t.Version {
		return nil, fmt.Errorf("store: a record of %s has format %d, newer than this program's %d: use the newer program", t.Name, version, t.Version)
	}
	v := new(T)
	if err := json.Unmarshal(body, v); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, t.Name, err)
	}
	return v, nil
}

func seal(version byte, body []byte) []byte {
	doc := make([]byte, 5, 5+len(body))
	doc[4] = version
	doc = append(doc, body...)
	binary.BigEndian.PutUint32(doc, crc32.Checksum(doc[4:], castagnoli))
	return doc
}

func open(doc []byte) (version byte, body []byte, err error) {
	if len(doc) < 5 || binary.BigEndian.Uint32(doc) != crc32.Checksum(doc[4:], castagnoli) {
		return 0, nil, ErrCorrupt
	}
	return doc[4], doc[5:], nil
}

// Blobs keeps raw bytes, such as DER, that are written once.
type Blobs struct{ Name string }

// Schema describes the table to a backend.
func (b Blobs) Schema() Schema {
	return Schema{Name: b.Name, Version: 1, Check: func(_ string, doc []byte) error {
		_, _, err := open(doc)
		return err
	}}
}

// Get returns the bytes, or ErrNotFound.
func (b Blobs) Get(tx Tx, key string) ([]byte, error) {
	doc, err := tx.Get(b.Name, key)
	if err != nil {
		return nil, err
	}
	_, body, err := open(doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.Name, err)
	}
	return body, nil
}

// A Blob is raw bytes as All yields them, or why they cannot be had.
type Blob struct {
	Bytes []byte
	Err   error
}

// All yields keys and bytes with from <= key < to in order; an empty to means no
// end. It ends after an error.
func (b Blobs) All(tx Tx, from, to string) iter.Seq2[string, Blob] {
	return func(yield func(string, Blob) bool) {
		for p, err := range tx.Scan(b.Name, from, to) {
			var body []byte
			if err == nil {
				_, body, err = open(p.Doc)
			}
			if !yield(p.Key, Blob{body, err}) || err != nil {
				return
			}
		}
	}
}

// Insert adds bytes under a key that has none.
func (b Blobs) Insert(tx Tx, key string, body []byte) error {
	return tx.Insert(b.Name, key, seal(1, body))
}

// Put adds or replaces bytes.
func (b Blobs) Put(tx Tx, key string, body []byte) error {
	return tx.Put(b.Name, key, seal(1, body))
}

// Delete removes the bytes.
func (b Blobs) Delete(tx Tx, key string) error { return tx.Delete(b.Name, key) }

// Missing reports whether err says that there is no such document.
func Missing(err error) bool { return errors.Is(err, ErrNotFound) }
