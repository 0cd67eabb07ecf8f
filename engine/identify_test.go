package engine

import (
	"bytes"
	"errors"
	"testing"
)

func TestIdentify(t *testing.T) {
	w := newWorld(t)
	i, _ := w.issue(w.submission("1", newKey(t), "a.test"))
	for range 2 { // the second time from memory
		if c, err := w.Identify(t.Context(), i.Cert); err != nil || c.CertID != i.ID || c.Status != Good {
			t.Fatalf("%+v, %v", c, err)
		}
	}
	forged := bytes.Clone(i.Cert)
	forged[len(forged)-1] ^= 1 // the same issuer and serial
	if _, err := w.Identify(t.Context(), forged); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("other bytes with our serial: %v", err)
	}
	if _, err := w.Identify(t.Context(), []byte("x")); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("garbage: %v", err)
	}
	if err := w.Revoke(t.Context(), Revocation{ID: i.ID, Reason: 4}); err != nil {
		t.Fatal(err)
	}
	if c, err := w.Identify(t.Context(), i.Cert); err != nil || c.Status != Revoked {
		t.Errorf("after revocation %+v, %v", c, err)
	}
}
