package native

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"chancery/engine"
)

// Nodes is what the frontend needs to tell of the processes that serve the same
// store, and to let more of them in.
type Nodes interface {
	Nodes(ctx context.Context) ([]*engine.Node, error)
	Joins(ctx context.Context) ([]*engine.Join, error)

	// Approve gives a waiting machine the key that all nodes share. It returns
	// the name of that key, which the machine shows too.
	Approve(ctx context.Context, a engine.Actor, name, fingerprint string) (seal string, err error)
}

// A nodeView is a node as JSON.
type nodeView struct {
	ID       string    `json:"id"` // of the process
	Name     string    `json:"name"`
	Live     bool      `json:"live"`
	Version  string    `json:"version"`
	HTTPS    string    `json:"https"`
	HTTP     string    `json:"http"`
	Admin    string    `json:"admin"`
	Signs    []string  `json:"signs"` // the authorities whose key it has
	Started  time.Time `json:"started"`
	Beat     time.Time `json:"beat"` // when it was last heard of
	Policy   string    `json:"policy"`
	Problems []string  `json:"problems"`
}

// skew is how far the clocks of nodes may be apart before it is said.
const skew = 3 * time.Second

func viewNodes(all []*engine.Node, authorities []engine.AuthorityInfo, policy string, now time.Time) []nodeView {
	views := make([]nodeView, 0, len(all))
	for _, n := range all {
		v := nodeView{
			ID: n.ID, Name: n.Name, Live: n.Live(now), Version: n.Version, HTTPS: n.HTTPS, HTTP: n.HTTP, Admin: n.Admin, Signs: []string{},
			Started: n.Started, Beat: n.Beat, Policy: n.Policy, Problems: slices.Concat([]string{}, n.Problems),
		}
		for _, a := range authorities {
			if slices.Contains(n.Keys, a.KeyID) {
				v.Signs = append(v.Signs, a.Name)
			}
		}
		switch {
		case !v.Live:
			v.Problems = append(v.Problems, fmt.Sprintf("it has been silent for %s", now.Sub(n.Beat).Round(time.Second)))
		case n.Policy != policy:
			v.Problems = append(v.Problems, "it uses policy version "+n.Policy)
		}
		if ahead := n.Beat.Sub(now); ahead > skew {
			v.Problems = append(v.Problems, fmt.Sprintf("its clock is %s ahead of the clock of the node that answers", ahead.Round(time.Second)))
		}
		if v.Live && slices.ContainsFunc(all, func(o *engine.Node) bool { return o.ID != n.ID && o.Name == n.Name && alongside(n, o) }) {
			v.Problems = append(v.Problems, "another node runs under the same name: give each its own (node: in chancery.yaml)")
		}
		views = append(views, v)
	}
	return views
}

// alongside reports whether two processes of one name ran at the same time,
// beyond what a quick restart looks like.
func alongside(a, b *engine.Node) bool {
	if a.Started.Before(b.Started) {
		a, b = b, a
	}
	return b.Beat.Sub(a.Started) > engine.BeatEvery
}

type joinView struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires"`
}

// nodesView tells of nodes, for status and for the list of them.
func (f *Frontend) nodesView(ctx context.Context, authorities []engine.AuthorityInfo, policy string) ([]nodeView, error) {
	if f.d.Nodes == nil {
		return []nodeView{}, nil
	}
	all, err := f.d.Nodes.Nodes(ctx)
	return viewNodes(all, authorities, policy, f.d.Now()), err
}

func (f *Frontend) nodes(w http.ResponseWriter, r *http.Request, _ *caller) error {
	ctx := r.Context()
	if _, err := readQuery(r); err != nil {
		return err
	}
	authorities, err := f.d.Engine.Authorities(ctx)
	if err != nil {
		return err
	}
	_, policy, err := f.d.Engine.PolicyDocument()
	if err != nil {
		return err
	}
	views, err := f.nodesView(ctx, authorities, policy)
	if err != nil {
		return err
	}
	waiting := []joinView{}
	if f.d.Nodes != nil {
		all, err := f.d.Nodes.Joins(ctx)
		if err != nil {
			return err
		}
		for _, j := range all {
			// Not the fingerprint of the row: who approves reads it on the new machine.
			waiting = append(waiting, joinView{Name: j.Name, Version: j.Version, Made: j.Made, Expires: j.Expires})
		}
	}
	return f.ok(w, http.StatusOK, struct {
		Nodes   []nodeView `json:"nodes"`
		Waiting []joinView `json:"waiting"`
	}{views, waiting})
}

func (f *Frontend) approveNode(w http.ResponseWriter, r *http.Request, c *caller) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	var body struct {
		Fingerprint string `json:"fingerprint"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	name := param(r, "name")
	if len(name) > 64 || len(body.Fingerprint) > 64 {
		return engine.ErrNoJoin
	}
	if strings.TrimSpace(body.Fingerprint) == "" {
		return badRequest(`Give the "fingerprint" that the new machine shows.`)
	}
	if f.d.Nodes == nil {
		return engine.ErrNoJoin
	}
	seal, err := f.d.Nodes.Approve(r.Context(), c.actor, name, body.Fingerprint)
	if err != nil {
		return err
	}
	f.d.Note(r.Context(), "node", name)
	return f.ok(w, http.StatusOK, struct {
		Name string `json:"name"`
		Seal string `json:"seal"` // the name of the shared key
	}{name, seal})
}
