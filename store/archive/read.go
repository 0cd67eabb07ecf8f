package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"slices"

	"github.com/go-json-experiment/json"

	"chancery/store"
)

// ErrDamaged is in the error for a file that is not whole, or not as it was
// written.
var ErrDamaged = errors.New("the backup is damaged")

// A Visitor is told what a file holds, in its order. Fields may be nil. That the
// file is whole is known only when Read has returned.
type Visitor struct {
	Header func(Header) error
	File   func(File) error
	Docs   func(table string, all []store.Pair) error
}

// Read reads a file to its end and checks all of it. It holds a block in memory.
func Read(r io.Reader, v Visitor) (*Summary, error) {
	d := &reader{from: bufio.NewReaderSize(r, blockSize), sum: sha256.New(), v: v, s: Summary{Sums: map[string]Sum{}}, where: "its first line"}
	if err := d.magic(); err != nil {
		return nil, err
	}
	if err := d.header(); err != nil {
		return nil, err
	}
	if err := d.files(); err != nil {
		return nil, err
	}
	for _, t := range d.s.Tables {
		if err := d.table(t); err != nil {
			return nil, err
		}
	}
	if err := d.trailer(); err != nil {
		return nil, err
	}
	return &d.s, nil
}

type reader struct {
	from  *bufio.Reader
	sum   hash.Hash
	at    int64 // octets read
	where string
	v     Visitor
	s     Summary

	kind    byte // of the block that was read last
	payload []byte
}

func (d *reader) damaged(format string, args ...any) error {
	return fmt.Errorf("%w: at octet %d, in %s: %s", ErrDamaged, d.at, d.where, fmt.Sprintf(format, args...))
}

// read fills p. What it read counts for the digest.
func (d *reader) read(p []byte) error {
	n, err := io.ReadFull(d.from, p)
	d.at += int64(n)
	d.sum.Write(p[:n])
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return d.damaged("it ends there; it was cut off")
	case err != nil:
		return fmt.Errorf("reading the backup: %w", err)
	}
	return nil
}

func (d *reader) magic() error {
	b := make([]byte, len(Magic))
	if err := d.read(b); err != nil {
		return err
	}
	if string(b) == Magic {
		return nil
	}
	if head := Magic[:len(Magic)-2]; string(b[:len(head)]) == head {
		return fmt.Errorf("the backup has the format %q; this program reads 1: use the version that wrote it", b[len(head):len(b)-1])
	}
	return d.damaged("this is no backup made by chancery backup")
}

// next reads a block.
func (d *reader) next() error {
	d.mark()
	var head [5]byte
	if err := d.read(head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[1:])
	most := uint32(maxText)
	if head[0] == kindDocs {
		most = maxDocs
	}
	if n > most {
		return d.damaged("a block says that it has %d octets, which none has", n)
	}
	d.kind = head[0]
	if err := d.fill(int(n)); err != nil {
		return err
	}
	crc := crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, d.payload)
	var tail [4]byte
	if err := d.read(tail[:]); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(tail[:]) != crc {
		return d.damaged("what is there is not what was written (checksum)")
	}
	return nil
}

// fill reads a payload. Memory grows with what is really there, not with what a
// damaged length says.
func (d *reader) fill(n int) error {
	d.payload = d.payload[:0]
	for len(d.payload) < n {
		k := min(n-len(d.payload), 1<<20)
		begin := len(d.payload)
		d.payload = slices.Grow(d.payload, k)[:begin+k]
		if err := d.read(d.payload[begin:]); err != nil {
			return err
		}
	}
	return nil
}

// text reads a payload in JSON.
func (d *reader) text(v any) error {
	if err := json.Unmarshal(d.payload, v, json.RejectUnknownMembers(true)); err != nil {
		return d.damaged("%s", err)
	}
	return nil
}

func (d *reader) want(kind byte) error {
	if err := d.next(); err != nil {
		return err
	}
	if d.kind != kind {
		return d.damaged("a block %q stands where %q belongs", d.kind, kind)
	}
	return nil
}

func (d *reader) header() error {
	d.where = "the header"
	if err := d.want(kindHeader); err != nil {
		return err
	}
	if err := d.text(&d.s.Header); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, t := range d.s.Tables {
		if t.Name == "" || t.Version < 1 || seen[t.Name] {
			return d.damaged("the table %q is listed twice or makes no sense", t.Name)
		}
		seen[t.Name] = true
	}
	if d.v.Header != nil {
		return d.v.Header(d.s.Header)
	}
	return nil
}

// files reads the files and the block after them.
func (d *reader) files() error {
	for {
		d.where = "the files"
		if err := d.next(); err != nil {
			return err
		}
		if d.kind != kindFile {
			return nil
		}
		var f File
		if err := d.text(&f); err != nil {
			return err
		}
		d.s.Files = append(d.s.Files, f.Name)
		if d.v.File != nil {
			if err := d.v.File(f); err != nil {
				return err
			}
		}
	}
}

// table reads a table, whose first block was read, and the block after it.
func (d *reader) table(t Table) error {
	d.where = "the table " + t.Name
	var said Table
	if d.kind != kindTable {
		return d.damaged("a block %q stands where the table should begin", d.kind)
	}
	if err := d.text(&said); err != nil {
		return err
	}
	if said != t {
		return d.damaged("it is called %s here", said.Name)
	}
	sum, last := newTableSum(), ""
	for {
		if err := d.next(); err != nil {
			return err
		}
		if d.kind != kindDocs {
			break
		}
		sum.h.Write(d.payload)
		all, err := d.docs(&last)
		if err != nil {
			return err
		}
		sum.n += len(all)
		if d.v.Docs != nil {
			if err := d.v.Docs(t.Name, all); err != nil {
				return err
			}
		}
	}
	if d.kind != kindEnd {
		return d.damaged("a block %q stands where the table should end", d.kind)
	}
	var end Sum
	if err := d.text(&end); err != nil {
		return err
	}
	if end != sum.sum() {
		return d.damaged("it has %d documents that do not add up to the %d that were written", sum.n, end.Documents)
	}
	d.s.Sums[t.Name] = end
	d.where = "what follows the table " + t.Name
	return d.next()
}

// docs takes a block of documents apart. last is the key before, and then the
// last one here.
func (d *reader) docs(last *string) ([]store.Pair, error) {
	var all []store.Pair
	take := func(b []byte, most uint64) (part, rest []byte, ok bool) {
		n, k := binary.Uvarint(b)
		if k <= 0 || n > most || n > uint64(len(b)-k) {
			return nil, nil, false
		}
		return b[k : k+int(n)], b[k+int(n):], true
	}
	for rest := bytes.Clone(d.payload); len(rest) > 0; { // the documents are handed on
		key, after, ok := take(rest, maxKey)
		if !ok || len(key) == 0 || string(key) <= *last {
			return nil, d.damaged("its keys make no sense")
		}
		doc, after, ok := take(after, store.MaxDoc)
		if !ok {
			return nil, d.damaged("its documents make no sense")
		}
		*last, rest = string(key), after
		all = append(all, store.Pair{Key: *last, Doc: doc})
	}
	return all, nil
}

// trailer checks the trailer, which was read, and that nothing follows.
func (d *reader) trailer() error {
	d.where = "the trailer"
	if d.kind != kindTrailer {
		return d.damaged("a block %q stands where the trailer belongs", d.kind)
	}
	var t Trailer
	if err := d.text(&t); err != nil {
		return err
	}
	if t.SHA256 != d.s.SHA256 {
		return d.damaged("the file is not the one that was written (digest)")
	}
	d.s.mac, d.s.Bytes = t.MAC, d.at
	switch _, err := d.from.ReadByte(); {
	case err == nil:
		return d.damaged("something follows it")
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("reading the backup: %w", err)
	}
	return nil
}

// mark remembers the digest of all before the block that comes: of the last one,
// it is what the trailer vouches for.
func (d *reader) mark() { d.s.SHA256 = hex.EncodeToString(d.sum.Sum(nil)) }
