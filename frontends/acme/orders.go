package acme

import (
	"errors"
	"net/http"

	"chancery/engine"
	"chancery/store"
)

const (
	ordersPage = 100 // orders on one page of a list
)

// ordersOf: RFC 8555, Section 7.1.2.1: the orders of an account, page by page,
// without those that came to nothing.
func (c *call) ordersOf() error {
	if c.account.ID != c.id {
		return refuse(http.StatusForbidden, unauthorized, "this account is not yours")
	}
	if !c.postAsGet() {
		return bad("a list of orders is only read: send an empty payload (POST-as-GET)")
	}
	if c.sub != "" && !store.ValidID(c.sub) {
		return notFound()
	}
	out := struct {
		Orders []string `json:"orders"`
	}{[]string{}}
	some, next, err := c.ordersAfter(c.sub)
	if err != nil {
		return err
	}
	for _, o := range some {
		gone, err := c.cameToNothing(o)
		if err != nil {
			return err
		}
		if !gone {
			out.Orders = append(out.Orders, c.ep.orderURL(o.ID))
		}
	}
	if next != "" {
		c.w.Header().Add("Link", "<"+c.ep.ordersURL(c.id)+"/"+next+`>;rel="next"`)
	}
	return c.reply(http.StatusOK, out)
}

// ordersAfter reads a page of the account's orders, and says after which the next
// one begins; empty at the end.
func (c *call) ordersAfter(after string) (some []*order, next string, err error) {
	from := ofAccount(c.id, "")
	if after != "" {
		from = ofAccount(c.id, after) + "\x00"
	}
	err = c.f.view(c.ctx, func(tx store.Tx) error {
		some, next = nil, ""
		for o, err := range orders.Range(tx, "account", from, c.id+"0") { // "0" follows "/"
			if err != nil {
				return err
			}
			if len(some) == ordersPage {
				next = some[len(some)-1].ID
				return nil
			}
			some = append(some, o)
		}
		return nil
	})
	return some, next, err
}

// cameToNothing reports whether an order is invalid. It only looks: an approval
// that nobody has used stays unused.
func (c *call) cameToNothing(o *order) (bool, error) {
	if o.Request == "" {
		s, err := c.standing(o)
		return s.status == "invalid", err
	}
	d, err := c.f.deps.Requests.Peek(c.ctx, requestKey(c.ep.name, o))
	if errors.Is(err, engine.ErrNoRequest) {
		return false, nil // it no longer answers for its Key; reading the order says more
	} else if err != nil {
		return false, err
	}
	return ended(d).status == "invalid", nil
}
