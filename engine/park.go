package engine

import (
	"context"
	"fmt"
	"slices"

	"chancery/store"
)

// parkForeign parks deliveries to exits that the policy no longer has, so that an
// operator sees them and can replay them when the exit is back.
func (e *Engine) parkForeign(ctx context.Context, set *setup) error {
	known := map[string]bool{}
	for _, o := range set.Exits {
		known[o.Name] = true
	}
	e.deliver.Range(func(name, _ any) bool {
		if !known[name.(string)] {
			e.deliver.Delete(name)
		}
		return true
	})
	var foreign []string
	if err := e.view(ctx, func(tx store.Tx) error {
		foreign = nil
		for d, err := range deliveries.All(tx, "", "") {
			if err != nil {
				return err
			}
			if !d.Parked && !known[d.Exit] {
				foreign = append(foreign, deliveries.Key(d))
			}
		}
		return nil
	}); err != nil {
		return err
	}
	for batch := range slices.Chunk(foreign, batchSize) {
		if err := e.update(ctx, func(tx store.Tx) error {
			if version, err := activeVersion(tx); err != nil || version != set.version {
				return err // another node may have put a policy in force that has the exit
			}
			for _, key := range batch {
				if _, err := deliveries.Change(tx, key, func(d *Delivery) error {
					d.Parked, d.LastErr = true, "the policy has no exit of this name"
					return nil
				}); err != nil && !store.Missing(err) {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// ReplayDeliveries lets an exit be told again what was parked, and returns how
// many events that is.
func (e *Engine) ReplayDeliveries(ctx context.Context, a Actor, exit string) (int, error) {
	if err := a.Require(Operator, Admin); err != nil {
		return 0, err
	}
	var parked []*Delivery
	if err := e.view(ctx, func(tx store.Tx) error {
		parked = nil
		for d, err := range deliveries.By(tx, "parked", exit, "") {
			if err != nil {
				return err
			}
			parked = append(parked, d)
		}
		return nil
	}); err != nil {
		return 0, err
	}
	n := 0
	for len(parked) > 0 {
		batch := parked[:min(batchSize, len(parked))]
		parked = parked[len(batch):]
		done := 0
		if err := e.update(ctx, func(tx store.Tx) error {
			done = 0
			for _, p := range batch {
				if _, err := deliveries.Change(tx, deliveries.Key(p), func(d *Delivery) error {
					d.Parked, d.Attempts, d.Due = false, 0, e.now()
					return nil
				}); err != nil && !store.Missing(err) {
					return err
				}
				done++
			}
			return nil
		}); err != nil {
			return n, err
		}
		n += done
	}
	return n, e.update(ctx, func(tx store.Tx) error { return e.audit(tx, a, "replay", exit, fmt.Sprint(n)) })
}
