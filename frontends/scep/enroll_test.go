package scep

import (
	"bytes"
	"context"
	"testing"
	"time"

	"chancery/engine"
	"chancery/frontends/internal/cms"
)

// expect compares status and failInfo.
func (a *answered) expect(t testing.TB, what, status string, info failInfo) {
	t.Helper()
	if a.code != 200 || a.status != status || a.info != string(info) {
		t.Errorf("%s: HTTP %d, status %q, failInfo %q (%s); want status %q, failInfo %q", what, a.code, a.status, a.info, a.text, status, info)
	}
}

func TestSCEP_S010_Enroll(t *testing.T) {
	w := newWorld(t)
	for i, c := range []cms.Cipher{cms.AES128, cms.AES256} {
		d := w.device(rsaKey(t, i))
		a := d.send(sent{kind: "19", cipher: c, get: i == 1, content: csr(t, d.key, w.challenge(1, "", "a.test"), "a.test")})
		a.expect(t, string(c), success, "")
		if len(a.certs) != 1 || a.certs[0].DNSNames[0] != "a.test" || a.certs[0].CheckSignatureFrom(w.ca) != nil {
			t.Fatalf("certificate %v", a.certs)
		}
		if a.envelope.Cipher != c {
			t.Errorf("asked in %s, answered in %s", c, a.envelope.Cipher)
		}
	}
}

// S-023: each way in which a challengePassword is no right.
func TestSCEP_S023_Challenges(t *testing.T) {
	w := newWorld(t)
	d, e := w.device(rsaKey(t, 0)), w.device(rsaKey(t, 1))
	ask := func(what string, d *device, tx, challenge, cn, status string, info failInfo) {
		t.Helper()
		d.send(sent{kind: "19", tx: tx, content: csr(t, d.key, challenge, cn)}).expect(t, what, status, info)
	}
	ask("none", d, "1", "", "a.test", failed, badRequest)
	ask("wrong", d, "2", "0123456789012345678901234567890123456789", "a.test", failed, badRequest)
	once := w.challenge(1, "", "a.test", "b.test")
	ask("name outside", d, "3", once, "c.test", failed, badRequest)
	ask("right", d, "4", once, "a.test", success, "")
	ask("a second time", e, "5", once, "b.test", failed, badRequest)
	ask("of another profile", d, "6", w.challenge(1, "other", "a.test"), "a.test", failed, badRequest)
	expired := w.challenge(1, "", "a.test")
	all, _, err := w.engine.Grants(context.Background(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range all {
		if g.Spent == 0 {
			if err := w.engine.RevokeGrant(context.Background(), admin, g.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask("revoked", d, "7", expired, "a.test", failed, badRequest)
	if n := w.issued(); n != 1 {
		t.Errorf("%d certificates", n)
	}
}

// S-031: the same request again, after a lost reply, has the same certificate.
func TestSCEP_S031_SameRequestAgain(t *testing.T) {
	w := newWorld(t)
	d := w.device(rsaKey(t, 0))
	s := sent{kind: "19", content: csr(t, d.key, w.challenge(1, "", "a.test"), "a.test")}
	first, again := d.send(s), d.send(s)
	again.expect(t, "again", success, "")
	if len(again.certs) != 1 || !bytes.Equal(again.certs[0].Raw, first.certs[0].Raw) || w.issued() != 1 {
		t.Error("the same request has another certificate")
	}
	s.content = csr(t, d.key, w.challenge(1, "", "a.test", "b.test"), "a.test", "b.test")
	d.send(s).expect(t, "another request in the same transaction", failed, badRequest)
}

// S-025, XS-008: a captured envelope, sent on by another key, is unreadable.
func TestSCEP_XS008_CapturedEnvelope(t *testing.T) {
	w := newWorld(t)
	victim, thief := w.device(rsaKey(t, 0)), w.device(rsaKey(t, 1))
	thief.send(sent{kind: "19", content: csr(t, victim.key, w.challenge(1, "", "a.test"), "a.test")}).expect(t, "captured", failed, badMessageCheck)
	if w.issued() != 0 {
		t.Error("a certificate was issued")
	}
}

func issuerAndSubject(issuer, subject []byte) []byte {
	return tlv(0x30, string(issuer)+string(subject))
}

// S-030, XS-009: PENDING, then the certificate after approval, for nobody else.
func TestSCEP_XS009_S030_PendingAndPolling(t *testing.T) {
	w := newWorld(t)
	d, thief := w.device(rsaKey(t, 0)), w.device(rsaKey(t, 1))
	d.path, thief.path = "/scep/manual", "/scep/manual"
	ask := sent{kind: "19", content: csr(t, d.key, "", "a.test")}
	d.send(ask).expect(t, "first", pending, "")
	subject := requestSubject(t, ask.content)
	poll := sent{kind: "20", content: issuerAndSubject(w.ca.RawSubject, subject)}
	d.send(poll).expect(t, "poll", pending, "")
	thief.send(poll).expect(t, "another key", failed, badCertID)
	other := poll
	other.tx = "transaction-2"
	d.send(other).expect(t, "another transaction", failed, badCertID)
	other = poll
	other.content = issuerAndSubject(w.ca.RawSubject, requestSubject(t, csr(t, d.key, "", "b.test")))
	d.send(other).expect(t, "another subject", failed, badCertID)
	d.path = "/scep"
	d.send(poll).expect(t, "another endpoint", failed, badCertID)
	d.path = "/scep/manual"

	all, _, err := w.engine.Requests(context.Background(), engine.RequestFilter{State: engine.Pending})
	if err != nil || len(all) != 1 {
		t.Fatalf("%d pending, %v", len(all), err)
	}
	if _, err := w.engine.Approve(context.Background(), admin, all[0].ID, all[0].Digest, ""); err != nil {
		t.Fatal(err)
	}
	got := d.send(poll)
	got.expect(t, "approved", success, "")
	again := d.send(poll)
	again.expect(t, "again", success, "")
	if len(got.certs) != 1 || !bytes.Equal(again.certs[0].Raw, got.certs[0].Raw) || w.issued() != 1 {
		t.Error("polling twice makes two certificates")
	}
	thief.send(poll).expect(t, "another key after approval", failed, badCertID)
}

func (w *world) renewing(key int, old *x509Pair) *device {
	d := w.device(rsaKey(w.t, key))
	d.cert, d.key = old.cert, old.key
	return d
}

// S-026: a renewal by the old certificate, without a challenge, for a new key.
func TestSCEP_S026_Renewal(t *testing.T) {
	w := newWorld(t)
	d := w.device(rsaKey(t, 0))
	old := d.enroll("a.test")
	r := w.renewing(0, &x509Pair{old, d.key})
	a := r.send(sent{kind: "17", content: csr(t, rsaKey(t, 1), "", "a.test")})
	a.expect(t, "renewal", success, "")
	if len(a.certs) != 1 || bytes.Equal(a.certs[0].Raw, old.Raw) || !rsaKey(t, 1).PublicKey.Equal(a.certs[0].PublicKey) {
		t.Error("not a new certificate for the new key")
	}
	// The same again, also after it: no second one.
	b := r.send(sent{kind: "17", content: csr(t, rsaKey(t, 1), "", "a.test")})
	if len(b.certs) != 1 || !bytes.Equal(a.certs[0].Raw, b.certs[0].Raw) {
		t.Error("the same renewal has another certificate")
	}
	r.send(sent{kind: "20", content: issuerAndSubject(w.ca.RawSubject, requestSubject(t, csr(t, rsaKey(t, 1), "", "a.test")))}).expect(t, "polling a renewal", success, "")
}

// S-027, XS-002, XS-003: who is not the holder of a good certificate of ours with
// exactly these names renews nothing.
func TestSCEP_XS002_XS003_S027_Renewals(t *testing.T) {
	w := newWorld(t)
	d := w.device(rsaKey(t, 0))
	old := &x509Pair{d.enroll("a.test"), d.key}
	o := w.device(rsaKey(t, 1))
	o.path = "/scep/other"
	foreign := &x509Pair{o.enroll("a.test"), o.key}
	before := w.issued()
	try := func(what string, d *device, content []byte, info failInfo) {
		t.Helper()
		d.send(sent{kind: "17", tx: what, content: content}).expect(t, what, failed, info)
	}
	next := rsaKey(t, 2)
	same := csr(t, next, "", "a.test")
	try("self-signed", d, same, badRequest)
	try("other subject", w.renewing(0, old), csr(t, next, "", "b.test"), badRequest)
	try("more names", w.renewing(0, old), csr(t, next, "", "a.test", "b.test"), badRequest)
	try("no names", w.renewing(0, old), csr(t, next, "", ""), badRequest)
	try("two names", w.renewing(0, old), csr(t, next, "", "a.test,CN=b.test"), badRequest)
	try("other profile", w.renewing(0, foreign), same, badCertID)
	other := newWorld(t)
	od := other.device(rsaKey(t, 0))
	try("another CA", w.renewing(0, &x509Pair{od.enroll("a.test"), od.key}), same, badRequest)
	ra, err := w.ra.Keys(context.Background(), false)
	if err != nil {
		t.Fatal(err)
	}
	try("RA", w.renewing(0, &x509Pair{ra[0].Certificate, rsaPrivate(ra[0].Key)}), same, badCertID)
	id := engine.NewCertID(old.cert.AuthorityKeyId, old.cert.SerialNumber.Bytes())
	if err := w.engine.Revoke(context.Background(), engine.Revocation{ID: id, Reason: 4, By: "test"}); err != nil {
		t.Fatal(err)
	}
	try("revoked", w.renewing(0, old), same, badCertID)
	fresh := &x509Pair{w.device(rsaKey(t, 0)).enroll("c.test"), d.key}
	before++
	w.pass(101 * 24 * time.Hour)
	try("expired", w.renewing(0, fresh), csr(t, next, "", "c.test"), badCertID)
	if n := w.issued(); n != before {
		t.Errorf("%d certificates were issued", n-before)
	}
}
