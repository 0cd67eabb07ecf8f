package engine

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"chancery/store"
)

// ProfileOCSP is Chancery's own profile of the keys to which a CA key delegates
// the signing of OCSP answers (RFC 6960, Section 4.2.2.2). Only the engine asks
// for it; the endpoint of the request is the CA key that delegates.
const ProfileOCSP = "chancery-ocsp"

// A delegate is short-lived because nobody can ask for its own status. The next
// one is made when a third of its life is left.
const responderLife = 30 * 24 * time.Hour

// How long until the delegate is looked at again, when all is well or something
// failed that may pass, and when the policy refused it.
const (
	responderLook    = time.Minute
	responderRefused = time.Hour
)

const (
	oidOCSPSigning = "1.3.6.1.5.5.7.3.9"
	oidOCSPNoCheck = "1.3.6.1.5.5.7.48.1.5" // id-pkix-ocsp-nocheck
)

// responders holds the delegate of each CA key under its identifier: the
// certificate in DER, and right after it the private key in PKCS #8, sealed for
// all nodes. It is in no backup: another is made in no time.
var responders = store.Blobs{Name: "responders"}

func responderProfile() Profile {
	return Profile{
		Frontends: []Source{Self}, Validity: Duration(responderLife), MinValidity: Duration(time.Minute),
		ExtKeyUsage: []string{"OCSPSigning"}, Subject: SubjectRules{CN: "free"}, delegate: true,
	}
}

// issuerFor is who issues a draft: the current key of the authority that it
// names; for a delegate the CA key that delegates, which may be an older one.
func (e *Engine) issuerFor(r *Request, d *Draft) *issuer {
	if d.Profile != ProfileOCSP || r.Source != Self {
		return e.current[d.Authority]
	}
	is := e.issuers[r.Endpoint]
	if is != nil {
		d.Authority = is.Authority
	}
	return is
}

// A responder is a delegate in use.
type responder struct {
	raw  []byte // as stored
	cert *x509.Certificate
	key  crypto.Signer
}

// readResponder returns the delegate of a CA key, or nil when there is none.
func (e *Engine) readResponder(tx store.Tx, is *issuer) (*responder, error) {
	raw, err := responders.Get(tx, is.keyID)
	if store.Missing(err) {
		is.responder.Store(nil)
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if r := is.responder.Load(); r != nil && bytes.Equal(r.raw, raw) {
		return r, nil
	}
	r, err := e.openResponder(is, raw)
	if err != nil {
		return nil, fmt.Errorf("the OCSP responder of CA key %s: %w", is.keyID, err)
	}
	is.responder.Store(r)
	return r, nil
}

func (e *Engine) openResponder(is *issuer, raw []byte) (*responder, error) {
	sealed := cryptobyte.String(raw)
	var der cryptobyte.String
	if !sealed.ReadASN1Element(&der, asn1.SEQUENCE) {
		return nil, store.ErrCorrupt
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	// RFC 6960, Section 4.2.2.2: issued by the very key whose certificates it
	// answers for.
	if err := c.CheckSignatureFrom(is.cert); err != nil {
		return nil, err
	}
	secret, err := e.unseal(responders.Name, is.keyID, sealed)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	any, err := x509.ParsePKCS8PrivateKey(secret)
	if err != nil {
		return nil, errors.New("its sealed private key does not parse")
	}
	key, ok := any.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(c.PublicKey) || !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) {
		return nil, errors.New("key and certificate do not belong together")
	}
	return &responder{raw, c, key}, nil
}

// tendResponder makes the delegate of a CA key when there is none, when it is to
// be followed by the next, or when it was revoked. It returns when to look again.
func (e *Engine) tendResponder(ctx context.Context, is *issuer, l store.Lease) time.Time {
	due, err := e.responderDue(ctx, is)
	if err == nil && due {
		err = e.makeResponder(ctx, is, l)
	}
	var refused *refusedError
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.As(err, &refused):
		e.Log.ErrorContext(ctx, "the policy in use refuses the OCSP responder; the CA key itself signs answers, and only nodes that have it", "authority", is.Authority, "err", err)
		return e.now().Add(responderRefused)
	default:
		e.Log.WarnContext(ctx, "no OCSP responder could be made; the CA key itself signs answers, and only nodes that have it", "authority", is.Authority, "err", err)
	}
	return e.now().Add(responderLook)
}

// A refusedError says that the policy refused a certificate of Chancery's own.
type refusedError struct{ detail string }

func (e *refusedError) Error() string { return e.detail }

func (e *Engine) responderDue(ctx context.Context, is *issuer) (due bool, err error) {
	now := e.now()
	if is.Key == nil || now.After(is.cert.NotAfter) {
		return false, nil
	}
	err = e.view(ctx, func(tx store.Tx) error {
		due = false
		// Nothing is issued while a quarantine stands.
		if q, err := e.quarantine(tx); q != nil || err != nil {
			return err
		}
		r, err := e.readResponder(tx, is)
		if r == nil || err != nil {
			if err != nil {
				e.Log.WarnContext(ctx, "making another OCSP responder", "authority", is.Authority, "err", err)
			}
			due = true
			return nil
		}
		c := r.cert
		left, life := c.NotAfter.Sub(now), c.NotAfter.Sub(c.NotBefore)
		due = left < life/3 && c.NotAfter.Before(is.cert.NotAfter) || left <= 0
		row, err := certificates.Get(tx, NewCertID(is.cert.SubjectKeyId, c.SerialNumber.Bytes()).key())
		if store.Missing(err) {
			due = true // of another life of these records
			return nil
		} else if err != nil {
			return err
		}
		due = due || row.Status != Good
		return nil
	})
	return due, err
}

// makeResponder makes a key, has it certified by the way of all requests, and
// puts both into the store.
func (e *Engine) makeResponder(ctx context.Context, is *issuer, l store.Lease) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), e.Rand)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "OCSP responder of " + is.Authority}}, key)
	if err != nil {
		return err
	}
	id := sha256.Sum256(csr)
	me := Principal("self:" + e.Node)
	d, err := e.Submit(ctx, Submission{
		Source: Self, Endpoint: is.keyID, Requester: me, Form: PKCS10, Body: csr, Profile: ProfileOCSP,
		Key:    NewKey(Self, is.keyID, is.Authority, me, ProfileOCSP+string(id[:])),
		Proofs: []Proof{{Method: BySelf, Principal: me, By: e.Node, At: e.now()}},
	})
	if err != nil {
		return err
	}
	switch d := d.(type) {
	case Issued:
		return e.keepResponder(ctx, is, l, key, d)
	case Denied:
		return &refusedError{d.Detail}
	}
	return &refusedError{"it waits for an officer, which Chancery's own certificates must not"}
}

func (e *Engine) keepResponder(ctx context.Context, is *issuer, l store.Lease, key *ecdsa.PrivateKey, d Issued) error {
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	defer clear(secret)
	sealed, err := e.seal(responders.Name, is.keyID, secret)
	if err != nil {
		return err
	}
	raw := append(bytes.Clone(d.Cert), sealed...)
	if _, err := e.openResponder(is, raw); err != nil {
		return err
	}
	err = e.update(ctx, func(tx store.Tx) error {
		if err := l.Check(tx); err != nil {
			return err
		}
		if err := responders.Put(tx, is.keyID, raw); err != nil {
			return err
		}
		return e.audit(tx, Actor{Person: "chancery", Via: "self"}, "responder", is.keyID, "serial number "+d.ID.Serial)
	})
	if err != nil {
		return err
	}
	return e.view(ctx, func(tx store.Tx) error {
		_, err := e.readResponder(tx, is)
		return err
	})
}
