package acme

import (
	"context"
	"time"

	"chancery/engine"
	"chancery/store"
)

const (
	purgeEvery      = time.Hour
	purgeSpentEvery = time.Minute
	purgeMost       = 500 // rows per commit
)

// runPurge deletes what is old, on one node for all. That is in no hurry, so the
// lease is a slow one.
func (f *Frontend) runPurge(ctx context.Context) {
	holder := store.NewID(f.deps.Now(), f.deps.Rand)
	o := store.LeadOptions{Beat: 10 * time.Second, Still: 40 * time.Second, Log: f.deps.Log}
	err := store.Lead(ctx, f.deps.DB, "acme purge", holder, o, func(ctx context.Context, _ store.Lease) error {
		f.keepPurged(ctx)
		return ctx.Err()
	})
	if err != nil && ctx.Err() == nil {
		f.deps.Log.ErrorContext(ctx, "deleting old orders has stopped", "err", err)
	}
}

// keepPurged deletes until ctx is done.
func (f *Frontend) keepPurged(ctx context.Context) {
	look := time.NewTicker(min(purgeSpentEvery, f.purgeInterval()))
	defer look.Stop()
	var purged, unused time.Time
	for {
		if err := f.purgeSpent(ctx); err != nil && ctx.Err() == nil {
			f.deps.Log.ErrorContext(ctx, "deleting old nonces", "err", err)
		}
		if now := f.deps.Now(); now.Sub(purged) >= f.purgeInterval() {
			purged = now
			if err := f.purge(ctx); err != nil && ctx.Err() == nil {
				f.deps.Log.ErrorContext(ctx, "deleting old orders", "err", err)
			}
		}
		if now := f.deps.Now(); now.Sub(unused) >= unusedEvery {
			unused = now
			if err := f.purgeUnused(ctx); err != nil && ctx.Err() == nil {
				f.deps.Log.ErrorContext(ctx, "deleting unused accounts", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// purgeInterval is short where little is kept.
func (f *Frontend) purgeInterval() time.Duration {
	return min(purgeEvery, max(f.deps.Retention/2, sweepEvery))
}

// purge deletes what ended and is older than the retention: orders that were
// decided, with their authorizations, and orders and authorizations that
// expired. Ids hold the time that they were made at, so no index is needed.
func (f *Frontend) purge(ctx context.Context) error {
	now := f.deps.Now()
	decided := func(o *order) bool { return o.Request != "" && f.decided(ctx, o) }
	if err := purgeTable(ctx, f, now.Add(-f.deps.Retention), &orders, decided, deleteOrder); err != nil {
		return err
	}
	over := func(expires int64) bool { return time.Unix(expires, 0).Add(f.deps.Retention).Before(now) }
	if err := purgeTable(ctx, f, now.Add(-orderLife-f.deps.Retention), &orders, func(o *order) bool { return over(o.Expires) }, orders.Delete); err != nil {
		return err
	}
	if err := purgeTable(ctx, f, now.Add(-authzLife-f.deps.Retention), &authzs, func(a *authz) bool { return over(a.Expires) }, authzs.Delete); err != nil {
		return err
	}
	return f.purgeFailing(ctx)
}

// decided reports whether nobody waits for the order's request any more.
func (f *Frontend) decided(ctx context.Context, o *order) bool {
	e := f.endpointOf(ctx, o)
	if e == "" {
		return true
	}
	// Asking as the client does would use an approval that waits for it.
	d, err := f.deps.Requests.Peek(ctx, requestKey(e, o))
	_, waits := d.(engine.Pended)
	return err == nil && !waits
}

// endpointOf is the endpoint of the order's account, which stays as long as there are orders.
func (f *Frontend) endpointOf(ctx context.Context, o *order) (name string) {
	if f.view(ctx, func(tx store.Tx) error {
		a, err := f.accounts.Get(&accounts, tx, o.Account)
		if err == nil {
			name = a.Endpoint
		}
		return err
	}) != nil {
		return ""
	}
	return name
}

// deleteOrder deletes an order with its authorizations.
func deleteOrder(tx store.Tx, o *order) error {
	for _, id := range o.Authz {
		a, err := authzs.Get(tx, id)
		if store.Missing(err) {
			continue
		} else if err != nil {
			return err
		}
		if a.Pre { // others may use it
			continue
		}
		if err := authzs.Delete(tx, a); err != nil {
			return err
		}
	}
	return orders.Delete(tx, o)
}

// purgeTable deletes the rows made before the cutoff that have ended.
func purgeTable[T any](ctx context.Context, f *Frontend, cutoff time.Time, t *store.Table[T], ended func(*T) bool, del func(store.Tx, *T) error) error {
	made := store.Stamp(cutoff)
	for _, digit := range "0123456789abcdef" {
		from, to := string(digit), string(digit)+made
		for from != "" {
			var some []*T
			var err error
			if some, from, err = rowsFrom(ctx, f, t, from, to); err != nil {
				return err
			}
			var keys []string
			for _, v := range some {
				if ended(v) {
					keys = append(keys, t.Key(v))
				}
			}
			if len(keys) == 0 {
				continue
			}
			if err := deleteRows(ctx, f, t, keys, del); err != nil {
				return err
			}
		}
	}
	return nil
}

// rowsFrom reads some rows, and says where to go on; empty at the end.
func rowsFrom[T any](ctx context.Context, f *Frontend, t *store.Table[T], from, to string) (some []*T, next string, err error) {
	err = f.view(ctx, func(tx store.Tx) error {
		some, next = nil, ""
		for v, err := range t.All(tx, from, to) {
			if err != nil {
				return err
			}
			if some = append(some, v); len(some) == purgeMost {
				next = t.Key(v) + "\x00"
				return nil
			}
		}
		return nil
	})
	return some, next, err
}

// deleteRows deletes rows that have ended, which is for good.
func deleteRows[T any](ctx context.Context, f *Frontend, t *store.Table[T], keys []string, del func(store.Tx, *T) error) error {
	return f.deps.DB.Update(ctx, func(tx store.Tx) error {
		for _, k := range keys {
			v, err := t.Get(tx, k)
			if store.Missing(err) {
				continue // another node was faster
			} else if err != nil {
				return err
			}
			if err := del(tx, v); err != nil {
				return err
			}
		}
		return nil
	})
}
