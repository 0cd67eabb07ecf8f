// Package archive writes the documents of a database into one file, and reads
// them back into any other. It knows no backend and no record: a file written
// from one backend goes into another. Indexes are not in it; they are made anew.
//
// # Form
//
// A file is the line [Magic] and then blocks. A block is one byte that says its
// kind, the length of its payload (four octets, big-endian), the payload, and a
// CRC-32C of all that. In this order:
//
//	h  a Header, in JSON
//	f  a File, in JSON; any number
//	t  begins a table: {"name", "version"}; as the header lists them
//	d  documents of that table in order of their keys; any number. Each is the
//	   length of its key (uvarint), the key, the length of the document, the document
//	e  ends the table: {"documents", "sha256"}, the hash over all payloads of d
//	z  the Trailer: {"sha256", "mac"}, the hash over every octet before this block
//
// Nothing follows. So a file that was cut off or changed is refused wherever
// that was, and the error says where.
package archive

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"slices"
	"time"

	"chancery/store"
)

// Magic begins every file. Its number is the format's.
const Magic = "chancery backup 1\n"

// Kinds of blocks.
const (
	kindHeader  = 'h'
	kindFile    = 'f'
	kindTable   = 't'
	kindDocs    = 'd'
	kindEnd     = 'e'
	kindTrailer = 'z'
)

const (
	// blockSize is about how much of a table is one block.
	blockSize = 256 << 10

	// maxText bounds every block but those of documents.
	maxText = 32 << 20

	// maxDocs bounds a block of documents: one as large as any, and what may be
	// before it.
	maxDocs = blockSize + store.MaxKey + store.MaxDoc + 32

	// maxKey bounds keys as found in a file: those of indexes are longer, but
	// they are not in it.
	maxKey = store.MaxKey
)

// A Header says what a file is of.
type Header struct {
	Program string    `json:"program"` // version that wrote it
	Made    time.Time `json:"made"`    // before the snapshot was taken
	Seal    string    `json:"seal"`    // id of the secret that the records were made with
	CAs     []CA      `json:"cas"`
	Tables  []Table   `json:"tables"`
}

// A CA is one whose records are in the file.
type CA struct {
	Name  string `json:"name"`
	KeyID string `json:"key"` // hexadecimal
}

// A Table is a table that is in the file, with the version of its format.
type Table struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
}

// A File is a small public file that belongs to the records.
type File struct {
	Name    string `json:"name"` // with slashes, below the data directory
	Content []byte `json:"content"`
}

// A Sum is how many documents a table has, and their hash.
type Sum struct {
	Documents int    `json:"documents"`
	SHA256    string `json:"sha256"`
}

// A Trailer ends a file.
type Trailer struct {
	SHA256 string `json:"sha256"`
	MAC    string `json:"mac,omitempty"` // HMAC-SHA256 over the hash, under a key that the CA's nodes share
}

// A Summary is what a whole file holds.
type Summary struct {
	Header
	Files  []string       `json:"files"`
	Sums   map[string]Sum `json:"sums"` // by table
	Bytes  int64          `json:"bytes"`
	SHA256 string         `json:"sha256"` // of what the trailer vouches for
	mac    string
}

// Genuine reports whether the file was written by who has the key.
func (s *Summary) Genuine(key []byte) bool {
	return hmac.Equal([]byte(s.mac), []byte(macOf(key, s.SHA256)))
}

func macOf(key []byte, digest string) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(digest))
	return hex.EncodeToString(h.Sum(nil))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Without leaves out the tables with these names: what describes running
// processes, and not the CA.
func Without(schemas []store.Schema, names ...string) []store.Schema {
	return slices.DeleteFunc(slices.Clone(schemas), func(s store.Schema) bool { return slices.Contains(names, s.Name) })
}
