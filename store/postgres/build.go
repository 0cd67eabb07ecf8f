package postgres

import (
	"context"
	"fmt"

	"chancery/store"

	"github.com/jackc/pgx/v5"
)

// chunk is how many documents are indexed in one transaction.
const chunk = 1000

// build adds to an index that is not done the entries of all documents, a chunk
// in each transaction, so that a process that ends meanwhile goes on from there.
func (p *preparer) build(ctx context.Context, s store.Schema, ix store.IndexSchema) error {
	st := p.states[s.Name]
	is := st.Indexes[ix.Name]
	if is.Done {
		return nil
	}
	if err := p.exclude(ctx); err != nil {
		return err
	}
	p.d.o.Log.InfoContext(ctx, "building a new index", "index", ix.Name)
	for !is.Done {
		if err := pgx.BeginFunc(ctx, p.conn, func(tx pgx.Tx) error {
			if err := p.chunk(ctx, tx, s, ix, is); err != nil {
				return err
			}
			return writeState(ctx, tx, p.d.schema, s.Name, st)
		}); err != nil {
			return err
		}
	}
	return nil
}

func (p *preparer) chunk(ctx context.Context, tx pgx.Tx, s store.Schema, ix store.IndexSchema, is *indexState) error {
	after := is.After
	if after == nil {
		after = []byte{}
	}
	rows, err := tx.Query(ctx, "select key, doc from "+quote(p.d.schema, s.Name)+" where key > $1 order by key limit $2", after, chunk)
	if err != nil {
		return err
	}
	var key, doc []byte
	var keys, docs [][]byte
	n := 0
	if _, err := pgx.ForEachRow(rows, []any{&key, &doc}, func() error {
		pairs, err := ix.Entries(string(key), doc)
		if err != nil {
			return fmt.Errorf("the document %q: %w", key, err)
		}
		for _, e := range pairs {
			keys, docs = append(keys, []byte(e.Key)), append(docs, append([]byte{}, e.Doc...))
		}
		n++
		is.After = append([]byte{}, key...)
		return nil
	}); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "insert into "+quote(p.d.schema, ix.Name)+" select * from unnest($1::bytea[], $2::bytea[])", keys, docs); err != nil {
		if code(err) == uniqueViolation {
			return fmt.Errorf("two documents have the same value, which must be unique: %w", store.ErrExists)
		}
		return err
	}
	if n < chunk {
		is.Done, is.After = true, nil
	}
	return nil
}
