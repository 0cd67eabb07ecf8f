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

	"chancery/engine/names"
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
	Limit     int    // default 50, at most 1000
	After     string // cursor of the page before
}

func (f *RequestFilter) match(r *Request) bool {
	return (f.State == "" || r.State == f.State) && (f.Requester == "" || r.Requester == f.Requester) &&
		(f.Profile == "" || r.Profile == f.Profile) && (f.Source == "" || r.Source == f.Source) &&
		(f.Since.IsZero() || !r.Received.Before(f.Since)) && (f.Basis == "" || slices.Contains(r.basis(), f.Basis))
}

// Requests lists requests with what they ask for, newest first unless basis,
// requester or a state is asked for, and the cursor of the next page, empty at
// the end.
func (e *Engine) Requests(ctx context.Context, f RequestFilter) ([]*Request, string, error) {
	all, more, err := e.listRequests(ctx, f)
	if err != nil {
		return nil, "", err
	}
	return all, more, e.view(ctx, func(tx store.Tx) error {
		for _, r := range all {
			if err := loadAsked(tx, r); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e *Engine) listRequests(ctx context.Context, f RequestFilter) ([]*Request, string, error) {
	for _, by := range []struct{ index, value string }{
		{"basis", f.Basis}, {"basis", string(f.Requester)}, {"state", string(f.State)},
	} {
		if by.value == "" || by.value == string(StateIssued) {
			continue
		}
		if f.After != "" && !store.ValidID(f.After) {
			return nil, "", ErrBadCursor
		}
		var all []*Request
		more := ""
		err := e.view(ctx, func(tx store.Tx) error {
			all, more = nil, ""
			for r, err := range requests.By(tx, by.index, by.value, f.After) {
				if err != nil {
					return err
				}
				if !f.match(r) {
					continue
				}
				if len(all) == pageLimit(f.Limit) {
					more = all[len(all)-1].ID
					break
				}
				all = append(all, r)
			}
			return nil
		})
		return all, more, err
	}
	return listNewest(ctx, e, &requests, f.After, f.Limit, f.match)
}

// listNewest pages through a table by its time index. The cursor is the index
// value and key of the last row shown.
func listNewest[T any](ctx context.Context, e *Engine, t *store.Table[T], after string, limit int, match func(*T) bool) ([]*T, string, error) {
	from, skip, ok := strings.Cut(after, "-")
	if after != "" && (!ok || len(from) != 12 || !store.ValidID(skip)) {
		return nil, "", ErrBadCursor
	}
	var times func(*T) []string
	for _, ix := range t.Indexes {
		if ix.Name == "time" {
			times = ix.Keys
		}
	}
	var all []*T
	more := ""
	err := e.view(ctx, func(tx store.Tx) error {
		all, more = nil, ""
		for v, err := range t.Range(tx, "time", from, "") {
			if err != nil {
				return err
			}
			if times(v)[0] == from && t.Key(v) <= skip || !match(v) {
				continue
			}
			if len(all) == pageLimit(limit) {
				last := all[len(all)-1]
				more = times(last)[0] + "-" + t.Key(last)
				break
			}
			all = append(all, v)
		}
		return nil
	})
	return all, more, err
}

// A CertificateFilter selects certificates. Zero fields select all.
type CertificateFilter struct {
	Name          string // exact name, such as www.example.org
	Key           string // SHA-256 of the SubjectPublicKeyInfo, hexadecimal
	Status        Status
	Profile       string
	ExpiresBefore time.Time
	Limit         int
	After         string // cursor of the page before
}

func (f *CertificateFilter) match(c *Certificate) bool {
	return (f.Name == "" || slices.ContainsFunc(c.Names, func(n names.Name) bool { return n.Value == f.Name })) &&
		(f.Key == "" || c.SPKI == f.Key) && (f.Status == "" || c.Status == f.Status) &&
		(f.Profile == "" || c.Profile == f.Profile) && (f.ExpiresBefore.IsZero() || c.NotAfter.Before(f.ExpiresBefore))
}

// Certificates lists certificates in order of expiry, or of serial number where
// a name, key or status is asked for, and the cursor of the next page.
func (e *Engine) Certificates(ctx context.Context, f CertificateFilter) ([]*Certificate, string, error) {
	skip, err := certCursor(f.After)
	if err != nil {
		return nil, "", err
	}
	var all []*Certificate
	more := ""
	err = e.view(ctx, func(tx store.Tx) error {
		all, more = nil, ""
		for c, err := range f.scan(tx, e, skip) {
			if err != nil {
				return err
			}
			if !f.match(c) {
				continue
			}
			if len(all) == pageLimit(f.Limit) {
				last := all[len(all)-1]
				more = stamp(last.NotAfter) + "-" + last.CertID.String()
				break
			}
			all = append(all, c)
		}
		return nil
	})
	return all, more, err
}

// A position is where a page of certificates ended.
type position struct {
	stamp string
	id    CertID
}

func certCursor(s string) (position, error) {
	if s == "" {
		return position{}, nil
	}
	at, id, ok := strings.Cut(s, "-")
	issuer, serial, ok2 := strings.Cut(id, ":")
	if !ok || !ok2 || len(at) != 12 || len(issuer) != 40 || len(serial) > 40 || strings.Trim(at+issuer+serial, "0123456789abcdef") != "" {
		return position{}, ErrBadCursor
	}
	return position{at, CertID{issuer, serial}}, nil
}

// scan goes through the index that fits the filter, from where the page before
// ended.
func (f *CertificateFilter) scan(tx store.Tx, e *Engine, p position) func(func(*Certificate, error) bool) {
	after := ""
	if !p.id.IsZero() {
		after = p.id.key()
	}
	switch {
	case f.Name != "":
		return certificates.By(tx, "find", nameEntry(f.Name), after)
	case len(f.Key) == 64:
		return certificates.By(tx, "find", "k:"+f.Key[:32], after)
	case f.Status == Revoked || f.Status == Held:
		return func(yield func(*Certificate, error) bool) {
			for _, id := range slices.Sorted(maps.Keys(e.issuers)) {
				if id < p.id.Issuer {
					continue
				}
				from := ""
				if id == p.id.Issuer {
					from = after
				}
				for c, err := range certificates.By(tx, "revoked", id, from) {
					if !yield(c, err) {
						return
					}
				}
			}
		}
	}
	to := ""
	if !f.ExpiresBefore.IsZero() {
		to = stamp(f.ExpiresBefore.Add(time.Second))
	}
	return func(yield func(*Certificate, error) bool) {
		for c, err := range certificates.Range(tx, "notafter", p.stamp, to) {
			if err == nil && stamp(c.NotAfter) == p.stamp && c.key() <= after {
				continue
			}
			if !yield(c, err) {
				return
			}
		}
	}
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
