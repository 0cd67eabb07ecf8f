package archive

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"chancery/store"
)

// Write writes the documents of the schemas' tables, as they are in one snapshot,
// and the files. The tables of h are filled in here. It holds no more than a
// block in memory; the snapshot is held until w has taken everything, so w should
// be a disk. The key authenticates the file.
func Write(ctx context.Context, w io.Writer, h Header, files []File, db store.DB, schemas []store.Schema, key []byte) error {
	h.Tables = nil
	for _, s := range schemas {
		h.Tables = append(h.Tables, Table{s.Name, s.Version})
	}
	return db.View(ctx, func(tx store.Tx) error {
		b := newWriter(w)
		b.text(kindHeader, h)
		for _, f := range files {
			b.text(kindFile, f)
		}
		for _, t := range h.Tables {
			if err := b.table(ctx, tx, t); err != nil {
				return err
			}
		}
		digest := hex.EncodeToString(b.sum.Sum(nil))
		b.text(kindTrailer, Trailer{digest, macOf(key, digest)})
		return b.flush()
	})
}

// A writer writes blocks. After its first error it does nothing.
type writer struct {
	to   *bufio.Writer
	sum  hash.Hash // over all that was written
	size int64
	err  error
}

func newWriter(w io.Writer) *writer {
	b := &writer{to: bufio.NewWriterSize(w, blockSize), sum: sha256.New()}
	b.write([]byte(Magic))
	return b
}

func (b *writer) write(p []byte) {
	if b.err != nil {
		return
	}
	b.sum.Write(p)
	var n int
	n, b.err = b.to.Write(p)
	b.size += int64(n)
}

func (b *writer) block(kind byte, payload []byte) {
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(payload)))
	crc := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, payload)
	b.write(head)
	b.write(payload)
	b.write(binary.BigEndian.AppendUint32(nil, crc))
}

func (b *writer) text(kind byte, v any) {
	payload, err := json.Marshal(v)
	if err == nil && len(payload) > maxText {
		err = fmt.Errorf("archive: a block of %d octets is too large", len(payload))
	}
	if err != nil {
		b.err = err
		return
	}
	b.block(kind, payload)
}

func (b *writer) flush() error {
	if b.err == nil {
		b.err = b.to.Flush()
	}
	return b.err
}

func (b *writer) table(ctx context.Context, tx store.Tx, t Table) error {
	b.text(kindTable, t)
	sum := newTableSum()
	var docs []byte
	for p, err := range tx.Scan(t.Name, "", "") {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		docs = appendPair(docs, p)
		sum.n++
		if len(docs) >= blockSize {
			sum.h.Write(docs)
			b.block(kindDocs, docs)
			docs = docs[:0]
		}
		if b.err != nil {
			return b.err
		}
	}
	if len(docs) > 0 {
		sum.h.Write(docs)
		b.block(kindDocs, docs)
	}
	b.text(kindEnd, sum.sum())
	return b.err
}

func appendPair(b []byte, p store.Pair) []byte {
	b = binary.AppendUvarint(b, uint64(len(p.Key)))
	b = append(b, p.Key...)
	b = binary.AppendUvarint(b, uint64(len(p.Doc)))
	return append(b, p.Doc...)
}

type tableSum struct {
	n int
	h hash.Hash
}

func newTableSum() *tableSum { return &tableSum{h: sha256.New()} }

func (s *tableSum) sum() Sum { return Sum{s.n, hex.EncodeToString(s.h.Sum(nil))} }

// SumOf counts and hashes a table as Write does.
func SumOf(ctx context.Context, tx store.Tx, table string) (Sum, error) {
	s := newTableSum()
	var b []byte
	for p, err := range tx.Scan(table, "", "") {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return Sum{}, err
		}
		b = appendPair(b[:0], p)
		s.h.Write(b)
		s.n++
	}
	return s.sum(), nil
}
