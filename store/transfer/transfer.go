// Package transfer copies everything that one database holds into another of any
// kind: documents and index entries as they are, in one snapshot of the source.
// A copy that was interrupted goes on where it was, and until it has ended and
// was compared the destination says that it is [Unfinished], so that nobody
// serves from half a database.
package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"time"

	"chancery/store"
)

var (
	// ErrUnfinished says that the database holds part of a copy.
	ErrUnfinished = errors.New("this database holds a copy that has not ended: run the same chancery store copy again, it goes on where it was")

	// ErrNotEmpty says that the destination holds records already.
	ErrNotEmpty = errors.New("the destination holds records already; copy into an empty database")

	// ErrDiffers says that source and copy are not the same.
	ErrDiffers = errors.New("source and copy differ")
)

// A progress says how far a table was copied. The one under the name marker
// exists as long as the copy has not ended.
type progress struct {
	Table string
	After []byte    `json:",omitempty"` // the last key copied
	Rows  int       `json:",omitzero"`
	Done  bool      `json:",omitzero"`
	Began time.Time `json:",omitzero"` // of the marker
}

const marker = "*"

var copies = &store.Table[progress]{Name: "copies", Version: 1, Key: func(p *progress) string { return p.Table }}

// Schemas are those of the tables that this package needs in the destination. What
// is in them is not copied. Whoever serves opens them too, and asks Unfinished.
func Schemas() []store.Schema { return []store.Schema{copies.Schema()} }

// Unfinished returns ErrUnfinished if the database holds part of a copy.
func Unfinished(ctx context.Context, db store.DB) error {
	return db.View(ctx, func(tx store.Tx) error {
		p, err := copies.Get(tx, marker)
		if store.Missing(err) {
			return nil
		} else if err != nil {
			return err
		}
		return fmt.Errorf("%w (it began %s)", ErrUnfinished, p.Began.Format(time.RFC3339))
	})
}

// Options are what Copy may be told.
type Options struct {
	Now time.Time // when it begins

	// Progress is told after each batch what is done to a table: copying, reading,
	// comparing; how many rows of it so far. May be nil.
	Progress func(doing, table string, rows int)
}

// A Table is what a copy says of one table or index.
type Table struct {
	Name   string `json:"table"`
	Rows   int    `json:"rows"`
	SHA256 string `json:"sha256"` // over keys and documents, with their lengths, in order of keys
}

// The size of a batch: of one Update of the destination.
const (
	batchRows  = 1000
	batchBytes = 1 << 20
)

// Copy copies the tables and indexes of the schemas from one database into
// another that is empty or holds the beginning of this copy, and compares both.
// Both were opened with the schemas and with Schemas. Nobody else may write to
// either meanwhile; that is for the caller to see to.
func Copy(ctx context.Context, from, to store.DB, schemas []store.Schema, o Options) ([]Table, error) {
	if err := Unfinished(ctx, from); err != nil {
		return nil, fmt.Errorf("the source: %w", err)
	}
	c := &copier{to: to, names: names(schemas), progress: o.Progress}
	if err := c.know(ctx, from); err != nil {
		return nil, err
	}
	if c.progress == nil {
		c.progress = func(string, string, int) {}
	}
	if err := c.begin(ctx, o.Now); err != nil {
		return nil, err
	}
	checks := map[string]func(key string, doc []byte) error{}
	for _, s := range schemas {
		checks[s.Name] = s.Check
	}
	var tables []Table
	err := from.View(ctx, func(tx store.Tx) error { // one snapshot for all of it
		tables = nil
		for _, name := range c.names {
			if err := c.copy(ctx, tx, name); err != nil {
				return fmt.Errorf("copying %s: %w", name, err)
			}
		}
		for _, name := range c.names {
			t, err := c.sum(ctx, "reading", tx, name, checks[name])
			if err != nil {
				return err
			}
			tables = append(tables, t)
		}
		return nil
	})
	if err == nil {
		err = c.compare(ctx, tables)
	}
	if err != nil {
		return nil, err
	}
	return tables, c.end(ctx)
}

// names are those of all tables and indexes but our own.
func names(schemas []store.Schema) (all []string) {
	for _, s := range schemas {
		if s.Name == copies.Name {
			continue
		}
		all = append(all, s.Name)
		for _, ix := range s.Indexes {
			all = append(all, ix.Name)
		}
	}
	return all
}

type copier struct {
	to       store.DB
	names    []string
	progress func(doing, table string, rows int)
}

// begin marks the destination, unless it is marked.
func (c *copier) begin(ctx context.Context, now time.Time) error {
	err := Unfinished(ctx, c.to)
	if errors.Is(err, ErrUnfinished) {
		return nil // goes on
	} else if err != nil {
		return err
	}
	err = c.to.View(ctx, func(tx store.Tx) error {
		for _, name := range c.names {
			for _, err := range tx.Scan(name, "", "") {
				if err == nil {
					err = fmt.Errorf("%w (there is something in %s)", ErrNotEmpty, name)
				}
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.to.Update(ctx, func(tx store.Tx) error {
		return copies.Insert(tx, &progress{Table: marker, Began: now})
	})
}

// copy copies what is left of one table, a batch in each Update, which also
// notes how far it came.
func (c *copier) copy(ctx context.Context, from store.Tx, name string) error {
	at, err := c.at(ctx, name)
	if err != nil || at.Done {
		return err
	}
	next := string(at.After)
	if next != "" {
		next += "\x00"
	}
	var batch []store.Pair
	size := 0
	for p, err := range from.Scan(name, next, "") {
		if err != nil {
			return err
		}
		batch = append(batch, p)
		if size += len(p.Key) + len(p.Doc); len(batch) < batchRows && size < batchBytes {
			continue
		}
		if err := c.write(ctx, at, batch, false); err != nil {
			return err
		}
		batch, size = nil, 0
	}
	return c.write(ctx, at, batch, true)
}

// at is how far a table was copied.
func (c *copier) at(ctx context.Context, name string) (p *progress, err error) {
	err = c.to.View(ctx, func(tx store.Tx) error {
		p, err = copies.Get(tx, name)
		return err
	})
	if store.Missing(err) {
		return &progress{Table: name}, nil
	}
	return p, err
}

func (c *copier) write(ctx context.Context, at *progress, batch []store.Pair, last bool) error {
	next := *at
	next.Rows += len(batch)
	next.Done = last
	if len(batch) > 0 {
		next.After = []byte(batch[len(batch)-1].Key)
	}
	err := c.to.Update(ctx, func(tx store.Tx) error {
		for _, p := range batch {
			if err := tx.Insert(at.Table, p.Key, p.Doc); err != nil {
				return err
			}
		}
		return copies.Put(tx, &next, &next)
	})
	if err != nil {
		return err
	}
	*at = next
	c.progress("copying", at.Table, at.Rows)
	return nil
}

// know refuses a source with tables of which nothing is known here, where the
// source can tell: they would be left behind.
func (c *copier) know(ctx context.Context, from store.DB) error {
	all, ok := from.(interface {
		Tables(ctx context.Context) ([]string, error)
	})
	if !ok {
		return nil
	}
	there, err := all.Tables(ctx)
	if err != nil {
		return err
	}
	for _, name := range there {
		if name != copies.Name && !slices.Contains(c.names, name) {
			return fmt.Errorf("the source has the table %s, which this program does not know: copy with the program that serves it", name)
		}
	}
	return nil
}

// sum reads a whole table, and checks its documents unless check is nil: what is
// damaged must not go on.
func (c *copier) sum(ctx context.Context, doing string, tx store.Tx, name string, check func(string, []byte) error) (Table, error) {
	h, t := sha256.New(), Table{Name: name}
	for p, err := range tx.Scan(name, "", "") {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return t, err
		}
		if check != nil {
			if err := check(p.Key, p.Doc); err != nil {
				return t, fmt.Errorf("%s %q: %w; see chancery store check", name, p.Key, err)
			}
		}
		add(h, p)
		if t.Rows++; t.Rows%batchRows == 0 {
			c.progress(doing, name, t.Rows)
		}
	}
	t.SHA256 = hex.EncodeToString(h.Sum(nil))
	c.progress(doing, name, t.Rows)
	return t, nil
}

func add(h hash.Hash, p store.Pair) {
	var b [2 * binary.MaxVarintLen64]byte
	h.Write(binary.AppendUvarint(binary.AppendUvarint(b[:0], uint64(len(p.Key))), uint64(len(p.Doc))))
	h.Write([]byte(p.Key))
	h.Write(p.Doc)
}

// compare reads the whole destination again.
func (c *copier) compare(ctx context.Context, want []Table) error {
	return c.to.View(ctx, func(tx store.Tx) error {
		for _, w := range want {
			got, err := c.sum(ctx, "comparing", tx, w.Name, nil)
			if err != nil {
				return err
			}
			if got != w {
				return fmt.Errorf("%w in %s: %d rows and %d. Something was written to one of them since the copy began: empty the destination, and copy again while nobody serves", ErrDiffers, w.Name, w.Rows, got.Rows)
			}
		}
		return nil
	})
}

// end takes the mark off: from now on the destination can be served.
func (c *copier) end(ctx context.Context) error {
	return c.to.Update(ctx, func(tx store.Tx) error {
		for _, name := range append([]string{marker}, c.names...) {
			if err := copies.Delete(tx, &progress{Table: name}); err != nil {
				return err
			}
		}
		return nil
	})
}
