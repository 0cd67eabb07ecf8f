package engine

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"chancery/store"
)

// XD-009: a clock that is behind what was signed signs nothing, but what is
// revoked is listed all the same; when it is right again everything goes on.
func TestXD_009_ClockBehind(t *testing.T) {
	w := newWorld(t)
	i, _ := w.issue(w.submission("1", newKey(t), "a.test"))
	first := w.currentCRL()
	w.advanceClock(-time.Hour)
	s := w.submission("2", newKey(t), "b.test")
	if d, err := w.Submit(t.Context(), s); !errors.Is(err, ErrClock) || !errors.Is(err, ErrUndecided) {
		t.Errorf("Submit = %v, %v", d, err)
	}
	if err := w.Revoke(t.Context(), Revocation{ID: i.ID, Reason: 4}); err != nil {
		t.Fatal(err)
	}
	l := w.currentCRL()
	if len(l.RevokedCertificateEntries) != 1 || l.ThisUpdate.Before(first.ThisUpdate) || l.Number.Cmp(first.Number) <= 0 {
		t.Errorf("list %s of %s with %d entries, after %s of %s", l.Number, l.ThisUpdate, len(l.RevokedCertificateEntries), first.Number, first.ThisUpdate)
	}
	// A new process knows it from the lists.
	w.open()
	if w.ClockError() == nil {
		t.Error("after a restart the clock is believed")
	}
	if w.Engine.clock.look(w.now()) == nil {
		t.Error("looking at the clock finds nothing")
	}
	w.advanceClock(time.Hour)
	s.Proofs[0].At, s.Proofs[0].Expires = w.now(), w.now().Add(time.Hour)
	w.issue(s)
}

// A machine whose clock is years behind when it starts, and is set then, has not
// jumped ahead.
func TestXD_009_ClockIsSetAfterTheStart(t *testing.T) {
	w := newWorld(t)
	w.currentCRL()
	const years = 10 * 365 * 24 * time.Hour
	w.advanceClock(-years)
	w.open()
	if w.Engine.clock.look(w.now()) == nil {
		t.Error("looking at the clock finds nothing")
	}
	w.advanceClock(years)
	w.issue(w.submission("1", newKey(t), "a.test"))
}

// A clock that jumps ahead while the process runs signs nothing that cannot be
// taken back: no certificate, list or OCSP answer from the future.
func TestXD_009_ClockJumpsAhead(t *testing.T) {
	w := newWorld(t)
	_, c := w.issue(w.submission("1", newKey(t), "a.test"))
	first := w.currentCRL()
	w.runUntil("the clock was looked at", func() bool {
		w.Engine.clock.mu.Lock()
		defer w.Engine.clock.mu.Unlock()
		return !w.Engine.clock.seen.IsZero()
	})
	if !w.Engine.clock.seen.IsZero() {
		t.Error("a clock that nobody looks at is remembered")
	}
	if err := w.Engine.clock.look(w.now()); err != nil {
		t.Fatal(err)
	}
	const year = 365 * 24 * time.Hour
	w.advanceClock(year)
	s := w.submission("2", newKey(t), "b.test")
	if d, err := w.Submit(t.Context(), s); !errors.Is(err, ErrClock) {
		t.Errorf("Submit = %v, %v", d, err)
	}
	if err := w.publishCRL(t.Context(), w.current["main"], store.Lease{}); !errors.Is(err, ErrClock) {
		t.Errorf("publishing a list: %v", err)
	}
	req, err := ocsp.CreateRequest(c, w.current["main"].cert, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := ocsp.ParseResponse(w.OCSP(t.Context(), req).DER, nil); err == nil {
		t.Errorf("OCSP answers %+v", res)
	}
	w.advanceClock(-year)
	s.Proofs[0].At, s.Proofs[0].Expires = w.now(), w.now().Add(time.Hour)
	w.issue(s)
	if l := w.currentCRL(); l.ThisUpdate.After(first.ThisUpdate) {
		t.Errorf("a list of %s", l.ThisUpdate)
	}
}

// A process that started by a wrong clock made lists from the future. Somebody
// who says that the clock is right now gets lists that clients can use.
func TestXD_009_ClockIsRight(t *testing.T) {
	w := newWorld(t)
	i, _ := w.issue(w.submission("1", newKey(t), "a.test"))
	if err := w.Revoke(t.Context(), Revocation{ID: i.ID, Reason: 4}); err != nil {
		t.Fatal(err)
	}
	const year = 365 * 24 * time.Hour
	w.advanceClock(year)
	w.currentCRL()
	w.advanceClock(year)
	future := w.currentCRL() // on which the certificate, expired by that clock, is no more
	if len(future.RevokedCertificateEntries) != 0 {
		t.Fatal("this does not show what it should")
	}
	w.advanceClock(-2 * year)
	w.open()
	if err := w.ClockError(); !errors.Is(err, ErrClock) {
		t.Fatalf("the clock is believed: %v", err)
	}
	w.conf.ClockIsRight = true
	w.open()
	l := w.currentCRL()
	if !l.ThisUpdate.Equal(w.now().Truncate(time.Second)) || l.Number.Cmp(future.Number) <= 0 || len(l.RevokedCertificateEntries) != 1 {
		t.Errorf("list %s of %s with %d entries", l.Number, l.ThisUpdate, len(l.RevokedCertificateEntries))
	}
	w.issue(w.submission("2", newKey(t), "b.test"))
	w.conf.ClockIsRight = false
	w.open()
	w.issue(w.submission("3", newKey(t), "c.test"))
}

// An event that was written by a clock far ahead is told when the clock is right.
func TestXD_009_DeliveryFromTheFuture(t *testing.T) {
	w := newWorld(t)
	w.advanceClock(365 * 24 * time.Hour)
	w.issue(w.submission("1", newKey(t), "a.test"))
	w.advanceClock(-365 * 24 * time.Hour)
	w.runUntil("it is told", func() bool { return sameKinds(w.exit.kinds(), "issued") })
}
