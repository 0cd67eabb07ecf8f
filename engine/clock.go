package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"chancery/store"
)

// ErrClock says that nothing is signed because the clock of this machine cannot
// be right.
var ErrClock = errors.New("the clock of this machine cannot be right, so nothing is signed")

const (
	// clockBehind is how much earlier than the last signature it may be: clocks of
	// nodes differ, and are set.
	clockBehind = 5 * time.Minute

	// clockAhead is how far the clock may jump while the process runs. Lists that
	// say they were made in the future cannot be taken back, and lack what will
	// have expired by then.
	clockAhead = 24 * time.Hour

	clockLook = 10 * time.Second
)

// A clock remembers what a right clock cannot contradict.
type clock struct {
	mu     sync.Mutex
	signed time.Time // when something was signed last
	seen   time.Time // when it was looked at last, while Run runs; else zero
}

// check says why nothing may be signed now, or nil.
func (c *clock) check(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.behind(now); err != nil {
		return err
	}
	return c.ahead(now)
}

func (c *clock) behind(now time.Time) error {
	if c.signed.Sub(now) > clockBehind {
		return fmt.Errorf("%w: it says %s, and something was signed at %s; set it, or if it is right now and was not then, restart with --clock-is-right",
			ErrClock, now.Format(time.RFC3339), c.signed.Format(time.RFC3339))
	}
	return nil
}

func (c *clock) ahead(now time.Time) error {
	if !c.seen.IsZero() && now.Sub(c.seen) > clockAhead {
		return fmt.Errorf("%w: it jumped from %s to %s; set it, or if it is right now, such as after the machine was suspended, restart the server",
			ErrClock, c.seen.Format(time.RFC3339), now.Format(time.RFC3339))
	}
	return nil
}

// jumped says that the clock jumped ahead, which is worse than a clock that is
// behind: what is made by it, and what is deleted because it is old, cannot be
// made good.
func (c *clock) jumped(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ahead(now)
}

// did notes that something is signed.
func (c *clock) did(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.After(c.signed) {
		c.signed = now
	}
}

// look notes what the clock says, unless it jumped. From a clock that is behind
// it may jump: that is how it is set right.
func (c *clock) look(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.behind(now); err != nil {
		c.seen = time.Time{}
		return err
	}
	err := c.ahead(now)
	if err == nil {
		c.seen = now
	}
	return err
}

func (c *clock) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = time.Time{}
}

// ClockError says what is wrong with the clock of this machine as far as can be
// known, or nil.
func (e *Engine) ClockError() error { return e.clock.check(e.now()) }

// runClock looks at the clock until ctx is done.
func (e *Engine) runClock(ctx context.Context) {
	defer e.clock.forget()
	every(ctx, clockLook, func(ctx context.Context) {
		if err := e.clock.look(e.now()); err != nil {
			e.Log.ErrorContext(ctx, "clock", "err", err)
		}
	})
}

// readClock learns from the lists when something was signed last.
func (e *Engine) readClock(ctx context.Context) error {
	if e.ClockIsRight {
		return nil
	}
	return e.view(ctx, func(tx store.Tx) error {
		for l, err := range crls.All(tx, "", "") {
			if err != nil {
				return err
			}
			e.clock.did(l.ThisUpdate)
		}
		return nil
	})
}
