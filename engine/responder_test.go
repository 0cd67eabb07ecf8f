package engine

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"slices"
	"testing"
	"time"

	xocsp "golang.org/x/crypto/ocsp"

	"chancery/engine/ocsp"
	"chancery/store"
)

// tend does what the leader's round does for the OCSP responder.
func (w *world) tend() *responder {
	w.t.Helper()
	is := w.current["main"]
	w.tendResponder(context.Background(), is, store.Lease{})
	var r *responder
	if err := w.view(context.Background(), func(tx store.Tx) (err error) {
		r, err = w.readResponder(tx, is)
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// keyless is another node on the same records, which has no CA key.
func (w *world) keyless() *world {
	w.t.Helper()
	conf := w.conf
	conf.Issuers = slices.Clone(conf.Issuers)
	for i := range conf.Issuers {
		conf.Issuers[i].Key = nil
	}
	other, err := New(context.Background(), conf)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := other.Adopt(w.setup); err != nil {
		w.t.Fatal(err)
	}
	return &world{Engine: other, t: w.t}
}

func (w *world) ask(c *x509.Certificate) []byte {
	w.t.Helper()
	req, err := xocsp.CreateRequest(c, w.current["main"].cert, &xocsp.RequestOptions{Hash: crypto.SHA256})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.OCSP(context.Background(), req).DER
}

// A delegate is what RFC 6960, Section 4.2.2.2 and RFC 5019, Section 2.2.2 want,
// and a node without the CA key answers with it.
func TestOCSP_O009_O011_Delegate(t *testing.T) {
	w := newWorld(t)
	_, leaf := w.issue(w.submission("1", newKey(t), "a.test"))
	ca := w.current["main"].cert
	other := w.keyless()
	if got := other.ask(leaf); !bytes.Equal(got, ocsp.ErrorResponse(ocsp.TryLater)) {
		t.Fatalf("neither delegate nor key: %x", got)
	}
	if r := w.ocsp(leaf); r.Certificate != nil {
		t.Error("before the first delegate, the CA key answers")
	}
	c := w.tend().cert
	if err := c.CheckSignatureFrom(ca); err != nil {
		t.Error(err)
	}
	if !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}) || c.KeyUsage != x509.KeyUsageDigitalSignature || c.IsCA {
		t.Errorf("usages %v %v", c.ExtKeyUsage, c.KeyUsage)
	}
	if len(c.OCSPServer)+len(c.CRLDistributionPoints)+len(c.IssuingCertificateURL) != 0 || extension(c, []int{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}) == nil {
		t.Error("its status is to be asked for")
	}
	for _, node := range []*world{w, other} {
		r, err := xocsp.ParseResponseForCert(node.ask(leaf), leaf, ca)
		if err != nil {
			t.Fatal(err)
		}
		if r.Status != xocsp.Good || !r.Certificate.Equal(c) || r.NextUpdate.After(c.NotAfter) || r.NextUpdate.Sub(r.ThisUpdate) != ocspLife {
			t.Errorf("%+v", r)
		}
	}
	r := w.current["main"].responder.Load()
	scalar, err := r.key.(*ecdsa.PrivateKey).Bytes()
	if err != nil || bytes.Contains(r.raw, scalar) {
		t.Errorf("the private key is in the store as it is: %v", err)
	}
}

// It is made anew in its last third, when it was revoked, when it does not open,
// and never used once it has expired (XO-006).
func TestXO_006_ResponderIsRolled(t *testing.T) {
	w := newWorld(t)
	_, leaf := w.issue(w.submission("1", newKey(t), "a.test"))
	first := w.tend()
	if again := w.tend(); !bytes.Equal(again.raw, first.raw) {
		t.Error("made anew without need")
	}
	w.advanceClock(responderLife * 3 / 4)
	second := w.tend()
	if bytes.Equal(second.raw, first.raw) {
		t.Fatal("not made anew in its last third")
	}
	id := NewCertID(w.current["main"].cert.SubjectKeyId, second.cert.SerialNumber.Bytes())
	if err := w.Revoke(t.Context(), Revocation{ID: id, Reason: 1, By: "olga"}); err != nil {
		t.Fatal(err)
	}
	third := w.tend()
	if bytes.Equal(third.raw, second.raw) || third.key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(second.key.Public()) {
		t.Fatal("a revoked one is kept, or its key")
	}
	if err := w.db.Update(t.Context(), func(tx store.Tx) error {
		return responders.Put(tx, w.current["main"].keyID, second.raw[:len(second.raw)-1])
	}); err != nil {
		t.Fatal(err)
	}
	fourth := w.tend()
	if fourth == nil || bytes.Equal(fourth.raw, third.raw) {
		t.Fatal("a damaged one stays")
	}
	other := w.keyless()
	if r, err := xocsp.ParseResponseForCert(other.ask(leaf), leaf, w.current["main"].cert); err != nil || !r.Certificate.Equal(fourth.cert) {
		t.Fatal(err)
	}
	w.advanceClock(responderLife)
	if got := other.ask(leaf); !bytes.Equal(got, ocsp.ErrorResponse(ocsp.TryLater)) {
		t.Errorf("an expired responder answers: %x", got)
	}
	if r := w.ocsp(leaf); r.Certificate != nil {
		t.Error("the CA key does not stand in for a delegate that expired")
	}
}

// A delegate of one CA key does not answer for another, and no other profile gets
// the right to (O-009, XO-006).
func TestXO_006_OnlyItsOwn(t *testing.T) {
	w := newWorld(t)
	r := w.tend()
	for id, is := range w.issuers {
		if _, err := w.openResponder(is, r.raw); (err == nil) != (id == w.current["main"].keyID) {
			t.Errorf("%s: %v", is.Authority, err)
		}
	}
	s := w.submission("1", newKey(t))
	s.Profile, s.Endpoint, s.Proofs = ProfileOCSP, w.current["main"].keyID, nil
	w.denied(s, UnknownProfile)
	p := testPolicy()
	x := p.Profiles["web"]
	x.ExtKeyUsage = []string{"OCSPSigning"}
	p.Profiles["web"] = x
	if p.Check() == nil {
		t.Error("a profile of the document may hold OCSPSigning")
	}
}

// Several identifiers and a nonce under one signature, in the order of the
// request; identifiers of two CAs have no answer.
func TestOCSP_O015_SeveralAndNonce(t *testing.T) {
	w := newWorld(t)
	w.tend()
	is := w.current["main"]
	var ids [][]byte
	i, leaf := w.issue(w.submission("1", newKey(t), "a.test"))
	if err := w.Revoke(t.Context(), Revocation{ID: i.ID, Reason: 4, By: "olga"}); err != nil {
		t.Fatal(err)
	}
	_, good := w.issue(w.submission("2", newKey(t), "b.test"))
	for _, serial := range []*big.Int{leaf.SerialNumber, good.SerialNumber, big.NewInt(5)} {
		h := crypto.SHA1
		if len(ids) == 1 {
			h = crypto.SHA256
		}
		ids = append(ids, is.ocsp.ID(h, serialOctets(serial)).Raw)
	}
	nonce := []byte("0123456789abcdef0123456789abcdef")
	a := w.OCSP(t.Context(), ocspRequestOf(ids, nonce))
	at := 0
	for _, id := range ids {
		n := bytes.Index(a.DER[at:], id)
		if n < 0 {
			t.Fatalf("not answered, or in another order: %x", id)
		}
		at += n + len(id)
	}
	if !bytes.Contains(a.DER[at:], nonce) {
		t.Error("the nonce is not repeated")
	}
	for n, want := range []byte{0xa1, 0x80, 0x82} { // revoked, good, unknown
		end := bytes.Index(a.DER, ids[n]) + len(ids[n])
		if a.DER[end] != want {
			t.Errorf("identifier %d: %x, want %x", n, a.DER[end], want)
		}
	}
	foreign := w.issuers[w.conf.Issuers[1].keyIDText()].ocsp.ID(crypto.SHA1, []byte{5}).Raw
	if got := w.OCSP(t.Context(), ocspRequestOf([][]byte{ids[0], foreign}, nil)).DER; !bytes.Equal(got, ocsp.ErrorResponse(ocsp.Unauthorized)) {
		t.Errorf("two CAs in one request: %x", got)
	}
	// O-004: -1 is not 255.
	if err := w.db.Update(t.Context(), func(tx store.Tx) error {
		return certificates.Insert(tx, &Certificate{CertID: CertID{is.keyID, "ff"}, Status: Good, NotAfter: good.NotAfter})
	}); err != nil {
		t.Fatal(err)
	}
	for serial, want := range map[string]byte{"\x00\xff": 0x80, "\xff": 0x82} {
		id := is.ocsp.ID(crypto.SHA1, []byte(serial)).Raw
		if got := w.OCSP(t.Context(), ocspRequestOf([][]byte{id}, nil)).DER; !bytes.Contains(got, append(bytes.Clone(id), want, 0)) {
			t.Errorf("serial %x: %x", serial, got)
		}
	}
}

// O-020: what the public trusts has answers of 8 hours at least.
func TestOCSP_O020_PublicLife(t *testing.T) {
	w := newWorld(t)
	p := w.setup.Policy.Profiles["web"]
	p.Public = true
	w.setup.Policy.Profiles["web"], w.setup.Policy.CAAIdentities = p, []string{"ca.test"}
	w.use()
	_, c := w.issue(w.submission("1", newKey(t), "a.test"))
	if r := w.ocsp(c); r.NextUpdate.Sub(r.ThisUpdate) < 8*time.Hour || r.NextUpdate.Sub(r.ThisUpdate) > 240*time.Hour {
		t.Errorf("life %s", r.NextUpdate.Sub(r.ThisUpdate))
	}
}

func (i Issuer) keyIDText() string { return hex.EncodeToString(i.Chain[0].SubjectKeyId) }

func serialOctets(n *big.Int) []byte {
	b := n.Bytes()
	if b[0]&0x80 != 0 {
		b = append([]byte{0}, b...)
	}
	return b
}

// ocspRequestOf makes a request for identifiers in DER.
func ocspRequestOf(ids [][]byte, nonce []byte) []byte {
	el := func(tag byte, parts ...[]byte) []byte {
		body := bytes.Join(parts, nil)
		head := []byte{tag, byte(len(body))}
		if len(body) > 255 {
			head = []byte{tag, 0x82, byte(len(body) >> 8), byte(len(body))}
		} else if len(body) > 127 {
			head = []byte{tag, 0x81, byte(len(body))}
		}
		return append(head, body...)
	}
	var list [][]byte
	for _, id := range ids {
		list = append(list, el(0x30, id))
	}
	tbs := [][]byte{el(0x30, list...)}
	if nonce != nil {
		oid := []byte{6, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2}
		tbs = append(tbs, el(0xa2, el(0x30, el(0x30, oid, el(4, el(4, nonce))))))
	}
	return el(0x30, el(0x30, tbs...))
}
