package store

import (
	"bytes"
	"testing"
	"time"
)

// A Stamp is the time in an ID, and sorts like it.
func TestStamp(t *testing.T) {
	last := ""
	for _, at := range []time.Time{time.UnixMilli(0), time.UnixMilli(31), time.UnixMilli(32), time.Date(2026, 11, 22, 12, 0, 0, 1e6, time.UTC), time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)} {
		id := NewID(at, bytes.NewReader(bytes.Repeat([]byte{0xff}, 11)))
		s := Stamp(at)
		if !ValidID(id) || StampOf(id) != s || !StampTime(s).Equal(at) || s <= last {
			t.Errorf("%s: %s of %s, which is %s", at, s, id, StampTime(s))
		}
		last = s
	}
}
