package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"sync"

	"chancery/store"
)

// identities remembers which certificates were found to be ours, by the SHA-256
// of their bytes: a client presents the same one in every request. Their status
// is read each time.
type identities struct {
	mu   sync.RWMutex
	ids  map[[32]byte]CertID
	rows store.Cache[Certificate]
}

const maxIdentities = 4096

// Identify finds the row of a certificate that somebody presented, as it is now.
// The stored bytes must be the very same: issuer and serial alone prove nothing.
// The row is shared and must not be changed.
func (e *Engine) Identify(ctx context.Context, der []byte) (*Certificate, error) {
	id, err := e.identify(ctx, der)
	if err != nil {
		return nil, err
	}
	var row *Certificate
	err = e.view(ctx, func(tx store.Tx) (err error) {
		row, err = e.clients.rows.Get(&certificates, tx, id.key())
		return err
	})
	if store.Missing(err) {
		return nil, ErrNoCertificate
	}
	return row, err
}

func (e *Engine) identify(ctx context.Context, der []byte) (CertID, error) {
	sum := sha256.Sum256(der)
	e.clients.mu.RLock()
	id, ok := e.clients.ids[sum]
	e.clients.mu.RUnlock()
	if ok {
		return id, nil
	}
	c, err := x509.ParseCertificate(der)
	if err != nil || e.issuers[hex.EncodeToString(c.AuthorityKeyId)] == nil {
		return CertID{}, ErrNoCertificate
	}
	id = NewCertID(c.AuthorityKeyId, c.SerialNumber.Bytes())
	_, stored, err := e.Certificate(ctx, id)
	if err != nil {
		return CertID{}, err
	}
	if !bytes.Equal(stored, der) {
		return CertID{}, ErrNoCertificate
	}
	e.clients.mu.Lock()
	defer e.clients.mu.Unlock()
	if e.clients.ids == nil || len(e.clients.ids) >= maxIdentities {
		e.clients.ids = map[[32]byte]CertID{}
	}
	e.clients.ids[sum] = id
	return id, nil
}
