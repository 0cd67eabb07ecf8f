package scep

import (
	"bytes"
	"context"
	"testing"
	"time"

	"chancery/engine"
	"chancery/store"
)

// The key is followed by another in time, and the old one goes on decrypting.
func TestRAKeyRollsOver(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	first, err := w.ra.Keys(ctx, false)
	if err != nil || len(first) != 1 {
		t.Fatalf("%d keys, %v", len(first), err)
	}
	w.pass(250 * 24 * time.Hour) // more than two thirds of a year
	second, err := w.ra.Keys(ctx, false)
	if err != nil || len(second) != 2 || !second[1].Certificate.Equal(first[0].Certificate) {
		t.Fatalf("%d keys, %v", len(second), err)
	}
	d := w.device(rsaKey(t, 0))
	a := d.send(sent{kind: "19", to: first[0].Certificate, content: csr(t, d.key, w.challenge(1, "", "a.test"), "a.test")})
	a.expect(t, "to the old key", success, "")
	if !a.signer.Equal(first[0].Certificate) {
		t.Error("the reply is not signed with the key that the client knows")
	}
	w.pass(120 * 24 * time.Hour) // the first is over
	third, err := w.ra.Keys(ctx, false)
	if err != nil || len(third) != 1 || !third[0].Certificate.Equal(second[0].Certificate) {
		t.Errorf("%d keys, %v", len(third), err)
	}
}

// Nodes share the keys; what one makes, another finds when a client uses it.
func TestNodesShareRAKeys(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	other := w.newRA()
	one, err := w.ra.Keys(ctx, false)
	if err != nil {
		t.Fatal(err)
	}
	two, err := other.Keys(ctx, false)
	if err != nil || len(two) != 1 || !two[0].Certificate.Equal(one[0].Certificate) {
		t.Fatalf("%d keys, %v", len(two), err)
	}
	id := engine.NewCertID(one[0].Certificate.AuthorityKeyId, one[0].Certificate.SerialNumber.Bytes())
	if err := w.engine.Revoke(ctx, engine.Revocation{ID: id, Reason: 1, By: "test"}); err != nil {
		t.Fatal(err)
	}
	w.pass(3 * time.Second)
	if two, err = other.Keys(ctx, true); err != nil || len(two) != 1 || two[0].Certificate.Equal(one[0].Certificate) {
		t.Fatalf("a revoked key is in use: %d keys, %v", len(two), err)
	}
	d := w.device(rsaKey(t, 0))
	d.send(sent{kind: "19", to: two[0].Certificate, content: csr(t, d.key, w.challenge(1, "", "a.test"), "a.test")}).expect(t, "to the key of the other node", success, "")
}

// A crash between key and certificate leaves a key that is certified then.
func TestRAKeyIsCertifiedAfterACrash(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	enroll := w.ra.d.Enroll
	w.ra.d.Enroll = nil
	func() {
		defer func() { _ = recover() }()
		_, _ = w.ra.Keys(ctx, false)
	}()
	w.ra = w.newRA()
	w.ra.d.Enroll = enroll
	if keys, err := w.ra.Keys(ctx, false); err != nil || len(keys) != 1 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	rows, err := w.ra.rows(ctx)
	if err != nil || len(rows) != 1 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

// The key is sealed for its place.
func TestRAKeyIsSealed(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	if _, err := w.ra.Keys(ctx, false); err != nil {
		t.Fatal(err)
	}
	rows, err := w.ra.rows(ctx)
	if err != nil {
		t.Fatal(err)
	}
	moved := *rows[0]
	moved.ID = "000009"
	if _, err := w.ra.open(&moved); err == nil {
		t.Error("it opens in another place")
	}
	moved = *rows[0]
	moved.Sealed = bytes.Clone(moved.Sealed)
	moved.Sealed[40] ^= 1
	if err := w.db.Update(ctx, func(tx store.Tx) error { return raKeys.Put(tx, rows[0], &moved) }); err != nil {
		t.Fatal(err)
	}
	if _, err := w.newRA().Keys(ctx, false); err == nil {
		t.Error("a damaged key is passed over in silence")
	}
}
