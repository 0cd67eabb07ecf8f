package engine

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"chancery/engine/filter"
	"chancery/engine/names"
	"chancery/store"
)

// A CertificateFilter selects certificates. Zero fields select all.
type CertificateFilter struct {
	Name          string // exact name, such as www.example.org
	Key           string // SHA-256 of the SubjectPublicKeyInfo, hexadecimal
	Status        Status
	Profile       string
	ExpiresBefore time.Time
	Where         *filter.Expr // of ParseCertificateFilter; nil selects all
	Limit         int
	After         string // cursor of the page before

	// Of narrowed, for choosing an index only.
	serial, basis string
	expiresFrom   time.Time
}

func (f *CertificateFilter) match(c *Certificate) bool {
	return (f.Name == "" || slices.ContainsFunc(c.Names, func(n names.Name) bool { return n.Value == f.Name })) &&
		(f.Key == "" || c.SPKI == f.Key) && (f.Status == "" || c.Status == f.Status) &&
		(f.Profile == "" || c.Profile == f.Profile) && (f.ExpiresBefore.IsZero() || c.NotAfter.Before(f.ExpiresBefore))
}

// narrowed has what everything selected by Where has in common among the other
// fields, by which an index is chosen.
func (f CertificateFilter) narrowed(now time.Time) CertificateFilter {
	for _, t := range f.Where.Must() {
		switch {
		case t.Field == "expires" && t.Op == filter.After:
			f.expiresFrom = later(f.expiresFrom, t.When.From(now))
		case t.Field == "expires":
			if at := t.When.From(now); f.ExpiresBefore.IsZero() || at.Before(f.ExpiresBefore) {
				f.ExpiresBefore = at
			}
		case t.Op != filter.Equal || !t.Exact():
		case t.Field == "serial":
			f.serial = t.Value
		case t.Field == "name" && f.Name == "":
			f.Name = t.Value
		case t.Field == "key" && f.Key == "":
			f.Key = t.Value
		case t.Field == "state" && f.Status == "":
			f.Status = Status(t.Value)
		case t.Field == "basis", t.Field == "requester" && f.basis == "":
			f.basis = t.Value
		}
	}
	return f
}

// Index says how certificates are found, for people.
func (f CertificateFilter) Index(now time.Time) string {
	n := f.narrowed(now)
	switch day := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }; {
	case n.serial != "":
		return "by the serial number " + n.serial
	case n.Name != "":
		return "by the index of the name " + n.Name
	case len(n.Key) == 64:
		return "by the index of the key " + n.Key
	case n.basis != "":
		return "by the requests that rest on " + n.basis
	case n.Status == Revoked || n.Status == Held:
		return "by the index of what is revoked or held"
	case !n.expiresFrom.IsZero() && !n.ExpiresBefore.IsZero():
		return "by the end between " + day(n.expiresFrom) + " and " + day(n.ExpiresBefore)
	case !n.expiresFrom.IsZero():
		return "by the end from " + day(n.expiresFrom) + " on"
	case !n.ExpiresBefore.IsZero():
		return "by the end before " + day(n.ExpiresBefore)
	}
	return "by looking at every certificate"
}

// Certificates lists certificates in order of expiry, or of serial number where
// a name, key or status is asked for, and the cursor of the next page. With Where
// a page may hold less than its limit before the end.
func (e *Engine) Certificates(ctx context.Context, f CertificateFilter) ([]*Certificate, string, error) {
	now := e.now()
	return e.listCertificates(ctx, f.narrowed(now), maxLook, func(tx store.Tx, c *Certificate) (bool, error) {
		if !f.match(c) {
			return false, nil
		}
		return f.Where.Match(now, certificateFacts(tx, c))
	})
}

// listCertificates goes through the index that a narrowed filter fits, looking
// at so many rows if it has Where.
func (e *Engine) listCertificates(ctx context.Context, f CertificateFilter, most int, match func(store.Tx, *Certificate) (bool, error)) ([]*Certificate, string, error) {
	skip, err := certCursor(f.After)
	if err != nil {
		return nil, "", err
	}
	var all []*Certificate
	more := ""
	err = e.view(ctx, func(tx store.Tx) error {
		all, more = nil, ""
		looked := 0
		for c, err := range f.scan(tx, e, skip) {
			if err != nil {
				return err
			}
			ok, err := match(tx, c)
			switch {
			case err != nil:
				return err
			case ok && len(all) == pageLimit(f.Limit):
				more = all[len(all)-1].cursor()
				return nil
			case ok:
				all = append(all, c)
			}
			if looked++; f.Where != nil && looked == most {
				more = c.cursor()
				return nil
			}
		}
		return nil
	})
	return all, more, err
}

func (c *Certificate) cursor() string { return stamp(c.NotAfter) + "-" + c.CertID.String() }

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
func (f *CertificateFilter) scan(tx store.Tx, e *Engine, p position) iter.Seq2[*Certificate, error] {
	after := ""
	if !p.id.IsZero() {
		after = p.id.key()
	}
	switch {
	case f.serial != "":
		return f.bySerial(tx, e, p)
	case f.Name != "":
		return certificates.By(tx, "find", nameEntry(f.Name), after)
	case len(f.Key) == 64:
		return certificates.By(tx, "find", "k:"+f.Key[:32], after)
	case f.basis != "":
		return f.byBasis(tx, p)
	case f.Status == Revoked || f.Status == Held:
		return byIssuers(e, p, func(id, after string) iter.Seq2[*Certificate, error] {
			return certificates.By(tx, "revoked", id, after)
		})
	}
	from, to := p.stamp, ""
	if !f.expiresFrom.IsZero() {
		from = max(from, stamp(f.expiresFrom))
	}
	if !f.ExpiresBefore.IsZero() {
		to = stamp(f.ExpiresBefore.Add(time.Second))
	}
	return func(yield func(*Certificate, error) bool) {
		for c, err := range certificates.Range(tx, "notafter", from, to) {
			if err == nil && stamp(c.NotAfter) == p.stamp && c.key() <= after {
				continue
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

// byIssuers goes through what each CA key has, key by key.
func byIssuers(e *Engine, p position, of func(id, after string) iter.Seq2[*Certificate, error]) iter.Seq2[*Certificate, error] {
	return func(yield func(*Certificate, error) bool) {
		for _, id := range slices.Sorted(maps.Keys(e.issuers)) {
			if id < p.id.Issuer {
				continue
			}
			from := ""
			if id == p.id.Issuer {
				from = p.id.key()
			}
			for c, err := range of(id, from) {
				if !yield(c, err) {
					return
				}
			}
		}
	}
}

func (f *CertificateFilter) bySerial(tx store.Tx, e *Engine, p position) iter.Seq2[*Certificate, error] {
	return byIssuers(e, p, func(id, after string) iter.Seq2[*Certificate, error] {
		return func(yield func(*Certificate, error) bool) {
			c, err := certificates.Get(tx, CertID{id, f.serial}.key())
			if !store.Missing(err) && after == "" {
				yield(c, err)
			}
		}
	})
}

// byBasis goes through the requests that rest on something, to their
// certificates, and then through what was imported without a request.
func (f *CertificateFilter) byBasis(tx store.Tx, p position) iter.Seq2[*Certificate, error] {
	return func(yield func(*Certificate, error) bool) {
		after, imported := "", ""
		if !p.id.IsZero() {
			c, err := certificates.Get(tx, p.id.key())
			if err != nil {
				yield(nil, err)
				return
			}
			if after = c.Request; c.Imported != "" {
				imported = c.key()
			}
		}
		if imported == "" {
			for r, err := range requests.By(tx, "basis", f.basis, after) {
				var c *Certificate
				if err == nil {
					c, err = certificates.Get(tx, r.Cert.key())
				}
				if store.Missing(err) || err == nil && c.Imported != "" {
					continue // there is none, or it comes below
				}
				if !yield(c, err) {
					return
				}
			}
		}
		for c, err := range certificates.By(tx, "imported", "y", imported) {
			if !yield(c, err) {
				return
			}
		}
	}
}
