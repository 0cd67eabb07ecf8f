package engine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"chancery/engine/filter"
	"chancery/store"
)

// ErrNoCampaign says that there is no such renewal campaign.
var ErrNoCampaign = errors.New("no such campaign")

// A Campaign has certificates renewed before their time: those that a filter
// selects and that were there when it began. No row says which these are, and
// none of theirs is touched: each has its place within the campaign by a hash.
type Campaign struct {
	ID      string    `json:"i"`
	Where   string    `json:"w"` // a filter over certificates; times relative to Created
	Created time.Time `json:"c"`
	Within  int64     `json:"d"` // seconds from Created, over which renewals are spread
	Reason  string    `json:"u,omitempty"`
	By      string    `json:"b"`
	Ended   time.Time `json:"e,omitzero"`
	EndedBy string    `json:"eb,omitempty"`
}

var campaigns = store.Table[Campaign]{
	Name: "campaigns", Version: 1,
	Key: func(k *Campaign) string { return k.ID },
	Indexes: []store.Index[Campaign]{
		{Name: "time", Keys: func(k *Campaign) []string { return []string{newestFirst(k.Created)} }},
		{Name: "open", Keys: func(k *Campaign) []string {
			if !k.Ended.IsZero() {
				return nil
			}
			return []string{"y"}
		}},
	},
}

// Bounds of a campaign. Each open one costs every question about renewal a
// comparison.
const (
	maxOpenCampaigns = 20
	leastWithin      = time.Minute
	mostWithin       = 365 * 24 * time.Hour
)

// CreateCampaign begins a campaign. Reason is the address of a page that says
// why, which clients show to their operators; it may be empty. It is for admins
// and officers.
func (e *Engine) CreateCampaign(ctx context.Context, a Actor, where string, within time.Duration, reason string) (*Campaign, error) {
	if err := a.Require(Admin, Officer); err != nil {
		return nil, err
	}
	x, err := ParseCertificateFilter(where)
	if err != nil {
		return nil, err
	}
	if err := checkCampaign(x, within, reason); err != nil {
		return nil, err
	}
	open := 0
	if err := e.view(ctx, func(tx store.Tx) (err error) {
		open, err = campaigns.Count(tx, "open", "y", "z", maxOpenCampaigns)
		return err
	}); err != nil {
		return nil, err
	}
	if open >= maxOpenCampaigns {
		return nil, fmt.Errorf("%w: %d campaigns are open; end one first", ErrBadInput, open)
	}
	var k *Campaign
	err = e.update(ctx, func(tx store.Tx) error {
		k = &Campaign{ID: e.newID(), Where: x.String(), Created: e.now(), Within: int64(within / time.Second), Reason: reason, By: a.Person}
		if err := campaigns.Insert(tx, k); err != nil {
			return err
		}
		return e.audit(tx, a, "campaign", k.ID, fmt.Sprintf("within %s: %s", within, k.Where))
	})
	if err != nil {
		return nil, err
	}
	e.Log.InfoContext(ctx, "renewal campaign begins", "campaign", k.ID, "within", within, "by", a.Person)
	return k, nil
}

func checkCampaign(x *filter.Expr, within time.Duration, reason string) error {
	for _, f := range x.Fields() {
		if f == "renewed" || f == "replaced" {
			return fmt.Errorf("%w: a campaign is over what is renewed when it is renewed: leave %s out of the filter", ErrBadInput, f)
		}
	}
	if within < leastWithin || within > mostWithin {
		return fmt.Errorf("%w: within is between 1m and 1y", ErrBadInput)
	}
	if u, err := url.Parse(reason); reason != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || len(reason) > 500) {
		return fmt.Errorf("%w: the reason is the address of a page, such as https://intranet.example.org/incident-7", ErrBadInput)
	}
	return nil
}

// EndCampaign ends a campaign, also one that has ended: from then on windows are
// those of the profiles. It is for admins and officers.
func (e *Engine) EndCampaign(ctx context.Context, a Actor, id string) (*Campaign, error) {
	if err := a.Require(Admin, Officer); err != nil {
		return nil, err
	}
	var k *Campaign
	err := e.update(ctx, func(tx store.Tx) error {
		old, err := campaigns.Get(tx, id)
		if err != nil {
			return err
		}
		k = old
		if !old.Ended.IsZero() {
			return nil
		}
		next := *old
		next.Ended, next.EndedBy = e.now(), a.Person
		k = &next
		if err := campaigns.Put(tx, old, k); err != nil {
			return err
		}
		return e.audit(tx, a, "campaign-end", id, "")
	})
	return k, noCampaign(err)
}

func noCampaign(err error) error {
	if store.Missing(err) {
		return ErrNoCampaign
	}
	return err
}

// Campaign returns a campaign, or ErrNoCampaign.
func (e *Engine) Campaign(ctx context.Context, id string) (k *Campaign, err error) {
	err = e.view(ctx, func(tx store.Tx) (err error) {
		k, err = campaigns.Get(tx, id)
		return err
	})
	return k, noCampaign(err)
}

// Campaigns lists campaigns, newest first, and the cursor of the next page.
func (e *Engine) Campaigns(ctx context.Context, after string, limit int) ([]*Campaign, string, error) {
	return listNewest(ctx, e, &campaigns, after, limit, func(*Campaign) bool { return true })
}

// End is when the last renewal is due.
func (k *Campaign) End() time.Time { return k.Created.Add(time.Duration(k.Within) * time.Second) }

// place is when the campaign has a certificate renewed: at a time within it that
// only the two decide, so that all nodes say the same and renewals are spread.
func (k *Campaign) place(id CertID, check time.Duration) Renewal {
	within := time.Duration(k.Within) * time.Second
	long := min(max(within/50, time.Minute), time.Hour, within)
	h := sha256.Sum256([]byte(k.ID + "\x00" + id.key()))
	at := binary.BigEndian.Uint64(h[:8]) % uint64((within-long)/time.Second+1)
	r := window(k.Created.Add(time.Duration(at)*time.Second), long, min(check, max(within/4, leastCheck)))
	r.Explanation = k.Reason
	return r
}

// has reports whether a certificate is of the campaign: made before it began, not
// expired then, and selected.
func (k *Campaign) has(tx store.Tx, x *filter.Expr, c *Certificate) (bool, error) {
	if !k.Created.Before(c.NotAfter) || !c.NotBefore.Before(k.Created) {
		return false, nil
	}
	if c.NotBefore.Add(backdate + time.Second).After(k.Created) { // its dates do not tell
		r, err := requests.Get(tx, c.Request)
		if err != nil && !store.Missing(err) || err == nil && !r.Ended.Before(k.Created) {
			return false, err
		}
	}
	return x.Match(k.Created, certificateFacts(tx, c))
}

// hasten gives r the place of the certificate in the campaign that wants it
// earliest, if one does.
func hasten(tx store.Tx, c *Certificate, r *Renewal) error {
	normal := *r
	for k, err := range campaigns.By(tx, "open", "y", "") {
		if err != nil {
			return err
		}
		place := k.place(c.CertID, normal.Check)
		if !place.Start.Before(r.Start) {
			continue
		}
		x, err := ParseCertificateFilter(k.Where)
		if err != nil {
			return fmt.Errorf("campaign %s: %w", k.ID, err)
		}
		in, err := k.has(tx, x, c)
		if err != nil {
			return err
		}
		if in {
			*r = place
		}
	}
	return nil
}

// Members are some certificates of a campaign: how many, what became of them, and
// those that are still to be renewed.
type Members struct {
	Certificates int // of this page
	Renewed      int
	Gone         int // revoked, or expired, and not renewed
	Waiting      []Member
	Next         string // cursor of the next page; empty at the end
}

// A Member is a certificate that is still to be renewed.
type Member struct {
	*Certificate
	Start, End time.Time // when the campaign wants it renewed
}

// Members looks at the certificates of a campaign, page by page, so that no
// transaction lasts however many there are. Whoever wants to know how far the
// campaign is adds up the pages.
func (e *Engine) Members(ctx context.Context, id, after string, limit int) (*Members, error) {
	k, err := e.Campaign(ctx, id)
	if err != nil {
		return nil, err
	}
	x, err := ParseCertificateFilter(k.Where)
	if err != nil {
		return nil, err
	}
	f := CertificateFilter{Where: x, Limit: limit, After: after}.narrowed(k.Created)
	all, next, err := e.listCertificates(ctx, f, maxLook, func(tx store.Tx, c *Certificate) (bool, error) { return k.has(tx, x, c) })
	if err != nil {
		return nil, err
	}
	var m *Members
	if err := e.view(ctx, func(tx store.Tx) (err error) {
		m, err = k.standing(tx, all, e.now())
		return err
	}); err != nil {
		return nil, err
	}
	m.Next = next
	return m, nil
}

// standing says what became of members.
func (k *Campaign) standing(tx store.Tx, all []*Certificate, now time.Time) (*Members, error) {
	m := &Members{Certificates: len(all)}
	for _, c := range all {
		done, err := renewed(tx, c)
		switch {
		case err != nil:
			return nil, err
		case done:
			m.Renewed++
		case c.Status == Revoked || !now.Before(c.NotAfter):
			m.Gone++
		default:
			p := k.place(c.CertID, defaultCheck)
			m.Waiting = append(m.Waiting, Member{c, p.Start, p.End})
		}
	}
	slices.SortStableFunc(m.Waiting, func(a, b Member) int { return a.Start.Compare(b.Start) })
	return m, nil
}
