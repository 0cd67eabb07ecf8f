package engine

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"chancery/store"
)

const (
	deltaScope = "delta"
	deltaLife  = 24 * time.Hour

	// maxDelta is how many changes a delta may hold before a complete list is made.
	maxDelta = 10_000
)

// due are the lists of a CA key that are to be made, in this order.
type due struct {
	shards          []string
	delta, complete bool
}

// refreshCRL publishes the lists that are missing, or half of whose life has
// passed, or that do not show what was revoked since.
func (e *Engine) refreshCRL(ctx context.Context, is *issuer, l store.Lease) error {
	var d *due
	err := e.view(ctx, func(tx store.Tx) (err error) {
		d, err = e.dueLists(tx, is)
		return err
	})
	if err != nil {
		return err
	}
	var errs []error
	for _, k := range d.shards {
		errs = append(errs, e.publishList(ctx, is, l, k))
	}
	if err := errors.Join(errs...); err != nil {
		return err // what shows all is made last: it ends the note that all may have changed
	}
	if d.complete {
		if err := e.publishCRL(ctx, is, l); err != nil || !e.crlRules(is).Delta {
			return err
		}
		// The first delta follows its base at once.
		if err := e.view(ctx, func(tx store.Tx) (err error) {
			d, err = e.dueLists(tx, is)
			return err
		}); err != nil || d.complete {
			return err
		}
	}
	if d.delta {
		return e.publishList(ctx, is, l, deltaScope)
	}
	return nil
}

func (e *Engine) dueLists(tx store.Tx, is *issuer) (*due, error) {
	rules, now := e.crlRules(is), e.now()
	d := &due{}
	shards := map[string]bool{} // of lists that there are or should be, to whether they are due
	ever, err := readEver(tx, is.keyID)
	if err != nil {
		return nil, err
	}
	for k := 1; k <= max(rules.Shards, ever.Shards); k++ {
		shards[strconv.Itoa(k)] = true
	}
	var base, delta *CRL
	for c, err := range crls.All(tx, is.keyID, past(is.keyID+"-")) {
		if err != nil {
			return nil, err
		}
		switch c.Scope {
		case "":
			base = c
		case deltaScope:
			delta = c
		default:
			shards[c.Scope] = e.old(c, now)
		}
	}
	wanted := rules.Delta || ever.Delta
	d.complete = base == nil || e.old(base, now) || wanted && !base.Fresh
	d.delta = !d.complete && wanted && (delta == nil || e.old(delta, now))
	canDelta := !d.complete && rules.Delta
	for _, blob := range unlisted.All(tx, is.keyID+"/", past(is.keyID+"/")) {
		switch k := string(blob.Bytes); {
		case blob.Err != nil:
			return nil, blob.Err
		case k == "":
			d.complete = true
			for k := range shards {
				shards[k] = true
			}
		case k == "0" && canDelta:
			d.delta = true
		case k == "0":
			d.complete = true
		default:
			shards[k] = true
		}
	}
	if d.delta && !d.complete {
		n, err := countTo(tx, changed, is.keyID, maxDelta)
		if err != nil {
			return nil, err
		}
		d.complete = n >= maxDelta
	}
	for k, is := range shards {
		if is {
			d.shards = append(d.shards, k)
		}
	}
	slices.Sort(d.shards)
	return d, nil
}

// everRules are the most that the policy ever wanted for a CA key. Certificates name
// these lists, so they go on when it wants fewer.
type everRules struct {
	Issuer string `json:"i"`
	Shards int    `json:"s,omitzero"`
	Delta  bool   `json:"d,omitzero"`
}

var everTable = store.Table[everRules]{Name: "crlrules", Version: 1, Key: func(r *everRules) string { return r.Issuer }}

func readEver(tx store.Tx, keyID string) (*everRules, error) {
	r, err := everTable.Get(tx, keyID)
	if store.Missing(err) {
		return &everRules{Issuer: keyID}, nil
	}
	return r, err
}

// rememberRules notes, with the activation of a policy, what it wants.
func (e *Engine) rememberRules(tx store.Tx, p *Policy) error {
	for name, a := range p.Authorities {
		is := e.current[name]
		if is == nil || a.CRL == (CRLRules{}) {
			continue
		}
		old, err := readEver(tx, is.keyID)
		if err != nil {
			return err
		}
		next := everRules{is.keyID, max(old.Shards, a.CRL.Shards), old.Delta || a.CRL.Delta}
		if err := everTable.Put(tx, old, &next); err != nil {
			return err
		}
	}
	return nil
}

func countTo(tx store.Tx, b store.Blobs, keyID string, most int) (n int, err error) {
	for _, blob := range b.All(tx, keyID+"/", past(keyID+"/")) {
		if n++; n == most || blob.Err != nil {
			return n, blob.Err
		}
	}
	return n, nil
}

// old reports that half of a list's life has passed, or that it was made by a
// clock that was wrong.
func (e *Engine) old(c *CRL, now time.Time) bool {
	return now.After(c.ThisUpdate.Add(c.NextUpdate.Sub(c.ThisUpdate)/2)) || e.ClockIsRight && c.ThisUpdate.After(now.Add(clockBehind))
}

func (e *Engine) crlRules(is *issuer) CRLRules {
	if set := e.setup.Load(); set != nil {
		return set.Policy.Authorities[is.Authority].CRL
	}
	return CRLRules{}
}
