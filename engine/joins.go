package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"chancery/store"
)

// JoinLife is how long a machine that wants to become a node waits for an
// administrator.
const JoinLife = time.Hour

// A Join is the wish of a machine to become a node. It gets the key that all
// nodes share, encrypted to a key of its own, once an administrator says so.
type Join struct {
	Name    string    `json:"n"` // of the node to be
	Public  []byte    `json:"p"` // to encrypt to
	Version string    `json:"v"` // of its program
	Made    time.Time `json:"m"`
	Expires time.Time `json:"e"`
	Answer  []byte    `json:"a,omitempty"` // the shared key, encrypted; empty: nobody has approved yet
	By      string    `json:"b,omitempty"` // who approved
}

var joins = store.Table[Join]{Name: "joins", Version: 1, Key: func(j *Join) string { return j.Name }}

var (
	// ErrNoJoin says that no machine waits under a name.
	ErrNoJoin = errors.New("no machine of this name waits to join")

	// ErrFingerprint says that the key in the store is not the one whose
	// fingerprint somebody read on the new machine.
	ErrFingerprint = errors.New("the fingerprint is not the one of the key in the records")
)

// maxJoinKey is more than the public key of any kind has.
const maxJoinKey = 4 << 10

// Fingerprint is what the person at the new machine reads out: 80 bits of the
// SHA-256 of the name and the key, in groups of four.
func (j *Join) Fingerprint() string {
	h := sha256.New()
	fmt.Fprintf(h, "chancery join %d %s %d ", len(j.Name), j.Name, len(j.Public))
	h.Write(j.Public)
	s := strings.ToLower(base32.StdEncoding.EncodeToString(h.Sum(nil)[:10]))
	return s[:4] + "-" + s[4:8] + "-" + s[8:12] + "-" + s[12:]
}

// plainFingerprint makes what people type comparable.
func plainFingerprint(s string) string {
	return strings.NewReplacer("-", "", " ", "").Replace(strings.ToLower(s))
}

// AskToJoin records the wish of a machine that has no engine. It takes the place
// of an older one under the same name.
func AskToJoin(ctx context.Context, db store.DB, j Join) error {
	if len(j.Public) == 0 || len(j.Public) > maxJoinKey {
		return errors.New("a join request needs a public key")
	}
	return db.Update(ctx, func(tx store.Tx) error { return joins.Put(tx, &j, &j) })
}

// JoinAnswer returns the row of a wish as it is now, or ErrNoJoin when it was
// removed or another machine took the name.
func JoinAnswer(ctx context.Context, db store.DB, mine Join) (*Join, error) {
	var j *Join
	err := db.View(ctx, func(tx store.Tx) (err error) {
		j, err = joins.Get(tx, mine.Name)
		return err
	})
	if store.Missing(err) || err == nil && !bytes.Equal(j.Public, mine.Public) {
		return nil, ErrNoJoin
	}
	return j, err
}

// EndJoin removes the row of a wish, unless another machine took the name.
func EndJoin(ctx context.Context, db store.DB, mine *Join) error {
	return db.Update(ctx, func(tx store.Tx) error { return removeJoin(tx, mine) })
}

func removeJoin(tx store.Tx, seen *Join) error {
	j, err := joins.Get(tx, seen.Name)
	if store.Missing(err) || err == nil && !bytes.Equal(j.Public, seen.Public) {
		return nil
	} else if err != nil {
		return err
	}
	return joins.Delete(tx, j)
}

func endedJoins(ctx context.Context, db store.DB, now time.Time) ([]*Join, error) {
	var ended []*Join
	err := db.View(ctx, func(tx store.Tx) error {
		ended = nil
		for j, err := range joins.All(tx, "", "") {
			if err != nil {
				return err
			}
			if now.After(j.Expires) {
				ended = append(ended, j)
			}
		}
		return nil
	})
	return ended, err
}

// Joins lists the machines that wait to become nodes.
func (e *Engine) Joins(ctx context.Context) ([]*Join, error) {
	var all []*Join
	now := e.now()
	err := e.view(ctx, func(tx store.Tx) error {
		all = nil
		for j, err := range joins.All(tx, "", "") {
			if err != nil {
				return err
			}
			if now.Before(j.Expires) && j.Answer == nil {
				all = append(all, j)
			}
		}
		return nil
	})
	return all, err
}

// ApproveJoin gives a waiting machine the shared key, which encrypt encrypts to
// it. The fingerprint must be the one that the machine shows: whoever can write
// to the database could have put another key there.
func (e *Engine) ApproveJoin(ctx context.Context, a Actor, name, fingerprint string, encrypt func(*Join) ([]byte, error)) error {
	if err := a.Require(Admin); err != nil {
		return err
	}
	var seen *Join
	err := e.view(ctx, func(tx store.Tx) (err error) {
		seen, err = joins.Get(tx, name)
		return err
	})
	switch {
	case store.Missing(err) || err == nil && (e.now().After(seen.Expires) || seen.Answer != nil):
		return ErrNoJoin
	case err != nil:
		return err
	case plainFingerprint(fingerprint) != plainFingerprint(seen.Fingerprint()):
		e.Log.WarnContext(ctx, "approving a node with another fingerprint was refused", "node", name, "by", a.Person)
		return ErrFingerprint
	}
	answer, err := encrypt(seen)
	if err != nil {
		return err
	}
	return e.update(ctx, func(tx store.Tx) error {
		old, err := joins.Get(tx, name)
		if store.Missing(err) || err == nil && (!bytes.Equal(old.Public, seen.Public) || old.Answer != nil) {
			return ErrNoJoin
		} else if err != nil {
			return err
		}
		next := *old
		next.Answer, next.By = answer, a.Person
		if err := joins.Put(tx, old, &next); err != nil {
			return err
		}
		return e.audit(tx, a, "approve-node", name, seen.Fingerprint())
	})
}
