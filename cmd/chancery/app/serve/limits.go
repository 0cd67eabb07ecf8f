package serve

import (
	"context"
	"errors"

	"chancery/cmd/chancery/app/node"
	"chancery/engine"
	"chancery/engine/limit"
	"chancery/frontends/acme"
	"chancery/frontends/native"
	"chancery/store"
)

// A limits is who is held back, for people to see and to resume. The native API
// and the frontends that limit need not know one another.
type limits struct {
	node *node.Node
	set  *limit.Set
}

// Limited is of native.Limits.
func (l *limits) Limited(ctx context.Context) (*native.Limited, error) {
	out := &native.Limited{Held: []native.Held{}, Paused: []native.Pause{}}
	for _, r := range l.set.Refused(l.node.Now()) {
		out.Held = append(out.Held, native.Held{Limit: r.Key.Limit, Endpoint: r.Key.Endpoint, Of: r.Key.Of, Until: r.Until.UTC(), Times: r.Times})
	}
	all, err := acme.Pauses(ctx, l.node.DB)
	for _, p := range all {
		out.Paused = append(out.Paused, native.Pause(p))
	}
	return out, err
}

// Resume is of native.Limits.
func (l *limits) Resume(ctx context.Context, a engine.Actor, what string) (int, error) {
	if err := a.Require(engine.Officer, engine.Operator, engine.Admin); err != nil {
		return 0, err
	}
	n, err := acme.Resume(ctx, l.node.DB, l.set, what, func(tx store.Tx) error { return l.node.Engine.Record(tx, a, "resume", what, "") })
	switch {
	case errors.Is(err, acme.ErrNotFailing):
		return 0, native.ErrNothingPaused
	case errors.Is(err, acme.ErrNotResumable):
		return 0, native.ErrNotResumable
	}
	return n, err
}
