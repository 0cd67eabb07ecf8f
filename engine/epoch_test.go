package engine

import (
	"bytes"
	"testing"
	"time"

	xocsp "golang.org/x/crypto/ocsp"

	"chancery/engine/ocsp"
	"chancery/store"
)

// look does what a node does every half second.
func (w *world) look() { w.lookAtEpoch(w.t.Context(), w.current["main"]) }

// An answer is kept for as long as the node knows that nothing changed; another
// node's revocation is seen with the next look, and without looks at once (XO-005).
func TestXO_005_TwoNodes(t *testing.T) {
	w := newWorld(t)
	i, c := w.issue(w.submission("1", newKey(t), "a.test"))
	w.tend()
	other := w.keyless()
	state := func(der []byte) int {
		t.Helper()
		r, err := xocsp.ParseResponseForCert(der, c, w.current["main"].cert)
		if err != nil {
			t.Fatal(err)
		}
		return r.Status
	}
	other.look()
	first := other.ask(c)
	w.advanceClock(time.Second)
	if again := other.ask(c); !bytes.Equal(again, first) || state(first) != xocsp.Good {
		t.Error("not from memory, though nothing changed")
	}
	if err := w.Revoke(t.Context(), Revocation{ID: i.ID, Reason: 4, By: "olga"}); err != nil {
		t.Fatal(err)
	}
	if state(w.ask(c)) != xocsp.Revoked {
		t.Error("not at once where it was revoked")
	}
	other.look()
	if state(other.ask(c)) != xocsp.Revoked {
		t.Error("good after the look")
	}

	// Without looks an answer is as old as the last one at most.
	i, c = w.issue(w.submission("2", newKey(t), "b.test"))
	other.look()
	if state(other.ask(c)) != xocsp.Good {
		t.Error("a good one is not good")
	}
	if err := w.Revoke(t.Context(), Revocation{ID: i.ID, Reason: 6, By: "olga"}); err != nil {
		t.Fatal(err)
	}
	w.advanceClock(epochGood + time.Second)
	if state(other.ask(c)) != xocsp.Revoked {
		t.Error("good, and not confirmed for longer than promised")
	}
	other.look()
	if state(other.ask(c)) != xocsp.Revoked {
		t.Error("a hold is not seen")
	}
	if err := w.Revoke(t.Context(), Revocation{ID: i.ID, Release: true, By: "olga"}); err != nil {
		t.Fatal(err)
	}
	w.currentCRL() // the note of the change is gone, and the number is another
	other.look()
	if state(other.ask(c)) != xocsp.Good {
		t.Error("the end of a hold is not seen")
	}
}

// An answer from records that were read before a change is not kept after it.
func TestXO_005_LateAnswer(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := &epoch{}
	p.confirm(now, "a")
	turn, id, a := p.now(), []byte("id"), OCSPAnswer{DER: []byte("good"), ThisUpdate: now}
	p.change()
	p.keep(turn, id, a, now.Add(time.Hour))
	if _, ok := p.answer(id, now); ok {
		t.Error("kept, though it is older than the change")
	}
	p.keep(p.now(), id, a, now.Add(time.Hour))
	for _, at := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {epochGood, true}, {epochGood + 1, false}, {-1, false}} {
		if _, ok := p.answer(id, now.Add(at.after)); ok != at.want {
			t.Errorf("%s after the look: %v", at.after, ok)
		}
	}
	p.confirm(now.Add(time.Hour), "a")
	if _, ok := p.answer(id, now.Add(time.Hour)); ok {
		t.Error("beyond its time") // O-013
	}
	p.confirm(now, "")
	if _, ok := p.answer(id, now); ok {
		t.Error("kept, though it is not known what changed")
	}
	for n := range maxAnswers + 10 {
		p.keep(p.now(), []byte{byte(n), byte(n >> 8), byte(n >> 16)}, a, now.Add(time.Hour))
	}
	if len(p.answers) > maxAnswers {
		t.Errorf("%d are kept", len(p.answers))
	}
}

// Records that cannot be read for long are not waited for.
func TestOCSP_LostRecords(t *testing.T) {
	w := newWorld(t)
	_, c := w.issue(w.submission("1", newKey(t), "a.test"))
	w.look()
	is := w.current["main"]
	is.epoch.fail()
	w.advanceClock(epochLost)
	if got := w.ask(c); bytes.Equal(got, ocsp.ErrorResponse(ocsp.TryLater)) {
		t.Error("given up too early")
	}
	w.advanceClock(time.Second)
	if got := w.ask(c); !bytes.Equal(got, ocsp.ErrorResponse(ocsp.TryLater)) {
		t.Errorf("%x", got)
	}
	w.look()
	if got := w.ask(c); bytes.Equal(got, ocsp.ErrorResponse(ocsp.TryLater)) {
		t.Error("the records are back, and it is not noticed")
	}
}

// A responder that does not open keeps nobody who has the CA key from answering.
func TestOCSP_DamagedResponder(t *testing.T) {
	w := newWorld(t)
	_, c := w.issue(w.submission("1", newKey(t), "a.test"))
	r := w.tend()
	if err := w.db.Update(t.Context(), func(tx store.Tx) error {
		return responders.Put(tx, w.current["main"].keyID, r.raw[:len(r.raw)-1])
	}); err != nil {
		t.Fatal(err)
	}
	w.open()
	w.look()
	w.advanceClock(epochLost + time.Second)
	w.look()
	if got := w.ocsp(c); got.Certificate != nil || got.Status != xocsp.Good {
		t.Errorf("%+v", got)
	}
}
