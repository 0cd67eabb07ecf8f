package engine

import (
	"context"
	"fmt"
	"slices"
	"testing"

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
