package engine

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"chancery/store"
)

// Reasons for revocation, by the names of RFC 5280, Section 5.3.1.
var revocationReasons = map[string]int{
	"unspecified": 0, "keyCompromise": 1, "affiliationChanged": 3, "superseded": 4,
	"cessationOfOperation": 5, "certificateHold": 6, "privilegeWithdrawn": 9,
}

// ParseReason reads a revocation reason by its RFC 5280 name.
func ParseReason(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, ok := revocationReasons[s]
	if !ok {
		return 0, fmt.Errorf("%w: %.40q; it is one of unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn, certificateHold", ErrBadReason, s)
	}
	return n, nil
}

// ReasonName is the RFC 5280 name of a reason code.
func ReasonName(code int) string {
	for name, n := range revocationReasons {
		if n == code {
			return name
		}
	}
	return fmt.Sprintf("reason %d", code)
}

var (
	// ErrAlreadyRevoked says that the certificate is revoked, which is for ever.
	ErrAlreadyRevoked = errors.New("the certificate is revoked already")

	// ErrNotHeld says that only a certificate on hold can be released.
	ErrNotHeld = errors.New("the certificate is not on hold")

	// ErrBadReason says that the reason code cannot be used.
	ErrBadReason = errors.New("not a reason that can be used")

	// ErrExpired says that a certificate that has expired needs no revocation.
	ErrExpired = errors.New("the certificate has expired")
)

// A Revocation changes the status of a certificate.
type Revocation struct {
	ID      CertID
	Reason  int    // CRLReason: 0, 1, 3, 4, 5 or 9; 6 puts on hold
	Release bool   // ends a hold instead
	By      string // person or principal, for the record
	Via     string
	Also    func(store.Tx) error // lets a frontend write a row in the same commit; may be nil
}

// Revoke changes a certificate's status. When it returns nil that is durable:
// OCSP says so at once and the next CRL is on its way. Whether the caller may do
// that is for the caller to check.
//
// A revocation as keyCompromise blocks the key for ever; it may follow another
// revocation.
func (e *Engine) Revoke(ctx context.Context, r Revocation) error {
	if _, ok := map[int]bool{0: true, 1: true, 3: true, 4: true, 5: true, 6: true, 9: true}[r.Reason]; !ok {
		return fmt.Errorf("%w: %d; it is one of 0, 1, 3, 4, 5, 9, or 6 to hold", ErrBadReason, r.Reason)
	}
	set := e.setup.Load()
	var queued []*Delivery
	err := e.update(ctx, func(tx store.Tx) error {
		now := e.now()
		old, err := certificates.Get(tx, r.ID.key())
		if store.Missing(err) {
			return ErrNoCertificate
		} else if err != nil {
			return err
		}
		next := *old
		if err := next.change(r, now); err != nil {
			return err
		}
		if err := certificates.Put(tx, old, &next); err != nil {
			return err
		}
		if r.Reason == 1 && !r.Release {
			if err := blocked.Put(tx, next.SPKI, []byte("a certificate of it was revoked as keyCompromise")); err != nil {
				return err
			}
		}
		if err := e.noteRevocation(tx, &next); err != nil {
			return err
		}
		if r.Also != nil {
			if err := r.Also(tx); err != nil {
				return err
			}
		}
		word := ReasonName(r.Reason)
		if r.Release {
			word = "released"
		}
		if queued, err = e.announceStatus(tx, set, &next, word, now); err != nil {
			return err
		}
		return e.audit(tx, Actor{Person: r.By, Via: r.Via}, "revoke", r.ID.String(), word)
	})
	if err != nil {
		return err
	}
	e.fault("revoked")
	e.wakeCRL(r.ID.Issuer)
	e.hand(queued)
	e.Log.InfoContext(ctx, "certificate status changed", "serial", r.ID.Serial, "reason", ReasonName(r.Reason), "release", r.Release, "by", r.By)
	return nil
}

// change is the status machine: good ↔ held, both → revoked, and revoked for
// ever, but that keyCompromise may replace another reason.
func (c *Certificate) change(r Revocation, now time.Time) error {
	switch {
	case r.Release && c.Status != Held:
		return ErrNotHeld
	case r.Release:
		c.Status, c.Reason, c.RevokedAt, c.RevokedBy = Good, 0, time.Time{}, ""
		return nil
	case c.Status == Revoked && r.Reason == 1 && c.Reason != 1:
		c.Reason, c.RevokedBy = 1, r.By // revoked since then all the same
		return nil
	case c.Status == Revoked:
		return ErrAlreadyRevoked
	case now.After(c.NotAfter):
		return ErrExpired
	case r.Reason == 6 && c.Status == Held:
		return fmt.Errorf("%w: it is on hold", ErrAlreadyRevoked)
	}
	c.Status, c.Reason, c.RevokedAt, c.RevokedBy = Revoked, r.Reason, now, r.By
	if r.Reason == 6 {
		c.Status = Held
	}
	return nil
}

// Certificate returns the row and the DER of a certificate, or ErrNoCertificate.
func (e *Engine) Certificate(ctx context.Context, id CertID) (*Certificate, []byte, error) {
	var c *Certificate
	var der []byte
	err := e.view(ctx, func(tx store.Tx) (err error) {
		if c, err = certificates.Get(tx, id.key()); err != nil {
			return err
		}
		der, err = raws.Get(tx, certKey(c.Request))
		if store.Missing(err) { // an abandoned intent: listed, but never handed out
			return nil
		}
		return err
	})
	if store.Missing(err) {
		return nil, nil, ErrNoCertificate
	}
	return c, der, err
}

// BySerial returns the rows with a serial number, nearly always one, since each
// CA key has its own, or ErrNoCertificate.
func (e *Engine) BySerial(ctx context.Context, serial string) ([]*Certificate, error) {
	serial, err := ParseSerial(serial)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoCertificate, err)
	}
	var all []*Certificate
	err = e.view(ctx, func(tx store.Tx) error {
		all = nil
		for keyID := range e.issuers {
			c, err := certificates.Get(tx, CertID{keyID, serial}.key())
			if store.Missing(err) {
				continue
			} else if err != nil {
				return err
			}
			all = append(all, c)
		}
		return nil
	})
	if err == nil && len(all) == 0 {
		err = ErrNoCertificate
	}
	return all, err
}

// KeyBlocked reports whether a key, by the SHA-256 of its SPKI, may never be
// certified again, and why.
func (e *Engine) KeyBlocked(ctx context.Context, spkiHash [32]byte) (why string, is bool, err error) {
	err = e.view(ctx, func(tx store.Tx) error {
		b, err := blocked.Get(tx, hex.EncodeToString(spkiHash[:]))
		why = string(b)
		return err
	})
	if store.Missing(err) {
		return "", false, nil
	}
	return why, err == nil, err
}

// CAKey reports whether the key, by the SHA-256 of its SPKI, is one of our CAs'.
func (e *Engine) CAKey(spkiHash [32]byte) bool { return e.caKeys[spkiHash] }
