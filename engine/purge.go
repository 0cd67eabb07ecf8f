package engine

import (
	"context"
	"encoding/json"
	"time"

	"chancery/store"
)

// purge deletes the trails of requests that are older than retention says, and
// remembers how far it came.
func (e *Engine) purge(ctx context.Context) {
	if e.ClockError() != nil {
		return
	}
	before := e.now().Add(-e.setup.Load().Policy.Retention.Trails.or(365 * 24 * time.Hour))
	from := newestFirst(before)
	for from != "" && ctx.Err() == nil {
		var keys []string
		var err error
		if keys, from, err = e.oldTrails(ctx, from); err == nil && len(keys) > 0 {
			err = e.update(ctx, func(tx store.Tx) error {
				for _, key := range keys {
					if err := raws.Delete(tx, key); err != nil {
						return err
					}
				}
				if from != "" {
					return nil
				}
				return putSetting(tx, purged, before)
			})
		}
		if err != nil {
			e.Log.ErrorContext(ctx, "purging trails", "err", err)
			return
		}
	}
}

// purged is a setting: the trails of all requests up to then are gone.
const purged = "purged"

// oldTrails finds some keys of trails, of the newest requests from the index
// value from on, and where to go on; empty at the end.
func (e *Engine) oldTrails(ctx context.Context, from string) (keys []string, next string, err error) {
	err = e.view(ctx, func(tx store.Tx) error {
		keys, next = nil, ""
		until, err := purgedUntil(tx)
		if err != nil {
			return err
		}
		for r, err := range requests.Range(tx, "time", from, newestFirst(until)) {
			if err != nil {
				return err
			}
			for key, doc := range raws.All(tx, trailKey(r.ID), past(trailKey(r.ID))) {
				if doc.Err != nil {
					return doc.Err
				}
				keys = append(keys, key)
			}
			if at := newestFirst(r.Received); len(keys) >= 4*batchSize && at != from {
				next = at
				return nil
			}
		}
		return nil
	})
	return keys, next, err
}

func purgedUntil(tx store.Tx) (t time.Time, err error) {
	s, err := settings.Get(tx, purged)
	if store.Missing(err) {
		return time.UnixMilli(0), nil
	} else if err != nil {
		return t, err
	}
	return t, json.Unmarshal(s.Value, &t)
}

// putSetting writes a setting, whether there is one or not.
func putSetting(tx store.Tx, name string, value any) error {
	doc, err := json.Marshal(value)
	if err != nil {
		return err
	}
	next := &setting{name, doc}
	old, err := settings.Get(tx, name)
	if store.Missing(err) {
		return settings.Insert(tx, next)
	} else if err != nil {
		return err
	}
	return settings.Put(tx, old, next)
}
