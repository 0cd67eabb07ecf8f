//go:build faults

package engine

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"chancery/engine/tbs"
	"chancery/store"
)

// steps are the named steps of Submit, in order.
var steps = []string{"parsed", "recorded", "decided", "decision-committed", "before-signing", "signed", "certificate-committed", "told"}

// A process that dies at any step leaves a store from which the client's repeat
// and Run arrive at one certificate, told to the exit.
func TestCrashAtEachStep(t *testing.T) {
	for _, waits := range []bool{false, true} {
		for _, step := range steps {
			t.Run(fmt.Sprintf("%s waits=%t", step, waits), func(t *testing.T) { crashAt(t, step, waits) })
		}
	}
}

func crashAt(t *testing.T, step string, waits bool) {
	w := newWorld(t)
	w.setup.Shapers[0].Waits = waits
	w.use()
	w.step = func(s string) {
		if s == step {
			panic("dies at " + s)
		}
	}
	s := w.submission("1", newKey(t), "a.test")
	func() {
		defer func() { _ = recover() }()
		w.Submit(context.Background(), s)
	}()
	w.step = nil
	w.open()
	w.issue(s)
	w.runUntil("one event is delivered", func() bool { return slices.Contains(w.exit.kinds(), "issued") })
	if n := countCertificates(t, w); n != 1 {
		t.Errorf("%d certificates", n)
	}
	w.runUntil("nothing is left to deliver", func() bool {
		left := 0
		err := w.view(context.Background(), func(tx store.Tx) error {
			left = 0
			for range deliveries.All(tx, "", "") {
				left++
			}
			return nil
		})
		return err == nil && left == 0
	})
	if err := store.Verify(context.Background(), w.db, Schemas()); err != nil {
		t.Error(err)
	}
}

func TestWhoeverIsFirstTwiceSignsTheSame(t *testing.T) {
	w := newWorld(t)
	stop := errors.New("stop")
	w.step = func(step string) {
		if step == "decision-committed" {
			panic(stop)
		}
	}
	s := w.submission("1", newKey(t), "a.test")
	func() {
		defer func() { _ = recover() }()
		w.Submit(t.Context(), s)
	}()
	w.step = nil
	r, err := w.find(t.Context(), s.Key.String())
	if err != nil || r.State != Issuing {
		t.Fatalf("row %+v, %v", r, err)
	}
	if err := w.loadTBS(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	one, _ := w.issue(s)
	c, err := x509.ParseCertificate(one.Cert)
	if err != nil || !bytes.Equal(c.RawTBSCertificate, r.tbs) {
		t.Error("what was signed is not what was stored")
	}
	// The same stored bytes signed once more make the same certificate.
	again := mustSign(t, w, r.tbs)
	if !bytes.Equal(again, one.Cert) {
		t.Error("signing the same TBS twice made two certificates")
	}
}

func TestRevokedGrantEndsAtOnce(t *testing.T) {
	w := newWorld(t)
	g, _, err := w.CreateGrant(t.Context(), admin, Grant{Protocol: Native, Names: patterns(t, "*"), Holder: "key:ab"})
	if err != nil {
		t.Fatal(err)
	}
	held, err := w.HeldGrants(t.Context(), Native, "default", "key:ab")
	if err != nil || len(held) != 1 {
		t.Fatal(held, err)
	}
	// Revoked after policy looked and before the decision is committed.
	w.step = func(step string) {
		if step == "decided" {
			if err := w.RevokeGrant(context.Background(), admin, g.ID); err != nil {
				t.Error(err)
			}
		}
	}
	s := w.submission("1", newKey(t), "a.test")
	s.Proofs = []Proof{{Method: ByGrant, Ref: g.ID, At: w.now()}}
	w.denied(s, NotAuthorized)
}

func TestStaleIntentIsAbandonedAndListed(t *testing.T) {
	w := newWorld(t)
	w.step = func(step string) {
		if step == "before-signing" {
			panic("dies")
		}
	}
	s := w.submission("1", newKey(t), "a.test")
	func() {
		defer func() { _ = recover() }()
		w.Submit(t.Context(), s)
	}()
	w.step = nil
	r, err := w.find(t.Context(), s.Key.String())
	if err != nil || r.State != Issuing {
		t.Fatal(r, err)
	}
	w.advanceClock(16 * time.Minute)
	(&resumer{after: map[State]string{}, states: []State{Issuing, Pending, Received}}).pass(t.Context(), w.Engine, 0)
	if d, _ := w.Request(t.Context(), r.ID); d.State != StateAbandoned {
		t.Errorf("state %s", d.State)
	}
	l := w.currentCRL()
	if len(l.RevokedCertificateEntries) != 1 {
		t.Error("the serial of the intent is not listed")
	}
	if _, der, err := w.Certificate(t.Context(), r.Cert); err != nil || der != nil {
		t.Errorf("bytes of an abandoned intent: %x, %v", der, err)
	}
	s.Proofs[0].Expires = w.now().Add(time.Hour)
	w.issue(s) // asking again makes a new request
}

func mustSign(t *testing.T, w *world, raw []byte) []byte {
	t.Helper()
	is := w.current["main"]
	der, err := tbs.Sign(raw, is.alg, is.Key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
