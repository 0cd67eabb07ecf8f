package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/engine/filter"
	"chancery/store"
)

// found lists the serial numbers that a filter selects, page by page, in order.
func (w *world) found(where string, limit int) []string {
	w.t.Helper()
	x, err := ParseCertificateFilter(where)
	if err != nil {
		w.t.Fatal(err)
	}
	var all []string
	f := CertificateFilter{Where: x, Limit: limit}
	for range 100 {
		page, next, err := w.Certificates(w.t.Context(), f)
		if err != nil {
			w.t.Fatalf("%s: %v", where, err)
		}
		for _, c := range page {
			all = append(all, c.Serial)
		}
		if next == "" {
			slices.Sort(all)
			return all
		}
		f.After = next
	}
	w.t.Fatalf("%s: pages without end", where)
	return nil
}

// Whatever index is chosen, the same is found as by looking at everything.
func TestFilterFindsTheSameByAnyIndex(t *testing.T) {
	w := newWorld(t)
	serial := map[string]string{}
	for i, host := range []string{"a.example.org", "b.example.org", "c.example.net"} {
		s := w.submission(host, newKey(t), host)
		if i == 2 {
			s = s.as("key:other", host)
		}
		_, c := w.issue(s)
		serial[host] = serialText(c.SerialNumber.Bytes())
		w.advanceClock(24 * time.Hour)
	}
	a, b, c := serial["a.example.org"], serial["b.example.org"], serial["c.example.net"]
	rows, err := w.BySerial(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Revoke(t.Context(), Revocation{ID: rows[0].CertID, Reason: 4, By: "olga"}); err != nil {
		t.Fatal(err)
	}
	next := w.submission("a again", newKey(t), "a.example.org", "more.example.org")
	rows, err = w.BySerial(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	next.Replaces = rows[0].CertID
	_, n := w.issue(next)
	d := serialText(n.SerialNumber.Bytes())

	for where, tt := range map[string]struct {
		want []string
		how  string
	}{
		"serial = " + strings.ToUpper(a):                                {[]string{a}, "serial number"},
		"name = A.example.org":                                          {[]string{a, d}, "index of the name"},
		"name = a.example.org and not renewed":                          {[]string{d}, "index of the name"},
		"name = *.example.org":                                          {[]string{a, b, d}, "every certificate"},
		"requester = key:other":                                         {[]string{c}, "rest on key:other"},
		"basis = key:tester and expires before +1y":                     {[]string{a, b, d}, "rest on key:tester"},
		"basis = by:n1":                                                 {[]string{a, b, c, d}, "rest on by:n1"},
		"state = revoked":                                               {[]string{b}, "revoked or held"},
		"state = revoked and reason = superseded":                       {[]string{b}, "revoked or held"},
		"revoked after -1h":                                             {[]string{b}, "every certificate"},
		"not revoked after -1h and authority = main":                    {[]string{a, c, d}, "every certificate"},
		"expires before +87d":                                           {[]string{a}, "by the end before"},
		"expires after +88d":                                            {[]string{c, d}, "by the end from"},
		"expires after +87d and expires before +88d":                    {[]string{b}, "by the end between"},
		"issued before -47h":                                            {[]string{a, b}, "every certificate"},
		"replaced":                                                      {[]string{a}, "every certificate"},
		"renewed and profile = web":                                     {[]string{a}, "every certificate"},
		"profile = w* and not (state = good or state = held)":           {[]string{b}, "every certificate"},
		"state = good and (name = c.example.net or serial = " + d + ")": {[]string{c, d}, "every certificate"},
		"key = " + rows[0].SPKI:                                         {[]string{a}, "index of the key"},
		"profile = manual":                                              {nil, "every certificate"},
	} {
		slices.Sort(tt.want)
		x, err := ParseCertificateFilter(where)
		if err != nil {
			t.Error(err)
			continue
		}
		if how := (CertificateFilter{Where: x}).Index(w.now()); !strings.Contains(how, tt.how) {
			t.Errorf("%s: %s", where, how)
		}
		for _, limit := range []int{1, 2, 50} {
			if got := w.found(where, limit); !slices.Equal(got, tt.want) {
				t.Errorf("%s, %d on a page: %v, want %v", where, limit, got, tt.want)
			}
		}
		// By no index: an or has nothing that must be.
		if got := w.found("("+where+") or serial = 1", 50); !slices.Equal(got, tt.want) {
			t.Errorf("%s by looking at all: %v, want %v", where, got, tt.want)
		}
	}
	_, err = ParseCertificateFilter("state = pending")
	var e *filter.Error
	if !errors.Is(err, ErrBadInput) || !errors.As(err, &e) || e.Column != 9 {
		t.Errorf("%v", err)
	}
}

func TestFilterFindsRequests(t *testing.T) {
	w := newWorld(t)
	w.issue(w.submission("1", newKey(t), "a.example.org"))
	pend := w.submission("2", newKey(t), "b.example.org").as("key:other", "2")
	pend.Profile = "manual"
	w.submit(pend)
	denied := w.submission("3", newKey(t), "c.example.net")
	denied.Proofs = nil
	w.submit(denied)
	w.advanceClock(48 * time.Hour)
	w.issue(w.submission("4", newKey(t), "d.example.net"))
	for where, tt := range map[string]struct {
		want, how string
	}{
		"state = pending": {"b.example.org", "index state"},
		"state = issued":  {"a.example.org d.example.net", "every request"},
		"state = denied and reason = name-not-allowed":   {"c.example.net", "index state"},
		"requester = key:other or name = d.example.net":  {"b.example.org d.example.net", "every request"},
		"requester = key:other and profile = manual":     {"b.example.org", "index basis"},
		"basis = by:n1 and received before -1d":          {"a.example.org b.example.org", "index basis"},
		"received after -1d":                             {"d.example.net", "time since"},
		"name = *.example.net and source = native":       {"c.example.net d.example.net", "every request"},
		"authority = main":                               {"a.example.org d.example.net", "every request"},
		"not endpoint = default":                         {"", "every request"},
		"ended after -1d and not renewal and serial = *": {"d.example.net", "every request"},
	} {
		x, err := ParseRequestFilter(where)
		if err != nil {
			t.Error(err)
			continue
		}
		if how := (RequestFilter{Where: x}).Index(w.now()); !strings.Contains(how, tt.how) {
			t.Errorf("%s: %s", where, how)
		}
		for _, limit := range []int{1, 50} {
			var got []string
			f := RequestFilter{Where: x, Limit: limit}
			for more := true; more; more = f.After != "" {
				page, next, err := w.Requests(t.Context(), f)
				if err != nil {
					t.Fatalf("%s: %v", where, err)
				}
				for _, r := range page {
					got = append(got, r.Asked.Names[0].Value)
				}
				f.After = next
			}
			slices.Sort(got)
			if fmt.Sprint(strings.Join(got, " ")) != tt.want {
				t.Errorf("%s, %d on a page: %v, want %s", where, limit, got, tt.want)
			}
		}
	}
}

// A page looks at so many rows, and goes on where it stopped.
func TestFilterPagesAreShort(t *testing.T) {
	w := newWorld(t)
	for i := range 7 {
		w.issue(w.submission(fmt.Sprint(i), newKey(t), fmt.Sprintf("h%d.example.org", i)))
	}
	x, err := ParseCertificateFilter("name = h5.*")
	if err != nil {
		t.Fatal(err)
	}
	found, pages := 0, 0
	f := CertificateFilter{Where: x}
	for more := true; more; more = f.After != "" {
		page, next, err := w.listCertificates(t.Context(), f, 2, func(tx store.Tx, c *Certificate) (bool, error) {
			return x.Match(w.now(), certificateFacts(tx, c))
		})
		if err != nil {
			t.Fatal(err)
		}
		found, f.After = found+len(page), next
		pages++
	}
	if found != 1 || pages != 4 {
		t.Errorf("%d found on %d pages", found, pages)
	}
}

// What was imported without a request is found by its requester, too.
func TestFilterFindsWhatWasImported(t *testing.T) {
	w := newWorld(t)
	_, c := w.issue(w.submission("1", newKey(t), "a.example.org"))
	want := []string{serialText(c.SerialNumber.Bytes()), "a1", "a2", "a3"}
	if err := w.db.Update(t.Context(), func(tx store.Tx) error {
		for i, serial := range []string{"a1", "a2", "a3", "a4"} {
			row := &Certificate{CertID: NewCertID(c.AuthorityKeyId, []byte{0xa1 + byte(i)}), Status: Good, NotBefore: w.now(), NotAfter: w.now().Add(time.Hour),
				SPKI: strings.Repeat("ab", 32), Requester: "key:tester", Imported: "journal"}
			if serial == "a4" {
				row.Requester = "key:other"
			}
			if err := certificates.Insert(tx, row); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	for _, limit := range []int{1, 2, 50} {
		for _, where := range []string{"requester = key:tester", "basis = key:tester", "requester = key:teste*"} {
			if got := w.found(where, limit); !slices.Equal(got, want) {
				t.Errorf("%s, %d on a page: %v, want %v", where, limit, got, want)
			}
		}
	}
}
