package acme

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"chancery/engine"
	"chancery/engine/names"
	"chancery/store"
)

// newOrder: RFC 8555, Section 7.4. The order and its authorizations are one
// commit, and no row is touched that another order touches.
func (c *call) newOrder() error {
	var in struct {
		Identifiers []identifier `json:"identifiers"`
		NotBefore   string       `json:"notBefore"`
		NotAfter    string       `json:"notAfter"`
		Profile     *string      `json:"profile"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	all, err := c.ep.admits.parseIdentifiers(in.Identifiers)
	if err != nil {
		return err
	}
	if err := checkDates(in.NotBefore, in.NotAfter); err != nil {
		return err
	}
	profile := c.ep.Profiles[0]
	if in.Profile != nil {
		if profile = *in.Profile; !slices.Contains(c.ep.Profiles, profile) {
			return bad("there is no such profile at this endpoint; there are %s", strings.Join(c.ep.Profiles, ", "))
		}
	}
	if err := c.checkOpenOrders(); err != nil {
		return err
	}
	o, as, err := c.makeOrder(all, profile)
	if err != nil {
		return err
	}
	err = c.update(func(tx store.Tx) error {
		for _, a := range as {
			if err := authzs.Insert(tx, a); err != nil {
				return err
			}
		}
		return orders.Insert(tx, o)
	})
	if err != nil {
		return err
	}
	c.note("order", o.ID)
	c.w.Header().Set("Location", c.ep.orderURL(o.ID))
	return c.reply(http.StatusCreated, c.ep.shown(o, standing{status: "pending"}))
}

// maxOpenOrders is how many orders an account may have that are neither
// finalized nor expired. Each is a few rows that stay for weeks.
const maxOpenOrders = 300

// checkOpenOrders holds an account to its share of the disk. It counts outside
// the commit, so that orders made at the same time do not wait for one another;
// a few of these may come out above the limit.
func (c *call) checkOpenOrders() error {
	var n int
	err := c.f.view(c.ctx, func(tx store.Tx) (err error) {
		n, err = orders.Count(tx, "open", openValue(c.account.ID, c.now.Unix()+1), c.account.ID+"g", maxOpenOrders)
		return err
	})
	if err != nil || n < maxOpenOrders {
		return err
	}
	p := refuse(http.StatusTooManyRequests, rateLimited, "this account has %d orders that are not finalized; finalize them, or wait until they expire", n)
	p.RetryAfter = time.Minute
	return p
}

// checkDates refuses dates that are asked for: the profile decides, and RFC
// 8555, Section 7.4 forbids to issue something else in silence. Some clients
// write the year 1 for none.
func checkDates(dates ...string) error {
	for _, s := range dates {
		if s == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return bad("notBefore and notAfter are times such as 2026-01-02T15:04:05Z (RFC 3339); better leave them out")
		}
		if !t.IsZero() {
			return bad("the profile decides how long certificates are valid: leave notBefore and notAfter out")
		}
	}
	return nil
}

// makeOrder makes the rows.
func (c *call) makeOrder(all []names.Name, profile string) (*order, []*authz, error) {
	random := c.f.deps.Rand
	expires := c.now.Add(orderLife).Unix()
	o := &order{ID: store.NewIDFor(c.f.deps.DB, c.now, random), Account: c.account.ID, Profile: profile, Expires: expires}
	var as []*authz
	for _, n := range all {
		a := &authz{ID: store.NewIDFor(c.f.deps.DB, c.now, random), Account: c.account.ID, Name: n.Value, Expires: expires}
		// RFC 8555, Section 7.1.3: a wildcard is proved by the DNS alone.
		methods := []engine.Method{engine.HTTP01, engine.DNS01}
		if n.Wildcard() {
			methods = methods[1:]
		}
		for _, m := range methods {
			token, err := newToken(random)
			if err != nil {
				return nil, nil, err
			}
			a.Challenges = append(a.Challenges, challenge{Type: m, Token: token})
		}
		as = append(as, a)
		o.Names = append(o.Names, n.Value)
		o.Authz = append(o.Authz, a.ID)
	}
	return o, as, nil
}

// order: RFC 8555, Section 7.4, by POST-as-GET.
func (c *call) order() error {
	if !c.postAsGet() {
		return bad("an order is only read: send an empty payload (POST-as-GET)")
	}
	o, err := c.ownOrder()
	if err != nil {
		return err
	}
	s, err := c.standing(o)
	if err != nil {
		return err
	}
	return c.replyOrder(o, s)
}

func (c *call) ownOrder() (*order, error) {
	c.note("order", c.id)
	return byID(c.ctx, c.f, &orders, c.id, func(o *order) string { return o.Account }, c.account.ID)
}

func (c *call) replyOrder(o *order, s standing) error {
	// RFC 8555 shows it on finalize only; clients that got no order by newOrder
	// find its address here.
	c.w.Header().Set("Location", c.ep.orderURL(o.ID))
	if s.status == "processing" {
		retryAfter(c.w, retrySoon)
	}
	return c.reply(http.StatusOK, c.ep.shown(o, s))
}

// A standing is where an order is in its life (RFC 8555, Section 7.1.6),
// derived from its authorizations and, from finalize on, from its request.
type standing struct {
	status      string
	problem     *problem
	certificate string // id of the request that made it
	proofs      []engine.Proof
}

func (c *call) standing(o *order) (standing, error) {
	if o.Request != "" {
		s, err := c.f.outcome(c.ctx, c.ep, o)
		if err != nil || s.status != "" {
			return s, err
		}
	}
	var as []*authz
	err := c.f.view(c.ctx, func(tx store.Tx) (err error) {
		as, err = authzsOf(tx, o)
		return err
	})
	if err != nil {
		return standing{}, err
	}
	return beforeFinalize(o, as, c.now), nil
}

func authzsOf(tx store.Tx, o *order) ([]*authz, error) {
	as := make([]*authz, 0, len(o.Authz))
	for _, id := range o.Authz {
		a, err := authzs.Get(tx, id)
		if err != nil {
			return nil, err
		}
		as = append(as, a)
	}
	return as, nil
}

// beforeFinalize is the standing of an order that waits for its authorizations
// or for its CSR.
func beforeFinalize(o *order, as []*authz, now time.Time) standing {
	gone := func(format string, args ...any) standing {
		return standing{status: "invalid", problem: refuse(http.StatusForbidden, unauthorized, format, args...)}
	}
	if now.Unix() >= o.Expires {
		return gone("the order has expired; make a new one")
	}
	s := standing{status: "ready"}
	for _, a := range as {
		switch a.status(now) {
		case "valid":
			s.proofs = append(s.proofs, a.proof())
		case "pending":
			s.status = "pending"
		case "invalid":
			if ch := a.failed(); ch != nil && ch.Error != nil {
				p := *ch.Error
				p.Detail = a.Name + ": " + p.Detail
				return standing{status: "invalid", problem: &p}
			}
			return gone("%s was not validated in time; make a new order", a.Name)
		default:
			return gone("the authorization for %s is %s; make a new order", a.Name, a.status(now))
		}
	}
	return s
}

// outcome asks the engine what became of an order. An empty status says that
// the order is still to be finalized: RFC 8555, Section 7.4 wants it so after a
// bad CSR.
func (f *Frontend) outcome(ctx context.Context, ep *endpoint, o *order) (standing, error) {
	d, err := f.deps.Requests.Status(ctx, requestKey(ep.name, o))
	if errors.Is(err, engine.ErrNoRequest) {
		// The engine keeps the request longer than it answers for its Key.
		d, err = f.deps.Requests.Retrieve(ctx, o.Request, engine.Principal("account:"+o.Account))
	}
	var frozen *engine.FrozenError
	switch {
	case errors.Is(err, engine.ErrNoRequest):
		return standing{status: "invalid", problem: refuse(http.StatusGone, malformed, "the request of this order is no longer on record; make a new order")}, nil
	case errors.Is(err, engine.ErrUndecided), errors.As(err, &frozen):
		return standing{status: "processing"}, nil
	case err != nil:
		return standing{}, err
	}
	s := ended(d)
	if s.status == "" && o.Denied >= maxDenied-1 {
		return standing{status: "invalid", problem: refuse(http.StatusForbidden, badCSR, "the CSR was refused %d times; make a new order", maxDenied)}, nil
	}
	return s, nil
}

func ended(d engine.Disposition) standing {
	switch d := d.(type) {
	case engine.Issued:
		return standing{status: "valid", certificate: d.RequestID}
	case engine.Denied:
		if d.Reason == engine.BadCSR || d.Reason == engine.BadKey {
			return standing{}
		}
		return standing{status: "invalid", problem: problemOf(d)}
	}
	return standing{status: "processing"}
}

// requestKey is the identity of an order's request.
func requestKey(endpoint string, o *order) engine.Key {
	return engine.NewKey(engine.ACME, endpoint, "", engine.Principal("account:"+o.Account), o.ID)
}

// shown is the order object of RFC 8555, Section 7.1.3.
func (p *endpoint) shown(o *order, s standing) any {
	out := struct {
		Status         string       `json:"status"`
		Expires        string       `json:"expires"`
		Identifiers    []identifier `json:"identifiers"`
		Authorizations []string     `json:"authorizations"`
		Finalize       string       `json:"finalize"`
		Certificate    string       `json:"certificate,omitempty"`
		Error          any          `json:"error,omitempty"`
	}{Status: s.status, Expires: clock(o.Expires), Finalize: p.orderURL(o.ID) + "/finalize"}
	for i, n := range o.Names {
		out.Identifiers = append(out.Identifiers, identifier{string(names.DNS), n})
		out.Authorizations = append(out.Authorizations, p.authzURL(o.Authz[i]))
	}
	if s.certificate != "" {
		out.Certificate = p.base + "/certificate/" + s.certificate
	}
	if s.problem != nil {
		out.Error = s.problem.shown()
	}
	return out
}

// clock is RFC 3339 in UTC.
func clock(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }
