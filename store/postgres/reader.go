package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"

	"chancery/store"
)

// A reader is a [store.Reader] over a transaction that begins with its first
// read.
type reader struct {
	d       *DB
	ctx     context.Context
	begin   int      // the statement
	s       *session // nil before the first read
	err     error    // of the first read that failed; the transaction is over
	over    bool
	key, to []byte // space for parameters; never nil, which would be NULL

	before []query // what goes to the server with the next read; see Ahead
	begun  int     // statements of that exchange before them
	known  map[store.Ref][]byte
}

func (d *DB) reader(ctx context.Context, begin int) *reader {
	space := make([]byte, 128)
	return &reader{d: d, ctx: ctx, begin: begin, key: space[:0:96], to: space[96:96]}
}

// end makes a Tx that was kept too long fail, and gives the connection back.
func (r *reader) end() {
	s := r.s
	r.s, r.over = nil, true
	switch {
	case s == nil:
	case s.open && !s.pg.IsClosed():
		r.d.rest(s)
	default:
		s.release()
	}
}

func (r *reader) Known(table string) error {
	if _, ok := r.d.stmts.tables[table]; !ok {
		return unknown(table)
	}
	return nil
}

// ready says why there can be no read.
func (r *reader) ready() error {
	switch {
	case r.over:
		return errEnded
	case r.err != nil:
		return r.err
	}
	if err := r.ctx.Err(); err != nil {
		r.err = err
	}
	return r.err
}

// read runs one statement, and BEGIN before the first.
func (r *reader) read(table string, row func([][]byte), stmt int, params ...[]byte) error {
	var err error
	seen := false // some of the answer, which must not be told twice
	tell := func(values [][]byte) {
		seen = true
		row(values)
	}
	for try := 0; ; try++ {
		first := r.s == nil
		if err = r.first(); err != nil {
			break
		}
		r.begun = 0
		if first {
			r.begun = 1 // BEGIN
		}
		for _, q := range r.before {
			r.s.add(q.stmt, q.params...)
		}
		r.s.add(stmt, params...)
		err = r.s.exchange(until(r.ctx), tell)
		// A connection that lay unused may have broken long ago. Nothing was
		// seen of its transaction yet, so another one is as good.
		if !first || seen || try == readTries || !broken(err) || r.ctx.Err() != nil {
			break
		}
		r.s.release()
		r.s = nil
		r.d.reset()
	}
	if err != nil {
		r.err = fmt.Errorf("store: reading %s: %w", table, err)
	}
	return r.err
}

// readTries is how often a first read is tried again.
const readTries = 3

// first gets a connection and queues BEGIN, unless that was done.
func (r *reader) first() (err error) {
	if r.s != nil {
		return nil
	}
	if r.s, err = r.d.acquire(r.ctx); err != nil {
		return err
	}
	r.s.add(r.begin)
	return nil
}

func (r *reader) Get(table, key string) (doc []byte, err error) {
	stmt, err := r.d.stmts.of(table, stmtGet)
	if err == nil {
		err = r.ready()
	}
	if err != nil {
		return nil, err
	}
	if doc, ok := r.got(table, key); ok {
		if doc == nil {
			err = store.ErrNotFound
		}
		return doc, err
	}
	r.key = append(r.key[:0], key...)
	err = r.read(table, func(row [][]byte) { doc = append([]byte{}, row[0]...) }, stmt, r.key)
	if err == nil && doc == nil {
		err = store.ErrNotFound
	}
	return doc, err
}

// A Scan reads pages, each in one round trip. The first is small, for whoever
// looks for one document; the later ones are bounded by rows and, as far as it
// can be foreseen, by bytes.
const (
	firstPage = 16
	mostRows  = 512
	mostBytes = 1 << 20
)

func (r *reader) Scan(table, from, to string) iter.Seq2[store.Pair, error] {
	return func(yield func(store.Pair, error) bool) {
		var page []store.Pair
		size := 0
		for rows := firstPage; ; rows = nextPage(len(page), size) {
			page, size = page[:0], 0
			err := r.page(table, from, to, rows, func(row [][]byte) {
				page = append(page, store.Pair{Key: string(row[0]), Doc: append([]byte{}, row[1]...)})
				size += len(row[0]) + len(row[1])
			})
			if err != nil {
				yield(store.Pair{}, err)
				return
			}
			for _, p := range page {
				if !yield(p, nil) {
					return
				}
			}
			if len(page) < rows {
				return
			}
			from = page[len(page)-1].Key + "\x00" // the least key after it
		}
	}
}

func nextPage(rows, size int) int {
	most := mostBytes / (size/rows + 1)
	return max(1, min(4*rows, mostRows, most))
}

func (r *reader) page(table, from, to string, rows int, row func([][]byte)) error {
	kind := stmtScan
	if to == "" {
		kind = stmtScanOn
	}
	stmt, err := r.d.stmts.of(table, kind)
	if err == nil {
		err = r.ready()
	}
	if err != nil {
		return err
	}
	r.key = append(r.key[:0], from...)
	limit := binary.BigEndian.AppendUint64(nil, uint64(rows))
	if to == "" {
		return r.read(table, row, stmt, r.key, limit)
	}
	r.to = append(r.to[:0], to...)
	return r.read(table, row, stmt, r.key, r.to, limit)
}

var _ store.Reader = (*reader)(nil)
