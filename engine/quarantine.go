package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"chancery/store"
)

// A Quarantine stands from the restore of a backup until an administrator ends
// it. Records are then older than what the CA did: nothing is issued, and the
// status of a CA key is not told before its last published CRL was read, since
// that may hold revocations which the records do not.
type Quarantine struct {
	ID     string                   `json:"i"`
	Backup time.Time                `json:"b"` // the records are as they were then
	Since  time.Time                `json:"s"`
	By     string                   `json:"w"`
	Whole  bool                     `json:"o,omitzero"` // all records have been written
	Lists  map[string]PublishedList `json:"l,omitempty"`
}

// A PublishedList says what is known of the last CRL of a CA key that was
// published before the restore.
type PublishedList struct {
	Number string    `json:"n,omitempty"` // decimal; empty: it was not to be had
	From   string    `json:"f"`           // where it was read; or why there is none, in an administrator's words
	At     time.Time `json:"a"`
}

const quarantineKey = "restore"

var quarantines = store.Table[Quarantine]{Name: "quarantines", Version: 1, Key: func(*Quarantine) string { return quarantineKey }}

// Passing are the names of the tables that a backup leaves out: they tell of
// processes that run, of a restore, and of machines that wait for the key that
// all nodes share, and not of the CA; and the OCSP responders, because a private
// key is in no backup.
func Passing() []string {
	all := []string{quarantines.Name, nodes.Name, joins.Name, responders.Name}
	for _, s := range store.Schemas() {
		all = append(all, s.Name)
	}
	return all
}

var (
	// ErrQuarantine says that the CA was restored and not released yet.
	ErrQuarantine = errors.New("the CA was restored from a backup and is in quarantine")

	// ErrNoQuarantine says that there is nothing to release.
	ErrNoQuarantine = errors.New("the CA is not in quarantine")

	// ErrHalfRestored says that the records in the store are not all there.
	ErrHalfRestored = errors.New("the restore into this database did not end: run chancery restore again, with the same backup")

	// errUnread: the status of a CA key is not known yet.
	errUnread = fmt.Errorf("%w: the last published CRL of this CA key was not read yet", ErrQuarantine)
)

// enter finds out at start whether a quarantine stands. None begins later: only
// an empty store is restored into, and by a process of its own.
func (e *Engine) enter(ctx context.Context) error {
	e.restored.Store(true)
	q, err := e.Quarantine(ctx)
	if err == nil && q != nil && !q.Whole && !e.Restoring {
		err = ErrHalfRestored
	}
	return err
}

// quarantine returns what stands, or nil. Once it ended, as nearly always, this
// costs nothing.
func (e *Engine) quarantine(tx store.Tx) (*Quarantine, error) {
	if !e.restored.Load() {
		return nil, nil
	}
	q, err := quarantines.Get(tx, quarantineKey)
	if store.Missing(err) {
		e.restored.Store(e.Restoring)
		return nil, nil
	}
	return q, err
}

// Quarantine returns what stands, or nil.
func (e *Engine) Quarantine(ctx context.Context) (q *Quarantine, err error) {
	if !e.restored.Load() {
		return nil, nil
	}
	err = e.view(ctx, func(tx store.Tx) (err error) {
		q, err = e.quarantine(tx)
		return err
	})
	return q, err
}

// withheld returns a *FrozenError while a quarantine stands, for all but the
// server's own certificate, without which nobody could reach it to look. It runs
// inside the decision commit.
func (e *Engine) withheld(tx store.Tx, r *Request) error {
	q, err := e.quarantine(tx)
	if err != nil || q == nil || r.Source == Self && r.Profile == ProfileTLS {
		return err
	}
	return &FrozenError{"quarantine", "this CA was restored from a backup of " + q.Backup.UTC().Format("2006-01-02 15:04 MST") +
		" and is being checked; try again when an administrator has released it"}
}

// unread returns errUnread while the last published CRL of a CA key is not known.
func (e *Engine) unread(tx store.Tx, keyID string) error {
	q, err := e.quarantine(tx)
	if err != nil || q == nil {
		return err
	}
	if _, ok := q.Lists[keyID]; !ok {
		return errUnread
	}
	return nil
}

// Unread are the CA keys, by key identifier, whose last published CRL is missing
// still, with the name of the authority.
func (e *Engine) Unread(q *Quarantine) map[string]string {
	missing := map[string]string{}
	for id, is := range e.issuers {
		if _, ok := q.Lists[id]; !ok {
			missing[id] = is.Authority
		}
	}
	return missing
}

// Release ends the quarantine, once the last published CRL of every CA key was
// read or said not to exist.
func (e *Engine) Release(ctx context.Context, a Actor) error {
	if err := a.Require(Admin); err != nil {
		return err
	}
	err := e.update(ctx, func(tx store.Tx) error {
		q, err := e.quarantine(tx)
		switch {
		case err != nil:
			return err
		case q == nil:
			return ErrNoQuarantine
		case !q.Whole:
			return ErrHalfRestored
		}
		if missing := e.Unread(q); len(missing) > 0 {
			return fmt.Errorf("%w: the last published CRL of %s was not read; give it with chancery restore add --crl, or say that there is none with --no-published-crl", ErrQuarantine, listKeys(missing))
		}
		if err := quarantines.Delete(tx, q); err != nil {
			return err
		}
		return e.audit(tx, a, "release", "quarantine", "the backup was of "+q.Backup.UTC().Format(time.RFC3339))
	})
	if err != nil {
		return err
	}
	e.Log.WarnContext(ctx, "the quarantine after the restore has ended", "by", a.Person)
	for id := range e.issuers {
		e.wakeCRL(id)
	}
	return nil
}

func listKeys(m map[string]string) string {
	var all []string
	for _, id := range slices.Sorted(maps.Keys(m)) {
		all = append(all, "authority "+m[id]+" (key "+id+")")
	}
	return strings.Join(all, ", ")
}
