package engine

import (
	"context"
	"time"

	"chancery/store"
)

// A trail is how one decision was reached. It is kept beside the request for as
// long as retention says.
type trail struct {
	ID       string       `json:"i"`
	Request  string       `json:"r"`
	At       time.Time    `json:"a"`
	State    State        `json:"s"`
	Policy   string       `json:"p"`
	Steps    []TrailEntry `json:"t"`
	Warrants []Warrant    `json:"w,omitempty"`
}

// A Warrant says why a name may be in the certificate.
type Warrant struct {
	Name string `json:"n"`
	By   string `json:"b"`
}

// A trail's key begins with its request's id, so that the trails of one request
// lie together.
var trails = store.Table[trail]{Name: "trails", Version: 1, Key: func(t *trail) string { return t.Request + t.ID[1:] }}

func newTrail(id string, r *Request, o *outcome, now time.Time) *trail {
	return &trail{ID: id, Request: r.ID, At: now, State: r.State, Policy: r.Policy[:16], Steps: o.trail, Warrants: o.warrants}
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
	x := &Explanation{Request: r}
	if err := e.view(ctx, func(tx store.Tx) error {
		for t, err := range trails.All(tx, id, id+"\xff") {
			if err != nil {
				return err
			}
			x.Trail, x.Warrants, x.Decided = t.Steps, t.Warrants, t.At
		}
		return nil
	}); err != nil {
		return nil, err
	}
	switch r.State {
	case StateIssued, StateAbandoned:
		if x.Certificate, _, err = e.Certificate(ctx, r.Cert); err != nil && r.State == StateIssued {
			return nil, err
		}
	case Pending:
		if err := e.load(ctx, r); err != nil {
			return nil, err
		}
		o, err := e.decide(ctx, e.setup.Load(), r)
		if err != nil {
			return nil, err
		}
		x.Trail, x.Warrants, x.TBS = o.trail, o.warrants, o.rendered.TBS
	}
	return x, nil
}
