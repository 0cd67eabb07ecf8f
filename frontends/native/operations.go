package native

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"chancery/engine"
	"chancery/store/scrub"
)

func (f *Frontend) listFreezes(w http.ResponseWriter, r *http.Request, _ *caller) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	all, err := f.d.Engine.Freezes(r.Context())
	if err != nil {
		return err
	}
	return f.ok(w, http.StatusOK, struct {
		Freezes []engine.Freeze `json:"freezes"`
	}{all})
}

// checkScope reads what a freeze stops.
func checkScope(scope string) error {
	kind, name, named := strings.Cut(scope, ":")
	switch {
	case scope == "all":
		return nil
	case named && name != "" && len(scope) <= 128 && (kind == "authority" || kind == "profile" || kind == "grant"):
		return text("scope", scope, 128)
	}
	return badRequest("scope is all, authority:NAME, profile:NAME or grant:ID.")
}

func (f *Frontend) freeze(w http.ResponseWriter, r *http.Request, c *caller) error {
	var body struct {
		Scope  string `json:"scope"`
		Reason string `json:"reason"`
	}
	if _, err := readQuery(r); err != nil {
		return err
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	if err := checkScope(body.Scope); err != nil {
		return err
	}
	if err := text("reason", body.Reason, 500); err != nil {
		return err
	}
	if strings.TrimSpace(body.Reason) == "" {
		return badRequest(`Say why in "reason": clients are shown it.`)
	}
	if err := f.d.Engine.Freeze(r.Context(), c.actor, body.Scope, body.Reason); err != nil {
		return err
	}
	f.d.Note(r.Context(), "scope", body.Scope)
	return f.ok(w, http.StatusCreated, engine.Freeze{Scope: body.Scope, Reason: body.Reason, By: c.actor.Person, At: f.d.Now().UTC()})
}

func (f *Frontend) thaw(w http.ResponseWriter, r *http.Request, c *caller) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	scope := param(r, "scope")
	if err := checkScope(scope); err != nil {
		return err
	}
	all, err := f.d.Engine.Freezes(r.Context())
	if err != nil {
		return err
	}
	for _, z := range all {
		if z.Scope == scope {
			if err := f.d.Engine.Thaw(r.Context(), c.actor, scope); err != nil {
				return err
			}
			f.d.Note(r.Context(), "scope", scope)
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
	}
	return &problem{Status: http.StatusNotFound, Reason: "not-frozen", Detail: "This scope is not frozen. GET /api/v1/freezes lists those that are."}
}

// A statusView is how the CA is, for people and monitoring.
type statusView struct {
	Time        time.Time            `json:"time"`
	Policy      string               `json:"policy"`
	Pending     int                  `json:"pending"`
	Deliveries  int                  `json:"deliveries"`
	Parked      int                  `json:"parked"`
	CRLs        map[string]time.Time `json:"crls"` // nextUpdate by CA key
	Frozen      []engine.Freeze      `json:"frozen"`
	Founder     *founderView         `json:"founder,omitempty"`
	Authorities []authorityView      `json:"authorities"`
	Exposure    []string             `json:"exposure"`
	Records     *scrub.Report        `json:"records,omitempty"` // what reading everything stored found
	Quarantine  *quarantineView      `json:"quarantine,omitempty"`
	Nodes       []nodeView           `json:"nodes"`
	Limited     *Limited             `json:"limited,omitempty"`
}

type founderView struct {
	Expires time.Time `json:"expires"`
	Active  bool      `json:"active"`
}

func (f *Frontend) status(w http.ResponseWriter, r *http.Request, _ *caller) error {
	ctx := r.Context()
	if _, err := readQuery(r); err != nil {
		return err
	}
	h, err := f.d.Engine.Health(ctx)
	if err != nil {
		return err
	}
	v := statusView{Time: f.d.Now().UTC(), Policy: h.Policy, Pending: h.Pending, Deliveries: h.Waiting, Parked: h.Parked, CRLs: h.CRLs, Frozen: h.Frozen}
	if h.Founder != nil {
		v.Founder = &founderView{h.Founder.Expires, h.FounderNow}
	}
	all, err := f.d.Engine.Authorities(ctx)
	if err != nil {
		return err
	}
	for _, a := range all {
		v.Authorities = append(v.Authorities, viewAuthority(a))
	}
	if v.Nodes, err = f.nodesView(ctx, all, h.Policy); err != nil {
		return err
	}
	if v.Quarantine, err = f.quarantine(ctx); err != nil {
		return err
	}
	if f.d.Records != nil {
		records, err := f.d.Records(ctx)
		if err != nil {
			return err
		}
		v.Records = &records
	}
	if f.d.Limits != nil {
		if v.Limited, err = f.d.Limits.Limited(ctx); err != nil {
			return err
		}
	}
	if f.d.Exposure != nil {
		v.Exposure = f.d.Exposure()
	}
	return f.ok(w, http.StatusOK, v)
}

// policy gives the document in use. Its version is the entity tag, so that an
// administrator can change what was read and nothing newer.
func (f *Frontend) policy(w http.ResponseWriter, r *http.Request, _ *caller) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	doc, version, err := f.d.Engine.PolicyDocument()
	if err != nil {
		return err
	}
	w.Header().Set("ETag", `"`+version+`"`)
	return f.ok(w, http.StatusOK, struct {
		Version  string         `json:"version"`
		Document jsontext.Value `json:"document"`
	}{version, doc})
}

// apply makes a document the one in use.
func (f *Frontend) apply(w http.ResponseWriter, r *http.Request, c *caller) error {
	ctx := r.Context()
	if _, err := readQuery(r); err != nil {
		return err
	}
	if f.d.Apply == nil {
		return &problem{Status: http.StatusNotFound, Reason: "not-found", Detail: "This server takes no policy documents over the API: change policy.yaml where it runs."}
	}
	if _, err := mediaType(r, "application/yaml", "application/json", "application/x-yaml", "text/yaml", "text/plain"); err != nil {
		return err
	}
	doc, err := readBody(w, r, maxPolicy)
	if err != nil {
		return err
	}
	f.d.Applying.Lock()
	defer f.d.Applying.Unlock()
	if err := f.unchanged(r); err != nil {
		return err
	}
	version, changes, err := f.d.Apply(ctx, c.actor, doc)
	if err != nil {
		return refusedDocument(err)
	}
	f.d.Note(ctx, "policy", version)
	w.Header().Set("ETag", `"`+version+`"`)
	return f.ok(w, http.StatusOK, struct {
		Version string   `json:"version"`
		Changes []string `json:"changes"`
	}{version, changes})
}

// unchanged holds If-Match against the version in use: of two who edit at the
// same time the second is told.
func (f *Frontend) unchanged(r *http.Request) error {
	want := r.Header.Get("If-Match")
	if want == "" || want == "*" {
		return nil
	}
	_, version, err := f.d.Engine.PolicyDocument()
	if err != nil {
		return err
	}
	for tag := range strings.SplitSeq(want, ",") {
		if strings.TrimSpace(tag) == `"`+version+`"` {
			return nil
		}
	}
	return &problem{Status: http.StatusPreconditionFailed, Reason: "changed-meanwhile",
		Detail: "The policy is at version " + version + " now. Read it again and make your change to that."}
}

// refusedDocument tells what is wrong with a document, unless the fault is the
// server's.
func refusedDocument(err error) error {
	var p *problem
	if errors.As(err, &p) || errors.Is(err, engine.ErrUndecided) || errors.Is(err, engine.ErrForbidden) || errors.Is(err, engine.ErrPolicyMoved) {
		return err
	}
	return &problem{Status: http.StatusBadRequest, Reason: "bad-policy", Detail: clip(err.Error(), 16<<10), cause: err}
}

func (f *Frontend) replay(w http.ResponseWriter, r *http.Request, c *caller) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	if err := readJSON(w, r, &struct{}{}); err != nil {
		return err
	}
	n, err := f.d.Engine.ReplayDeliveries(r.Context(), c.actor, param(r, "name"))
	if err != nil {
		return err
	}
	return f.ok(w, http.StatusOK, struct {
		Replayed int `json:"replayed"`
	}{n})
}

type auditView struct {
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
	Who    string    `json:"who"`
	Via    string    `json:"via"` // kind of credential
	Act    string    `json:"act"`
	Object string    `json:"object"`
	Detail string    `json:"detail,omitempty"`
}

func (f *Frontend) audit(w http.ResponseWriter, r *http.Request, _ *caller) error {
	q, limit, after, err := f.readPage(r, "audit")
	if err != nil {
		return err
	}
	rows, next, err := f.d.Engine.Audit(r.Context(), after, limit)
	if err != nil {
		return err
	}
	views := make([]auditView, 0, len(rows))
	for _, row := range rows {
		views = append(views, auditView(*row))
	}
	return f.ok(w, http.StatusOK, struct {
		Audit []auditView `json:"audit"`
		Next  string      `json:"next,omitempty"`
	}{views, f.cursor("audit", q, next)})
}
