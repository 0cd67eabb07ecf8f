package bolt

import (
	"bytes"
	"hash/maphash"
	"slices"

	"go.etcd.io/bbolt"
)

// A fill learns how full to leave a page of a bucket when it is split. Where
// keys come in streams, each growing at its end, the left half will see no more
// keys and is best left full. Where they come anywhere, both halves are best
// left half full, for a page that is left full is split again by its next key.
//
// A stream shows by the key that follows a new one: it stays the same. Where new
// keys come before all others, as with the newest first, it is the right half
// that is best left full.
type fill struct {
	falls   float64     // moving share of keys that came before all others
	follows [128]uint64 // hashes of the keys that followed those looked at last, as a ring
	n       int         // keys inserted
	streams float64     // moving share of keys followed by one of those
}

const (
	sample   = 4    // one key of so many is looked at
	weight   = 0.05 // of the newest in the moving share
	streamed = 0.25 // share from which keys come in streams; at random it is nearly 0

	// streamFill leaves a little room for keys that come late and for documents
	// that grow, which would split a page that is quite full.
	streamFill = 0.85
)

// percent is what bbolt calls FillPercent.
func (f *fill) percent() float64 {
	switch {
	case f.falls >= streamed:
		return 1 - streamFill
	case f.streams >= streamed:
		return streamFill
	}
	return bbolt.DefaultFillPercent
}

// inserting notes that a key is about to be inserted into b. It looks only
// forward: a cursor of bbolt 1.5 that goes back loops for ever when the pages
// before it were emptied in the same transaction.
func (f *fill) inserting(seed maphash.Seed, b *bbolt.Bucket, key []byte) {
	f.n++
	if f.n%sample != 0 {
		return
	}
	c := b.Cursor()
	first, _ := c.First()
	next, _ := c.Seek(key)
	h := maphash.Bytes(seed, next)
	f.streams *= 1 - weight
	f.falls *= 1 - weight
	if bytes.Compare(key, first) < 0 {
		f.falls += weight
	}
	if slices.Contains(f.follows[:], h) {
		f.streams += weight
	}
	f.follows[f.n/sample%len(f.follows)] = h
}
