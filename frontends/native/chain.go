package native

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/http"
	"sync"
	"time"

	"chancery/engine"
)

// An identity is a client certificate that was found to be in order now.
type identity struct {
	row  *engine.Certificate
	spki [32]byte
	pool int // which of the pools it chains to
}

// maxSent is how many certificates of a client's are looked at.
const maxSent = 5

// identify verifies the client certificate. TLS has shown that the client holds
// the key, and nothing else. The signatures of the chain are checked against
// the pools, and once in a while only; that the certificate is ours, byte for
// byte, and good is asked of the store each time.
func (f *Frontend) identify(r *http.Request, pools ...*x509.CertPool) (*identity, error) {
	ctx := r.Context()
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, unauthorized
	}
	sent := r.TLS.PeerCertificates
	leaf := sent[0]
	pool := f.chainsTo(ctx, leaf, sent[1:min(len(sent), maxSent)], pools)
	if pool < 0 {
		return nil, unauthorized
	}
	row, err := f.d.Engine.Identify(ctx, leaf.Raw)
	switch {
	case errors.Is(err, engine.ErrNoCertificate):
		f.d.Note(ctx, "refused", "the client certificate is not in the store")
		return nil, unauthorized
	case err != nil:
		return nil, err
	case row.Status != engine.Good:
		f.d.Note(ctx, "refused", "the client certificate is "+string(row.Status))
		return nil, unauthorized
	}
	return &identity{row: row, spki: sha256.Sum256(leaf.RawSubjectPublicKeyInfo), pool: pool}, nil
}

// chainsTo returns the index of the pool that the certificate chains to for
// client authentication at this time, or -1.
func (f *Frontend) chainsTo(ctx context.Context, leaf *x509.Certificate, sent []*x509.Certificate, pools []*x509.CertPool) int {
	now := f.d.Now()
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) || leaf.IsCA {
		f.d.Note(ctx, "refused", "the client certificate is not in force")
		return -1
	}
	hash := sha256.Sum256(leaf.Raw)
	for i, pool := range pools {
		if f.chains.good(chainKey{hash, pool}, now) {
			return i
		}
	}
	for i, pool := range pools {
		if pool == nil {
			continue
		}
		chains, err := leaf.Verify(x509.VerifyOptions{
			Roots:         pool,
			Intermediates: f.intermediates(leaf, sent),
			CurrentTime:   now,
			KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		if err != nil {
			f.d.Note(ctx, "refused", err)
			continue
		}
		f.chains.add(chainKey{hash, pool}, now, now.Add(chainLife), chains[0])
		return i
	}
	return -1
}

// intermediates are those that the client sent and ours, because many clients
// send their own certificate alone.
func (f *Frontend) intermediates(leaf *x509.Certificate, sent []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range sent {
		pool.AddCert(c)
	}
	if id := leaf.AuthorityKeyId; len(id) > 0 && len(id) <= 64 {
		if ca, err := f.d.Engine.Issuer(hex.EncodeToString(id)); err == nil {
			pool.AddCert(ca)
		}
	}
	return pool
}

// chainLife is how long signatures once checked are not checked again. They do
// not change; the bound is for roots that are taken away, and for memory.
const chainLife = 10 * time.Minute

// maxChains bounds the cache. Only certificates that verified get in, so nobody
// outside can fill it.
const maxChains = 4096

type chainKey struct {
	leaf [32]byte
	pool *x509.CertPool
}

// A chainCache remembers which certificates chain to which pool.
type chainCache struct {
	mu    sync.Mutex
	until map[chainKey]time.Time
}

func (c *chainCache) good(k chainKey, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Before(c.until[k])
}

// add remembers k, no longer than every certificate of the chain is valid.
func (c *chainCache) add(k chainKey, now, until time.Time, chain []*x509.Certificate) {
	for _, cert := range chain {
		if cert.NotAfter.Before(until) {
			until = cert.NotAfter
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.until == nil {
		c.until = make(map[chainKey]time.Time)
	}
	if len(c.until) >= maxChains {
		for old, t := range c.until {
			if !now.Before(t) {
				delete(c.until, old)
			}
		}
		if len(c.until) >= maxChains {
			clear(c.until)
		}
	}
	c.until[k] = until
}
