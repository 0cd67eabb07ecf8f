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
		Replaces    *string      `json:"replaces"` // RFC 9773, Section 5
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	g, err := c.mayOrder()
	if err != nil {
		return err
	}
	all, err := c.ep.admits.parseIdentifiers(in.Identifiers, g)
	if err != nil {
		return err
	}
	if err := checkDates(in.NotBefore, in.NotAfter); err != nil {
		return err
	}
	profile, err := c.chooseProfile(in.Profile, all, g)
	if err != nil {
		return err
	}
	old, err := c.replaces(in.Replaces, all)
	if err != nil {
		return err
	}
	if err := c.limitOrders(all); err != nil {
		return err
	}
	as, fresh, err := c.authorizations(all, g)
	if err != nil {
		return err
	}
	o := c.makeOrder(all, as, profile)
	o.Replaces = old.id
	err = c.update(func(tx store.Tx) error {
		if err := old.take(tx); err != nil {
			return err
		}
		for _, a := range fresh {
			if err := authzs.Insert(tx, a); err != nil {
				return err
			}
		}
		return orders.Insert(tx, o)
	})
	if err != nil {
		return c.orReplaced(o, err)
	}
	c.note("order", o.ID)
	c.w.Header().Set("Location", c.ep.orderURL(o.ID))
	return c.reply(http.StatusCreated, c.ep.shown(o, beforeFinalize(o, as, c.now)))
}

// chooseProfile: draft-ietf-acme-profiles, Section 4: the profile that is asked
// for, or the first that the account may have.
func (c *call) chooseProfile(asked *string, all []wanted, g *engine.Grant) (string, error) {
	var may []string
	for _, p := range c.ep.Profiles {
		if g == nil || g.Admits(p) {
			may = append(may, p)
		}
	}
	switch {
	case len(may) == 0:
		return "", refuse(http.StatusForbidden, unauthorized, "the grant that this account is bound to is for no profile of this endpoint")
	case asked == nil:
		return may[0], c.takes(may[0], rejectedIdentifier, all)
	case !slices.Contains(may, *asked):
		return "", refuse(http.StatusBadRequest, invalidProfile, "there is no such profile for this account here; there are %s", strings.Join(may, ", "))
	}
	return *asked, c.takes(*asked, invalidProfile, all)
}

// takes refuses names that certificates of a profile cannot have.
func (c *call) takes(profile, kind string, all []wanted) error {
	p, ok := c.f.deps.Profiles[profile]
	if !ok {
		return nil // they are not known here
	}
	var wrong []subproblem
	for _, w := range all {
		if !p.Names.Admits(w.name) {
			wrong = append(wrong, subproblem{kind, w.name.Value + ": the profile " + profile + " does not take this name", identifier{Type: string(w.name.Type), Value: w.name.Value}})
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return identifierProblem(wrong)
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

// makeOrder makes the row.
func (c *call) makeOrder(all []wanted, as []*authz, profile string) *order {
	o := &order{
		ID: store.NewIDFor(c.f.deps.DB, c.now, c.f.deps.Rand), Account: c.account.ID, Profile: profile,
		Expires: c.now.Add(orderLife).Unix(), At: c.ep.at(),
	}
	for i, w := range all {
		o.Names = append(o.Names, stored(w.name))
		o.Authz = append(o.Authz, as[i].ID)
		if w.ancestor != "" {
			if o.Above == nil {
				o.Above = make([]string, len(all))
			}
			o.Above[i] = w.ancestor
		}
	}
	return o
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
	return ownRow(c, func(o *order) string { return o.Account })
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

// authzsOf reads the authorizations of an order, in the order of its names. One
// that is deleted expired long before.
func authzsOf(tx store.Tx, o *order) ([]*authz, error) {
	as := make([]*authz, 0, len(o.Authz))
	for i, id := range o.Authz {
		a, err := authzs.Get(tx, id)
		if store.Missing(err) {
			a = &authz{ID: id, Account: o.Account, Name: o.Names[i], State: invalid}
		} else if err != nil {
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
	all := o.generalNames()
	for i, a := range as {
		switch a.status(now) {
		case "valid":
			if a.Grant == "" && slices.Index(o.Authz, a.ID) == i { // once; a grant speaks for itself
				s.proofs = append(s.proofs, a.proof(o.namesOf(a, all)))
			}
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

// namesOf are the names of an order that an authorization is for.
func (o *order) namesOf(a *authz, all []names.Name) (out []names.Name) {
	for i, id := range o.Authz {
		if id == a.ID {
			out = append(out, all[i])
		}
	}
	return out
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
		Profile        string       `json:"profile,omitempty"`
		Replaces       string       `json:"replaces,omitempty"`
		Authorizations []string     `json:"authorizations"`
		Finalize       string       `json:"finalize"`
		Certificate    string       `json:"certificate,omitempty"`
		Error          any          `json:"error,omitempty"`
	}{Status: s.status, Expires: clock(o.Expires), Profile: o.Profile, Replaces: o.Replaces, Finalize: p.orderURL(o.ID) + "/finalize"}
	for i, n := range o.generalNames() {
		id := identifier{Type: string(n.Type), Value: n.Value}
		if o.Above != nil {
			id.Ancestor = o.Above[i]
		}
		out.Identifiers = append(out.Identifiers, id)
		if slices.Index(o.Authz, o.Authz[i]) == i {
			out.Authorizations = append(out.Authorizations, p.authzURL(o.Authz[i]))
		}
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
