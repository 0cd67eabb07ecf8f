package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"

	"chancery/store"
)

// An Issuance is a certificate that the CA issued after the backup, as an exit
// was told of it. Only the certificate is proved, by its signature; the rest is
// the word of whoever kept it.
type Issuance struct {
	DER       []byte
	Request   string
	Requester Principal
	Profile   string
	At        time.Time
}

// A StatusChange is a revocation, hold or release after the backup, as an exit
// was told of it.
type StatusChange struct {
	ID     CertID
	Status Status
	Reason int // CRLReason
	At     time.Time
}

// ImportIssued takes certificates into the records that were issued after the
// backup. Those that are known already are passed over, and those that no CA key
// here signed are refused. It returns what changed, and why others were refused.
func (e *Engine) ImportIssued(ctx context.Context, a Actor, all []Issuance) (done []Change, refused []error, err error) {
	type one struct {
		*Issuance
		cert *x509.Certificate
		row  *Certificate
	}
	ours := make([]one, 0, len(all))
	for i := range all {
		c, row, err := e.ours(&all[i])
		if err != nil {
			refused = append(refused, err)
			continue
		}
		ours = append(ours, one{&all[i], c, row})
	}
	err = e.update(ctx, func(tx store.Tx) error {
		done = nil
		if err := e.mustBeRestored(tx); err != nil {
			return err
		}
		for _, o := range ours {
			c, err := e.importOne(tx, o.Issuance, o.cert, *o.row)
			if err != nil {
				return err
			}
			if c != nil {
				done = append(done, *c)
			}
		}
		return e.recordChanges(tx, a, done...)
	})
	return done, refused, err
}

// mustBeRestored: records come from outside only while a quarantine stands.
func (e *Engine) mustBeRestored(tx store.Tx) error {
	q, err := e.quarantine(tx)
	if err == nil && q == nil {
		err = ErrNoQuarantine
	}
	return err
}

// ours checks that one of our keys signed a certificate, and makes its row.
func (e *Engine) ours(i *Issuance) (*x509.Certificate, *Certificate, error) {
	c, err := x509.ParseCertificate(i.DER)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: a certificate that does not parse: %w", ErrBadInput, err)
	}
	is := e.issuers[hex.EncodeToString(c.AuthorityKeyId)]
	if is == nil || !bytes.Equal(c.RawIssuer, is.cert.RawSubject) {
		return nil, nil, fmt.Errorf("%w: the certificate %x is of %s, which is no CA of this backup", ErrBadInput, c.SerialNumber, c.Issuer)
	}
	if err := c.CheckSignatureFrom(is.cert); err != nil {
		return nil, nil, fmt.Errorf("%w: the certificate %x names authority %s, but its key did not sign it: %w", ErrBadInput, c.SerialNumber, is.Authority, err)
	}
	all, subject, err := certificateNames(c)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: the names of certificate %x: %w", ErrBadInput, c.SerialNumber, err)
	}
	spki := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return c, &Certificate{
		CertID: NewCertID(is.cert.SubjectKeyId, c.SerialNumber.Bytes()), Status: Good, NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		Subject: subject.String(), Names: all, SPKI: hex.EncodeToString(spki[:]), Requester: i.Requester, Profile: i.Profile,
		Authority: is.Authority, Imported: "journal", Shard: shardOf(c, is.keyID),
	}, nil
}

// importOne adds a certificate, or completes what is known of it.
func (e *Engine) importOne(tx store.Tx, i *Issuance, c *x509.Certificate, row Certificate) (*Change, error) {
	old, err := certificates.Get(tx, row.key())
	switch {
	case store.Missing(err):
		old = nil
	case err != nil:
		return nil, err
	case old.SPKI != "":
		return nil, nil // known
	}
	request, err := e.requestOf(tx, i, c, row.CertID)
	if err != nil {
		return nil, err
	}
	row.Request = request
	if old == nil {
		err = certificates.Insert(tx, &row)
	} else { // so far only its serial number was known, from a published CRL
		row.Status, row.Reason, row.RevokedAt, row.RevokedBy = old.Status, old.Reason, old.RevokedAt, old.RevokedBy
		if err = certificates.Put(tx, old, &row); err == nil && row.Reason == 1 {
			err = blockKey(tx, row.SPKI)
		}
	}
	if err == nil {
		err = raws.Put(tx, certKey(request), i.DER)
	}
	return &Change{"restore-certificate", row.CertID.String(), row.Subject + " until " + row.NotAfter.UTC().Format(time.RFC3339)}, err
}

// requestOf ends the request that a certificate was the answer to, if the backup
// has that and it asked for this key. Otherwise the certificate has none, and
// this is only the name under which its bytes are kept.
func (e *Engine) requestOf(tx store.Tx, i *Issuance, c *x509.Certificate, id CertID) (string, error) {
	if !store.ValidID(i.Request) {
		return e.newID(), nil
	}
	r, err := requests.Get(tx, i.Request)
	if store.Missing(err) {
		if _, err := raws.Get(tx, certKey(i.Request)); err == nil {
			return e.newID(), nil // another certificate was said to be of that request
		} else if !store.Missing(err) {
			return "", err
		}
		return i.Request, nil
	} else if err != nil {
		return "", err
	}
	if r.State != Received && r.State != Pending && (r.State != Issuing || r.Cert != id) {
		return e.newID(), nil
	}
	asked := *r
	if err := loadAsked(tx, &asked); err != nil {
		return "", err
	}
	if !bytes.Equal(asked.Asked.Key.SPKI, c.RawSubjectPublicKeyInfo) {
		return e.newID(), nil
	}
	next := *r
	next.Ended, next.Cert, next.Same, next.Pends = i.At.UTC().Truncate(time.Millisecond), id, "", nil
	if next.State != Issuing {
		next.Profile = i.Profile
	} else if err := spendGrants(tx, &next); err != nil {
		return "", err
	}
	next.State = StateIssued
	return r.ID, requests.Put(tx, r, &next)
}

// ImportStatus applies changes of certificates' status that were made after the
// backup. A release is not applied: on hold is the safe side, and an officer can
// release again. It returns what changed, and the certificates that are not
// known here.
func (e *Engine) ImportStatus(ctx context.Context, a Actor, all []StatusChange) (done []Change, unknown []CertID, err error) {
	err = e.update(ctx, func(tx store.Tx) error {
		done, unknown = nil, nil
		if err := e.mustBeRestored(tx); err != nil {
			return err
		}
		issuers := map[string]bool{}
		for _, s := range all {
			old, err := certificates.Get(tx, s.ID.key())
			if store.Missing(err) {
				unknown = append(unknown, s.ID)
				continue
			} else if err != nil {
				return err
			}
			c, err := e.applyFact(tx, old, fact{id: s.ID, status: s.Status, reason: s.Reason, at: s.At.UTC().Truncate(time.Millisecond), by: "the journal"})
			if err != nil {
				return err
			}
			if c != nil {
				done = append(done, *c)
				issuers[s.ID.Issuer] = true
			}
		}
		for id := range issuers {
			if err := e.noteMany(tx, id); err != nil {
				return err
			}
		}
		return e.recordChanges(tx, a, done...)
	})
	return done, unknown, err
}

// A fact is what somebody outside knows of a certificate's status.
type fact struct {
	id     CertID
	status Status
	reason int
	at     time.Time
	by     string
}

// applyFact moves a row's status to what is known outside, only ever towards
// revoked: good, held, revoked, revoked as keyCompromise.
func (e *Engine) applyFact(tx store.Tx, old *Certificate, f fact) (*Change, error) {
	next := *old
	switch {
	case f.status == Good && old.Status == Held:
		return &Change{"restore-held", f.id.String(), "it was released after the backup; it stays on hold until an officer releases it"}, nil
	case f.status == Good, f.status == Held && old.Status != Good:
		return nil, nil
	case old.Status == Revoked && !(f.reason == 1 && old.Reason != 1):
		return nil, nil
	case old.Status == Revoked: // since then all the same
		next.Reason = 1
	default:
		next.Status, next.Reason, next.RevokedAt = f.status, f.reason, f.at
		if now := e.now(); f.at.After(now) {
			next.RevokedAt = now
		}
	}
	next.RevokedBy = f.by
	if err := certificates.Put(tx, old, &next); err != nil {
		return nil, err
	}
	if next.Reason == 1 && next.SPKI != "" {
		if err := blockKey(tx, next.SPKI); err != nil {
			return nil, err
		}
	}
	return &Change{"restore-revoke", f.id.String(), ReasonName(next.Reason) + " at " + next.RevokedAt.Format(time.RFC3339) + ", from " + f.by}, nil
}

func blockKey(tx store.Tx, spki string) error {
	return blocked.Put(tx, spki, []byte("a certificate of it was revoked as keyCompromise"))
}
