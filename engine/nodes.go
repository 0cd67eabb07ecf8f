package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"chancery/store"
)

const (
	// BeatEvery is how often a node says that it lives.
	BeatEvery = 5 * time.Second

	// deadAfter is how old the last beat of a node may be that is taken to live.
	deadAfter = 3 * BeatEvery

	// forgetAfter is when a node that is gone is no longer shown.
	forgetAfter = 24 * time.Hour
)

// A Node is a process that serves this store, in its own words.
type Node struct {
	ID       string    `json:"i"` // of the process: it ends with it
	Name     string    `json:"n"` // from the settings; each node has its own
	Version  string    `json:"v"` // of the program
	HTTPS    string    `json:"s"` // addresses it listens on
	HTTP     string    `json:"h"`
	Admin    string    `json:"a"`
	Keys     []string  `json:"k"` // identifiers of the CA keys that it can sign with
	Started  time.Time `json:"t"`
	Beat     time.Time `json:"b"` // when it last said so, by its clock
	Policy   string    `json:"p"` // version in use
	Problems []string  `json:"x,omitempty"`
}

// Live reports whether the node spoke a moment ago. Nodes' clocks must agree to
// a few seconds.
func (n *Node) Live(now time.Time) bool { return now.Sub(n.Beat) < deadAfter }

var nodes = store.Table[Node]{Name: "nodes", Version: 1, Key: func(n *Node) string { return n.ID }}

// Process is the name of this process in the store: a new one for each start.
func (e *Engine) Process() string { return e.process }

// SignsWith are the identifiers of the CA keys that this node can sign with.
func (e *Engine) SignsWith() []string {
	ids := []string{}
	for id, is := range e.issuers {
		if is.Key != nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Say records what a node has to say, with the time.
func (e *Engine) Say(ctx context.Context, n Node) error {
	n.ID, n.Beat = e.process, e.now()
	return e.update(ctx, func(tx store.Tx) error { return nodes.Put(tx, &n, &n) })
}

// Leave takes this process off the list: it ends in order.
func (e *Engine) Leave(ctx context.Context) error {
	return e.update(ctx, func(tx store.Tx) error { return nodes.Delete(tx, &Node{ID: e.process}) })
}

// Nodes lists the nodes by name, the last started first. One that has been
// started again is not shown twice.
func (e *Engine) Nodes(ctx context.Context) ([]*Node, error) {
	all, err := e.everyNode(ctx)
	if err != nil {
		return nil, err
	}
	now := e.now()
	return slices.DeleteFunc(all, func(n *Node) bool { return !n.Live(now) && succeeded(n, all) }), nil
}

func (e *Engine) everyNode(ctx context.Context) ([]*Node, error) { return listNodes(ctx, e.DB) }

// LiveNode reports whether a node of a name lives, for who has no engine.
func LiveNode(ctx context.Context, db store.DB, name string, now time.Time) (bool, error) {
	live, err := Serving(ctx, db, now)
	return slices.ContainsFunc(live, func(n *Node) bool { return n.Name == name }), err
}

func listNodes(ctx context.Context, db store.DB) ([]*Node, error) {
	var all []*Node
	err := db.View(ctx, func(tx store.Tx) error {
		all = nil
		for n, err := range nodes.All(tx, "", "") {
			if err != nil {
				return err
			}
			all = append(all, n)
		}
		return nil
	})
	slices.SortFunc(all, func(a, b *Node) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return b.Started.Compare(a.Started)
	})
	return all, err
}

// succeeded reports whether a later process has the name of n.
func succeeded(n *Node, all []*Node) bool {
	return slices.ContainsFunc(all, func(o *Node) bool { return o.Name == n.Name && o.Started.After(n.Started) })
}

// ErrNoSigner says that no node that runs now holds the key of a CA. What was
// submitted is recorded and goes on when one does.
var ErrNoSigner = errors.New("no server that runs now holds the key of this CA")

// signable returns ErrNoSigner if neither this node nor another that lives can
// sign with a CA key.
func (e *Engine) signable(ctx context.Context, is *issuer) error {
	if is.Key != nil {
		return nil
	}
	ok, err := e.Signable(ctx, is.keyID)
	if err == nil && !ok {
		err = ErrNoSigner
	}
	return err
}

// Signable reports whether some node that lives can sign with the CA key of an
// identifier.
func (e *Engine) Signable(ctx context.Context, keyID string) (bool, error) {
	if is := e.issuers[keyID]; is != nil && is.Key != nil {
		return true, nil
	}
	all, err := e.everyNode(ctx)
	now := e.now()
	return slices.ContainsFunc(all, func(n *Node) bool { return n.Live(now) && slices.Contains(n.Keys, keyID) }), err
}

// forgetNodes deletes what nodes left that are long gone, and requests to join
// that have ended.
func (e *Engine) forgetNodes(ctx context.Context) {
	all, err := e.everyNode(ctx)
	var gone []*Node
	now := e.now()
	for _, n := range all {
		if now.Sub(n.Beat) > forgetAfter || !n.Live(now) && succeeded(n, all) {
			gone = append(gone, n)
		}
	}
	ended, jerr := endedJoins(ctx, e.DB, now)
	if err = errors.Join(err, jerr); err == nil && len(gone)+len(ended) > 0 {
		err = e.update(ctx, func(tx store.Tx) error {
			for _, n := range gone {
				if err := nodes.Delete(tx, n); err != nil {
					return err
				}
			}
			for _, seen := range ended {
				if err := removeJoin(tx, seen); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil && ctx.Err() == nil {
		e.Log.ErrorContext(ctx, "forgetting nodes that are gone", "err", err)
	}
}
