package engine

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// XD-008: without randomness there is no certificate; and when the generator
// repeats itself, as in a machine that was copied while it ran, a serial number
// that is taken is not used again.
func TestXD_008_SerialNumbers(t *testing.T) {
	w := newWorld(t)
	w.Rand = fails{}
	func() {
		defer func() {
			if recover() == nil { // it is promised not to fail; ending is all that is left
				t.Error("without randomness the process goes on")
			}
		}()
		w.Submit(t.Context(), w.submission("1", newKey(t), "a.test"))
	}()
	if n := countCertificates(t, w); n != 0 {
		t.Fatalf("%d certificates without randomness", n)
	}
	w = newWorld(t)
	w.Rand = repeats{}
	one, _ := w.issue(w.submission("2", newKey(t), "a.test"))
	w.advanceClock(time.Second) // ids of rows hold the time
	if d, err := w.Submit(t.Context(), w.submission("3", newKey(t), "b.test")); err == nil {
		t.Errorf("the same serial number twice: %#v", d)
	}
	if n := countCertificates(t, w); n != 1 {
		t.Errorf("%d certificates", n)
	}
	if _, der, err := w.Certificate(t.Context(), one.ID); err != nil || !bytes.Equal(der, one.Cert) {
		t.Errorf("the first one: %v", err)
	}
}

type fails struct{}

func (fails) Read([]byte) (int, error) { return 0, errors.New("no randomness") }

type repeats struct{}

func (repeats) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 0x42
	}
	return len(b), nil
}
