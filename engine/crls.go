package engine

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"chancery/store"
)

const crlLife = 7 * 24 * time.Hour

// A CRL is a published revocation list.
type CRL struct {
	Issuer     string    `json:"i"`           // key identifier, hexadecimal
	Scope      string    `json:"s,omitempty"` // empty: complete; "delta"; or the number of a shard
	Number     string    `json:"n"`           // decimal
	ThisUpdate time.Time `json:"t"`
	NextUpdate time.Time `json:"x"`
	Entries    int       `json:"e,omitzero"`

	// Fresh says of a complete list that it names the delta, which can be made
	// because all that changed since is in changed.
	Fresh bool   `json:"d,omitzero"`
	DER   []byte `json:"-"`
}

// Name is the list's name in addresses: the identifier of the CA key, and for
// other lists than the complete one a hyphen and the scope.
func (c *CRL) Name() string { return listName(c.Issuer, c.Scope) }

func listName(keyID, scope string) string {
	if scope == "" {
		return keyID
	}
	return keyID + "-" + scope
}

var crls = store.Table[CRL]{Name: "crls", Version: 1, Key: (*CRL).Name}

var crlDERs = store.Blobs{Name: "crlders"}

// CRL returns a current revocation list by its name, which for the complete list of
// a CA key is the key identifier in hexadecimal, or ErrNoCertificate; or
// ErrQuarantine.
func (e *Engine) CRL(ctx context.Context, name string) (*CRL, error) {
	keyID, _, _ := strings.Cut(name, "-")
	if e.issuers[keyID] == nil {
		return nil, ErrNoCertificate
	}
	var c *CRL
	err := e.view(ctx, func(tx store.Tx) (err error) {
		if err := e.unread(tx, keyID); err != nil {
			return err // the list in the records may be older than the published one
		}
		if c, err = crls.Get(tx, name); err != nil {
			return err
		}
		c.DER, err = crlDERs.Get(tx, name)
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

// unlisted notes, under the identifier of a CA key and an id, that a status
// changed which no list shows yet that is made at once, with the shard of the
// certificate; 0 if it has none, empty if much changed. It is written with the
// change and deleted with the list: no clock has a part in it, and changes of many
// certificates at the same time do not get in each other's way.
var unlisted = store.Blobs{Name: "unlisted"}

// changed has the serial numbers of what changed since the last complete list,
// under the same names: what a delta holds. So a delta costs what changed and not
// what is revoked.
var changed = store.Blobs{Name: "changed"}

// noteRevocation notes that the status of a certificate changes.
func (e *Engine) noteRevocation(tx store.Tx, c *Certificate) error {
	name := c.Issuer + "/" + e.newID()
	return errors.Join(unlisted.Insert(tx, name, []byte(strconv.Itoa(c.Shard))), changed.Insert(tx, name, []byte(c.Serial)))
}

// noteMany notes that anything may have changed of a CA key.
func (e *Engine) noteMany(tx store.Tx, keyID string) error {
	return unlisted.Insert(tx, keyID+"/"+e.newID(), nil)
}
