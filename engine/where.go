package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"chancery/engine/filter"
	"chancery/engine/names"
	"chancery/store"
)

// What people can say of certificates and of requests in a filter.
var (
	certificateFields = []filter.Field{
		{Name: "state", Words: []string{string(Good), string(Held), string(Revoked)}},
		{Name: "profile"}, {Name: "authority"}, {Name: "requester"}, {Name: "basis"},
		{Name: "name", Fold: foldName},
		{Name: "serial", Fold: ParseSerial}, {Name: "key", Fold: foldKey},
		{Name: "issued", Kind: filter.Moment}, {Name: "expires", Kind: filter.Moment}, {Name: "revoked", Kind: filter.Moment},
		{Name: "reason", Words: slices.Sorted(maps.Keys(revocationReasons))},
		{Name: "replaced", Kind: filter.Flag}, {Name: "renewed", Kind: filter.Flag},
	}
	requestFields = []filter.Field{
		{Name: "state", Words: words(Received, Pending, Issuing, StateIssued, StateDenied, StateAbandoned)},
		{Name: "profile"}, {Name: "authority"}, {Name: "requester"}, {Name: "basis"},
		{Name: "name", Fold: foldName},
		{Name: "serial", Fold: ParseSerial}, {Name: "source", Words: words(ACME, SCEP, EST, Native, Self)}, {Name: "endpoint"},
		{Name: "received", Kind: filter.Moment}, {Name: "ended", Kind: filter.Moment},
		{Name: "reason", Words: words(Reasons...)},
		{Name: "renewal", Kind: filter.Flag},
	}
)

func words[T ~string](list ...T) []string {
	all := make([]string, len(list))
	for i, w := range list {
		all[i] = string(w)
	}
	return all
}

// ParseCertificateFilter reads a filter over certificates: fields state (good,
// held, revoked), profile, authority, requester, basis (what the request rested
// on), name, serial, key (SHA-256 of the SPKI), reason; times issued, expires,
// revoked; replaced (its requester says that a newer one takes its place), renewed
// (replaced, or the requester has a newer good one with all its names).
func ParseCertificateFilter(s string) (*filter.Expr, error) { return parseFilter(s, certificateFields) }

// ParseRequestFilter reads a filter over requests: fields state, profile,
// authority, requester, basis, name (asked for), serial, source, endpoint, reason
// (of a denial); times received, ended; renewal (it replaces a certificate).
func ParseRequestFilter(s string) (*filter.Expr, error) { return parseFilter(s, requestFields) }

func parseFilter(s string, fields []filter.Field) (*filter.Expr, error) {
	x, err := filter.Parse(s, fields)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadInput, err)
	}
	return x, nil
}

// foldName is a name as rows have it.
func foldName(s string) (string, error) {
	kinds := []names.Type{names.IP, names.DNS}
	switch {
	case strings.Contains(s, "://"):
		kinds = []names.Type{names.URI}
	case strings.Contains(s, "@"):
		kinds = []names.Type{names.Email}
	}
	for _, kind := range kinds {
		if n, err := names.Parse(kind, s); err == nil {
			return n.Value, nil
		}
	}
	return "", fmt.Errorf("%.80q is not a name that a certificate can have", s)
}

func foldKey(s string) (string, error) {
	if s = strings.ToLower(s); len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" {
		return "", fmt.Errorf("a key is the SHA-256 of its SubjectPublicKeyInfo, 64 hexadecimal digits")
	}
	return s, nil
}

func texts[T ~string](list ...T) filter.Value { return filter.Value{Texts: words(list...)} }

func namesOf(all []names.Name) filter.Value {
	var v filter.Value
	for _, n := range all {
		v.Texts = append(v.Texts, n.Value)
	}
	return v
}

// certificateFacts says what a certificate has in a field. What is not in its
// row is read when it is asked for.
func certificateFacts(tx store.Tx, c *Certificate) func(string) (filter.Value, error) {
	return func(field string) (filter.Value, error) {
		switch field {
		case "state":
			return texts(c.Status), nil
		case "profile":
			return texts(c.Profile), nil
		case "authority":
			return texts(c.Authority), nil
		case "requester":
			return texts(c.Requester), nil
		case "name":
			return namesOf(c.Names), nil
		case "serial":
			return texts(c.Serial), nil
		case "key":
			return texts(c.SPKI), nil
		case "issued":
			return filter.Value{Time: c.issued()}, nil
		case "expires":
			return filter.Value{Time: c.NotAfter}, nil
		case "revoked":
			return filter.Value{Time: c.RevokedAt}, nil
		case "reason":
			if c.Status == Good {
				return filter.Value{}, nil
			}
			return texts(ReasonName(c.Reason)), nil
		case "basis":
			return basisOf(tx, c)
		case "replaced":
			is, err := replaced(tx, c.CertID)
			return filter.Value{Flag: is}, err
		case "renewed":
			is, err := renewed(tx, c)
			return filter.Value{Flag: is}, err
		}
		return filter.Value{}, fmt.Errorf("engine: certificates have no field %q", field)
	}
}

// basisOf is what the request of a certificate rests on. One that was imported
// may have none.
func basisOf(tx store.Tx, c *Certificate) (filter.Value, error) {
	r, err := requests.Get(tx, c.Request)
	if store.Missing(err) {
		return texts(c.Requester), nil
	} else if err != nil {
		return filter.Value{}, err
	}
	return filter.Value{Texts: r.basis()}, nil
}

// requestFacts says what a request has in a field.
func requestFacts(tx store.Tx, r *Request) func(string) (filter.Value, error) {
	return func(field string) (filter.Value, error) {
		switch field {
		case "state":
			return texts(r.State), nil
		case "profile":
			if r.Profile == "" {
				return texts(r.Want), nil
			}
			return texts(r.Profile), nil
		case "authority":
			return authorityOf(tx, r)
		case "requester":
			return texts(r.Requester), nil
		case "basis":
			return filter.Value{Texts: r.basis()}, nil
		case "serial":
			return texts(r.Cert.Serial), nil
		case "source":
			return texts(r.Source), nil
		case "endpoint":
			return texts(r.Endpoint), nil
		case "received":
			return filter.Value{Time: r.Received}, nil
		case "ended":
			return filter.Value{Time: r.Ended}, nil
		case "renewal":
			return filter.Value{Flag: !r.Replaces.IsZero()}, nil
		case "reason":
			if r.Refusal == nil {
				return filter.Value{}, nil
			}
			return texts(r.Refusal.Reason), nil
		case "name":
			if r.Asked == nil {
				if err := loadAsked(tx, r); err != nil {
					return filter.Value{}, err
				}
			}
			return namesOf(r.Asked.Names), nil
		}
		return filter.Value{}, fmt.Errorf("engine: requests have no field %q", field)
	}
}

// authorityOf is the authority that issued, or else the one that was asked for.
func authorityOf(tx store.Tx, r *Request) (filter.Value, error) {
	c, err := certificates.Get(tx, r.Cert.key())
	if store.Missing(err) {
		return texts(r.WantAuth), nil
	} else if err != nil {
		return filter.Value{}, err
	}
	return texts(c.Authority), nil
}

// renewed reports whether the requester of a certificate has a newer one that is
// good and has all its names, or says that one takes its place.
func renewed(tx store.Tx, c *Certificate) (bool, error) {
	if is, err := replaced(tx, c.CertID); is || err != nil || c.SPKI == "" {
		return is, err
	}
	entry := "k:" + c.SPKI[:32]
	if len(c.Names) > 0 {
		entry = nameEntry(c.Names[0].Value)
	}
	for n, err := range certificates.By(tx, "find", entry, "") {
		if err != nil {
			return false, err
		}
		if n.Status == Good && n.Requester == c.Requester && n.NotBefore.After(c.NotBefore) && covers(n.Names, c.Names) {
			return true, nil
		}
	}
	return false, nil
}

// covers reports whether the first names have all of the second.
func covers(all, some []names.Name) bool {
	for _, n := range some {
		if !slices.Contains(all, n) {
			return false
		}
	}
	return true
}

// later is the later of two times, of which one may be none.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
