package acme

import (
	"net/http"

	"chancery/engine/names"
	"chancery/store"
)

// maxPreAuthorized is how many authorizations without an order an account may
// have that have not expired.
const maxPreAuthorized = 300

// preAuthorize: RFC 8555, Section 7.4.1, and RFC 9444, Section 4.2.
func (c *call) preAuthorize() error {
	if !c.ep.PreAuthorize {
		return notFound()
	}
	var in struct {
		Identifier struct {
			identifier
			Below bool `json:"subdomainAuthAllowed"`
		} `json:"identifier"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	g, err := c.mayOrder()
	if err != nil {
		return err
	}
	in.Identifier.Ancestor = "" // is for orders
	n, err := c.preAuthorizable(in.Identifier.identifier, in.Identifier.Below)
	if err != nil {
		return err
	}
	if why := c.ep.admits.refuses(n, g); why != "" {
		return identifierProblem([]subproblem{{rejectedIdentifier, n.Value + ": " + why, shownIdentifier(in.Identifier.identifier)}})
	}
	if err := c.checkPreAuthorized(); err != nil {
		return err
	}
	if err := c.limitAuthz(n); err != nil {
		return err
	}
	a, err := c.newAuthz(n, in.Identifier.Below && c.ep.Subdomains, g)
	if err != nil {
		return err
	}
	a.Pre = true
	if err := c.update(func(tx store.Tx) error { return authzs.Insert(tx, a) }); err != nil {
		return err
	}
	c.w.Header().Set("Location", c.ep.authzURL(a.ID))
	return c.reply(http.StatusCreated, c.ep.shownAuthz(a, c.now))
}

// preAuthorizable reads the identifier.
func (c *call) preAuthorizable(id identifier, below bool) (names.Name, error) {
	t := names.Type(id.Type)
	if t != names.DNS && t != names.IP {
		return names.Name{}, refuse(http.StatusBadRequest, unsupportedIdentifier, "identifiers of this type are not taken; use dns or ip")
	}
	n, err := names.Parse(t, id.Value)
	if err != nil {
		kind, detail := nameProblem(err)
		return n, refuse(http.StatusBadRequest, kind, "%s", detail)
	}
	if n.Wildcard() { // RFC 8555, Section 7.4.1
		return n, bad("a wildcard cannot be authorized beforehand; order it")
	}
	if below && c.ep.Subdomains {
		if n.Type != names.DNS {
			return n, bad("subdomainAuthAllowed is for dns identifiers")
		}
		if why := shared(n.Value); why != "" {
			return n, refuse(http.StatusForbidden, rejectedIdentifier, "%s", why)
		}
	}
	return n, nil
}

// checkPreAuthorized holds an account to its share of the disk.
func (c *call) checkPreAuthorized() error {
	var n int
	err := c.f.view(c.ctx, func(tx store.Tx) (err error) {
		n, err = authzs.Count(tx, "pre", "o"+openValue(c.account.ID, c.now.Unix()+1), "o"+c.account.ID+"g", maxPreAuthorized)
		return err
	})
	if err != nil || n < maxPreAuthorized {
		return err
	}
	p := refuse(http.StatusTooManyRequests, rateLimited, "this account has %d authorizations without an order; deactivate some, or wait until they expire", n)
	p.RetryAfter = openOrdersWait
	return p
}
