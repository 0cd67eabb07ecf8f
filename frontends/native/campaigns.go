package native

import (
	"net/http"
	"time"

	"chancery/engine"
	"chancery/engine/filter"
	"chancery/store"
)

// A campaignView is a renewal campaign as JSON.
type campaignView struct {
	ID      string          `json:"id"`
	Where   string          `json:"where"`
	Created time.Time       `json:"created"`
	Within  engine.Duration `json:"within"`
	Due     time.Time       `json:"due"` // when the last renewal is
	Reason  string          `json:"reason,omitempty"`
	By      string          `json:"by"`
	Ended   time.Time       `json:"ended,omitzero"`
	EndedBy string          `json:"ended_by,omitempty"`
}

func viewCampaign(k *engine.Campaign) campaignView {
	within := engine.Duration(k.End().Sub(k.Created))
	return campaignView{k.ID, k.Where, k.Created, within, k.End(), k.Reason, k.By, k.Ended, k.EndedBy}
}

func (f *Frontend) listCampaigns(w http.ResponseWriter, r *http.Request, _ *caller) error {
	q, limit, after, err := f.readPage(r, "campaigns")
	if err != nil {
		return err
	}
	rows, next, err := f.d.Engine.Campaigns(r.Context(), after, limit)
	if err != nil {
		return err
	}
	views := make([]campaignView, 0, len(rows))
	for _, row := range rows {
		views = append(views, viewCampaign(row))
	}
	return f.ok(w, http.StatusOK, struct {
		Campaigns []campaignView `json:"campaigns"`
		Next      string         `json:"next,omitempty"`
	}{views, f.cursor("campaigns", q, next)})
}

func (f *Frontend) createCampaign(w http.ResponseWriter, r *http.Request, c *caller) error {
	var body struct {
		Where  string          `json:"where"`
		Within engine.Duration `json:"within"` // such as 48h or 7d
		Reason string          `json:"reason"` // address of a page, for the operators of clients
	}
	if _, err := readQuery(r); err != nil {
		return err
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	if err := text("where", body.Where, filter.MaxLength); err != nil {
		return err
	}
	if err := text("reason", body.Reason, 500); err != nil {
		return err
	}
	k, err := f.d.Engine.CreateCampaign(r.Context(), c.actor, body.Where, time.Duration(body.Within), body.Reason)
	if err != nil {
		return err
	}
	f.d.Note(r.Context(), "campaign", k.ID)
	return f.ok(w, http.StatusCreated, viewCampaign(k))
}

// campaignID is the id in the path, of a form that campaigns have.
func campaignID(r *http.Request) (string, error) {
	id := param(r, "id")
	if !store.ValidID(id) {
		return "", engine.ErrNoCampaign
	}
	return id, nil
}

func (f *Frontend) showCampaign(w http.ResponseWriter, r *http.Request, _ *caller) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	id, err := campaignID(r)
	if err != nil {
		return err
	}
	k, err := f.d.Engine.Campaign(r.Context(), id)
	if err != nil {
		return err
	}
	return f.ok(w, http.StatusOK, viewCampaign(k))
}

func (f *Frontend) endCampaign(w http.ResponseWriter, r *http.Request, c *caller) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	if err := readJSON(w, r, &struct{}{}); err != nil {
		return err
	}
	id, err := campaignID(r)
	if err != nil {
		return err
	}
	k, err := f.d.Engine.EndCampaign(r.Context(), c.actor, id)
	if err != nil {
		return err
	}
	f.d.Note(r.Context(), "campaign", k.ID)
	return f.ok(w, http.StatusOK, viewCampaign(k))
}

// A memberView is a certificate that a campaign waits for.
type memberView struct {
	certificateView
	Start time.Time `json:"renew_after"`
	End   time.Time `json:"renew_before"`
}

// members tells of some certificates of a campaign. Its figures are those of the
// page: a campaign may have a million.
func (f *Frontend) members(w http.ResponseWriter, r *http.Request, _ *caller) error {
	id, err := campaignID(r)
	if err != nil {
		return err
	}
	list := "members of " + id
	q, limit, after, err := f.readPage(r, list)
	if err != nil {
		return err
	}
	m, err := f.d.Engine.Members(r.Context(), id, after, limit)
	if err != nil {
		return err
	}
	views := make([]memberView, 0, len(m.Waiting))
	for _, one := range m.Waiting {
		views = append(views, memberView{viewCertificate(one.Certificate, nil, true), one.Start, one.End})
	}
	return f.ok(w, http.StatusOK, struct {
		Certificates int          `json:"certificates"`
		Renewed      int          `json:"renewed"`
		Gone         int          `json:"gone"` // revoked or expired
		Waiting      []memberView `json:"waiting"`
		Next         string       `json:"next,omitempty"`
	}{m.Certificates, m.Renewed, m.Gone, views, f.cursor(list, q, m.Next)})
}
