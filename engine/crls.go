package engine

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"sync"
	"time"

	"chancery/engine/crl"
	"chancery/store"
)

const crlLife = 7 * 24 * time.Hour

// A CRL is a published revocation list: complete, one for each CA key.
type CRL struct {
	Issuer     string    `json:"i"` // key identifier, hexadecimal
	Number     string    `json:"n"` // decimal
	ThisUpdate time.Time `json:"t"`
	NextUpdate time.Time `json:"x"`
	DER        []byte    `json:"-"`
}

var crls = store.Table[CRL]{Name: "crls", Version: 1, Key: func(c *CRL) string { return c.Issuer }}

var crlDERs = store.Blobs{Name: "crlders"}

// CRL returns the current revocation list of a CA key, by key identifier in
// hexadecimal, or ErrNoCertificate; or ErrQuarantine.
func (e *Engine) CRL(ctx context.Context, keyID string) (*CRL, error) {
	if e.issuers[keyID] == nil {
		return nil, ErrNoCertificate
	}
	var c *CRL
	err := e.view(ctx, func(tx store.Tx) (err error) {
		if err := e.unread(tx, keyID); err != nil {
			return err // the list in the records may be older than the published one
		}
		if c, err = crls.Get(tx, keyID); err != nil {
			return err
		}
		c.DER, err = crlDERs.Get(tx, keyID)
		return err
	})
	if store.Missing(err) {
		return nil, ErrNoCertificate
	}
	return c, err
}

// wakeCRL is called when the status of a certificate of a CA key has changed.
func (e *Engine) wakeCRL(keyID string) {
	is := e.issuers[keyID]
	if is == nil {
		return // the node that has it looks
	}
	is.epoch.change()
	select {
	case is.wake <- struct{}{}:
	default: // one list holds all
	}
}

// publishCRL makes the next list of a CA key and commits it, if the lease is
// still good. Its number is greater than any before, through restarts, clock
// jumps and changes of the node that makes it.
func (e *Engine) publishCRL(ctx context.Context, is *issuer, l store.Lease) error {
	if is.Key == nil {
		return nil
	}
	for {
		err := e.tryPublishCRL(ctx, is, l)
		if !errors.Is(err, errMoved) {
			return err
		}
	}
}

func (e *Engine) tryPublishCRL(ctx context.Context, is *issuer, l store.Lease) error {
	now := e.now().Truncate(time.Second)
	// A clock that is behind does not keep a revocation from the list: that has
	// the time of the last one then.
	if err := e.clock.jumped(now); err != nil {
		return err
	}
	next := &CRL{Issuer: is.keyID, ThisUpdate: now}
	var last *CRL
	var shown []string // notes of changes that this list shows
	err := e.view(ctx, func(tx store.Tx) (err error) {
		if err := e.unread(tx, is.keyID); err != nil {
			return err
		}
		shown = nil
		for key, blob := range unlisted.All(tx, is.keyID+"/", past(is.keyID+"/")) {
			if blob.Err != nil {
				return blob.Err
			}
			shown = append(shown, key)
		}
		last, err = crls.Get(tx, is.keyID)
		if store.Missing(err) {
			last, err = &CRL{Number: "0"}, nil
		} else if err != nil {
			return err
		}
		number, err := nextNumber(last, now)
		if err != nil {
			return err
		}
		if e.ClockIsRight && last.ThisUpdate.After(now) {
			last.ThisUpdate = now // nothing had expired yet
		}
		if next.ThisUpdate.Before(last.ThisUpdate) {
			next.ThisUpdate = last.ThisUpdate
		}
		next.Number, next.NextUpdate = number.String(), next.ThisUpdate.Add(crlLife)
		if next.NextUpdate.After(is.cert.NotAfter) {
			next.NextUpdate = is.cert.NotAfter
		}
		next.DER, err = crl.Build(is.cert, is.Key, number, next.ThisUpdate, next.NextUpdate, entries(tx, is.keyID, last.ThisUpdate))
		return err
	})
	if err != nil {
		return fmt.Errorf("making the CRL of %s: %w", is.Authority, err)
	}
	e.fault("crl-signed")
	return e.update(ctx, func(tx store.Tx) error {
		if err := l.Check(tx); err != nil {
			return err
		}
		for _, key := range shown {
			if err := unlisted.Delete(tx, key); err != nil {
				return err
			}
		}
		old, err := crls.Get(tx, is.keyID)
		switch {
		case store.Missing(err) && last.Number == "0":
			err = crls.Insert(tx, next)
		case err == nil && old.Number == last.Number:
			err = crls.Put(tx, old, next)
		case err == nil:
			err = errMoved
		}
		if err != nil {
			return err
		}
		return crlDERs.Put(tx, is.keyID, next.DER)
	})
}

// nextNumber is max(last + 1, seconds since 1970), so that a store that was put
// back still goes on upwards.
func nextNumber(last *CRL, now time.Time) (*big.Int, error) {
	n, ok := new(big.Int).SetString(last.Number, 10)
	if !ok {
		return nil, fmt.Errorf("%w: the CRL number %q", store.ErrCorrupt, last.Number)
	}
	n.Add(n, big.NewInt(1))
	if unix := big.NewInt(now.Unix()); unix.Cmp(n) > 0 {
		n = unix
	}
	return n, nil
}

// entries yields what a CA key revoked. One that expired stays until a list was
// made after it expired (RFC 5280, Section 3.3).
func entries(tx store.Tx, keyID string, last time.Time) iter.Seq2[crl.Entry, error] {
	return func(yield func(crl.Entry, error) bool) {
		for c, err := range certificates.By(tx, "revoked", keyID, "") {
			var en crl.Entry
			if err == nil {
				if c.NotAfter.Before(last) {
					continue
				}
				en = crl.Entry{At: c.RevokedAt, Reason: c.Reason}
				en.Serial, err = serialBytes(c.Serial)
			}
			if !yield(en, err) || err != nil {
				return
			}
		}
	}
}

func serialBytes(s string) ([]byte, error) {
	if len(s)%2 == 1 {
		s = "0" + s
	}
	return hex.DecodeString(s)
}

// runCRLs keeps the lists of this node's keys current: at start, within a second
// of a revocation, and when half of its life has passed. Of the nodes that hold a
// key, one makes its lists.
func (e *Engine) runCRLs(ctx context.Context) {
	var wg sync.WaitGroup
	for id, is := range e.issuers {
		if is.Key == nil {
			continue
		}
		wg.Go(func() {
			e.lead(ctx, "crl "+id, time.Second, func(ctx context.Context, l store.Lease) error {
				e.keepCRL(ctx, is, l)
				return ctx.Err()
			})
		})
	}
	wg.Wait()
}

func (e *Engine) keepCRL(ctx context.Context, is *issuer, l store.Lease) {
	often := time.Minute
	if !e.sole() {
		often = 500 * time.Millisecond // what other nodes revoked is seen only by looking
	}
	look := time.NewTicker(often)
	defer look.Stop()
	var delegate time.Time // when to look at it
	for {
		if err := e.refreshCRL(ctx, is, l); err != nil && ctx.Err() == nil && !errors.Is(err, ErrQuarantine) {
			e.Log.ErrorContext(ctx, "a CRL could not be published; the last one stays until it ends", "authority", is.Authority, "err", err)
		}
		if left := delegate.Sub(e.now()); left <= 0 || left > responderRefused {
			delegate = e.tendResponder(ctx, is, l)
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		case <-is.wake:
		}
	}
}

// refreshCRL publishes a list if there is none, if half of its life has passed,
// or if it does not show what was revoked since.
func (e *Engine) refreshCRL(ctx context.Context, is *issuer, l store.Lease) error {
	var stale bool
	err := e.view(ctx, func(tx store.Tx) error {
		c, err := crls.Get(tx, is.keyID)
		if err != nil {
			stale = store.Missing(err)
			return err
		}
		now := e.now()
		stale = now.After(c.ThisUpdate.Add(c.NextUpdate.Sub(c.ThisUpdate)/2)) || e.ClockIsRight && c.ThisUpdate.After(now.Add(clockBehind))
		for _, blob := range unlisted.All(tx, is.keyID+"/", past(is.keyID+"/")) {
			stale = true
			return blob.Err
		}
		return nil
	})
	if err != nil && !store.Missing(err) || !stale {
		return err
	}
	return e.publishCRL(ctx, is, l)
}

// unlisted notes, under the identifier of a CA key and an id, that a status
// changed which the list of the key does not show yet. It is written with the
// change and deleted with the list: no clock has a part in it, and changes of
// many certificates at the same time do not get in each other's way.
var unlisted = store.Blobs{Name: "unlisted"}

// noteRevocation notes that the status of a certificate of a CA key changes.
func (e *Engine) noteRevocation(tx store.Tx, keyID string) error {
	return unlisted.Insert(tx, keyID+"/"+e.newID(), nil)
}
