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
	return "0123456789abcdef"[b[0]&15:][:1] + Stamp(now) + ids.EncodeToString(b[1:])
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

// Stamp is the part of an ID that says when it was made, to the millisecond: as
// text it sorts like the time.
func Stamp(t time.Time) string {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(t.UnixMilli())<<19) // its 45 bits are 9 characters
	return ids.EncodeToString(ms[:6])[:stampLength]
}

const stampLength = 9

// StampOf is the Stamp of the time at which an ID was made.
func StampOf(id string) string { return id[1 : 1+stampLength] }

// StampTime reads a Stamp; of anything else the result is some time.
func StampTime(stamp string) time.Time {
	var ms int64
	for _, c := range []byte(stamp) {
		v := int64(c - '0')
		if c >= 'a' {
			v = int64(c-'a') + 10
		}
		ms = ms<<5 | v&31
	}
	return time.UnixMilli(ms)
}
