package store

import (
	"encoding/base32"
	"encoding/binary"
	"io"
	"time"
)

// IDLength is the length of an ID: one random hexadecimal digit, so that rows
// made at the same time do not all land in one place, the time in milliseconds
// (9 characters), and 80 random bits (16 characters).
const IDLength = 26

var ids = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// NewIDFor makes an ID for a row of db. Where one process owns the database, the
// first digit is always 0: rows made together then lie together, and a group of
// commits writes few pages.
func NewIDFor(db DB, now time.Time, random io.Reader) string {
	id := NewID(now, random)
	if s, ok := db.(interface{ Sole() bool }); ok && s.Sole() {
		return "0" + id[1:]
	}
	return id
}

// NewID makes an ID. Random must not fail.
func NewID(now time.Time, random io.Reader) string {
	var b [11]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		panic("store: no randomness: " + err.Error()) // nothing can be named; dying is the safe answer
	}
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli())<<19) // its 45 bits are 9 characters
	return "0123456789abcdef"[b[0]&15:][:1] + ids.EncodeToString(ms[:6])[:9] + ids.EncodeToString(b[1:])
}

// ValidID reports whether s has the form of an ID. Anything else from outside
// is refused before it reaches the database.
func ValidID(s string) bool {
	if len(s) != IDLength {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !(c >= '0' && c <= '9' || c >= 'a' && c <= 'v') {
			return false
		}
	}
	return true
}
