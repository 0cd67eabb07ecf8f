package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// ErrLost is returned by Check, and is the cause of the end of the context, when
// another node leads now.
var ErrLost = errors.New("store: another node leads now")

// LeadOptions change how Lead behaves; the zero value is right outside tests.
type LeadOptions struct {
	// Beat is how often the leader shows that it lives and the others look; 1 s
	// if zero.
	Beat time.Duration

	// Still is how long the others see no beat before one takes over; 4 s if
	// zero. It is measured by the monotonic clock of each, so clocks need not
	// agree. All nodes must have the same.
	Still time.Duration

	// Log receives changes of leadership and failed beats; nil for none.
	Log *slog.Logger
}

// A Lease is the right to lead, good for as long as its Check succeeds.
type Lease struct {
	Name, Holder string
	Epoch        uint64 // grows with each leader; 0 where only one process can have the store
}

// Check fails with ErrLost when the lease is no longer this one. Each Update
// that only the leader may make calls it, so that a leader which does not know
// yet that it was replaced changes nothing.
func (l Lease) Check(tx Tx) error {
	if l.Epoch == 0 {
		return nil
	}
	row, err := leases.Get(tx, l.Name)
	if errors.Is(err, ErrNotFound) {
		return ErrLost
	}
	if err == nil && (row.Epoch != l.Epoch || row.Holder != l.Holder) {
		return ErrLost
	}
	return err
}

// lease is written when the leader changes, beat all the time. They are apart so
// that a transaction which checks a lease does not conflict with beats.
type (
	lease struct {
		Name   string
		Epoch  uint64
		Holder string // empty: given back, free for anyone
	}
	beat struct {
		Name  string
		Count uint64
	}
)

var (
	leases = &Table[lease]{Name: "leases", Version: 1, Key: func(l *lease) string { return l.Name }}
	beats  = &Table[beat]{Name: "beats", Version: 1, Key: func(b *beat) string { return b.Name }}
)

// Schemas are those of the tables that Lead needs.
func Schemas() []Schema { return []Schema{leases.Schema(), beats.Schema()} }

// Lead waits until this node, holder, leads in what name stands for, and calls
// fn. The context of fn ends when leadership is lost; fn must then return, and
// Lead waits to lead again. When fn returns by itself Lead gives the lease back
// and returns the error of fn; when ctx ends, that of ctx. The holder's name must
// be that of this process alone, such as a new ID.
//
// A DB with a method Sole that returns true is held by this process alone, which
// then leads at once.
func Lead(ctx context.Context, db DB, name, holder string, o LeadOptions, fn func(context.Context, Lease) error) error {
	if s, ok := db.(interface{ Sole() bool }); ok && s.Sole() {
		return fn(ctx, Lease{Name: name, Holder: holder})
	}
	if o.Beat == 0 {
		o.Beat = time.Second
	}
	if o.Still == 0 {
		o.Still = 4 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Still < 3*o.Beat {
		return fmt.Errorf("store: a lease that ends after %v needs beats more often than every %v", o.Still, o.Beat)
	}
	c := candidate{db: db, o: o, Lease: Lease{Name: name, Holder: holder}}
	for {
		began, err := c.win(ctx)
		if err != nil {
			return err
		}
		o.Log.InfoContext(ctx, "leading", "lease", name, "epoch", c.Epoch)
		lost, err := c.lead(ctx, began, fn)
		if !lost {
			return err
		}
		o.Log.WarnContext(ctx, "no longer leading", "lease", name, "epoch", c.Epoch)
	}
}

// A candidate is a node that leads or would.
type candidate struct {
	Lease
	db DB
	o  LeadOptions
}

// win returns when the lease is ours, with the time from which the others see
// no beat.
func (c *candidate) win(ctx context.Context) (began time.Time, err error) {
	tick := time.NewTicker(c.o.Beat)
	defer tick.Stop()
	var seen standing
	since := time.Now() // when seen was first seen; a count that is the same later never moved
	for {
		now := time.Now()
		is, err := c.look(ctx)
		switch {
		case ctx.Err() != nil:
			return time.Time{}, ctx.Err()
		case err != nil:
			c.o.Log.WarnContext(ctx, "looking at a lease failed", "lease", c.Name, "error", err)
		case is.free() || is == seen && now.Sub(since) >= c.o.Still:
			if c.take(ctx, is) {
				return now, nil
			}
		case is != seen:
			seen, since = is, time.Now()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}

// A standing is what can be seen of a leader.
type standing struct {
	epoch, count uint64
	holder       string
}

func (s standing) free() bool { return s.holder == "" }

func (c *candidate) look(ctx context.Context) (s standing, err error) {
	err = c.db.View(ctx, func(tx Tx) error {
		s, err = c.standing(tx)
		return err
	})
	return s, err
}

func (c *candidate) standing(tx Tx) (standing, error) {
	row, err := leases.Get(tx, c.Name)
	if errors.Is(err, ErrNotFound) {
		return standing{}, nil
	}
	if err != nil {
		return standing{}, err
	}
	b, err := beats.Get(tx, c.Name)
	if err != nil {
		return standing{}, err
	}
	return standing{row.Epoch, b.Count, row.Holder}, nil
}

// take makes the lease ours unless it has moved from what was seen.
func (c *candidate) take(ctx context.Context, seen standing) bool {
	err := c.db.Update(ctx, func(tx Tx) error {
		is, err := c.standing(tx)
		if err != nil {
			return err
		}
		if is != seen {
			return ErrLost
		}
		mine := &lease{Name: c.Name, Epoch: is.epoch + 1, Holder: c.Holder}
		c.Epoch = mine.Epoch
		if is == (standing{}) {
			if err := leases.Insert(tx, mine); err != nil {
				return err
			}
			return beats.Insert(tx, &beat{Name: c.Name})
		}
		old, err := leases.Get(tx, c.Name)
		if err != nil {
			return err
		}
		return leases.Put(tx, old, mine)
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrLost) && !errors.Is(err, ErrExists) {
		c.o.Log.WarnContext(ctx, "taking a lease failed", "lease", c.Name, "error", err)
	}
	return err == nil
}

// lead runs fn and beats. It returns true when leadership was lost before fn
// returned by itself.
func (c *candidate) lead(ctx context.Context, last time.Time, fn func(context.Context, Lease) error) (lost bool, err error) {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan error, 1)
	go func() {
		defer close(ended) // however fn ends
		ended <- fn(inner, c.Lease)
	}()

	tick := time.NewTicker(c.o.Beat)
	defer tick.Stop()
	for {
		select {
		case err := <-ended: // by itself or because ctx did
			c.giveBack(ctx)
			if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
				err = ctx.Err()
			}
			return false, err
		case <-tick.C:
		}
		now := time.Now()
		err := c.beat(context.WithoutCancel(ctx), last) // fn may still work when ctx has ended
		if err == nil {
			last = now
			continue
		}
		c.o.Log.WarnContext(ctx, "a beat failed", "lease", c.Name, "error", err)
		if errors.Is(err, ErrLost) || time.Since(last) >= c.o.Still-c.o.Beat {
			cancel(ErrLost) // before the others may take over
			<-ended
			return true, nil
		}
	}
}

// beat shows that the leader lives. It gives up when another may lead.
func (c *candidate) beat(ctx context.Context, last time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, last.Add(c.o.Still-c.o.Beat))
	defer cancel()
	return c.db.Update(ctx, func(tx Tx) error {
		if err := c.Check(tx); err != nil {
			return err
		}
		_, err := beats.Change(tx, c.Name, func(b *beat) error {
			b.Count++
			return nil
		})
		return err
	})
}

// giveBack lets another lead without waiting. It outlives ctx, which may be what
// ended, but not for long.
func (c *candidate) giveBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.o.Beat)
	defer cancel()
	err := c.db.Update(ctx, func(tx Tx) error {
		if err := c.Check(tx); err != nil {
			return err
		}
		_, err := leases.Change(tx, c.Name, func(l *lease) error {
			l.Holder = ""
			return nil
		})
		return err
	})
	if err != nil && !errors.Is(err, ErrLost) {
		c.o.Log.WarnContext(ctx, "giving a lease back failed", "lease", c.Name, "error", err)
	}
}
