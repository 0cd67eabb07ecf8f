package native

import (
	"fmt"
	"net/http"
	"time"

	"chancery/engine"
	"chancery/engine/names"
	"chancery/store"
)

// A grantView is a grant as JSON. The hash of its secret stays inside.
type grantView struct {
	ID           string          `json:"id"`
	Secret       string          `json:"secret,omitempty"` // when it is made, and never again
	Protocol     string          `json:"protocol"`
	Endpoints    []string        `json:"endpoints,omitempty"`
	Profiles     []string        `json:"profiles,omitempty"`
	Names        []names.Pattern `json:"names"`
	Uses         int             `json:"uses,omitempty"`
	Reserved     int             `json:"reserved,omitempty"`
	Spent        int             `json:"spent"`
	Denials      int             `json:"denials,omitempty"`
	Prevalidated bool            `json:"prevalidated,omitempty"`
	Accounts     int             `json:"accounts,omitempty"`
	Bound        int             `json:"bound,omitempty"`
	Holder       string          `json:"holder,omitempty"`
	Owner        string          `json:"owner"`
	Created      time.Time       `json:"created"`
	Expires      time.Time       `json:"expires,omitzero"`
	Revoked      time.Time       `json:"revoked,omitzero"`
}

func viewGrant(g *engine.Grant) grantView {
	return grantView{
		ID: g.ID, Protocol: string(g.Protocol), Endpoints: g.Endpoints, Profiles: g.Profiles, Names: g.Names, Uses: g.Uses,
		Reserved: g.Reserved, Spent: g.Spent, Denials: g.Denials, Prevalidated: g.Prevalidated, Accounts: g.Accounts, Bound: g.Bound, Holder: string(g.Holder),
		Owner: g.Owner, Created: g.Created, Expires: g.Expires, Revoked: g.Revoked,
	}
}

func (f *Frontend) listGrants(w http.ResponseWriter, r *http.Request, _ *caller) error {
	q, limit, after, err := f.readPage(r, "grants")
	if err != nil {
		return err
	}
	rows, next, err := f.d.Engine.Grants(r.Context(), after, limit)
	if err != nil {
		return err
	}
	views := make([]grantView, 0, len(rows))
	for _, row := range rows {
		views = append(views, viewGrant(row))
	}
	return f.ok(w, http.StatusOK, struct {
		Grants []grantView `json:"grants"`
		Next   string      `json:"next,omitempty"`
	}{views, f.cursor("grants", q, next)})
}

// A grantBody is what an administrator says of a grant. What it has been used
// for is not for anybody to say.
type grantBody struct {
	Protocol     string          `json:"protocol"`
	Endpoints    []string        `json:"endpoints"`
	Profiles     []string        `json:"profiles"`
	Names        []names.Pattern `json:"names"`
	Uses         int             `json:"uses"`
	Prevalidated bool            `json:"prevalidated"`
	Accounts     int             `json:"accounts"`
	Holder       string          `json:"holder"`
	Expires      time.Time       `json:"expires"`
	ExpiresIn    engine.Duration `json:"expires_in"` // instead of expires, such as 30d
}

// maxGrantList bounds each list of a grant.
const maxGrantList = 100

func (b *grantBody) grant(now time.Time) (engine.Grant, error) {
	g := engine.Grant{
		Protocol: engine.Source(b.Protocol), Endpoints: b.Endpoints, Profiles: b.Profiles, Names: b.Names, Uses: b.Uses,
		Prevalidated: b.Prevalidated, Accounts: b.Accounts, Holder: engine.Principal(b.Holder), Expires: b.Expires,
	}
	switch g.Protocol {
	case engine.ACME, engine.SCEP, engine.EST, engine.Native:
	default:
		return g, badRequest("protocol is one of acme, scep, est, native.")
	}
	if len(b.Endpoints) > maxGrantList || len(b.Profiles) > maxGrantList || len(b.Names) > maxGrantList {
		return g, badRequest(fmt.Sprintf("Each list of a grant may have %d entries.", maxGrantList))
	}
	for _, list := range [][]string{b.Endpoints, b.Profiles, {b.Holder}} {
		for _, s := range list {
			if err := text("endpoints, profiles, holder", s, 128); err != nil {
				return g, err
			}
		}
	}
	if b.ExpiresIn != 0 {
		if !b.Expires.IsZero() {
			return g, badRequest("Give expires or expires_in, not both.")
		}
		g.Expires = now.Add(time.Duration(b.ExpiresIn)).UTC().Truncate(time.Second)
	}
	if !g.Expires.IsZero() && !g.Expires.After(now) {
		return g, badRequest("The grant would be expired when it is made.")
	}
	if b.Uses < 0 {
		return g, badRequest("uses is a number of certificates; 0 means any number.")
	}
	if b.Accounts < 0 {
		return g, badRequest("accounts is a number of ACME accounts; 0 means any number.")
	}
	return g, nil
}

func (f *Frontend) createGrant(w http.ResponseWriter, r *http.Request, c *caller) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	var body grantBody
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	g, err := body.grant(f.d.Now())
	if err != nil {
		return err
	}
	made, secret, err := f.d.Engine.CreateGrant(r.Context(), c.actor, g)
	if err != nil {
		return err
	}
	f.d.Note(r.Context(), "grant", made.ID)
	v := viewGrant(made)
	v.Secret = secret
	return f.ok(w, http.StatusCreated, v)
}

func (f *Frontend) revokeGrant(w http.ResponseWriter, r *http.Request, c *caller) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	id := param(r, "id")
	if !store.ValidID(id) {
		return engine.ErrNoGrant
	}
	f.d.Note(r.Context(), "grant", id)
	if err := f.d.Engine.RevokeGrant(r.Context(), c.actor, id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
