package engine

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"chancery/engine/keys"
	"chancery/engine/tbs"
	"chancery/store"
)

// abandonAfter is how old an intent may be that is still signed. After that
// nobody waits for it, and its serial is listed as revoked.
const abandonAfter = 15 * time.Minute

// What another node signs is waited for so long, looking so often; after that the
// client is told when to ask again.
const (
	handedWait  = 4 * time.Second
	handedLook  = 100 * time.Millisecond
	handedRetry = 2 * time.Second
)

// issue signs the stored bytes of a decided request, and no others, and commits
// the certificate with the events that exits are told. After a crash it signs
// the same bytes again; file keys then make the very same certificate, and where
// a token makes another signature the first to be committed wins.
func (e *Engine) issue(ctx context.Context, set *setup, r *Request) (Disposition, error) {
	is := e.issuers[r.Cert.Issuer]
	if is == nil || is.Key == nil {
		return e.awaitOther(ctx, r)
	}
	if err := e.loadTBS(ctx, r); err != nil {
		return nil, err
	}
	now := e.now()
	if err := e.clock.check(now); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUndecided, err)
	}
	e.clock.did(now)
	e.fault("before-signing")
	der, err := tbs.Sign(r.tbs, is.alg, is.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: signing request %s: %w", ErrUndecided, r.ID, err)
	}
	e.fault("signed")
	if err := e.commitCertificate(ctx, set, r, der); err != nil {
		return nil, err
	}
	e.fault("certificate-committed")
	return e.issued(r, der), nil
}

// awaitOther waits a moment for a node that has the CA key, and whose Run signs
// what this one decided, so that few clients have to ask again.
func (e *Engine) awaitOther(ctx context.Context, r *Request) (Disposition, error) {
	look := time.NewTicker(handedLook)
	defer look.Stop()
	for range handedWait / handedLook {
		<-look.C
		now, err := e.Request(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		if now.State != Issuing {
			return e.disposition(ctx, now)
		}
	}
	return Pended{r.ID, handedRetry}, nil
}

// loadTBS reads the bytes that the decision committed to be signed, unless this
// process has just committed them.
func (e *Engine) loadTBS(ctx context.Context, r *Request) error {
	if r.tbs != nil {
		return nil
	}
	return e.view(ctx, func(tx store.Tx) error {
		// What was decided before a backup waits for the end of the quarantine.
		if err := e.withheld(tx, r); err != nil {
			return err
		}
		now, err := requests.Get(tx, r.ID)
		if err != nil {
			return err
		}
		if now.State != Issuing {
			return errMoved // somebody else finished
		}
		twin, err := raws.Get(tx, certKey(r.ID))
		if err != nil {
			return err
		}
		r.tbs, err = tbs.Of(twin)
		return err
	})
}

func (e *Engine) issued(r *Request, der []byte) Disposition {
	var chain [][]byte
	if is := e.issuers[r.Cert.Issuer]; is != nil {
		chain = is.chain
	}
	return Issued{RequestID: r.ID, ID: r.Cert, Cert: der, Chain: chain}
}

// commitCertificate writes everything that makes a certificate exist: its row,
// its bytes, the end of its request, and the deliveries to exits.
func (e *Engine) commitCertificate(ctx context.Context, set *setup, r *Request, der []byte) error {
	c := r.twin // of the very bytes that were signed
	if c == nil {
		var err error
		if c, err = x509.ParseCertificate(der); err != nil {
			return fmt.Errorf("the signed certificate does not parse: %w", err)
		}
	}
	row, err := e.certificateRow(r, c)
	if err != nil {
		return err
	}
	row.Replaces = r.Replaces
	var queued []*Delivery
	var next Request
	err = e.update(ctx, func(tx store.Tx) error {
		now := e.now()
		old, err := requests.Get(tx, r.ID)
		if err != nil {
			return err
		}
		if old.State != Issuing {
			return errMoved
		}
		next = *old
		next.State = StateIssued // and nothing that makes the row longer
		if err := requests.Put(tx, old, &next); err != nil {
			return err
		}
		if err := certificates.Insert(tx, row); err != nil {
			return err
		}
		if err := raws.Put(tx, certKey(r.ID), der); err != nil {
			return err
		}
		if err := spendGrants(tx, &next); err != nil {
			return err
		}
		queued, err = e.announce(tx, set, EventIssued, &next, now)
		return err
	})
	if errors.Is(err, store.ErrExists) {
		return fmt.Errorf("serial number %s exists already: %w", r.Cert.Serial, err)
	}
	if err != nil {
		return err
	}
	for _, d := range queued {
		d.request, d.cert, d.der = &next, row, der
	}
	e.hand(queued)
	return nil
}

func (e *Engine) certificateRow(r *Request, c *x509.Certificate) (*Certificate, error) {
	all, subject, err := certificateNames(c)
	if err != nil {
		return nil, err
	}
	spki := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return &Certificate{
		CertID: r.Cert, Status: Good, NotBefore: c.NotBefore, NotAfter: c.NotAfter, Subject: subject.String(), Names: all,
		SPKI: hex.EncodeToString(spki[:]), Requester: r.Requester, Profile: r.Profile, Authority: e.issuers[r.Cert.Issuer].Authority, Request: r.ID,
		Shard: shardOf(c, r.Cert.Issuer),
	}, nil
}

// abandon gives up an intent that nobody waits for any more: a signature of it
// may exist, so its serial is listed as revoked.
func (e *Engine) abandon(ctx context.Context, r *Request) error {
	is := e.issuers[r.Cert.Issuer]
	if is == nil || is.Key == nil {
		return nil
	}
	set := e.setup.Load()
	var queued []*Delivery
	err := e.update(ctx, func(tx store.Tx) error {
		now := e.now()
		old, err := requests.Get(tx, r.ID)
		if err != nil {
			return err
		}
		if old.State != Issuing {
			return errMoved
		}
		twin, err := raws.Get(tx, certKey(r.ID))
		if err != nil {
			return err
		}
		c, err := x509.ParseCertificate(twin)
		if err != nil {
			return err
		}
		row, err := e.certificateRow(old, c)
		if err != nil {
			return err
		}
		row.Status, row.RevokedAt, row.RevokedBy, row.Reason = Revoked, now, "chancery: interrupted before it was finished", 5
		next := *old
		next.State, next.Ended, next.Released = StateAbandoned, now, true
		if queued, err = e.announceStatus(tx, set, row, "abandoned", now); err != nil {
			return err
		}
		return errors.Join(requests.Put(tx, old, &next), certificates.Insert(tx, row), raws.Delete(tx, certKey(r.ID)), giveBackGrants(tx, &next), e.noteRevocation(tx, row))
	})
	if err == nil {
		e.wakeCRL(r.Cert.Issuer)
		e.hand(queued)
	}
	return err
}

func hashText(k *keys.Public) string {
	h := k.Hash()
	return hex.EncodeToString(h[:])
}
