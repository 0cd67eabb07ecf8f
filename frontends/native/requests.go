package native

import (
	"net/http"
	"time"

	"chancery/engine"
	"chancery/store"
)

// A requestView is a request as JSON. It is a choice of fields, not the row:
// bodies, hashes and keys of idempotency stay inside.
type requestView struct {
	ID         string      `json:"id"`
	State      string      `json:"state"`
	Source     string      `json:"source"`
	Endpoint   string      `json:"endpoint,omitempty"`
	Requester  string      `json:"requester"`
	Asked      string      `json:"asked_profile,omitempty"`
	AskedAuth  string      `json:"asked_authority,omitempty"`
	Profile    string      `json:"profile,omitempty"`
	Subject    string      `json:"subject,omitempty"`
	Names      []string    `json:"names,omitempty"` // asked for
	Received   time.Time   `json:"received"`
	Ended      time.Time   `json:"ended,omitzero"`
	Policy     string      `json:"policy,omitempty"` // version of the document that decided
	Pends      []pendView  `json:"pends,omitempty"`
	Digest     string      `json:"digest,omitempty"` // of what officers vote on
	Votes      []voteView  `json:"votes,omitempty"`
	Proofs     []proofView `json:"proofs,omitempty"`
	Attributes []claimView `json:"attributes,omitempty"`
	Replaces   string      `json:"replaces,omitempty"` // serial number
	Serial     string      `json:"serial,omitempty"`
	Issuer     string      `json:"issuer,omitempty"`
	Reason     string      `json:"reason,omitempty"`
	Detail     string      `json:"detail,omitempty"`
}

type (
	pendView struct {
		Step   string `json:"step"`
		Detail string `json:"detail"`
	}
	voteView struct {
		By     string    `json:"by"`
		At     time.Time `json:"at"`
		Digest string    `json:"digest"`
		Steps  []string  `json:"steps"`
		Note   string    `json:"note,omitempty"`
	}
	proofView struct {
		Method    string    `json:"method"`
		Principal string    `json:"principal,omitempty"`
		Names     []string  `json:"names,omitempty"`
		Ref       string    `json:"ref,omitempty"`
		By        string    `json:"by,omitempty"`
		At        time.Time `json:"at"`
		Expires   time.Time `json:"expires,omitzero"`
	}
	claimView struct {
		Origin string `json:"origin"`
		Name   string `json:"name"`
		Value  string `json:"value"`
	}
)

func viewRequest(r *engine.Request) requestView {
	v := requestView{
		ID: r.ID, State: string(r.State), Source: string(r.Source), Endpoint: r.Endpoint, Requester: string(r.Requester),
		Asked: r.Want, AskedAuth: r.WantAuth, Profile: r.Profile, Received: r.Received, Ended: r.Ended, Policy: r.Policy,
		Digest: r.Digest, Replaces: r.Replaces.Serial, Serial: r.Cert.Serial, Issuer: r.Cert.Issuer,
	}
	if r.Asked != nil {
		v.Subject = r.Asked.Subject.String()
		for _, n := range r.Asked.Names {
			v.Names = append(v.Names, n.String())
		}
	}
	for _, p := range r.Pends {
		v.Pends = append(v.Pends, pendView(p))
	}
	for _, t := range r.Votes {
		v.Votes = append(v.Votes, voteView(t))
	}
	for _, c := range r.Claims {
		v.Attributes = append(v.Attributes, claimView(c))
	}
	for _, p := range r.Proofs {
		one := proofView{Method: string(p.Method), Principal: string(p.Principal), Ref: p.Ref, By: p.By, At: p.At, Expires: p.Expires}
		for _, n := range p.Names {
			one.Names = append(one.Names, n.String())
		}
		v.Proofs = append(v.Proofs, one)
	}
	if r.Refusal != nil {
		v.Reason, v.Detail = string(r.Refusal.Reason), r.Refusal.Detail
	}
	return v
}

func (f *Frontend) listRequests(w http.ResponseWriter, r *http.Request, _ *caller) error {
	q, err := readQuery(r, "state", "requester", "basis", "profile", "source", "since", "where", "limit", "after")
	if err != nil {
		return err
	}
	filter := engine.RequestFilter{Requester: engine.Principal(q.get("requester")), Basis: q.get("basis"), Profile: q.get("profile")}
	if filter.State, err = oneOf(q, "state", engine.Received, engine.Pending, engine.Issuing, engine.StateIssued, engine.StateDenied, engine.StateAbandoned); err != nil {
		return err
	}
	if filter.Source, err = oneOf(q, "source", engine.ACME, engine.SCEP, engine.EST, engine.Native, engine.Self); err != nil {
		return err
	}
	if filter.Since, err = q.time("since"); err != nil {
		return err
	}
	if filter.Where, err = q.where(engine.ParseRequestFilter); err != nil {
		return err
	}
	if filter.Limit, err = q.limit(); err != nil {
		return err
	}
	if filter.After, err = f.after("requests", q); err != nil {
		return err
	}
	rows, next, err := f.d.Engine.Requests(r.Context(), filter)
	if err != nil {
		return err
	}
	views := make([]requestView, 0, len(rows))
	for _, row := range rows {
		views = append(views, viewRequest(row))
	}
	return f.ok(w, http.StatusOK, struct {
		Requests []requestView `json:"requests"`
		Next     string        `json:"next,omitempty"`
		Found    string        `json:"found"` // how
	}{views, f.cursor("requests", q, next), filter.Index(f.d.Now())})
}

// explained finds the request in the path.
func (f *Frontend) explained(r *http.Request) (*engine.Explanation, error) {
	if _, err := readQuery(r); err != nil {
		return nil, err
	}
	id := param(r, "id")
	if !store.ValidID(id) {
		return nil, engine.ErrNoRequest
	}
	return f.d.Engine.Explain(r.Context(), id)
}

func (f *Frontend) showRequest(w http.ResponseWriter, r *http.Request, _ *caller) error {
	x, err := f.explained(r)
	if err != nil {
		return err
	}
	return f.ok(w, http.StatusOK, explainedRequest(x))
}

// explainedRequest takes the names from the certificate where the body of the
// request was not read again.
func explainedRequest(x *engine.Explanation) requestView {
	v := viewRequest(x.Request)
	if x.Request.Asked == nil && x.Certificate != nil {
		c := viewCertificate(x.Certificate, nil, false)
		v.Subject, v.Names = c.Subject, c.Names
	}
	return v
}

type (
	explanationView struct {
		Request     requestView      `json:"request"`
		Trail       []trailView      `json:"trail"`
		Warrants    []warrantView    `json:"warrants"`
		Certificate *certificateView `json:"certificate,omitempty"`
		Preview     *previewView     `json:"preview,omitempty"` // what the TBS says
		TBS         []byte           `json:"tbs,omitempty"`     // what would be, or was, signed
	}
	trailView struct {
		Step    string `json:"step"`
		Verdict string `json:"verdict"`
		Detail  string `json:"detail,omitempty"`
	}
	warrantView struct {
		Name string `json:"name"`
		By   string `json:"by"`
	}
)

func (f *Frontend) explain(w http.ResponseWriter, r *http.Request, _ *caller) error {
	x, err := f.explained(r)
	if err != nil {
		return err
	}
	v := explanationView{Request: explainedRequest(x), Trail: []trailView{}, Warrants: []warrantView{}, TBS: x.TBS, Preview: preview(x.TBS)}
	for _, t := range x.Trail {
		v.Trail = append(v.Trail, trailView{t.Step, t.Verdict, t.Detail})
	}
	for _, one := range x.Warrants {
		v.Warrants = append(v.Warrants, warrantView{one.Name, one.By})
	}
	if x.Certificate != nil {
		c := viewCertificate(x.Certificate, nil, true)
		v.Certificate = &c
	}
	return f.ok(w, http.StatusOK, v)
}

func (f *Frontend) approve(w http.ResponseWriter, r *http.Request, c *caller) error {
	var body struct {
		Digest string `json:"digest"`
		Note   string `json:"note"`
	}
	id, err := readVerdict(w, r, &body)
	if err != nil {
		return err
	}
	if err := text("note", body.Note, 1000); err != nil {
		return err
	}
	if err := text("digest", body.Digest, 128); err != nil {
		return err
	}
	d, err := f.d.Engine.Approve(r.Context(), c.actor, id, body.Digest, body.Note)
	if err != nil {
		return err
	}
	return f.decided(w, r, d)
}

func (f *Frontend) deny(w http.ResponseWriter, r *http.Request, c *caller) error {
	var body struct {
		Detail string `json:"detail"`
	}
	id, err := readVerdict(w, r, &body)
	if err != nil {
		return err
	}
	if err := text("detail", body.Detail, 1000); err != nil {
		return err
	}
	if body.Detail == "" {
		return badRequest(`Say why in "detail": the requester is shown it.`)
	}
	d, err := f.d.Engine.Deny(r.Context(), c.actor, id, body.Detail)
	if err != nil {
		return err
	}
	return f.decided(w, r, d)
}

func readVerdict(w http.ResponseWriter, r *http.Request, body any) (id string, err error) {
	if _, err := readQuery(r); err != nil {
		return "", err
	}
	if id = param(r, "id"); !store.ValidID(id) {
		return "", engine.ErrNoRequest
	}
	return id, readJSON(w, r, body)
}

func (f *Frontend) listCertificates(w http.ResponseWriter, r *http.Request, _ *caller) error {
	q, err := readQuery(r, "name", "status", "profile", "expires_before", "where", "limit", "after")
	if err != nil {
		return err
	}
	filter := engine.CertificateFilter{Profile: q.get("profile")}
	if filter.Name, err = certificateName(q.get("name")); err != nil {
		return err
	}
	if filter.Status, err = oneOf(q, "status", engine.Good, engine.Held, engine.Revoked); err != nil {
		return err
	}
	if filter.ExpiresBefore, err = q.time("expires_before"); err != nil {
		return err
	}
	if filter.Where, err = q.where(engine.ParseCertificateFilter); err != nil {
		return err
	}
	if filter.Limit, err = q.limit(); err != nil {
		return err
	}
	if filter.After, err = f.after("certificates", q); err != nil {
		return err
	}
	rows, next, err := f.d.Engine.Certificates(r.Context(), filter)
	if err != nil {
		return err
	}
	views := make([]certificateView, 0, len(rows))
	for _, row := range rows {
		views = append(views, viewCertificate(row, nil, true))
	}
	return f.ok(w, http.StatusOK, struct {
		Certificates []certificateView `json:"certificates"`
		Next         string            `json:"next,omitempty"`
		Found        string            `json:"found"` // how
	}{views, f.cursor("certificates", q, next), filter.Index(f.d.Now())})
}
