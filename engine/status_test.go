package engine

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"chancery/store"
)

// currentCRL makes a list and checks what every list must be.
func (w *world) currentCRL() *x509.RevocationList {
	w.t.Helper()
	is := w.current["main"]
	if err := w.publishCRL(context.Background(), is, store.Lease{}); err != nil {
		w.t.Fatal(err)
	}
	c, err := w.CRL(context.Background(), is.keyID)
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := x509.ParseRevocationList(c.DER)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := l.CheckSignatureFrom(is.cert); err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *world) ocsp(c *x509.Certificate) *ocsp.Response {
	w.t.Helper()
	ca := w.current["main"].cert
	req, err := ocsp.CreateRequest(c, ca, &ocsp.RequestOptions{Hash: crypto.SHA256})
	if err != nil {
		w.t.Fatal(err)
	}
	a := w.OCSP(context.Background(), req)
	res, err := ocsp.ParseResponseForCert(a.DER, c, ca)
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

func TestRevocationIsSeen(t *testing.T) {
	w := newWorld(t)
	i, c := w.issue(w.submission("1", newKey(t), "a.test"))
	if l := w.currentCRL(); len(l.RevokedCertificateEntries) != 0 {
		t.Error("something is revoked on an empty list")
	}
	if r := w.ocsp(c); r.Status != ocsp.Good {
		t.Errorf("OCSP %d, want good", r.Status)
	}
	if err := w.Revoke(t.Context(), Revocation{ID: i.ID, Reason: 4, By: "olga"}); err != nil {
		t.Fatal(err)
	}
	if r := w.ocsp(c); r.Status != ocsp.Revoked || r.RevocationReason != 4 || !r.RevokedAt.Equal(w.now()) {
		t.Errorf("OCSP %+v", r)
	}
	l := w.currentCRL()
	if len(l.RevokedCertificateEntries) != 1 || l.RevokedCertificateEntries[0].SerialNumber.Cmp(c.SerialNumber) != 0 || l.RevokedCertificateEntries[0].ReasonCode != 4 {
		t.Errorf("CRL %+v", l.RevokedCertificateEntries)
	}
	if err := w.Revoke(t.Context(), Revocation{ID: i.ID, Reason: 4}); !errors.Is(err, ErrAlreadyRevoked) {
		t.Errorf("again: %v", err)
	}
	w.runUntil("exits hear of it", func() bool { return sameKinds(w.exit.kinds(), "issued", "revoked") })
}

func TestRunPublishesWithinASecondOfRevocation(t *testing.T) {
	w := newWorld(t)
	i, _ := w.issue(w.submission("1", newKey(t), "a.test"))
	revoked := false
	w.runUntil("the CRL lists it", func() bool {
		c, err := w.CRL(context.Background(), i.ID.Issuer)
		if err != nil {
			return false // the first list is made by Run
		}
		if !revoked {
			revoked = true
			if err := w.Revoke(context.Background(), Revocation{ID: i.ID, Reason: 0}); err != nil {
				t.Error(err)
			}
		}
		l, err := x509.ParseRevocationList(c.DER)
		return err == nil && len(l.RevokedCertificateEntries) == 1
	})
}

// A process that died between the commit of a revocation and the next list must
// make that list when it starts.
func TestListAfterCrashHoldsRevocation(t *testing.T) {
	w := newWorld(t)
	i, _ := w.issue(w.submission("1", newKey(t), "a.test"))
	w.currentCRL()
	w.advanceClock(time.Minute)
	if err := w.Revoke(t.Context(), Revocation{ID: i.ID, Reason: 0}); err != nil {
		t.Fatal(err)
	}
	w.open()
	w.runUntil("the new process lists it", func() bool {
		c, err := w.CRL(context.Background(), i.ID.Issuer)
		if err != nil {
			return false
		}
		l, err := x509.ParseRevocationList(c.DER)
		return err == nil && len(l.RevokedCertificateEntries) == 1
	})
}

func TestHoldAndRelease(t *testing.T) {
	w := newWorld(t)
	i, c := w.issue(w.submission("1", newKey(t), "a.test"))
	change := func(r Revocation) error { r.ID = i.ID; return w.Revoke(context.Background(), r) }
	for _, step := range []struct {
		r    Revocation
		err  error
		ocsp int
	}{
		{Revocation{Release: true}, ErrNotHeld, ocsp.Good},
		{Revocation{Reason: 6}, nil, ocsp.Revoked},
		{Revocation{Reason: 6}, ErrAlreadyRevoked, ocsp.Revoked},
		{Revocation{Release: true}, nil, ocsp.Good},
		{Revocation{Reason: 6}, nil, ocsp.Revoked},
		{Revocation{Reason: 5}, nil, ocsp.Revoked},
		{Revocation{Release: true}, ErrNotHeld, ocsp.Revoked}, // XO-009: revoked is for ever
		{Revocation{Reason: 1}, nil, ocsp.Revoked},
		{Revocation{Reason: 4}, ErrAlreadyRevoked, ocsp.Revoked},
		{Revocation{Reason: 2}, ErrBadReason, ocsp.Revoked},
	} {
		if err := change(step.r); !errors.Is(err, step.err) {
			t.Errorf("%+v: %v, want %v", step.r, err, step.err)
		}
		if r := w.ocsp(c); r.Status != step.ocsp {
			t.Errorf("after %+v: OCSP %d, want %d", step.r, r.Status, step.ocsp)
		}
	}
}

func TestXK014_CompromisedKeyIsBlocked(t *testing.T) {
	w := newWorld(t)
	key := newKey(t)
	i, _ := w.issue(w.submission("1", key, "a.test"))
	if err := w.Revoke(t.Context(), Revocation{ID: i.ID, Reason: 1}); err != nil {
		t.Fatal(err)
	}
	w.denied(w.submission("2", key, "b.test"), BadKey)
	w.issue(w.submission("3", newKey(t), "b.test"))
}

func TestCRLNumberGrows(t *testing.T) {
	w := newWorld(t)
	last := new(big.Int)
	for n := range 5 {
		l := w.currentCRL()
		if l.Number.Cmp(last) <= 0 {
			t.Errorf("number %s after %s", l.Number, last)
		}
		if l.NextUpdate.Sub(l.ThisUpdate) != crlLife {
			t.Errorf("life %s", l.NextUpdate.Sub(l.ThisUpdate))
		}
		last = l.Number
		if n == 2 {
			w.advanceClock(-10 * time.Hour) // the clock went back
		}
	}
}

func TestExpiredStaysOnOneMoreList(t *testing.T) {
	w := newWorld(t)
	i, c := w.issue(w.submission("1", newKey(t), "a.test"))
	if err := w.Revoke(t.Context(), Revocation{ID: i.ID, Reason: 0}); err != nil {
		t.Fatal(err)
	}
	w.currentCRL()
	w.advanceClock(c.NotAfter.Sub(w.now()) + time.Hour)
	if l := w.currentCRL(); len(l.RevokedCertificateEntries) != 1 {
		t.Error("gone from the first list after it expired")
	}
	w.advanceClock(time.Hour)
	if l := w.currentCRL(); len(l.RevokedCertificateEntries) != 0 {
		t.Error("still there on the second list after it expired")
	}
}

func TestOCSPNeverGoodForUnknown(t *testing.T) {
	w := newWorld(t)
	_, c := w.issue(w.submission("1", newKey(t), "a.test"))
	c.SerialNumber = new(big.Int).Add(c.SerialNumber, big.NewInt(1))
	if r := w.ocsp(c); r.Status != ocsp.Unknown {
		t.Errorf("OCSP %d for a serial never issued", r.Status)
	}
	foreign := newCA(t, "Foreign", w.now())
	req, err := ocsp.CreateRequest(c, foreign.Chain[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ocsp.ParseResponse(w.OCSP(t.Context(), req).DER, nil); err == nil {
		t.Error("an answer for a foreign CA")
	}
	for _, bad := range [][]byte{nil, {}, []byte("x"), {0x30, 0x80}} {
		if _, err := ocsp.ParseResponse(w.OCSP(t.Context(), bad).DER, nil); err == nil {
			t.Errorf("%x was answered", bad)
		}
	}
}

func TestDeliveriesAreRetriedParkedAndReplayed(t *testing.T) {
	w := newWorld(t)
	w.exit.fail = errBoom
	w.issue(w.submission("1", newKey(t), "a.test"))
	var d *Delivery
	look := func() bool {
		w.advanceClock(time.Hour)
		err := w.view(context.Background(), func(tx store.Tx) error {
			for x, err := range deliveries.All(tx, "", "") {
				d = x
				return err
			}
			return nil
		})
		return err == nil && d != nil && d.Parked
	}
	w.runUntil("it is parked", look)
	if d.Attempts != maxAttempts || d.LastErr != "boom" {
		t.Errorf("%+v", d)
	}
	w.exit.mu.Lock()
	w.exit.fail = nil
	w.exit.mu.Unlock()
	n, err := w.ReplayDeliveries(t.Context(), Actor{Person: "o", Roles: []Role{Operator}}, "log")
	if n != 1 || err != nil {
		t.Fatal(n, err)
	}
	w.runUntil("it is told", func() bool { return sameKinds(w.exit.kinds(), "issued") })
}
