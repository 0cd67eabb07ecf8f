package engine

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"chancery/store"
)

// A trail is how one decision was reached. It is kept beside the request for as
// long as retention says.
type trail struct {
	At       time.Time    `json:"a"`
	Steps    []TrailEntry `json:"t"`
	Warrants []Warrant    `json:"w,omitempty"`
}

func (e *Engine) keepTrail(tx store.Tx, request string, o *outcome, now time.Time) error {
	steps := slices.Clone(o.trail)
	for i := range steps {
		if steps[i].Verdict == string(pass) {
			steps[i].Verdict = "" // nearly all
		}
	}
	doc, err := json.Marshal(trail{now, steps, o.warrants})
	if err != nil {
		return err
	}
	return raws.Insert(tx, trailKey(request)+e.newID()[1:14], doc) // time, and a little more
}

// lastTrail is how the last decision on a request was reached; empty when
// retention has deleted it.
func lastTrail(tx store.Tx, request string) (*trail, error) {
	t := new(trail)
	for _, doc := range raws.All(tx, trailKey(request), past(trailKey(request))) {
		if doc.Err != nil {
			return nil, doc.Err
		}
		*t = trail{}
		if err := json.Unmarshal(doc.Bytes, t); err != nil {
			return nil, err
		}
	}
	for i := range t.Steps {
		if t.Steps[i].Verdict == "" {
			t.Steps[i].Verdict = string(pass)
		}
	}
	return t, nil
}

// A Warrant says why a name may be in the certificate.
type Warrant struct {
	Name string `json:"n"`
	By   string `json:"b"`
}

// An Explanation is everything known about how a request came to be what it is.
type Explanation struct {
	Request     *Request
	Trail       []TrailEntry
	Warrants    []Warrant
	Decided     time.Time
	Certificate *Certificate // nil unless there is one
	TBS         []byte       // the exact bytes that were or would be signed; nil if policy refused before rendering
}

// Explain returns how the request was decided. For a pending one it decides once
// more, without any effect, so that the bytes shown are those that a vote is for.
func (e *Engine) Explain(ctx context.Context, id string) (*Explanation, error) {
	r, err := e.Request(ctx, id)
	if err != nil {
		return nil, err
	}
	var t *trail
	if err := e.view(ctx, func(tx store.Tx) (err error) {
		t, err = lastTrail(tx, id)
		return err
	}); err != nil {
		return nil, err
	}
	x := &Explanation{Request: r, Trail: t.Steps, Warrants: t.Warrants, Decided: t.At}
	if err := e.load(ctx, r); err != nil {
		return nil, err
	}
	switch r.State {
	case StateIssued, StateAbandoned:
		if x.Certificate, _, err = e.Certificate(ctx, r.Cert); err != nil && r.State == StateIssued {
			return nil, err
		}
	case Pending:
		o, err := e.decide(ctx, e.setup.Load(), r)
		if err != nil {
			return nil, err
		}
		x.Trail, x.Warrants, x.TBS = o.trail, o.warrants, o.rendered.TBS
	}
	return x, nil
}
