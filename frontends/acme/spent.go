package acme

import (
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"time"

	"chancery/store"
)

// spent holds the nonces of messages that changed something, where several
// processes share the store: each remembers by itself what it has seen, and the
// row, written in the transaction of the change, holds the others back. Messages
// that only read leave no row. A key begins with the time that the nonce was
// made at, so that the old ones lie together.
var spent = store.Blobs{Name: "acme_nonces"}

// A spending is the nonce of one message, about to be used up. The zero spending
// is for changes that no message asked for, and for a store of one process.
type spending struct{ key, mark string }

// spend makes a spending of the nonce of a message. The mark tells its row from
// one that another message with the same nonce wrote.
func (f *Frontend) spend(nonce string) (spending, error) {
	if !f.shared {
		return spending{}, nil
	}
	var mark [8]byte
	if _, err := io.ReadFull(f.deps.Rand, mark[:]); err != nil {
		return spending{}, err
	}
	return spending{nonce, hex.EncodeToString(mark[:])}, nil
}

// in makes the nonce known as used, in the transaction of what its message
// changes. ErrExists, from here or from the Update, says that it was used.
func (s spending) in(tx store.Tx) error {
	if s.key == "" {
		return nil
	}
	return spent.Insert(tx, s.key, []byte(s.mark))
}

// update is the store's Update for what the message of a call changes.
func (c *call) update(fn func(store.Tx) error) error {
	return c.f.deps.DB.Update(c.ctx, func(tx store.Tx) error {
		if err := c.nonce.in(tx); err != nil {
			return err
		}
		return fn(tx)
	})
}

// orReplayed says of a message that failed whether that is because another
// message used its nonce.
func (c *call) orReplayed(err error) error {
	if err == nil || c.nonce.key == "" {
		return err
	}
	if _, told := err.(*problem); told {
		return err
	}
	var mark []byte
	rerr := c.f.view(context.WithoutCancel(c.ctx), func(tx store.Tx) (err error) {
		mark, err = spent.Get(tx, c.nonce.key)
		return err
	})
	if rerr != nil || string(mark) == c.nonce.mark {
		return err
	}
	return usedNonce()
}

func usedNonce() *problem {
	return refuse(http.StatusBadRequest, badNonce, "the nonce is missing, used, too old or not from here; repeat with the one in this answer")
}

// purgeSpent deletes the rows of nonces that no node takes any more.
func (f *Frontend) purgeSpent(ctx context.Context) error {
	if !f.shared {
		return nil
	}
	old := spentBefore(f.deps.Now().Add(-nonceLife - 2*nonceSkew))
	for {
		var keys []string
		err := f.view(ctx, func(tx store.Tx) error {
			keys = nil
			for key, row := range spent.All(tx, "", old) {
				if row.Err != nil {
					return row.Err
				}
				if keys = append(keys, key); len(keys) == purgeMost {
					return nil
				}
			}
			return nil
		})
		if err != nil || len(keys) == 0 {
			return err
		}
		if err := f.deps.DB.Update(ctx, func(tx store.Tx) error {
			for _, key := range keys {
				if err := spent.Delete(tx, key); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
}

// spentKey names the row of a nonce: when it was made, and its tag, which no
// other has.
func spentKey(made, tag []byte) string { return string(made) + string(tag) }

// spentBefore is a key after those of nonces made before a time.
func spentBefore(t time.Time) string {
	var b [6]byte
	put48(b[:], uint64(t.UnixMilli()))
	return string(b[:])
}
