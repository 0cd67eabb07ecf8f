package native

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"

	"chancery/engine"
)

// A caller is who asks, as the channel proves it.
type caller struct {
	principal engine.Principal
	proofs    []engine.Proof
	grants    []*engine.Grant
	spki      *[32]byte    // of a management certificate
	actor     engine.Actor // on the admin routes
}

// unauthorized is the same whatever was wrong, so that nobody learns which half
// of a guess was right.
var unauthorized = &problem{Status: http.StatusUnauthorized, Reason: "unauthorized",
	Detail: "Authenticate with Authorization: Bearer and the secret of a grant for this API, or with a client certificate of this CA that is in force."}

// enrollee says who wants a certificate: the holder of a grant's secret, or of
// a key that we certified.
func (f *Frontend) enrollee(r *http.Request) (*caller, error) {
	ctx := r.Context()
	token, given, err := bearer(r)
	if err != nil {
		return nil, err
	}
	var c *caller
	if given { // a certificate beside it, which browsers and curl send unasked, does not count
		c, err = f.byToken(ctx, token)
	} else {
		c, err = f.byCertificate(r)
	}
	if err != nil {
		return nil, err
	}
	f.d.Note(ctx, "requester", string(c.principal))
	return c, nil
}

func (f *Frontend) byToken(ctx context.Context, token string) (*caller, error) {
	g, err := f.d.Engine.CheckGrant(ctx, engine.Native, f.c.Name, token)
	if errors.Is(err, engine.ErrNoGrant) {
		f.d.Note(ctx, "refused", err)
		return nil, unauthorized
	} else if err != nil {
		return nil, err
	}
	p := engine.Principal("grant:" + g.ID)
	return &caller{
		principal: p,
		grants:    []*engine.Grant{g},
		proofs:    []engine.Proof{{Method: engine.ByGrant, Principal: p, Ref: g.ID, At: f.d.Now()}},
	}, nil
}

func (f *Frontend) byCertificate(r *http.Request) (*caller, error) {
	ctx := r.Context()
	id, err := f.identify(r, f.d.ManagementRoots, f.d.EnrollmentRoots)
	if err != nil {
		return nil, err
	}
	p := engine.Principal("key:" + hex.EncodeToString(id.spki[:]))
	held, err := f.d.Engine.HeldGrants(ctx, engine.Native, f.c.Name, p)
	if err != nil {
		return nil, err
	}
	now := f.d.Now()
	c := &caller{principal: p, grants: held, proofs: make([]engine.Proof, 0, len(held)+1)}
	for _, g := range held {
		c.proofs = append(c.proofs, engine.Proof{Method: engine.ByGrant, Principal: p, Ref: g.ID, At: now})
	}
	c.proofs = append(c.proofs, engine.Proof{Method: engine.ClientCert, Principal: p, Ref: id.row.CertID.String(), At: now})
	if id.pool == 0 {
		c.spki = &id.spki
	}
	return c, nil
}

// person says which person acts, with the roles of this moment: nothing is
// remembered between requests.
func (f *Frontend) person(r *http.Request) (*caller, error) {
	ctx := r.Context()
	if a, ok := ctx.Value(actorKey{}).(engine.Actor); ok {
		f.d.Note(ctx, "actor", a.Person)
		return &caller{principal: a.Principal, actor: a}, nil
	}
	token, given, err := bearer(r)
	if err != nil {
		return nil, err
	}
	cred := engine.Credential{Token: token}
	if !given {
		id, err := f.identify(r, f.d.ManagementRoots)
		if err != nil {
			return nil, err
		}
		cred.SPKIHash = id.spki
	}
	a, err := f.d.Engine.Authenticate(ctx, cred)
	switch {
	case errors.Is(err, engine.ErrForbidden) && given:
		return nil, unauthorized
	case errors.Is(err, engine.ErrForbidden):
		return nil, &problem{Status: http.StatusForbidden, Reason: "forbidden", cause: err,
			Detail: "Your certificate is in order but has no role here. An administrator gives roles in the policy document, to the hash of its key: " + hex.EncodeToString(cred.SPKIHash[:])}
	case err != nil:
		return nil, err
	}
	f.d.Note(ctx, "actor", a.Person)
	return &caller{principal: a.Principal, actor: a}, nil
}

// isOfficer reports whether an enrollee is known as an officer too.
func (f *Frontend) isOfficer(ctx context.Context, c *caller) (bool, error) {
	if c.spki == nil {
		return false, nil
	}
	a, err := f.d.Engine.Authenticate(ctx, engine.Credential{SPKIHash: *c.spki})
	if errors.Is(err, engine.ErrForbidden) {
		return false, nil
	}
	return err == nil && a.Is(engine.Officer), err
}

// maxToken is more than any secret of ours.
const maxToken = 512

// bearer takes the token out of the Authorization header. given says that there
// is such a header, whatever it holds.
func bearer(r *http.Request) (token string, given bool, err error) {
	all := r.Header["Authorization"]
	switch len(all) {
	case 0:
		return "", false, nil
	case 1:
	default:
		return "", true, badRequest("Send one Authorization header.")
	}
	scheme, token, ok := strings.Cut(all[0], " ")
	token = strings.TrimSpace(token)
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxToken || strings.ContainsAny(token, " \t,") {
		return "", true, unauthorized
	}
	return token, true, nil
}
