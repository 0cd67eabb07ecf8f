package engine

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"chancery/store"
)

// clockSkew is how far another clock may be ahead of ours.
const clockSkew = 5 * time.Minute

// ReadPublished takes a CRL that was published before the restore, in DER: what it
// lists is revoked from now on, and the numbers go on above its number. It returns
// what changed. The last complete list of a CA key lets its status be told again;
// one that is older than the records is refused. A delta or the list of a part adds
// what it lists.
func (e *Engine) ReadPublished(ctx context.Context, a Actor, der []byte, from string) ([]Change, error) {
	list, is, err := e.publishedList(der)
	if err != nil {
		return nil, err
	}
	part := slices.ContainsFunc(list.Extensions, partial)
	if !part {
		if err := e.notOlder(ctx, list, is); err != nil {
			return nil, err
		}
	}
	var done []Change
	for batch := range slices.Chunk(list.RevokedCertificateEntries, batchSize) {
		var now []Change
		if err := e.update(ctx, func(tx store.Tx) error {
			now = nil
			if err := e.mustBeRestored(tx); err != nil {
				return err
			}
			for i := range batch {
				c, err := e.applyEntry(tx, is, &batch[i])
				if err != nil {
					return err
				}
				if c != nil {
					now = append(now, *c)
				}
			}
			if len(now) == 0 {
				return nil
			}
			return errors.Join(e.noteMany(tx, is.keyID), e.recordChanges(tx, a, now...))
		}); err != nil {
			return done, err
		}
		done = append(done, now...)
	}
	act := "restore-crl"
	if part {
		act = "restore-crl-part"
	}
	read := Change{act, is.keyID, fmt.Sprintf("authority %s, number %s of %s, with %d entries, from %s", is.Authority, list.Number,
		list.ThisUpdate.UTC().Format(time.RFC3339), len(list.RevokedCertificateEntries), from)}
	return append(done, read), e.update(ctx, func(tx store.Tx) error {
		if part {
			return errors.Join(e.mustBeRestored(tx), goOnAbove(tx, is.keyID, list.Number.String()), e.recordChanges(tx, a, read))
		}
		next := &CRL{Issuer: is.keyID, Number: list.Number.String(), ThisUpdate: list.ThisUpdate.UTC(), NextUpdate: list.NextUpdate.UTC()}
		if err := e.goOnFrom(tx, next, der); err != nil {
			return err
		}
		if err := e.listRead(tx, is.keyID, PublishedList{next.Number, from, e.now()}); err != nil {
			return err
		}
		return e.recordChanges(tx, a, read)
	})
}

// NoPublished notes that no CRL of a CA key can be had that was published before
// the restore, with an administrator's words why.
func (e *Engine) NoPublished(ctx context.Context, a Actor, keyID, why string) ([]Change, error) {
	is := e.issuers[keyID]
	if is == nil {
		return nil, fmt.Errorf("%w: no CA key here has the identifier %.60q", ErrBadInput, keyID)
	}
	if strings.TrimSpace(why) == "" {
		return nil, fmt.Errorf("%w: say why there is no published CRL of authority %s; it is kept for auditors", ErrBadInput, is.Authority)
	}
	said := Change{"restore-no-crl", keyID, "authority " + is.Authority + ": " + why}
	return []Change{said}, e.update(ctx, func(tx store.Tx) error {
		if err := e.listRead(tx, keyID, PublishedList{"", why, e.now()}); err != nil {
			return err
		}
		return e.recordChanges(tx, a, said)
	})
}

// listRead notes that the status of a CA key may be told again. A new list is
// due, since the records may say more than the last one.
func (e *Engine) listRead(tx store.Tx, keyID string, l PublishedList) error {
	_, err := quarantines.Change(tx, quarantineKey, func(q *Quarantine) error {
		all := map[string]PublishedList{keyID: l}
		for id, x := range q.Lists {
			if id != keyID {
				all[id] = x
			}
		}
		q.Lists = all
		return nil
	})
	if store.Missing(err) {
		return ErrNoQuarantine
	}
	if err != nil {
		return err
	}
	return e.noteMany(tx, keyID)
}

// publishedList checks that a list is signed by one of our keys, and that we know
// what it says.
func (e *Engine) publishedList(der []byte) (*x509.RevocationList, *issuer, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: this is no CRL: %w", ErrBadInput, err)
	}
	is := e.issuers[hex.EncodeToString(list.AuthorityKeyId)]
	if is == nil {
		return nil, nil, fmt.Errorf("%w: this CRL is of %s, with the key %x, which is no CA of this backup", ErrBadInput, list.Issuer, list.AuthorityKeyId)
	}
	if err := list.CheckSignatureFrom(is.cert); err != nil || !bytes.Equal(list.RawIssuer, is.cert.RawSubject) {
		return nil, nil, fmt.Errorf("%w: this CRL names authority %s but its key did not sign it: %w", ErrBadInput, is.Authority, err)
	}
	// RFC 5280, Section 5.2: what a list with a critical extension says that is
	// not understood, nobody knows.
	for _, x := range list.Extensions {
		if x.Critical && !partial(x) {
			return nil, nil, fmt.Errorf("%w: this CRL has the critical extension %s, which this program does not know", ErrBadInput, x.Id)
		}
	}
	for i := range list.RevokedCertificateEntries {
		if slices.ContainsFunc(list.RevokedCertificateEntries[i].Extensions, criticalIn) {
			return nil, nil, fmt.Errorf("%w: an entry of this CRL has a critical extension", ErrBadInput)
		}
	}
	if list.Number == nil || list.Number.Sign() < 0 {
		return nil, nil, fmt.Errorf("%w: this CRL has no number", ErrBadInput)
	}
	if list.ThisUpdate.After(e.now().Add(clockSkew)) {
		return nil, nil, fmt.Errorf("%w: this CRL is of %s, and the clock here says %s: set the clock", ErrBadInput, list.ThisUpdate.UTC().Format(time.RFC3339), e.now().Format(time.RFC3339))
	}
	return list, is, nil
}

// notOlder refuses a list with a lower number than the last one that was published
// before the restore, as far as that is known. Once a list of the key was read, or
// said not to exist, the records know of lists that were made since: those tell
// nothing of what an administrator finds later.
func (e *Engine) notOlder(ctx context.Context, list *x509.RevocationList, is *issuer) error {
	return e.view(ctx, func(tx store.Tx) error {
		q, err := e.quarantine(tx)
		if err != nil {
			return err
		} else if q == nil {
			return ErrNoQuarantine
		}
		read, again := q.Lists[is.keyID]
		known := read.Number
		if !again {
			have, err := crls.Get(tx, is.keyID)
			if store.Missing(err) {
				return nil
			} else if err != nil {
				return err
			}
			known = have.Number
		}
		if n, ok := new(big.Int).SetString(known, 10); ok && list.Number.Cmp(n) < 0 {
			return fmt.Errorf("%w: this CRL of authority %s has number %s, and the records know of %s, so it is not the last one: get that from where clients do", ErrBadInput, is.Authority, list.Number, n)
		}
		return nil
	})
}

// goOnFrom makes a list the last one, so that the next has a higher number, unless
// a later one was made since.
func (e *Engine) goOnFrom(tx store.Tx, next *CRL, der []byte) error {
	old, err := crls.Get(tx, next.Issuer)
	switch {
	case store.Missing(err):
		err = crls.Insert(tx, next)
	case err == nil && !higher(next.Number, old.Number):
		return nil
	case err == nil:
		err = crls.Put(tx, old, next)
	}
	if err != nil {
		return err
	}
	return crlDERs.Put(tx, next.Issuer, der)
}

// goOnAbove has the next list of a CA key, of whatever scope, go above a number.
func goOnAbove(tx store.Tx, keyID, number string) error {
	have, err := crlNumbers.Get(tx, keyID)
	if err != nil && !store.Missing(err) || !higher(number, string(have)) {
		return err
	}
	return crlNumbers.Put(tx, keyID, []byte(number))
}

// higher compares CRL numbers; one that cannot be read is lower than any.
func higher(a, b string) bool {
	x, ok := new(big.Int).SetString(a, 10)
	y, have := new(big.Int).SetString(b, 10)
	return ok && (!have || x.Cmp(y) > 0)
}

// applyEntry revokes what a published list says is revoked.
func (e *Engine) applyEntry(tx store.Tx, is *issuer, en *x509.RevocationListEntry) (*Change, error) {
	id := CertID{is.keyID, serialText(en.SerialNumber.Bytes())}
	reason := en.ReasonCode
	switch {
	case reason == 8: // of a delta, that a hold ended, or that it expired: an officer releases again
		return nil, nil
	case reason < 0, reason > 10, reason == 7: // there is none
		reason = 0
	}
	f := fact{id: id, status: Revoked, reason: reason, at: en.RevocationTime.UTC(), by: "the published CRL"}
	if f.reason == 6 {
		f.status = Held
	}
	old, err := certificates.Get(tx, id.key())
	if store.Missing(err) {
		// Nothing else is known of it. It is listed as long as the CA lives.
		row := &Certificate{CertID: id, Status: f.status, Reason: f.reason, RevokedAt: f.at, RevokedBy: f.by,
			NotBefore: is.cert.NotBefore, NotAfter: is.cert.NotAfter, Authority: is.Authority, Imported: "crl"}
		if err := certificates.Insert(tx, row); err != nil {
			return nil, err
		}
		return &Change{"restore-revoke", id.String(), "issued after the backup; " + ReasonName(f.reason) + " at " + f.at.Format(time.RFC3339)}, nil
	} else if err != nil {
		return nil, err
	}
	return e.applyFact(tx, old, f)
}

// partial reports whether an extension says that a list is not a complete one: a
// delta, or that of a part (RFC 5280, Sections 5.2.4 and 5.2.5).
func partial(x pkix.Extension) bool {
	return x.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 27}) || x.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 28})
}

func criticalIn(x pkix.Extension) bool { return x.Critical && !x.Id.Equal(oidReason) }

var oidReason = asn1.ObjectIdentifier{2, 5, 29, 21}
