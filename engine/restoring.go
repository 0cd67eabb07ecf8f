package engine

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"chancery/store"
)

// A Change is something that a restore did beside writing records back. Each is
// audited, and shown to who restores.
type Change struct {
	Act    string `json:"act"`
	Object string `json:"object"`
	Detail string `json:"detail,omitempty"`
}

// BeginRestore marks an empty store as one whose records are being written, so
// that nothing serves from half of them. Made is when the backup was, by who
// restores.
func BeginRestore(ctx context.Context, db store.DB, made, now time.Time, by string) error {
	return db.Update(ctx, func(tx store.Tx) error {
		return quarantines.Insert(tx, &Quarantine{ID: quarantineKey, Backup: made.UTC(), Since: now.UTC().Truncate(time.Millisecond), By: by})
	})
}

// RestoreOf returns what says of a store that it was restored, or is being; nil
// for nothing.
func RestoreOf(ctx context.Context, db store.DB) (q *Quarantine, err error) {
	err = db.View(ctx, func(tx store.Tx) error {
		q, err = quarantines.Get(tx, quarantineKey)
		return err
	})
	if store.Missing(err) {
		return nil, nil
	}
	return q, err
}

// RecordBackup audits that somebody took all records away.
func RecordBackup(ctx context.Context, db store.DB, a Actor, now time.Time, random io.Reader, what string) error {
	if err := a.Require(Operator, Admin); err != nil {
		return err
	}
	return db.Update(ctx, func(tx store.Tx) error {
		return audits.Insert(tx, &AuditEntry{store.NewIDFor(db, now, random), now.UTC().Truncate(time.Millisecond), a.Person, a.Via, "backup", "all records", what})
	})
}

// FinishRestore makes void what may have been used since the backup was made,
// and lets nodes serve, in quarantine: grants for a number of certificates, and
// officers' votes.
func (e *Engine) FinishRestore(ctx context.Context, a Actor) ([]Change, error) {
	done, err := e.voidGrants(ctx, a)
	if err != nil {
		return done, err
	}
	votes, err := e.voidVotes(ctx, a)
	done = append(done, votes...)
	if err != nil {
		return done, err
	}
	return done, e.update(ctx, func(tx store.Tx) error {
		q, err := quarantines.Change(tx, quarantineKey, func(q *Quarantine) error { q.Whole = true; return nil })
		if err != nil {
			return err
		}
		return e.audit(tx, a, "restore", "backup", "of "+q.Backup.UTC().Format(time.RFC3339))
	})
}

// recordChanges audits changes in the transaction that makes them.
func (e *Engine) recordChanges(tx store.Tx, a Actor, all ...Change) error {
	for _, c := range all {
		if err := e.audit(tx, a, c.Act, c.Object, c.Detail); err != nil {
			return err
		}
	}
	return nil
}

// inBatches finds keys in one View, changes what they lead to some at a time,
// and collects what change says that it did; nil for nothing.
func (e *Engine) inBatches(ctx context.Context, a Actor, find func(tx store.Tx) ([]string, error), change func(tx store.Tx, key string) (*Change, error)) ([]Change, error) {
	var keys []string
	if err := e.view(ctx, func(tx store.Tx) (err error) {
		keys, err = find(tx)
		return err
	}); err != nil {
		return nil, err
	}
	var done []Change
	for batch := range slices.Chunk(keys, batchSize) {
		var now []Change
		if err := e.update(ctx, func(tx store.Tx) error {
			now = nil
			for _, key := range batch {
				c, err := change(tx, key)
				if err != nil {
					return err
				}
				if c != nil {
					now = append(now, *c)
				}
			}
			return e.recordChanges(tx, a, now...)
		}); err != nil {
			return done, err
		}
		done = append(done, now...)
	}
	return done, nil
}

// voidGrants ends the grants that are good for a number of certificates: how many
// were had since the backup, nobody here knows.
func (e *Engine) voidGrants(ctx context.Context, a Actor) ([]Change, error) {
	limited := func(g *Grant) bool { return g.Uses > 0 && g.usable(e.now()) == nil }
	return e.inBatches(ctx, a, func(tx store.Tx) (ids []string, err error) {
		for g, err := range grants.All(tx, "", "") {
			if err != nil {
				return nil, err
			}
			if limited(g) {
				ids = append(ids, g.ID)
			}
		}
		return ids, nil
	}, func(tx store.Tx, id string) (*Change, error) {
		g, err := grants.Change(tx, id, func(g *Grant) error { g.Revoked = e.now(); return nil })
		if err != nil {
			return nil, err
		}
		return &Change{"restore-void-grant", id, fmt.Sprintf("%s, of %s, with %d of %d uses left: make a new one", g.Protocol, g.Owner, g.Uses-g.Spent, g.Uses)}, nil
	})
}

// voidVotes takes officers' votes from requests that are open: the right that
// they gave may have been spent.
func (e *Engine) voidVotes(ctx context.Context, a Actor) ([]Change, error) {
	return e.inBatches(ctx, a, func(tx store.Tx) (ids []string, err error) {
		for _, state := range []State{Pending, Received} {
			for r, err := range requests.By(tx, "state", string(state), "") {
				if err != nil {
					return nil, err
				}
				if len(r.Votes) > 0 {
					ids = append(ids, r.ID)
				}
			}
		}
		return ids, nil
	}, func(tx store.Tx, id string) (*Change, error) {
		n := 0
		_, err := requests.Change(tx, id, func(r *Request) error {
			n = len(r.Votes)
			r.Votes, r.Counted = nil, 0
			return nil
		})
		if err != nil {
			return nil, err
		}
		return &Change{"restore-void-votes", id, fmt.Sprintf("%d votes: officers decide again", n)}, nil
	})
}
