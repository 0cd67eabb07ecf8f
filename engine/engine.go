package engine

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"chancery/store"
)

// An Engine is the CA. Its methods may be called from many goroutines.
type Engine struct {
	Config
	issuers map[string]*issuer // by key identifier
	current map[string]*issuer // by authority: the one that issues
	caKeys  map[[32]byte]bool
	setup   atomic.Pointer[setup]
	grants  store.Cache[Grant]
	clients identities
	clock   clock

	restored atomic.Bool // perhaps: a quarantine may stand

	process  string     // names this process in the store
	deliver  sync.Map   // exit name → chan *Delivery, from the first Run that tells it
	runMutex sync.Mutex // held by Run
}

// A setup is a [Setup] in use.
type setup struct {
	Setup
	version     string
	profiles    map[string]Profile // with Chancery's own
	profileDocs map[string][]byte  // canonical form of each profile, for D
	waits       bool               // some step waits for something outside
	wants       map[EventKind][]string
	alternates  map[string][][][]byte // other chains, by CA key
}

// Schemas are the tables of the engine, for opening the store.
func Schemas() []store.Schema {
	return append([]store.Schema{
		requests.Schema(), certificates.Schema(), grants.Schema(), deliveries.Schema(), crls.Schema(),
		freezes.Schema(), campaigns.Schema(), settings.Schema(), audits.Schema(), quarantines.Schema(),
		raws.Schema(), crlDERs.Schema(), blocked.Schema(), policies.Schema(),
		authorityRows.Schema(), caChains.Schema(), unlisted.Schema(), responders.Schema(), changed.Schema(), crlNumbers.Schema(), crlPlaces.Schema(), everTable.Schema(), nodes.Schema(), joins.Schema(),
	}, store.Schemas()...)
}

// New makes an engine. It refuses contradictions in c. It decides nothing until
// Use gave it a policy.
func New(ctx context.Context, c Config) (*Engine, error) {
	switch {
	case c.DB == nil || c.Log == nil || c.Now == nil || c.Rand == nil:
		return nil, errors.New("engine: DB, Log, Now and Rand are required")
	case len(c.MACKey) < 32:
		return nil, errors.New("engine: MACKey must have 32 octets")
	case len(c.Issuers) == 0:
		return nil, errors.New("engine: there is no CA: run init first")
	}
	e := &Engine{Config: c, issuers: map[string]*issuer{}, current: map[string]*issuer{}, caKeys: map[[32]byte]bool{}, process: store.NewID(c.Now(), c.Rand)}
	for _, i := range c.Issuers {
		is, err := newIssuer(i, c.StatusURL)
		if err != nil {
			return nil, fmt.Errorf("authority %s: %w", i.Authority, err)
		}
		e.issuers[is.keyID] = is
		e.current[i.Authority] = is
		for _, ca := range i.Chain {
			e.caKeys[sha256.Sum256(ca.RawSubjectPublicKeyInfo)] = true
		}
	}
	if err := e.readClock(ctx); err != nil {
		return nil, err
	}
	return e, e.enter(ctx)
}

// now has whole milliseconds, which is what rows keep.
func (e *Engine) now() time.Time { return e.Now().UTC().Truncate(time.Millisecond) }

func (e *Engine) newID() string { return store.NewIDFor(e.DB, e.Now(), e.Rand) }

// mac is a keyed hash, with the use that it is for.
func (e *Engine) mac(use string, data []byte) string {
	h := hmac.New(sha256.New, e.MACKey)
	h.Write([]byte(use))
	h.Write([]byte{0})
	h.Write(data)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}

// view and update are the store's, with the engine's error for a store that
// cannot tell.
func (e *Engine) view(ctx context.Context, fn func(store.Tx) error) error {
	return e.DB.View(ctx, fn)
}

func (e *Engine) update(ctx context.Context, fn func(store.Tx) error) error {
	return e.DB.Update(ctx, fn)
}
