package acme

import (
	"encoding/json"
	"errors"
	"net/http"

	"chancery/engine"
	"chancery/frontends/internal/jose"
)

// bind verifies the external account binding of a new account (RFC 8555, Section
// 7.3.4) and notes the grant in its row. Whether the grant has room for another
// account is seen where the account is made.
func (c *call) bind(a *account, binding json.RawMessage) error {
	if binding == nil {
		if c.ep.RequireGrant {
			return refuse(http.StatusForbidden, externalAccountRequired, "accounts here are bound to a grant: ask this CA's administrator for a key identifier and MAC key, and give them to your client (such as certbot --eab-kid, --eab-hmac-key)")
		}
		return nil
	}
	b, err := jose.ParseBinding(binding)
	if err != nil {
		return err
	}
	// RFC 8555, Section 7.3.4: the url is that of the outer message, and the
	// payload the account key, by which key it is and not how it is written.
	if b.URL != c.msg.URL {
		return bad("externalAccountBinding: its url is not the one that this was sent to")
	}
	k, err := jose.ParseKey(b.Payload)
	if err != nil || k.Thumbprint() != c.key.Thumbprint() {
		return bad("externalAccountBinding: its payload is not the key that signed this message")
	}
	g, err := c.f.deps.Grants.CheckMAC(c.ctx, engine.ACME, c.ep.name, b.KID, b.Hash, b.Input, b.MAC)
	if err != nil {
		return notBound(err)
	}
	c.note("grant", g.ID)
	a.Grant, a.Binding = g.ID, binding
	return nil
}

// notBound is the answer to a binding that the engine refused.
func notBound(err error) error {
	if errors.Is(err, engine.ErrNoGrant) {
		return refuse(http.StatusForbidden, unauthorized, "externalAccountBinding: %s; check the key identifier and the MAC key", err.Error())
	}
	return err
}

// grant returns the grant that the account is bound to, nil if it is bound to
// none. One that can no longer be used stops the account.
func (c *call) grant() (*engine.Grant, error) {
	if c.account.Grant == "" {
		if c.ep.RequireGrant {
			return nil, refuse(http.StatusForbidden, externalAccountRequired, "this endpoint now wants accounts to be bound to a grant; make another account with one")
		}
		return nil, nil
	}
	c.note("grant", c.account.Grant)
	g, err := c.f.deps.Grants.Grant(c.ctx, c.account.Grant)
	if err == nil {
		err = g.Usable(c.now)
	}
	if err == nil && !g.Serves(engine.ACME, c.ep.name) {
		err = engine.ErrNoGrant
	}
	if errors.Is(err, engine.ErrNoGrant) {
		return nil, refuse(http.StatusForbidden, unauthorized, "this account can order nothing, because of the grant that it is bound to: %s; ask for another grant and make another account with it", err.Error())
	}
	return g, err
}

// mayOrder says whether the account may order anything, and returns its grant.
func (c *call) mayOrder() (*engine.Grant, error) {
	if err := c.agreed(); err != nil {
		return nil, err
	}
	return c.grant()
}

// agreed: RFC 8555, Section 7.3.3: when the terms have changed and the
// configuration insists on them, somebody must agree again.
func (c *call) agreed() error {
	if !c.ep.InsistOnTerms || c.account.Agreed && c.account.Terms == c.ep.TermsOfService {
		return nil
	}
	return c.ep.termsProblem()
}

func (p *endpoint) termsProblem() *problem {
	e := refuse(http.StatusForbidden, userActionRequired, "read the terms of service at %s and agree to them (termsOfServiceAgreed, in newAccount or in an update of the account)", p.TermsOfService)
	e.Terms = p.TermsOfService
	return e
}
