package engine

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"chancery/store"
)

func TestWhatIsNoLastList(t *testing.T) {
	w := newWorld(t)
	i, _ := w.issue(w.submission("1", newKey(t), "a.test"))
	old := w.lists()
	if err := w.Revoke(t.Context(), Revocation{ID: i.ID, Reason: 4}); err != nil {
		t.Fatal(err)
	}
	w.advanceClock(time.Hour)
	w.lists()
	file := w.backup()
	if _, err := w.ReadPublished(t.Context(), restorer, old[0], ""); !errors.Is(err, ErrNoQuarantine) {
		t.Errorf("without a restore: %v", err)
	}
	w.restore(file)
	other := newCA(t, "Test CA", w.clock)
	sign := func(by Issuer, l x509.RevocationList) []byte {
		l.Number, l.ThisUpdate, l.NextUpdate = big.NewInt(1<<40), w.now(), w.now().Add(time.Hour)
		der, err := x509.CreateRevocationList(w.conf.Rand, &l, by.Chain[0], by.Key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	main := w.conf.Issuers[0]
	forged := sign(main, x509.RevocationList{})
	forged[len(forged)-5] ^= 1
	strange := x509.RevocationList{ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 99}, Critical: true, Value: []byte{2, 1, 1}}}}
	for name, der := range map[string][]byte{
		"older": old[0], "of another CA": sign(other, x509.RevocationList{}), "forged": forged, "what is not understood": sign(main, strange),
		"no list": []byte("hello"), "empty": nil,
	} {
		if _, err := w.ReadPublished(t.Context(), restorer, der, "x"); !errors.Is(err, ErrBadInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, id := range []string{"", "ff", w.current["main"].keyID} {
		if _, err := w.NoPublished(t.Context(), restorer, id, " "); !errors.Is(err, ErrBadInput) {
			t.Errorf("no list of %q: %v", id, err)
		}
	}
	if q, err := w.Quarantine(t.Context()); err != nil || len(w.Unread(q)) != 2 {
		t.Errorf("unread: %v, %v", w.Unread(q), err)
	}
}

// An administrator gave a list that was not the last one, or said that there is
// none, and the CA has published lists since. What is found later still counts.
func TestAListThatIsFoundLater(t *testing.T) {
	for name, first := range map[string]func(w *world, between []byte) error{
		"after one that was not the last": func(w *world, between []byte) error {
			_, err := w.ReadPublished(w.t.Context(), restorer, between, "a copy")
			return err
		},
		"after it was said that there is none": func(w *world, _ []byte) error {
			_, err := w.NoPublished(w.t.Context(), restorer, w.current["main"].keyID, "the disk is gone")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			i, cert := w.issue(w.submission("1", newKey(t), "a.test"))
			publish := func() []byte {
				w.advanceClock(time.Hour)
				w.lists()
				return w.currentCRL().Raw
			}
			before, file := publish(), w.backup()
			between := publish()
			if err := w.Revoke(t.Context(), Revocation{ID: i.ID, Reason: 4}); err != nil {
				t.Fatal(err)
			}
			last := publish()
			w.restore(file)
			if err := first(w, between); err != nil {
				t.Fatal(err)
			}
			w.advanceClock(time.Hour)
			is := w.current["main"]
			if err := w.publishCRL(t.Context(), is, store.Lease{}); err != nil {
				t.Fatal(err)
			}
			now, err := w.CRL(t.Context(), is.keyID)
			if err != nil {
				t.Fatal(err)
			}

			if _, err := w.ReadPublished(t.Context(), restorer, last, "found"); err != nil {
				t.Fatalf("what is found later is refused: %v", err)
			}
			if r := w.ocsp(cert); r.Status != ocsp.Revoked || r.RevocationReason != 4 {
				t.Errorf("revoked after the backup: %+v", r)
			}
			if c, err := w.CRL(t.Context(), is.keyID); err != nil || higher(now.Number, c.Number) {
				t.Errorf("the number went back from %s to %s: %v", now.Number, c.Number, err)
			}
			if l := w.currentCRL(); len(l.RevokedCertificateEntries) != 1 {
				t.Errorf("%d entries in the next list", len(l.RevokedCertificateEntries))
			}
			if _, err := w.ReadPublished(t.Context(), restorer, before, "x"); !errors.Is(err, ErrBadInput) {
				t.Errorf("one that is older than that: %v", err)
			}
			w.sound()
		})
	}
}

// With deltas, the complete list may be days old: what was revoked since is in the
// delta. That alone does not let the status of the key be told.
func TestDeltaAfterARestore(t *testing.T) {
	w := newWorld(t)
	w.rules(CRLRules{Delta: true})
	i, cert := w.issue(w.submission("1", newKey(t), "a.test"))
	held, heldCert := w.issue(w.submission("2", newKey(t), "b.test"))
	w.refresh()
	file := w.backup()
	revoke := func(r Revocation) {
		t.Helper()
		w.advanceClock(time.Minute)
		if err := w.Revoke(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	revoke(Revocation{ID: held.ID, Reason: 6})
	complete := w.currentCRL().Raw
	revoke(Revocation{ID: held.ID, Release: true})
	revoke(Revocation{ID: i.ID, Reason: 4})
	w.refresh()
	delta := w.list(deltaScope)
	if reason, ok := entryIn(delta, cert.SerialNumber); !ok || reason != 4 {
		t.Fatal("the delta does not say what is to be tried")
	}
	if reason, ok := entryIn(delta, heldCert.SerialNumber); !ok || reason != 8 {
		t.Fatal("the delta does not end the hold")
	}

	w.restore(file)
	if _, err := w.ReadPublished(t.Context(), restorer, delta.Raw, "a copy"); err != nil {
		t.Fatal(err)
	}
	if q, err := w.Quarantine(t.Context()); err != nil || len(w.Unread(q)) != 2 {
		t.Errorf("a delta stands for the complete list: %v", err)
	}
	w.readLists(complete)
	if r := w.ocsp(cert); r.Status != ocsp.Revoked || r.RevocationReason != 4 {
		t.Errorf("what only the delta lists: %+v", r)
	}
	if r := w.ocsp(heldCert); r.Status != ocsp.Revoked || r.RevocationReason != 6 {
		t.Errorf("a hold that had ended: %+v", r)
	}
	if l := w.currentCRL(); l.Number.Cmp(delta.Number) <= 0 || len(l.RevokedCertificateEntries) != 2 {
		t.Errorf("list %v after %v, %d entries", l.Number, delta.Number, len(l.RevokedCertificateEntries))
	}
	w.sound()
}
