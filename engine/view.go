package engine

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"chancery/engine/filter"
	"chancery/store"
)

// ErrBadCursor says that a cursor was not made by the page before.
var ErrBadCursor = errors.New("the cursor is not one that a page before this one gave")

// A RequestFilter selects requests. Zero fields select all.
type RequestFilter struct {
	State     State
	Requester Principal
	Basis     string // what it rests on: a requester, "grant:ID", "vote:NAME", "by:NODE", "policy:" and 16 digits of the version
	Profile   string
	Source    Source
	Since     time.Time
	Where     *filter.Expr // of ParseRequestFilter; nil selects all
	Limit     int          // default 50, at most 1000
	After     string       // cursor of the page before
}

func (f *RequestFilter) match(r *Request) bool {
	return (f.State == "" || r.State == f.State) && (f.Requester == "" || r.Requester == f.Requester) &&
		(f.Profile == "" || r.Profile == f.Profile) && (f.Source == "" || r.Source == f.Source) &&
		(f.Since.IsZero() || !r.Received.Before(f.Since)) && (f.Basis == "" || slices.Contains(r.basis(), f.Basis))
}

// narrowed has what everything selected by Where has in common among the other
// fields, by which an index is chosen.
func (f RequestFilter) narrowed(now time.Time) RequestFilter {
	for _, t := range f.Where.Must() {
		switch {
		case t.Op == filter.After && t.Field == "received":
			if at := t.When.From(now); at.After(f.Since) {
				f.Since = at
			}
		case t.Op != filter.Equal || !t.Exact():
		case t.Field == "state" && f.State == "":
			f.State = State(t.Value)
		case t.Field == "requester" && f.Requester == "":
			f.Requester = Principal(t.Value)
		case t.Field == "basis" && f.Basis == "":
			f.Basis = t.Value
		}
	}
	return f
}

// index is the index that fits the filter best, with the value to look for; none
// is that of the time.
func (f *RequestFilter) index() (name, value string) {
	switch {
	case f.Basis != "":
		return "basis", f.Basis
	case f.Requester != "":
		return "basis", string(f.Requester)
	case f.State != "" && f.State != StateIssued:
		return "state", string(f.State)
	}
	return "", ""
}

// Index says how requests are found, for people.
func (f RequestFilter) Index(now time.Time) string {
	n := f.narrowed(now)
	switch name, value := n.index(); {
	case name != "":
		return "by the index " + name + " of " + value
	case !n.Since.IsZero():
		return "by the time since " + n.Since.UTC().Format(time.RFC3339)
	}
	return "by looking at every request"
}

// Requests lists requests with what they ask for, newest first unless basis,
// requester or a state is asked for, and the cursor of the next page, empty at
// the end. With Where a page may hold less than its limit before the end.
func (e *Engine) Requests(ctx context.Context, f RequestFilter) ([]*Request, string, error) {
	all, more, err := e.listRequests(ctx, f.narrowed(e.now()))
	if err != nil {
		return nil, "", err
	}
	return all, more, e.view(ctx, func(tx store.Tx) error {
		for _, r := range all {
			if r.Asked != nil {
				continue
			}
			if err := loadAsked(tx, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// maxLook is how many rows a page with a filter looks at. Whoever selects little
// gets pages that are nearly empty instead of transactions that last.
const maxLook = 10000

func (e *Engine) listRequests(ctx context.Context, f RequestFilter) ([]*Request, string, error) {
	now := e.now()
	looked := 0
	match := func(tx store.Tx, r *Request) (bool, error) {
		if looked++; !f.match(r) {
			return false, nil
		}
		return f.Where.Match(now, requestFacts(tx, r))
	}
	index, value := f.index()
	if index == "" {
		to := ""
		if !f.Since.IsZero() {
			to = newestFirst(f.Since.Add(-time.Millisecond))
		}
		return listSpan(ctx, e, &requests, span{f.After, to, f.Limit, f.Where != nil}, match)
	}
	if f.After != "" && !store.ValidID(f.After) {
		return nil, "", ErrBadCursor
	}
	var all []*Request
	more := ""
	err := e.view(ctx, func(tx store.Tx) error {
		all, more, looked = nil, "", 0
		for r, err := range requests.By(tx, index, value, f.After) {
			if err != nil {
				return err
			}
			ok, err := match(tx, r)
			switch {
			case err != nil:
				return err
			case ok && len(all) == pageLimit(f.Limit):
				more = all[len(all)-1].ID
				return nil
			case ok:
				all = append(all, r)
			}
			if f.Where != nil && looked == maxLook {
				more = r.ID
				return nil
			}
		}
		return nil
	})
	return all, more, err
}

// listNewest pages through a table by its time index.
func listNewest[T any](ctx context.Context, e *Engine, t *store.Table[T], after string, limit int, match func(*T) bool) ([]*T, string, error) {
	return listSpan(ctx, e, t, span{after: after, limit: limit}, func(_ store.Tx, v *T) (bool, error) { return match(v), nil })
}

// A span is what to list of a table by its time index: what follows a cursor and
// lies before a value, so many, looking at maxLook rows if it is brief. The
// cursor is the index value and key of the last row shown, or looked at.
type span struct {
	after, to string
	limit     int
	brief     bool
}

func listSpan[T any](ctx context.Context, e *Engine, t *store.Table[T], s span, match func(store.Tx, *T) (bool, error)) ([]*T, string, error) {
	from, skip, ok := strings.Cut(s.after, "-")
	if s.after != "" && (!ok || len(from) != 12 || !store.ValidID(skip)) {
		return nil, "", ErrBadCursor
	}
	var times func(*T) []string
	for _, ix := range t.Indexes {
		if ix.Name == "time" {
			times = ix.Keys
		}
	}
	cursor := func(v *T) string { return times(v)[0] + "-" + t.Key(v) }
	var all []*T
	more := ""
	err := e.view(ctx, func(tx store.Tx) error {
		all, more = nil, ""
		looked := 0
		for v, err := range t.Range(tx, "time", from, s.to) {
			if err != nil {
				return err
			}
			if times(v)[0] == from && t.Key(v) <= skip {
				continue
			}
			ok, err := match(tx, v)
			switch {
			case err != nil:
				return err
			case ok && len(all) == pageLimit(s.limit):
				more = cursor(all[len(all)-1])
				return nil
			case ok:
				all = append(all, v)
			}
			if looked++; s.brief && looked == maxLook {
				more = cursor(v)
				return nil
			}
		}
		return nil
	})
	return all, more, err
}

func pageLimit(n int) int {
	if n <= 0 {
		return 50
	}
	return min(n, 1000)
}

// AuthorityInfo describes an authority and its current CA key.
type AuthorityInfo struct {
	Name     string
	KeyID    string              // of the current CA key, hexadecimal
	Chain    []*x509.Certificate // the CA's own certificate first, the root last
	CanSign  bool                // this node holds the key
	Profiles []string
	CRL      *CRL // nil if none was published yet; without DER
}

// Authorities lists all authorities by name, Chancery's own too.
func (e *Engine) Authorities(ctx context.Context) ([]AuthorityInfo, error) {
	var all []AuthorityInfo
	for _, name := range slices.Sorted(maps.Keys(e.current)) {
		is := e.current[name]
		a := AuthorityInfo{Name: name, KeyID: is.keyID, Chain: is.Chain, CanSign: is.Key != nil}
		for p, pr := range e.Profiles() {
			if pr.Authority == name {
				a.Profiles = append(a.Profiles, p)
			}
		}
		slices.Sort(a.Profiles)
		err := e.view(ctx, func(tx store.Tx) (err error) {
			a.CRL, err = crls.Get(tx, is.keyID)
			return err
		})
		if err != nil && !store.Missing(err) {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// Issuer returns the CA certificate with the key identifier, in hexadecimal, or
// ErrNoCertificate.
func (e *Engine) Issuer(keyID string) (*x509.Certificate, error) {
	is := e.issuers[keyID]
	if is == nil {
		return nil, fmt.Errorf("%w: no CA key here has the identifier %.50q", ErrNoCertificate, keyID)
	}
	return is.cert, nil
}
