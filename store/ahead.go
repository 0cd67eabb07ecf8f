package store

// A Ref says where a document is, or is missing.
type Ref struct{ Table, Key string }

// Ahead says which documents a transaction is about to Get. Where the database
// is elsewhere they are read in one round trip, and each Get of one of them
// costs none. It changes nothing else: what is missing, or cannot be read, Get
// says. Name only what will be read nearly always: it counts as read.
func Ahead(tx Tx, refs ...Ref) {
	if a, ok := tx.(ahead); ok {
		a.Ahead(refs)
	}
}

// ahead is what transactions and Readers can do for which a read is a wait.
type ahead interface{ Ahead(refs []Ref) }

// Ahead passes on what the function Ahead is told.
func (r readOnly) Ahead(refs []Ref) {
	if a, ok := r.Reader.(ahead); ok {
		a.Ahead(refs)
	}
}

// Ahead passes on what the function Ahead is told.
func (o *Overlay) Ahead(refs []Ref) {
	if a, ok := o.base.(ahead); ok {
		a.Ahead(refs)
	}
}

// At refers to the record with a key.
func (t *Table[T]) At(key string) Ref { return Ref{t.Name, key} }

// At refers to the document with a key.
func (b Blobs) At(key string) Ref { return Ref{b.Name, key} }
