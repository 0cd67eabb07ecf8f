package engine

import (
	"context"
	"slices"
	"testing"
	"time"

	"chancery/store"
)

// A slow exit is told things until Run ends.
type slow struct {
	recorder
	began chan struct{}
}

func (x *slow) Tell(ctx context.Context, ev Event) error {
	select {
	case x.began <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return ctx.Err()
}

// When Run ends, as it does with each change of policy, what an exit was being
// told is told by the next Run at once, and that is no attempt.
func TestInterruptedTellingIsNoAttempt(t *testing.T) {
	w := newWorld(t)
	x := &slow{began: make(chan struct{}, 1)}
	w.setup.Exits = []Outlet{{"log", x}}
	w.use()
	w.issue(w.submission("1", newKey(t), "a.test"))
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		select {
		case <-x.began:
		case <-time.After(20 * time.Second):
			t.Error("it is not told again")
		}
		cancel()
		<-ended
	}
	attempts, rows := 0, 0
	if err := w.db.View(t.Context(), func(tx store.Tx) error {
		attempts, rows = 0, 0
		for d, err := range deliveries.All(tx, "", "") {
			if err != nil {
				return err
			}
			rows++
			attempts += d.Attempts
			if d.Parked {
				t.Error("it was parked")
			}
		}
		return nil
	}); err != nil || rows == 0 || attempts != 0 {
		t.Errorf("%d attempts at %d events: %v", attempts, rows, err)
	}
	w.setup.Exits = []Outlet{{"log", w.exit}}
	w.use()
	w.runUntil("it is told", func() bool { return len(w.exit.kinds()) > 0 })
}

// A node that starts with the policy before the one in force does not park what
// the others write for an exit that only the newer one has.
func TestEventsForAnExitOfANewerPolicyAreNotParked(t *testing.T) {
	w := newWorld(t)
	other, err := New(t.Context(), w.conf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Adopt(w.setup); err != nil {
		t.Fatal(err)
	}
	s := w.setup
	s.Policy = testPolicy()
	s.Policy.Exit = append(s.Policy.Exit, Module{Name: "newer"})
	s.Exits = append(slices.Clone(s.Exits), Outlet{"newer", &recorder{}})
	if _, err := other.Use(t.Context(), s, "other"); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Submit(t.Context(), w.submission("1", newKey(t), "a.test")); err != nil {
		t.Fatal(err)
	}
	parked := func() int {
		t.Helper()
		if err := w.parkForeign(t.Context(), w.Engine.setup.Load()); err != nil {
			t.Fatal(err)
		}
		h, err := w.Health(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return h.Parked
	}
	if n := parked(); n != 0 {
		t.Errorf("%d are parked", n)
	}
	if _, err := other.Use(t.Context(), w.setup, "other"); err != nil { // without the exit again
		t.Fatal(err)
	}
	if n := parked(); n == 0 {
		t.Error("what no policy has is not parked")
	}
}
