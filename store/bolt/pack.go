package bolt

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"
	"sync"

	"chancery/store"
)

// A form is how the documents of a table lie in the file once it was compacted:
// behind one byte that says whether they are packed. Compact packs them, with a
// dictionary of some documents of the same table, for rows of one kind are very
// alike; what is written later lies plain until the next Compact, since packing
// costs more than a commit. A nil form is that of a table which was never
// compacted: the document as it is.
type form struct {
	dict    []byte
	readers sync.Pool // of *flate reader
}

const (
	plainly byte = iota // the document follows
	packed              // its length (a varint), and it, deflated
)

func newForm(st *tableState) *form {
	if !st.Framed {
		return nil
	}
	return &form{dict: st.Dict}
}

// wrap is the value for a document.
func (f *form) wrap(doc []byte) []byte {
	if f == nil {
		return doc
	}
	return append(append(make([]byte, 0, 1+len(doc)), plainly), doc...)
}

// open is the document of a value, a copy. What cannot be unpacked is handed on
// as it lies there: the checksum in it tells whoever decodes it, and a scan goes
// on behind it.
func (f *form) open(v []byte) []byte {
	if f == nil || len(v) == 0 {
		return append([]byte{}, v...)
	}
	if v[0] == packed {
		if doc, ok := f.unpack(v[1:]); ok {
			return doc
		}
	}
	return append([]byte{}, v[1:]...)
}

func (f *form) unpack(v []byte) ([]byte, bool) {
	size, n := binary.Uvarint(v)
	if n <= 0 || size > store.MaxDoc || size > maxRatio*uint64(len(v)) {
		return nil, false
	}
	from := bytes.NewReader(v[n:])
	r, ok := f.readers.Get().(io.Reader)
	if !ok {
		r = flate.NewReaderDict(from, f.dict)
	} else if err := r.(flate.Resetter).Reset(from, f.dict); err != nil {
		return nil, false
	}
	doc := make([]byte, size, size+1)
	_, err := io.ReadFull(r, doc)
	if err == nil {
		_, err = io.ReadFull(r, doc[size:size+1])
	}
	f.readers.Put(r)
	return doc, err == io.EOF // exactly so many
}

// maxRatio is what DEFLATE can reach, so that a damaged length takes no memory.
const maxRatio = 1032

// A packer makes values of documents.
type packer struct {
	w   *flate.Writer
	buf bytes.Buffer
}

func newPacker(dict []byte) (*packer, error) {
	p := new(packer)
	var err error
	p.w, err = flate.NewWriterDict(&p.buf, flate.BestCompression, dict)
	return p, err
}

// wrap is the value for a document: packed if that is shorter. It is good until
// the next call.
func (p *packer) wrap(doc []byte) ([]byte, error) {
	p.buf.Reset()
	p.buf.WriteByte(packed)
	p.buf.Write(binary.AppendUvarint(nil, uint64(len(doc))))
	p.w.Reset(&p.buf)
	if _, err := p.w.Write(doc); err != nil {
		return nil, err
	}
	if err := p.w.Close(); err != nil {
		return nil, err
	}
	if p.buf.Len() <= len(doc) {
		return p.buf.Bytes(), nil
	}
	p.buf.Reset()
	p.buf.WriteByte(plainly)
	p.buf.Write(doc)
	return p.buf.Bytes(), nil
}
