package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chancery/store"
)

// RenewalRules say when clients that ask (RFC 9773) are told to renew.
type RenewalRules struct {
	Before Duration `json:"before,omitempty"` // how long before the end the window begins; default: a third of the life
	Window Duration `json:"window,omitempty"` // how long it is; default: a tenth of before
	Check  Duration `json:"check,omitempty"`  // how long a client waits before it asks again, 1m to 1d; default 6h, less for short lives
}

// What a client is told to wait for is between these: RFC 9773, Section 4.3.2
// lets it take less for a minute and more for a day.
const (
	leastCheck   = time.Minute
	mostCheck    = 24 * time.Hour
	defaultCheck = 6 * time.Hour
	leastWindow  = 2 * time.Second
)

func (r *RenewalRules) check(validity Duration) error {
	switch {
	case r.Before > validity/4*3:
		return errors.New("renewal.before is at most three quarters of validity: what is new would have to be renewed at once")
	case r.Window > 0 && time.Duration(r.Window) > r.Before.or(time.Duration(validity)/3):
		return errors.New("renewal.window is longer than renewal.before: it would end after the certificate")
	case r.Check != 0 && (time.Duration(r.Check) < leastCheck || time.Duration(r.Check) > mostCheck):
		return errors.New("renewal.check is between 1m and 1d: clients take less and more for these")
	}
	return nil
}

// A Renewal is when a certificate should be renewed.
type Renewal struct {
	Start, End  time.Time     // whole seconds, End after Start
	Check       time.Duration // ask again after that
	Explanation string        // address of a page that says why, if there is one
}

// Renewal says when a certificate should be renewed, or ErrNoCertificate: at the
// time that its profile names; in the past if it is revoked; as a campaign says
// if one wants it earlier.
func (e *Engine) Renewal(ctx context.Context, id CertID) (*Renewal, error) {
	var r Renewal
	err := e.view(ctx, func(tx store.Tx) error {
		c, err := certificates.Get(tx, id.key())
		if err != nil {
			return err
		}
		p := e.setup.Load().profiles[c.Profile]
		r = p.Renewal.suggest(c)
		if c.Status == Revoked {
			return nil
		}
		return hasten(tx, c, &r)
	})
	if store.Missing(err) {
		return nil, ErrNoCertificate
	} else if err != nil {
		return nil, fmt.Errorf("when to renew %s: %w", id, err)
	}
	return &r, nil
}

// suggest is the window of a certificate by its profile.
func (r *RenewalRules) suggest(c *Certificate) Renewal {
	life := c.NotAfter.Sub(c.issued())
	check := min(r.Check.or(defaultCheck), max(life/20, leastCheck))
	if c.Status == Revoked {
		// Well in the past, for clients whose clock is slow: RFC 9773, Section 6.
		return window(c.RevokedAt.Add(-2*time.Hour), time.Hour, check)
	}
	before := r.Before.or(life / 3)
	if before > life/4*3 { // shorter than others of the profile
		before = life / 3
	}
	return window(c.NotAfter.Add(-before), min(r.Window.or(before/10), before), check)
}

// window is a Renewal in whole seconds. RFC 9773, Section 4.2: the end is never
// the start; and acmez takes nothing from a window of one second.
func window(start time.Time, long, check time.Duration) Renewal {
	r := Renewal{Start: start.UTC().Truncate(time.Second), End: start.UTC().Add(long).Truncate(time.Second), Check: check}
	if r.End.Sub(r.Start) < leastWindow {
		r.End = r.Start.Add(leastWindow)
	}
	return r
}

// issued is when the certificate was made, as its dates have it. One of a CA
// that was new then may be older by up to an hour.
func (c *Certificate) issued() time.Time {
	if t := c.NotBefore.Add(backdate); t.Before(c.NotAfter) {
		return t
	}
	return c.NotBefore
}

// replacedEntry is what certificates that replace one are found under in the
// index find.
func replacedEntry(id CertID) string { return "r:" + id.key() }

// Replaced reports whether a certificate was issued that replaces the one with
// the id, as its requester said.
func (e *Engine) Replaced(ctx context.Context, id CertID) (is bool, err error) {
	err = e.view(ctx, func(tx store.Tx) error {
		is, err = replaced(tx, id)
		return err
	})
	return is, err
}

func replaced(tx store.Tx, id CertID) (bool, error) {
	from := replacedEntry(id)
	n, err := certificates.Count(tx, "find", from, from+"\x00", 1)
	return n > 0, err
}
