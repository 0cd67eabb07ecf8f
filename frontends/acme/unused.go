package acme

import (
	"context"
	"time"

	"chancery/engine"
	"chancery/store"
)

// unusedEvery is how often unused accounts are looked for: each that is old is
// asked for.
const unusedEvery = 24 * time.Hour

// Records is what this package needs of the engine to know whether an account was
// ever used.
type Records interface {
	Requests(context.Context, engine.RequestFilter) ([]*engine.Request, string, error)
}

// purgeUnused deletes accounts that strangers made and never used: without a
// grant, without an order or request on record, and older than the endpoint says.
// Whoever comes back makes a new one. A deactivated one stays, so that its key
// does (RFC 8555, Section 7.3.6).
func (f *Frontend) purgeUnused(ctx context.Context) error {
	if f.deps.Records == nil {
		return nil
	}
	now := f.deps.Now()
	unused := func(a *account) bool {
		p := f.endpoints[a.Endpoint]
		if p == nil || a.Grant != "" || a.State != "" || now.Sub(time.Unix(a.Created, 0)) < time.Duration(p.limits.UnusedAccounts) {
			return false
		}
		return f.neverUsed(ctx, a)
	}
	return purgeTable(ctx, f, now, &accounts, unused, deleteUnused)
}

// neverUsed errs on the side of use.
func (f *Frontend) neverUsed(ctx context.Context, a *account) bool {
	some := 0
	err := f.view(ctx, func(tx store.Tx) (err error) {
		if some, err = orders.Count(tx, "account", ofAccount(a.ID, ""), a.ID+"0", 1); err != nil || some > 0 {
			return err
		}
		some, err = authzs.Count(tx, "pre", "o"+a.ID, "o"+a.ID+"g", 1)
		return err
	})
	if err != nil || some > 0 {
		return false
	}
	all, _, err := f.deps.Records.Requests(ctx, engine.RequestFilter{Requester: a.principal(), Limit: 1})
	return err == nil && len(all) == 0
}

// deleteUnused deletes the account, unless it changed since it was looked at. An
// order that is made in this moment is one of an account that is gone.
func deleteUnused(tx store.Tx, a *account) error {
	if a.State != "" || a.Grant != "" {
		return nil
	}
	return accounts.Delete(tx, a)
}

// purgeFailing deletes the failures that nothing came of for as long as ended
// orders are kept. Who is paused stays so until somebody resumes it.
func (f *Frontend) purgeFailing(ctx context.Context) error {
	old := f.deps.Now().Add(-f.deps.Retention).Unix()
	for from := ""; ; {
		some, next, err := rowsFrom(ctx, f, &failings, from, "")
		if err != nil {
			return err
		}
		var keys []string
		for _, row := range some {
			if row.Paused == 0 && row.Last < old {
				keys = append(keys, failings.Key(row))
			}
		}
		if len(keys) > 0 {
			err := deleteRows(ctx, f, &failings, keys, func(tx store.Tx, row *failing) error {
				if row.Paused != 0 || row.Last >= old {
					return nil // it failed again meanwhile
				}
				return failings.Delete(tx, row)
			})
			if err != nil {
				return err
			}
		}
		if from = next; from == "" {
			return nil
		}
	}
}
