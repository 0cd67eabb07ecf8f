package native

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"chancery/engine/filter"
	"chancery/engine/names"
)

// A query holds the parameters of a request's address. Unknown ones are
// refused, because a misspelled filter would select too much.
type query struct {
	values map[string]string
}

func readQuery(r *http.Request, known ...string) (*query, error) {
	q := &query{}
	if r.URL.RawQuery == "" {
		return q, nil
	}
	if len(r.URL.RawQuery) > 8<<10 {
		return nil, badRequest("The query is too long.")
	}
	all, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("The query cannot be read.")
	}
	q.values = make(map[string]string, len(all))
	for name, v := range all {
		switch {
		case !slices.Contains(known, name):
			return nil, badRequest(fmt.Sprintf("The parameter %q is not known here. Known: %s.", clip(name, 40), strings.Join(known, ", ")))
		case len(v) != 1:
			return nil, badRequest(fmt.Sprintf("The parameter %q is given twice.", name))
		}
		most := 512
		if name == "where" {
			most = filter.MaxLength
		}
		if err := text(name, v[0], most); err != nil {
			return nil, err
		}
		q.values[name] = v[0]
	}
	return q, nil
}

func (q *query) get(name string) string { return q.values[name] }

// limit reads how many entries a page may have.
func (q *query) limit() (int, error) {
	s := q.get("limit")
	if s == "" {
		return 50, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 1000 {
		return 0, badRequest("limit is a number from 1 to 1000.")
	}
	return n, nil
}

// time reads a moment, or the start of a day in UTC.
func (q *query) time(name string) (time.Time, error) {
	s := q.get(name)
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, badRequest(name + " is a time such as 2027-01-31T12:00:00Z, or a day such as 2027-01-31.")
}

// where reads a filter in the one grammar that there is (package filter).
func (q *query) where(parse func(string) (*filter.Expr, error)) (*filter.Expr, error) {
	if q.get("where") == "" {
		return nil, nil
	}
	return parse(q.get("where"))
}

// oneOf reads a parameter with a fixed set of values.
func oneOf[T ~string](q *query, name string, values ...T) (T, error) {
	v := T(q.get(name))
	if v == "" || slices.Contains(values, v) {
		return v, nil
	}
	list := make([]string, len(values))
	for i, one := range values {
		list[i] = string(one)
	}
	return "", badRequest(name + " is one of " + strings.Join(list, ", ") + ".")
}

// certificateName folds a name as certificates hold it.
func certificateName(s string) (string, error) {
	if s == "" {
		return "", nil
	}
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
	return "", badRequest(fmt.Sprintf("%q is not a name that a certificate can have.", clip(s, 80)))
}

// cursor makes the opaque form of the engine's cursor. It is bound to the list
// and the filter that it belongs to.
func (f *Frontend) cursor(list string, q *query, after string) string {
	if after == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(append(f.cursorMAC(list, q, after), after...))
}

// after reads the cursor of a request, and refuses one that this list with this
// filter did not give.
func (f *Frontend) after(list string, q *query) (string, error) {
	s := q.get("after")
	if s == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	// The package passes over line breaks; a cursor has one form.
	if err == nil && len(b) > cursorMACSize && base64.RawURLEncoding.EncodeToString(b) == s {
		after := string(b[cursorMACSize:])
		if hmac.Equal(b[:cursorMACSize], f.cursorMAC(list, q, after)) {
			return after, nil
		}
	}
	return "", &problem{Status: http.StatusBadRequest, Reason: "bad-cursor",
		Detail: "after is not a cursor of this list with this filter. Start again without it."}
}

// readPage reads the query of a list that has no filter.
func (f *Frontend) readPage(r *http.Request, list string) (q *query, limit int, after string, err error) {
	if q, err = readQuery(r, "limit", "after"); err != nil {
		return nil, 0, "", err
	}
	if limit, err = q.limit(); err != nil {
		return nil, 0, "", err
	}
	after, err = f.after(list, q)
	return q, limit, after, err
}

const cursorMACSize = 12

func (f *Frontend) cursorMAC(list string, q *query, after string) []byte {
	h := hmac.New(sha256.New, f.cursors)
	part := func(s string) { fmt.Fprintf(h, "%d:%s", len(s), s) }
	part(list)
	for _, name := range slices.Sorted(maps.Keys(q.values)) {
		if name != "after" && name != "limit" {
			part(name)
			part(q.values[name])
		}
	}
	part("")
	part(after)
	return h.Sum(nil)[:cursorMACSize]
}
