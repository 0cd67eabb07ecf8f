package store

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// The limits of what is stored, in bytes. A document is far from its limit unless
// something is wrong; it is below what any backend could take.
const (
	MaxKey = 1 << 10
	MaxDoc = 64 << 20
)

// ErrKey is returned by writes whose key is empty or longer than MaxKey.
var ErrKey = errors.New("store: bad key")

// A Reader is the reading half of a transaction, as a backend provides it. What
// it returns belongs to the caller.
type Reader interface {
	Get(table, key string) ([]byte, error)
	Scan(table, from, to string) iter.Seq2[Pair, error]

	// Known returns an error for a table that the backend was not opened with.
	Known(table string) error
}

// ReadOnly makes of a Reader the Tx that View needs.
func ReadOnly(r Reader) Tx { return readOnly{r} }

type readOnly struct{ Reader }

func (readOnly) Insert(table, key string, doc []byte) error { return ErrReadOnly }
func (readOnly) Put(table, key string, doc []byte) error    { return ErrReadOnly }
func (readOnly) Delete(table, key string) error             { return ErrReadOnly }

// Kind tells the kinds of writes apart.
type Kind byte

// The kinds of writes.
const (
	KindInsert Kind = iota + 1
	KindPut
	KindDelete
)

// A Write is one call of Insert, Put or Delete.
type Write struct {
	Kind       Kind
	Table, Key string
	Doc        []byte // nil for KindDelete
}

// An Overlay is the Tx of an Update. It keeps the writes in memory and shows
// them over what the Reader has, so that a backend applies them when the
// function returned nil, and forgets them otherwise.
type Overlay struct {
	// Blind makes Insert trust that the backend, when the writes are applied,
	// refuses a key that is taken. It saves a query for each Insert where a
	// query is a round trip.
	Blind bool

	base   Reader
	err    error // of the first write that failed; it dooms the transaction
	writes []Write
	last   map[place]int // where the newest write of each key is; nil while there are few
}

type place struct{ table, key string }

// few is how many writes are searched faster one by one than by a map.
const few = 16

// NewOverlay returns an empty overlay over base.
func NewOverlay(base Reader) *Overlay { return &Overlay{base: base} }

// End makes later use of the overlay as a Tx fail; Writes stay.
func (o *Overlay) End() {
	o.base = ended{}
	o.last = nil
	o.err = errEnded
}

var errEnded = errors.New("store: Tx used after the function that received it returned")

type ended struct{}

func (ended) Get(table, key string) ([]byte, error) { return nil, errEnded }
func (ended) Known(table string) error              { return errEnded }
func (ended) Scan(table, from, to string) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) { yield(Pair{}, errEnded) }
}

// Writes returns all writes in the order of their calls. To apply them in this
// order is always right; a key may occur more than once.
func (o *Overlay) Writes() []Write { return o.writes }

// Err returns the error of the first write that failed. A function that goes on
// after it may have left half a record, so Update must apply nothing and return
// this error even if the function returned nil.
func (o *Overlay) Err() error { return o.err }

// Get implements [Tx].
func (o *Overlay) Get(table, key string) ([]byte, error) {
	if w := o.newest(table, key); w != nil {
		if w.Kind == KindDelete {
			return nil, ErrNotFound
		}
		return clone(w.Doc), nil
	}
	return o.base.Get(table, key)
}

// Insert implements [Tx].
func (o *Overlay) Insert(table, key string, doc []byte) error {
	if o.err != nil {
		return o.err
	}
	if w := o.newest(table, key); w != nil {
		if w.Kind != KindDelete {
			return o.fail(fmt.Errorf("%w in %s", ErrExists, table))
		}
	} else if !o.Blind && keyError(key) == nil {
		switch _, err := o.base.Get(table, key); {
		case err == nil:
			return o.fail(fmt.Errorf("%w in %s", ErrExists, table))
		case !errors.Is(err, ErrNotFound):
			return o.fail(err)
		}
	}
	return o.add(Write{KindInsert, table, key, clone(doc)})
}

// Put implements [Tx].
func (o *Overlay) Put(table, key string, doc []byte) error {
	return o.add(Write{KindPut, table, key, clone(doc)})
}

// Delete implements [Tx].
func (o *Overlay) Delete(table, key string) error {
	return o.add(Write{KindDelete, table, key, nil})
}

// Scan implements [Tx]. It shows the writes made before it began.
func (o *Overlay) Scan(table, from, to string) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		mine := o.between(table, from, to)
		for p, err := range o.base.Scan(table, from, to) {
			if err != nil {
				yield(Pair{}, err)
				return
			}
			for len(mine) > 0 && mine[0].Key < p.Key {
				if !show(mine[0], yield) {
					return
				}
				mine = mine[1:]
			}
			if len(mine) > 0 && mine[0].Key == p.Key {
				if !show(mine[0], yield) {
					return
				}
				mine = mine[1:]
			} else if !yield(p, nil) {
				return
			}
		}
		for _, w := range mine {
			if !show(w, yield) {
				return
			}
		}
	}
}

func show(w Write, yield func(Pair, error) bool) bool {
	return w.Kind == KindDelete || yield(Pair{w.Key, clone(w.Doc)}, nil)
}

// between returns the newest write of each key in the range, in order of keys.
func (o *Overlay) between(table, from, to string) []Write {
	var ws []Write
	for i := range o.writes {
		w := &o.writes[i]
		if w.Table == table && w.Key >= from && (to == "" || w.Key < to) && o.newest(table, w.Key) == w {
			ws = append(ws, *w)
		}
	}
	slices.SortFunc(ws, func(a, b Write) int { return strings.Compare(a.Key, b.Key) })
	return ws
}

func (o *Overlay) newest(table, key string) *Write {
	if o.last != nil {
		if i, ok := o.last[place{table, key}]; ok {
			return &o.writes[i]
		}
		return nil
	}
	for i := len(o.writes) - 1; i >= 0; i-- {
		if w := &o.writes[i]; w.Key == key && w.Table == table {
			return w
		}
	}
	return nil
}

func (o *Overlay) add(w Write) error {
	if o.err != nil {
		return o.err
	}
	if err := o.base.Known(w.Table); err != nil {
		return o.fail(err)
	}
	if err := keyError(w.Key); err != nil {
		return o.fail(fmt.Errorf("%w in %s", err, w.Table))
	}
	if len(w.Doc) > MaxDoc {
		return o.fail(fmt.Errorf("store: a document of %d bytes in %s is more than the limit of %d", len(w.Doc), w.Table, MaxDoc))
	}
	if o.writes == nil {
		o.writes = make([]Write, 0, 8) // of a record with some indexes
	}
	o.writes = append(o.writes, w)
	switch n := len(o.writes); {
	case o.last != nil:
		o.last[place{w.Table, w.Key}] = n - 1
	case n > few:
		o.last = make(map[place]int, 4*few)
		for i, w := range o.writes {
			o.last[place{w.Table, w.Key}] = i
		}
	}
	return nil
}

func (o *Overlay) fail(err error) error {
	o.err = err
	return err
}

func keyError(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%w: it is empty", ErrKey)
	case len(key) > MaxKey:
		return fmt.Errorf("%w: its %d bytes are more than the limit of %d", ErrKey, len(key), MaxKey)
	}
	return nil
}

// clone makes a copy that is never nil, so that a document of no bytes is told
// from none.
func clone(doc []byte) []byte {
	if len(doc) == 0 {
		return []byte{}
	}
	return bytes.Clone(doc)
}
