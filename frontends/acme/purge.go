package acme

import (
	"bytes"
	"context"
	"time"

	"chancery/store"
)

const (
	purgeEvery = time.Hour
	purgeMost  = 500 // rows per commit
)

// purge deletes orders and authorizations that ended longer than the retention
// ago. Ids hold the time that they were made at, so no index is needed: nothing
// that is made before the cutoff can still be wanted.
func (f *Frontend) purge(ctx context.Context) error {
	now := f.deps.Now()
	err := purgeTable(ctx, f, &orders, now.Add(-orderLife-f.deps.Retention), func(o *order) bool {
		return time.Unix(o.Expires, 0).Add(f.deps.Retention).Before(now)
	})
	if err != nil {
		return err
	}
	return purgeTable(ctx, f, &authzs, now.Add(-authzLife-f.deps.Retention), func(a *authz) bool {
		return time.Unix(a.Expires, 0).Add(f.deps.Retention).Before(now)
	})
}

// purgeTable deletes the rows made before the cutoff that have ended.
func purgeTable[T any](ctx context.Context, f *Frontend, t *store.Table[T], cutoff time.Time, ended func(*T) bool) error {
	made := store.NewID(cutoff, bytes.NewReader(make([]byte, 11)))[1:10]
	for _, digit := range "0123456789abcdef" {
		from, to := string(digit), string(digit)+made
		for {
			var keys []string
			last := ""
			err := f.view(ctx, func(tx store.Tx) error {
				keys, last = nil, ""
				seen := 0
				for v, err := range t.All(tx, from, to) {
					if err != nil {
						return err
					}
					last = t.Key(v)
					if ended(v) {
						keys = append(keys, last)
					}
					if seen++; seen == purgeMost {
						return nil
					}
				}
				last = ""
				return nil
			})
			if err == nil && len(keys) > 0 {
				err = deleteRows(ctx, f, t, keys, ended)
			}
			if err != nil {
				return err
			}
			if last == "" {
				break
			}
			from = last + "\x00"
		}
	}
	return nil
}

func deleteRows[T any](ctx context.Context, f *Frontend, t *store.Table[T], keys []string, ended func(*T) bool) error {
	return f.deps.DB.Update(ctx, func(tx store.Tx) error {
		for _, k := range keys {
			v, err := t.Get(tx, k)
			if store.Missing(err) {
				continue // another node was faster
			}
			if err != nil {
				return err
			}
			if !ended(v) {
				continue
			}
			if err := t.Delete(tx, v); err != nil {
				return err
			}
		}
		return nil
	})
}
