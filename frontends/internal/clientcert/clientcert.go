// Package clientcert finds out who a TLS client is by its certificate. TLS has
// shown that the client holds the key, and nothing else: the chain is verified
// here against the anchors of the one who asks, and that the certificate is ours,
// byte for byte, and good is read from the records each time.
package clientcert

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"chancery/engine"
)

// Records are what is needed of the engine.
type Records interface {
	Identify(ctx context.Context, der []byte) (*engine.Certificate, error)
	Issuer(keyID string) (*x509.Certificate, error)
}

// ErrRefused says that a certificate does not tell who its holder is. What it
// wraps says why, for the log; a client that is told learns what to try next.
var ErrRefused = errors.New("the client certificate is not accepted")

// maxSent is how many certificates of a client's are looked at.
const maxSent = 5

// A Verifier remembers for a while which chains it verified.
type Verifier struct {
	records Records
	now     func() time.Time
	chains  cache
}

// New makes a Verifier.
func New(r Records, now func() time.Time) *Verifier { return &Verifier{records: r, now: now} }

// Identify returns the row of the certificate that the client sent first, if it
// chains to an anchor for client authentication, is in force, ours and good. The
// row is shared and must not be changed. The error is ErrRefused, or that of the
// records.
func (v *Verifier) Identify(ctx context.Context, sent []*x509.Certificate, anchors *x509.CertPool) (*engine.Certificate, error) {
	return v.identify(ctx, sent, anchors, v.now())
}

// Expired is Identify for a certificate that has ended, as on the last day of its
// life. How long that may be ago is for the caller to check, in the row.
func (v *Verifier) Expired(ctx context.Context, sent []*x509.Certificate, anchors *x509.CertPool) (*engine.Certificate, error) {
	if len(sent) == 0 || !v.now().After(sent[0].NotAfter) {
		return nil, fmt.Errorf("%w: it has not ended", ErrRefused)
	}
	return v.identify(ctx, sent, anchors, sent[0].NotAfter)
}

func (v *Verifier) identify(ctx context.Context, sent []*x509.Certificate, anchors *x509.CertPool, at time.Time) (*engine.Certificate, error) {
	if len(sent) == 0 || anchors == nil {
		return nil, fmt.Errorf("%w: there is none", ErrRefused)
	}
	if err := v.verify(sent, anchors, at); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	row, err := v.records.Identify(ctx, sent[0].Raw)
	switch {
	case errors.Is(err, engine.ErrNoCertificate):
		return nil, fmt.Errorf("%w: it is not in the records", ErrRefused)
	case err != nil:
		return nil, err
	case row.Status != engine.Good:
		return nil, fmt.Errorf("%w: it is %s", ErrRefused, row.Status)
	}
	return row, nil
}

func (v *Verifier) verify(sent []*x509.Certificate, anchors *x509.CertPool, now time.Time) error {
	leaf := sent[0]
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) || leaf.IsCA {
		return errors.New("it is not in force, or that of a CA")
	}
	k := key{sha256.Sum256(leaf.Raw), anchors}
	if v.chains.good(k, now) {
		return nil
	}
	between := x509.NewCertPool() // many clients send their own certificate alone
	for _, c := range sent[1:min(len(sent), maxSent)] {
		between.AddCert(c)
	}
	if id := leaf.AuthorityKeyId; len(id) > 0 && len(id) <= 64 {
		if ca, err := v.records.Issuer(hex.EncodeToString(id)); err == nil {
			between.AddCert(ca)
		}
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: anchors, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return err
	}
	v.chains.add(k, now, chains[0])
	return nil
}

// life is how long signatures once checked are not checked again. They do not
// change; the bound is for anchors that are taken away, and for memory.
const life = 10 * time.Minute

// maxChains bounds the cache. Only certificates that verified get in, so nobody
// outside can fill it.
const maxChains = 4096

type key struct {
	leaf    [32]byte
	anchors *x509.CertPool
}

type cache struct {
	mu    sync.Mutex
	until map[key]time.Time
}

func (c *cache) good(k key, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Before(c.until[k])
}

// add remembers k, no longer than every certificate of the chain is valid.
func (c *cache) add(k key, now time.Time, chain []*x509.Certificate) {
	until := now.Add(life)
	for _, cert := range chain {
		if cert.NotAfter.Before(until) {
			until = cert.NotAfter
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.until == nil || len(c.until) >= maxChains {
		c.until = map[key]time.Time{}
	}
	c.until[k] = until
}
