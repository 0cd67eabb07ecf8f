package engine

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"time"

	"chancery/engine/ocsp"
	"chancery/store"
)

// How long an answer may be used. For certificates that the public trusts it is
// 8 hours at least (CA/Browser Forum Baseline Requirements, Section 4.9.10).
const (
	ocspLife       = time.Hour
	ocspLifePublic = 12 * time.Hour
)

// ocspWait bounds the reading of the records for one answer.
const ocspWait = 10 * time.Second

// An OCSPAnswer is a DER response and, if it is a successful one, its times for
// cache headers.
type OCSPAnswer struct {
	DER        []byte
	ThisUpdate time.Time // zero in error responses
	NextUpdate time.Time
}

func refuseOCSP(status int) OCSPAnswer { return OCSPAnswer{DER: ocsp.ErrorResponse(status)} }

// OCSP answers a request (RFC 6960) from the live rows, or from memory for as long
// as it is known that no status changed since. Hostile input gives an OCSP error
// response. A serial that was never issued is unknown, never good.
func (e *Engine) OCSP(ctx context.Context, request []byte) OCSPAnswer {
	req, err := ocsp.ParseRequest(request)
	if err != nil {
		return refuseOCSP(ocsp.MalformedRequest)
	}
	is := e.issuerOf(req)
	if is == nil {
		return refuseOCSP(ocsp.Unauthorized) // RFC 5019, Section 2.2.3
	}
	// RFC 9654, Section 2.1: what a client made a nonce for is made for it.
	plain := len(req.IDs) == 1 && req.Nonce == nil
	now := e.Now()
	if plain {
		if a, ok := is.epoch.answer(req.IDs[0].Raw, now); ok {
			return a
		}
	}
	if is.epoch.lost(now) {
		return refuseOCSP(ocsp.TryLater)
	}
	turn := is.epoch.now()
	a, known, err := e.signOCSP(ctx, is, req)
	if err != nil {
		if !errors.Is(err, ErrQuarantine) {
			e.Log.ErrorContext(ctx, "answering an OCSP request", "authority", is.Authority, "err", err)
		}
		return refuseOCSP(ocsp.TryLater)
	}
	if plain && known {
		is.epoch.keep(turn, req.IDs[0].Raw, a, a.ThisUpdate.Add(a.NextUpdate.Sub(a.ThisUpdate)/2))
	}
	return a
}

// errNoResponder says that neither a delegate nor the CA key is here.
var errNoResponder = errors.New("there is no OCSP responder yet: a node with the CA key makes it when it runs")

// signOCSP makes an answer. known says that all that it is about exist.
func (e *Engine) signOCSP(ctx context.Context, is *issuer, req *ocsp.Request) (a OCSPAnswer, known bool, err error) {
	now := e.now().Truncate(time.Second)
	if err := e.clock.jumped(now); err != nil {
		return a, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, ocspWait)
	defer cancel()
	res := &ocsp.Response{ProducedAt: now, Nonce: req.Nonce}
	var key crypto.Signer
	err = e.view(ctx, func(tx store.Tx) error {
		res.Statuses, known, key = nil, true, nil
		if err := e.unread(tx, is.keyID); err != nil {
			return err // a revocation may be missing: never good
		}
		if err := e.chooseResponder(tx, is, now, res, &key); err != nil {
			return err
		}
		next := now.Add(e.ocspLife(is))
		if next.After(res.Responder.NotAfter) {
			next = res.Responder.NotAfter
		}
		for _, id := range req.IDs {
			s, err := status(tx, is, id)
			if err != nil {
				return err
			}
			known = known && s.State != ocsp.Unknown
			s.ThisUpdate, s.NextUpdate = now, next
			res.Statuses = append(res.Statuses, s)
		}
		return nil
	})
	if err != nil {
		return a, false, err
	}
	der, err := ocsp.Sign(res, key)
	return OCSPAnswer{der, now, res.Statuses[0].NextUpdate}, known, err
}

// chooseResponder finds who signs: the delegate, whose key every node has, or
// until there is one the CA key itself.
func (e *Engine) chooseResponder(tx store.Tx, is *issuer, now time.Time, res *ocsp.Response, key *crypto.Signer) error {
	r := is.responder.Load()
	if r == nil || !r.serves(now) {
		var err error
		if r, err = e.readResponder(tx, is); err != nil && is.Key == nil {
			return err
		}
	}
	switch {
	case r != nil && r.serves(now):
		res.Responder, res.Chain, *key = r.cert, []*x509.Certificate{r.cert}, r.key
	case is.Key != nil:
		res.Responder, *key = is.cert, is.Key
	default:
		return errNoResponder
	}
	return nil
}

// serves reports whether an answer by the delegate would be of use.
func (r *responder) serves(now time.Time) bool {
	return !now.Before(r.cert.NotBefore) && now.Add(time.Minute).Before(r.cert.NotAfter)
}

func (e *Engine) ocspLife(is *issuer) time.Duration {
	for _, p := range e.Profiles() {
		if p.Public && p.Authority == is.Authority {
			return ocspLifePublic
		}
	}
	return ocspLife
}

// issuerOf finds the CA key that all identifiers of a request belong to.
func (e *Engine) issuerOf(req *ocsp.Request) *issuer {
	for _, is := range e.issuers {
		all := true
		for i := range req.IDs {
			all = all && is.ocsp.Issued(&req.IDs[i])
		}
		if all && len(req.IDs) > 0 {
			return is
		}
	}
	return nil
}

func status(tx store.Tx, is *issuer, id ocsp.CertID) (ocsp.Status, error) {
	s := ocsp.Status{ID: id, State: ocsp.Unknown}
	if id.Serial[0]&0x80 != 0 { // negative: no CA may issue that (RFC 5280, Section 4.1.2.2)
		return s, nil
	}
	c, err := certificates.Get(tx, NewCertID(is.cert.SubjectKeyId, id.Serial).key())
	if store.Missing(err) {
		return s, nil
	} else if err != nil {
		return s, err
	}
	switch c.Status {
	case Good:
		s.State = ocsp.Good
	case Held, Revoked:
		s.State, s.RevokedAt, s.Reason = ocsp.Revoked, c.RevokedAt, c.Reason
	}
	return s, nil
}
