package est

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"time"

	"chancery/engine"
	"chancery/engine/limit"
	"chancery/frontends/internal/clientaddr"
	"chancery/frontends/internal/clientcert"
)

// A client is who asks, as the channel proves it.
type client struct {
	principal engine.Principal
	proofs    []engine.Proof

	claims []engine.Claim // what a manufacturer says of it

	// Of the certificate of ours that the client authenticated with, if it did.
	row  *engine.Certificate
	cert *x509.Certificate
	late bool // it has ended
}

// enrollee says who wants a certificate (RFC 7030, Section 3.2.3 and 3.3.2): the
// holder of a grant's secret, the holder of a key that we certified, or who is
// both, as the endpoint wants it.
func (f *Frontend) enrollee(r *http.Request, p *endpoint) (*client, error) {
	_, given := r.Header["Authorization"]
	var c *client
	var err error
	switch {
	case p.Authenticate == certificate, p.Authenticate == anyOne && !given && len(r.TLS.PeerCertificates) > 0:
		c, err = f.byCertificate(r, p)
	case p.Authenticate == both:
		if c, err = f.byCertificate(r, p); err == nil {
			c, err = f.andPassword(r, p, c)
		}
	default: // a certificate beside a password, which many clients send unasked, does not count
		c, err = f.byPassword(r, p)
	}
	if err != nil {
		return nil, err
	}
	f.d.Note(r.Context(), "requester", string(c.principal))
	return c, nil
}

// unauthorized is the same whatever was wrong, so that nobody learns which half
// of a guess was right.
func (p *endpoint) unauthorized(cause error) *refusal {
	if p.Authenticate == certificate {
		return &refusal{status: http.StatusForbidden, cause: cause,
			detail: "Authenticate with a client certificate of this CA that is in force."}
	}
	return &refusal{status: http.StatusUnauthorized, password: true, cause: cause, detail: map[string]string{
		anyOne:   "Authenticate with the id of a grant and its secret, or with a client certificate of this CA that is in force.",
		password: "Authenticate with the id of a grant and its secret.",
		both:     "Authenticate with a client certificate of this CA that is in force, and with the id of a grant and its secret.",
	}[p.Authenticate]}
}

// wrongPasswords is how often one network may be wrong. Secrets cannot be
// guessed; this bounds what guessing costs us.
var wrongPasswords = limit.Rate{Count: 30, Per: time.Minute}

func (f *Frontend) byPassword(r *http.Request, p *endpoint) (*client, error) {
	g, err := f.grant(r, p)
	if err != nil {
		return nil, err
	}
	who := engine.Principal("grant:" + g.ID)
	return &client{principal: who, proofs: []engine.Proof{{Method: engine.ByGrant, Principal: who, Ref: g.ID, At: f.d.Now()}}}, nil
}

// andPassword adds a grant to whom a certificate told. The request is counted on
// the grant, which warrants its names.
func (f *Frontend) andPassword(r *http.Request, p *endpoint, c *client) (*client, error) {
	byPassword, err := f.byPassword(r, p)
	if err != nil {
		return nil, err
	}
	byPassword.row, byPassword.cert, byPassword.claims = c.row, c.cert, c.claims
	shown := c.proofs[len(c.proofs)-1] // the certificate
	shown.Principal = byPassword.principal
	byPassword.proofs = append(byPassword.proofs, shown)
	return byPassword, nil
}

// grant finds the grant of the one password. Its secret is found by a keyed hash,
// so that no time tells a wrong one from an unknown one.
func (f *Frontend) grant(r *http.Request, p *endpoint) (*engine.Grant, error) {
	ctx, now := r.Context(), f.d.Now()
	if len(r.Header["Authorization"]) > 1 {
		return nil, refuse(http.StatusBadRequest, "Send one Authorization header.")
	}
	ask := limit.Ask{Rate: wrongPasswords, Key: limit.Key{Limit: "wrong_passwords", Endpoint: "est/" + p.name, Of: clientaddr.Network(clientaddr.Of(r, nil))}}
	if proxied(r) { // all its clients have its address
		ask.Key.Of = ""
	}
	if ask.Key.Of != "" {
		if held := f.d.Limits.Check(now, ask); held != nil {
			return nil, &refusal{status: http.StatusTooManyRequests, retry: held.Wait, detail: "Too many wrong passwords came from this network. Try again later."}
		}
	}
	user, secret, given := r.BasicAuth()
	if !given {
		return nil, p.unauthorized(nil)
	}
	g, err := f.d.Grants.CheckGrant(ctx, engine.EST, p.name, secret)
	if err == nil && g.ID != user {
		err = engine.ErrNoGrant
	}
	if errors.Is(err, engine.ErrNoGrant) {
		if ask.Key.Of != "" {
			f.d.Limits.Add(now, ask)
		}
		return nil, p.unauthorized(err)
	}
	return g, err
}

// byCertificate is for a client whose certificate the CA of the endpoint issued.
// It says who asks; which names the client may have, the grants say that it holds.
func (f *Frontend) byCertificate(r *http.Request, p *endpoint) (*client, error) {
	ctx := r.Context()
	row, err := f.identify(ctx, r.TLS.PeerCertificates, p)
	if no := new(refusal); errors.As(err, &no) && p.made(r.TLS.PeerCertificates, f.d.Now()) && !f.ours(r.TLS.PeerCertificates[0]) {
		return f.byManufacturer(r, p)
	} else if err != nil {
		return nil, err
	}
	c := &client{principal: engine.Principal("key:" + row.SPKI), row: row, cert: r.TLS.PeerCertificates[0]}
	held, err := f.d.Grants.HeldGrants(ctx, engine.EST, p.name, c.principal)
	if err != nil {
		return nil, err
	}
	now := f.d.Now()
	for _, g := range held {
		c.proofs = append(c.proofs, engine.Proof{Method: engine.ByGrant, Principal: c.principal, Ref: g.ID, At: now})
	}
	c.proofs = append(c.proofs, engine.Proof{Method: engine.ClientCert, Principal: c.principal, Ref: row.CertID.String(), At: now})
	return c, nil
}

func (f *Frontend) identify(ctx context.Context, sent []*x509.Certificate, p *endpoint) (*engine.Certificate, error) {
	row, err := f.clients.Identify(ctx, sent, f.d.Anchors)
	switch {
	case errors.Is(err, clientcert.ErrRefused):
		return nil, p.unauthorized(err)
	case err != nil:
		return nil, err
	case row.Authority != p.profile.Authority: // another CA of ours vouches for others
		return nil, p.unauthorized(errors.New("the client certificate is of authority " + row.Authority))
	}
	return row, nil
}
