package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/store"
)

// made issues a certificate and returns its row.
func (w *world) made(s Submission) *Certificate {
	w.t.Helper()
	i, _ := w.issue(s)
	c, _, err := w.Certificate(w.t.Context(), i.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) renewal(c *Certificate) *Renewal {
	w.t.Helper()
	r, err := w.Renewal(w.t.Context(), c.CertID)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) campaign(where string, within time.Duration) *Campaign {
	w.t.Helper()
	k, err := w.CreateCampaign(w.t.Context(), admin, where, within, "https://intranet.test/why")
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

// members adds up the pages of a campaign.
func (w *world) members(id string, limit int) (all Members) {
	w.t.Helper()
	after := ""
	for {
		m, err := w.Members(w.t.Context(), id, after, limit)
		if err != nil {
			w.t.Fatal(err)
		}
		all.Certificates += m.Certificates
		all.Renewed += m.Renewed
		all.Gone += m.Gone
		all.Waiting = append(all.Waiting, m.Waiting...)
		if after = m.Next; after == "" {
			return all
		}
	}
}

func TestCampaign(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.made(w.submission("other", newKey(t), "www.example.net"))
	var certs []*Certificate
	for i := range 6 {
		certs = append(certs, w.made(w.submission(fmt.Sprint(i), newKey(t), fmt.Sprintf("h%d.example.org", i))))
	}
	normal := *w.renewal(certs[0])
	w.advanceClock(time.Millisecond)
	updates := w.db.Updates()
	k := w.campaign("name = *.example.org and state = good", 48*time.Hour)
	if n := w.db.Updates() - updates; n != 1 {
		t.Errorf("beginning took %d commits", n)
	}

	// Each has its place within the campaign, always the same.
	for _, c := range certs {
		r := w.renewal(c)
		if r.Start.Before(k.Created.Truncate(time.Second)) || r.End.After(k.End()) || !r.End.After(r.Start) || r.Explanation != "https://intranet.test/why" {
			t.Errorf("%+v", r)
		}
		w.open()
		if again := w.renewal(c); *again != *r {
			t.Errorf("%+v after a restart, %+v", again, r)
		}
	}
	other, _, err := w.Certificates(ctx, CertificateFilter{Name: "www.example.net"})
	if err != nil || len(other) != 1 {
		t.Fatal(err)
	}
	if r := w.renewal(other[0]); r.Explanation != "" || r.Start.Before(k.End()) {
		t.Errorf("not of the campaign: %+v", r)
	}

	// One renews as ARI has it, one without saying so, one is revoked.
	w.advanceClock(time.Hour)
	s := w.submission("r0", newKey(t), "h0.example.org", "more.example.org")
	s.Replaces = certs[0].CertID
	fresh := w.made(s)
	w.made(w.submission("r1", newKey(t), "h1.example.org"))
	w.made(w.submission("not", newKey(t), "h2.example.org").as("key:stranger", "not"))
	if err := w.Revoke(ctx, Revocation{ID: certs[3].CertID, By: "olga"}); err != nil {
		t.Fatal(err)
	}
	if r := w.renewal(fresh); r.Explanation != "" {
		t.Errorf("what is new is of the campaign: %+v", r)
	}
	if r := w.renewal(certs[3]); !r.End.Before(w.now()) {
		t.Errorf("revoked: %+v", r)
	}
	for _, limit := range []int{1, 2, 100} {
		m := w.members(k.ID, limit)
		var waiting []string
		for _, c := range m.Waiting {
			waiting = append(waiting, c.Names[0].Value)
			if r := w.renewal(c.Certificate); !r.Start.Equal(c.Start) || !r.End.Equal(c.End) {
				t.Errorf("%s: the list says %s, the client is told %s", c.Names[0], c.Start, r.Start)
			}
		}
		slices.Sort(waiting)
		// state = good leaves out what is revoked meanwhile.
		if m.Certificates != 5 || m.Renewed != 2 || m.Gone != 0 || strings.Join(waiting, " ") != "h2.example.org h4.example.org h5.example.org" {
			t.Errorf("%d on a page: %+v, waiting %v", limit, m, waiting)
		}
	}
	if m := w.members(w.campaign("issued before -59m and name = h3.*", time.Hour).ID, 10); m.Certificates != 1 || m.Gone != 1 {
		t.Errorf("%+v", m)
	}

	// After its end those that are late renew at once; ended by hand, it is over.
	w.advanceClock(72 * time.Hour)
	if r := w.renewal(certs[4]); !r.End.Before(w.now()) {
		t.Errorf("late: %+v", r)
	}
	if _, err := w.EndCampaign(ctx, officer("olga"), k.ID); err != nil {
		t.Fatal(err)
	}
	if r := w.renewal(certs[4]); r.Explanation != "" || !r.Start.Equal(normal.Start) {
		t.Errorf("ended: %+v, before %+v", r, normal)
	}
	list, _, err := w.Campaigns(ctx, "", 10)
	if err != nil || len(list) != 2 || list[1].EndedBy != "olga" {
		t.Errorf("%+v %v", list, err)
	}
	audit, _, err := w.Audit(ctx, "", 50)
	acts := ""
	for _, a := range audit {
		if a.Object == k.ID {
			acts += a.Act + " by " + a.Who + ": " + a.Detail + "; "
		}
	}
	if want := "campaign-end by olga: ; campaign by ada: within 48h0m0s: name = *.example.org and state = good; "; acts != want || err != nil {
		t.Errorf("%s %v", acts, err)
	}
}

// Renewals are spread evenly.
func TestCampaignSpreadsEvenly(t *testing.T) {
	k := &Campaign{ID: "01k81i18g08nqp9b7h943la181", Created: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Within: 48 * 3600}
	const all, parts = 20000, 24
	var in [parts]int
	for i := range all {
		r := k.place(CertID{strings.Repeat("ab", 20), fmt.Sprintf("%x", i+1)}, time.Hour)
		if r.Start.Before(k.Created) || r.End.After(k.End()) {
			t.Fatalf("%+v", r)
		}
		in[min(int(r.Start.Sub(k.Created)/(2*time.Hour)), parts-1)]++
	}
	for i, n := range in[:parts-1] { // the windows end within the last
		if n < all/parts*85/100 || n > all/parts*115/100 {
			t.Errorf("part %d has %d of %d", i, n, all)
		}
	}
}

func TestCampaignIsChecked(t *testing.T) {
	w := newWorld(t)
	for what, tt := range map[string]struct {
		where, reason string
		within        time.Duration
		by            Actor
		err           error
	}{
		"auditor":      {"profile = web", "", time.Hour, Actor{Person: "eve", Roles: []Role{Auditor, Operator}}, ErrForbidden},
		"empty":        {"", "", time.Hour, admin, ErrBadInput},
		"bad filter":   {"profil = web", "", time.Hour, admin, ErrBadInput},
		"of itself":    {"profile = web and not renewed", "", time.Hour, admin, ErrBadInput},
		"too short":    {"profile = web", "", time.Second, admin, ErrBadInput},
		"too long":     {"profile = web", "", 366 * 24 * time.Hour, admin, ErrBadInput},
		"no address":   {"profile = web", "because", time.Hour, admin, ErrBadInput},
		"wrong scheme": {"profile = web", "javascript:alert(1)", time.Hour, admin, ErrBadInput},
	} {
		if _, err := w.CreateCampaign(t.Context(), tt.by, tt.where, tt.within, tt.reason); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := w.EndCampaign(t.Context(), Actor{Person: "eve", Roles: []Role{Auditor}}, "x"); !errors.Is(err, ErrForbidden) {
		t.Error(err)
	}
	for _, id := range []string{"", "x", "01k81i18g08nqp9b7h943la181"} {
		_, err1 := w.EndCampaign(t.Context(), admin, id)
		_, err2 := w.Members(t.Context(), id, "", 0)
		if !errors.Is(err1, ErrNoCampaign) || !errors.Is(err2, ErrNoCampaign) {
			t.Errorf("%q: %v %v", id, err1, err2)
		}
	}
	for range maxOpenCampaigns {
		w.campaign("profile = web", time.Hour)
	}
	if _, err := w.CreateCampaign(t.Context(), admin, "profile = web", time.Hour, ""); !errors.Is(err, ErrBadInput) {
		t.Error(err)
	}
}

// What a question about renewal costs while five campaigns are open, and what it
// costs to see how far one of 10,000 certificates is.
func BenchmarkRenewal(b *testing.B) {
	w := newWorld(b)
	one := w.made(w.submission("one", newKey(b), "h1.example.org"))
	for n := 0; n < 10000; n += 500 {
		if err := w.db.Update(b.Context(), func(tx store.Tx) error {
			for i := n; i < n+500; i++ {
				c := *one
				c.CertID = CertID{one.Issuer, fmt.Sprintf("%x", 1<<40+i)}
				c.Names, c.SPKI = dns(b, fmt.Sprintf("n%d.example.org", i)), fmt.Sprintf("%064x", i)
				if err := certificates.Insert(tx, &c); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	w.advanceClock(2 * time.Second)
	var k *Campaign
	for range 5 {
		k = w.campaign("name = *.example.org and profile = web", 48*time.Hour)
	}
	b.Run("ask", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			w.renewal(one)
		}
	})
	b.Run("progress", func(b *testing.B) {
		for range b.N {
			if m := w.members(k.ID, 1000); m.Certificates != 10001 {
				b.Fatal(m.Certificates)
			}
		}
	})
}
