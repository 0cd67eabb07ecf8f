package native

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"

	"chancery/engine"
)

// An authorityView is an issuing CA as JSON.
type authorityView struct {
	Name        string    `json:"name"`
	KeyID       string    `json:"key_id"`
	Subject     string    `json:"subject"`
	NotAfter    time.Time `json:"not_after"`
	Fingerprint string    `json:"sha256"`      // of its certificate
	RootPrint   string    `json:"root_sha256"` // of the root's
	CanSign     bool      `json:"can_sign"`
	Profiles    []string  `json:"profiles"`
	CRLNumber   string    `json:"crl_number,omitempty"`
	NextUpdate  time.Time `json:"crl_next_update,omitzero"`
}

func viewAuthority(a engine.AuthorityInfo) authorityView {
	v := authorityView{Name: a.Name, KeyID: a.KeyID, CanSign: a.CanSign, Profiles: slices.Sorted(slices.Values(a.Profiles))}
	if v.Profiles == nil {
		v.Profiles = []string{}
	}
	if a.CRL != nil {
		v.CRLNumber, v.NextUpdate = a.CRL.Number, a.CRL.NextUpdate
	}
	if len(a.Chain) > 0 {
		first, last := a.Chain[0], a.Chain[len(a.Chain)-1]
		v.Subject, v.NotAfter = first.Subject.String(), first.NotAfter
		v.Fingerprint, v.RootPrint = sum(first.Raw), sum(last.Raw)
	}
	return v
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// shownAuthorities leaves out, for enrollees, the authority that certifies the
// people who run the CA: nobody else is to trust its root.
func (f *Frontend) shownAuthorities(ctx context.Context, c *caller) ([]engine.AuthorityInfo, error) {
	all, err := f.d.Engine.Authorities(ctx)
	if err != nil || len(c.actor.Roles) > 0 {
		return all, err
	}
	return slices.DeleteFunc(all, func(a engine.AuthorityInfo) bool { return a.Name == engine.ManagementAuthority }), nil
}

func (f *Frontend) authorities(w http.ResponseWriter, r *http.Request, c *caller) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	all, err := f.shownAuthorities(r.Context(), c)
	if err != nil {
		return err
	}
	views := make([]authorityView, 0, len(all))
	for _, a := range all {
		views = append(views, viewAuthority(a))
	}
	return f.ok(w, http.StatusOK, struct {
		Authorities []authorityView `json:"authorities"`
	}{views})
}

// authorityChain gives an authority's chain with its root, for those who
// configure what trusts it.
func (f *Frontend) authorityChain(w http.ResponseWriter, r *http.Request, c *caller) error {
	q, err := readQuery(r, "format")
	if err != nil {
		return err
	}
	form, err := format(r, q, asPEM)
	if err != nil {
		return err
	}
	if form == asJSON || form == asDER {
		return &problem{Status: http.StatusNotAcceptable, Reason: "not-acceptable", Detail: "A chain is given as pem or pkcs7."}
	}
	all, err := f.shownAuthorities(r.Context(), c)
	if err != nil {
		return err
	}
	name := param(r, "name")
	for _, a := range all {
		if a.Name != name || len(a.Chain) == 0 {
			continue
		}
		var chain [][]byte
		for _, cert := range a.Chain {
			chain = append(chain, cert.Raw)
		}
		w.Header().Add("Vary", "Accept")
		return sendChain(w, form, chain)
	}
	return &problem{Status: http.StatusNotFound, Reason: "no-authority", Detail: "There is no such authority. GET /api/v1/authorities lists them."}
}

// A profileView is a profile as JSON, for those who may ask for it.
type profileView struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Authority   string   `json:"authority,omitempty"`
	Validity    string   `json:"validity"`
	ExtKeyUsage []string `json:"eku"`
	Approval    string   `json:"approval,omitempty"`
	Default     bool     `json:"default,omitempty"` // meant when a request names none
}

// profiles lists those that the caller could ask for here. Whether a request
// is granted is another question.
func (f *Frontend) profiles(w http.ResponseWriter, r *http.Request, c *caller) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	views := []profileView{}
	for name, p := range f.d.Engine.Profiles() {
		if !f.mayAsk(c, name, p) {
			continue
		}
		views = append(views, profileView{
			Name: name, Description: p.Description, Authority: p.Authority, Validity: time.Duration(p.Validity).String(),
			ExtKeyUsage: p.ExtKeyUsage, Approval: p.Approval, Default: len(f.c.Profiles) > 0 && f.c.Profiles[0] == name,
		})
	}
	slices.SortFunc(views, func(a, b profileView) int { return strings.Compare(a.Name, b.Name) })
	return f.ok(w, http.StatusOK, struct {
		Profiles []profileView `json:"profiles"`
	}{views})
}

func (f *Frontend) mayAsk(c *caller, name string, p engine.Profile) bool {
	named := func(g *engine.Grant) bool { return slices.Contains(g.Profiles, name) }
	if name == engine.ProfilePerson {
		return slices.ContainsFunc(c.grants, named)
	}
	if !slices.Contains(p.Frontends, engine.Native) ||
		len(f.c.Profiles) > 0 && !slices.Contains(f.c.Profiles, name) ||
		len(p.Requesters) > 0 && !slices.Contains(p.Requesters, c.principal) {
		return false
	}
	if len(c.grants) == 0 {
		return true
	}
	return slices.ContainsFunc(c.grants, func(g *engine.Grant) bool {
		return len(g.Profiles) == 0 || named(g)
	})
}
