package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"slices"
)

// A Finding is something stored that cannot be so.
type Finding struct {
	Table string
	Key   string // any octets
	Err   error
}

func (f Finding) Error() string { return fmt.Sprintf("%s %q: %v", f.Table, f.Key, f.Err) }

// A Place is how far an Inspector came: behind a key of a table. The zero Place
// is the beginning.
type Place struct {
	Table string `json:"t,omitempty"`
	Key   []byte `json:"k,omitempty"` // the last one seen; none: all before the table
}

// An Inspector goes through everything stored, some rows in each View, while
// others write: each document has its checksum, is a record of its kind and has
// its index entries; each index entry has its document. Unlike Verify it holds
// no snapshot for long, and it can go on where another stopped.
type Inspector struct {
	Schemas []Schema

	// Also tells what else is wrong with a document that is whole; nil for
	// nothing. It may read what it likes.
	Also func(tx Tx, table, key string, doc []byte) []error

	At   Place          // where to go on
	Rows map[string]int // documents seen, by table
}

// A part is a table, or an index of it.
type part struct {
	Schema
	index *IndexSchema
}

func (p *part) name() string {
	if p.index != nil {
		return p.index.Name
	}
	return p.Name
}

// part is where to go on, and the name of the part after it; nil without
// schemas. A table that is no more means the beginning.
func (i *Inspector) part() (p *part, next string) {
	var all []*part
	for _, s := range i.Schemas {
		all = append(all, &part{Schema: s})
		for _, ix := range s.Indexes {
			all = append(all, &part{s, &ix})
		}
	}
	n := slices.IndexFunc(all, func(p *part) bool { return p.name() == i.At.Table })
	if n < 0 {
		n, i.At = 0, Place{}
	}
	switch {
	case len(all) == 0:
		return nil, ""
	case n+1 < len(all):
		next = all[n+1].name()
	}
	return all[n], next
}

// Step looks at up to most rows of one table in one View. It says what is
// wrong with them, and whether everything was seen, after which the next Step
// begins anew. A page of the database that cannot be read is a finding, and ends
// the table that it belongs to. After an error, which is of the database or of
// ctx, the same Step can be tried again.
func (i *Inspector) Step(ctx context.Context, db DB, most int) (found []Finding, seen int, done bool, err error) {
	p, next := i.part()
	if p == nil {
		return nil, 0, true, nil
	}
	var at Place
	read := func(tx Tx) (err error) {
		found, seen = nil, 0
		at, err = i.look(tx, p, next, most, &found, &seen)
		return err
	}
	if err := Guard(func() error { return db.View(ctx, read) }); err != nil {
		if !errors.Is(err, ErrCorrupt) {
			return nil, 0, false, err
		}
		found = append(found, Finding{p.name(), string(i.At.Key), err})
		at = Place{Table: next}
	}
	if p.index == nil {
		if i.Rows == nil {
			i.Rows = map[string]int{}
		}
		i.Rows[p.Name] += seen
	}
	i.At = at
	return found, seen, at.Table == "", nil
}

// Guard makes an ErrCorrupt of the panics by which a database says that its
// pages make no sense, and of reading memory behind the end of its file.
func Guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: the database cannot be read here: %v", ErrCorrupt, p)
		}
	}()
	return fn()
}

// look is Step inside the View. It returns where to go on.
func (i *Inspector) look(tx Tx, p *part, next string, most int, found *[]Finding, seen *int) (Place, error) {
	at := Place{Table: p.name(), Key: i.At.Key}
	from := string(at.Key)
	if from != "" {
		from += "\x00"
	}
	for row, err := range tx.Scan(p.name(), from, "") {
		if err != nil {
			return at, err
		}
		if *seen == most {
			return at, nil
		}
		*seen++
		at.Key = []byte(row.Key)
		for err := range i.wrong(tx, p, row) {
			*found = append(*found, Finding{p.name(), row.Key, err})
		}
	}
	return Place{Table: next}, nil
}

// wrong yields what is wrong with one row.
func (i *Inspector) wrong(tx Tx, p *part, row Pair) iter.Seq[error] {
	return func(yield func(error) bool) {
		if p.index != nil {
			if err := led(tx, p, row); err != nil {
				yield(err)
			}
			return
		}
		if p.Check != nil {
			if err := p.Check(row.Key, row.Doc); err != nil {
				yield(err)
				return // nothing more can be said of it
			}
		}
		for _, ix := range p.Indexes {
			if err := entered(tx, ix, row); err != nil && !yield(err) {
				return
			}
		}
		if i.Also == nil {
			return
		}
		for _, err := range i.Also(tx, p.Name, row.Key, row.Doc) {
			if !yield(err) {
				return
			}
		}
	}
}

// entered checks that a document has its entries in an index.
func entered(tx Tx, ix IndexSchema, row Pair) error {
	pairs, err := ix.Entries(row.Key, row.Doc)
	if err != nil {
		return err
	}
	for _, e := range pairs {
		doc, err := tx.Get(ix.Name, e.Key)
		switch {
		case errors.Is(err, ErrNotFound):
			return fmt.Errorf("%w: it has no entry in the index %s", ErrCorrupt, ix.Name)
		case err != nil:
			return err
		case !bytes.Equal(doc, e.Doc):
			return fmt.Errorf("%w: its entry in the index %s is of %q", ErrCorrupt, ix.Name, doc)
		}
	}
	return nil
}

// led checks that the document of an index entry asks for it.
func led(tx Tx, p *part, e Pair) error {
	key := e.owner()
	if key == "" {
		return fmt.Errorf("%w: an index entry of no document", ErrCorrupt)
	}
	doc, err := tx.Get(p.Name, key)
	switch {
	case errors.Is(err, ErrNotFound):
		return fmt.Errorf("%w: an index entry for %q, which is not there", ErrCorrupt, key)
	case err != nil:
		return err
	case !asksFor(*p.index, key, doc, e):
		return fmt.Errorf("%w: an index entry for %q, which is otherwise", ErrCorrupt, key)
	}
	return nil
}

// InspectAll goes through everything at full speed, from the beginning. Progress,
// if not nil, is told after each Step. It ends early after maxFindings.
func (i *Inspector) InspectAll(ctx context.Context, db DB, progress func(seen int, found []Finding)) (all []Finding, err error) {
	i.At, i.Rows = Place{}, nil
	for {
		found, seen, done, err := i.Step(ctx, db, 1000)
		if err != nil {
			return all, err
		}
		all = append(all, found...)
		if progress != nil {
			progress(seen, found)
		}
		if len(all) >= maxFindings {
			return slices.Clip(all[:maxFindings]), errTooMany
		}
		if done {
			return all, nil
		}
	}
}
