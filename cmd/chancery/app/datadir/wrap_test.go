package datadir

import (
	"bytes"
	"crypto/rand"
	"testing"
)

func TestSecretReachesOnlyTheNodeItIsFor(t *testing.T) {
	d, other := Dir(t.TempDir()), Dir(t.TempDir())
	if _, err := d.MakeSeal(rand.Reader); err != nil {
		t.Fatal(err)
	}
	s, err := d.ReadSeal()
	if err != nil {
		t.Fatal(err)
	}
	key, err := NewJoinKey()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := NewJoinKey()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := s.Wrap("n2", key.Public())
	if err != nil || bytes.Contains(sealed, s.secret) {
		t.Fatal("not encrypted", err)
	}
	if _, err := stranger.Unwrap("n2", sealed); err == nil {
		t.Error("a stranger opened it")
	}
	if _, err := key.Unwrap("n3", sealed); err == nil {
		t.Error("it is good for a node of another name")
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := key.Unwrap("n2", bad); err == nil {
			t.Fatalf("octet %d changed, and it opened", i)
		}
	}
	got, err := key.Unwrap("n2", sealed)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.WriteSeal(got); err != nil {
		t.Fatal(err)
	}
	if err := other.WriteSeal(got); err == nil {
		t.Error("written over one that is there")
	}
	back, err := other.ReadSeal()
	if err != nil || !bytes.Equal(back.secret, s.secret) {
		t.Error("another secret arrived", err)
	}
	for _, bad := range [][]byte{nil, []byte("short"), make([]byte, len(key.Public())+1)} {
		if _, err := s.Wrap("n2", bad); err == nil {
			t.Errorf("encrypted to a key of %d octets", len(bad))
		}
	}
}
