package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"chancery/store"
)

// TestCheckRecords takes an undamaged store and makes one thing in it untrue
// after another, each with a right checksum.
func TestCheckRecords(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	good, _ := w.issue(w.submission("good", newKey(t), "good.test"))
	other, _ := w.issue(w.submission("other", newKey(t), "other.test"))
	revoked, _ := w.issue(w.submission("revoked", newKey(t), "revoked.test"))
	if err := w.Revoke(ctx, Revocation{ID: revoked.ID, Reason: 4, By: "ada", Via: "test"}); err != nil {
		t.Fatal(err)
	}
	pended := w.submission("pended", newKey(t), "pended.test")
	pended.Profile = "manual"
	w.submit(pended)
	w.advanceClock(time.Hour)
	w.runUntil("a list is signed", func() bool {
		l, err := w.CRL(ctx, revoked.ID.Issuer)
		return err == nil && len(l.DER) > 0
	})
	if found := checkAll(t, w); found != "" {
		t.Fatalf("found in an undamaged store:\n%s", found)
	}
	for _, tt := range []struct {
		name, finds string
		do          func(tx store.Tx) error
	}{
		{"no body", "its body", func(tx store.Tx) error { return raws.Delete(tx, bodyKey(good.RequestID)) }},
		{"no bytes", "the bytes of", func(tx store.Tx) error { return raws.Delete(tx, certKey(good.RequestID)) }},
		{"bytes of another", "are those of", func(tx store.Tx) error { return raws.Put(tx, certKey(good.RequestID), other.Cert) }},
		{"bytes that are none", "the bytes of", func(tx store.Tx) error { return raws.Put(tx, certKey(good.RequestID), other.Cert[1:]) }},
		{"no row", "is not there, or is another's", func(tx store.Tx) error { return dropCertificate(tx, good.ID) }},
		{"no request", "its request " + good.RequestID + " is not there", func(tx store.Tx) error {
			r, err := requests.Get(tx, good.RequestID)
			if err != nil {
				return err
			}
			return requests.Delete(tx, r)
		}},
		{"two for one request", "is about", func(tx store.Tx) error {
			return changeCertificate(tx, other.ID, func(c *Certificate) { c.Request = good.RequestID })
		}},
		{"one for two requests", "is not there, or is another's", func(tx store.Tx) error {
			return changeRequest(tx, other.RequestID, func(r *Request) { r.Cert = good.ID })
		}},
		{"another key", "another key", func(tx store.Tx) error {
			return changeCertificate(tx, good.ID, func(c *Certificate) { c.SPKI = strings.Repeat("0", 64) })
		}},
		{"other dates", "other dates", func(tx store.Tx) error {
			return changeCertificate(tx, good.ID, func(c *Certificate) { c.NotAfter = c.NotAfter.Add(time.Hour) })
		}},
		{"not to be signed again", "still to be signed", func(tx store.Tx) error {
			return changeRequest(tx, good.RequestID, func(r *Request) { r.State = Issuing })
		}},
		{"denied with a certificate", "it is denied, and its certificate", func(tx store.Tx) error {
			return changeRequest(tx, good.RequestID, func(r *Request) { r.State = StateDenied })
		}},
		{"abandoned and good", "abandoned, and its certificate", func(tx store.Tx) error {
			return changeRequest(tx, good.RequestID, func(r *Request) { r.State = StateAbandoned })
		}},
		{"no such state", "no state", func(tx store.Tx) error {
			return changeRequest(tx, good.RequestID, func(r *Request) { r.State = "signed" })
		}},
		{"no such status", "no status", func(tx store.Tx) error {
			return changeCertificate(tx, good.ID, func(c *Certificate) { c.Status = "fine" })
		}},
		{"not in the list", "is not in the list", func(tx store.Tx) error {
			return changeCertificate(tx, good.ID, func(c *Certificate) { c.Status, c.RevokedAt = Revoked, w.clock.Add(-time.Hour) })
		}},
		{"list of another number", "its number is", func(tx store.Tx) error {
			l, err := crls.Get(tx, revoked.ID.Issuer)
			if err != nil {
				return err
			}
			next := *l
			next.Number = "1"
			return crls.Put(tx, l, &next)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			undone := errors.New("undone")
			// All in one transaction that is not committed.
			err := w.db.Plain().Update(ctx, func(tx store.Tx) error {
				if err := tt.do(tx); err != nil {
					return err
				}
				found := ""
				c := new(Checker)
				for _, table := range []string{requests.Name, certificates.Name} {
					for p, err := range tx.Scan(table, "", "") {
						if err != nil {
							return err
						}
						for _, err := range c.Check(tx, table, p.Key, p.Doc) {
							if !errors.Is(err, store.ErrCorrupt) && !store.Missing(err) {
								t.Errorf("%v is not said to be damage", err)
							}
							found += err.Error() + "\n"
						}
					}
				}
				if !strings.Contains(found, tt.finds) {
					t.Errorf("found:\n%s\nwant %q", found, tt.finds)
				}
				return undone
			})
			if !errors.Is(err, undone) {
				t.Fatal(err)
			}
		})
	}
	if found := checkAll(t, w); found != "" {
		t.Errorf("found at the end:\n%s", found)
	}
}

func checkAll(t *testing.T, w *world) (text string) {
	t.Helper()
	found, err := CheckRecords(context.Background(), w.db)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		text += f.Error() + "\n"
	}
	return text
}

func changeRequest(tx store.Tx, id string, fn func(*Request)) error {
	_, err := requests.Change(tx, id, func(r *Request) error {
		fn(r)
		return nil
	})
	return err
}

func changeCertificate(tx store.Tx, id CertID, fn func(*Certificate)) error {
	_, err := certificates.Change(tx, id.key(), func(c *Certificate) error {
		fn(c)
		return nil
	})
	return err
}

func dropCertificate(tx store.Tx, id CertID) error {
	c, err := certificates.Get(tx, id.key())
	if err != nil {
		return err
	}
	return certificates.Delete(tx, c)
}
