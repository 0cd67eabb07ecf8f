// Package store is the contract between those who own records and the
// databases that keep them: five primitives over opaque keys and documents,
// and on top of them typed tables with indexes.
//
// Whoever owns a kind of record declares its [Table] beside the code that uses
// it. A backend knows nothing of records; it keeps the promises of [DB] and
// [Tx], which the suite in storetest checks.
package store

import (
	"context"
	"errors"
	"iter"
)

var (
	// ErrNotFound is returned by Get for a key that has no document.
	ErrNotFound = errors.New("store: no such document")

	// ErrExists is returned by Insert, or by the Update around it, for a key
	// that has a document already.
	ErrExists = errors.New("store: document exists")

	// ErrCorrupt is returned when a document does not match its checksum or
	// cannot be decoded.
	ErrCorrupt = errors.New("store: document is damaged")

	// ErrText is returned for a record with a string that is not UTF-8, which
	// JSON would change so that its index entries were lost. Such bytes belong
	// in a []byte.
	ErrText = errors.New("store: text is not UTF-8")

	// ErrClosed is returned by every call after Close, or after a write that
	// the disk refused.
	ErrClosed = errors.New("store: closed")

	// ErrUnknown is returned by Update when the connection to the database broke
	// at the commit and it could not be learnt afterwards whether the writes were
	// made. Whoever asked must ask again, by a Key that finds what is there.
	ErrUnknown = errors.New("store: the outcome is not known; ask again with the same key")

	// ErrReadOnly is returned by writes inside View.
	ErrReadOnly = errors.New("store: write inside View")
)

// A DB keeps documents in named tables, ordered by key. All methods may be
// called at the same time from many goroutines.
type DB interface {
	// View calls fn with a consistent snapshot. What fn writes is refused with
	// ErrReadOnly.
	View(ctx context.Context, fn func(Tx) error) error

	// Update calls fn and makes its writes durable, all or none, as if no other
	// Update ran meanwhile (serializable). When Update returns nil the writes
	// survive the loss of process and power. When it returns the error of fn,
	// nothing was written; after ErrUnknown, they may have been made or not.
	//
	// fn may be called more than once and must have no effect but through its
	// Tx and by assigning its results. ErrExists may come from Update itself.
	// When ctx ends before the work begins, Update returns its error and
	// writes nothing; after that it waits for the outcome.
	Update(ctx context.Context, fn func(Tx) error) error

	// Close waits for running transactions.
	Close() error
}

// A Tx is one transaction. It and the iterators that it returns must not be
// used after the function that received it has returned, nor by two goroutines.
// Keys are any bytes held in a string, never empty, of 1 KiB at most. Documents
// are any bytes; the caller may keep and change what Get and Scan return.
type Tx interface {
	// Get returns the document, or ErrNotFound.
	Get(table, key string) ([]byte, error)

	// Insert adds a document under a key that has none, or else fails with
	// ErrExists, here or when the transaction commits. A write that failed dooms
	// the transaction: Update returns its error even when fn returns nil.
	Insert(table, key string, doc []byte) error

	// Put adds or replaces a document.
	Put(table, key string, doc []byte) error

	// Delete removes a document. It is no error when there is none.
	Delete(table, key string) error

	// Scan yields the documents with from <= key < to in bytewise order of
	// their keys; an empty to means no end. The transaction's own writes before
	// the Scan are seen. Do not write to a table while scanning it. Do not Scan
	// inside an Update a table into which others insert: scan in a View, and
	// check what was found again by Get.
	Scan(table, from, to string) iter.Seq2[Pair, error]
}

// A Pair is a document with its key.
type Pair struct {
	Key string
	Doc []byte
}
