package ocsp_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"
	"time"

	oracle "golang.org/x/crypto/ocsp"

	"chancery/engine/ocsp"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type party struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func p256() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func newParty(name string, key crypto.Signer, issuer *party, change func(*x509.Certificate)) party {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name},
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0), BasicConstraintsValid: true,
	}
	if issuer == nil {
		template.IsCA = true
		issuer = &party{template, key}
	}
	if change != nil {
		change(template)
	}
	der := must(x509.CreateCertificate(rand.Reader, template, issuer.cert, key.Public(), issuer.key))
	return party{must(x509.ParseCertificate(der)), key}
}

func newCA() party { return newParty("Test Issuing CA", p256(), nil, nil) }

func (p party) id(h crypto.Hash, serial ...byte) ocsp.CertID {
	return must(ocsp.NewIssuer(p.cert)).ID(h, serial)
}

// answer is a response that Sign takes.
func (p party) answer(id ocsp.CertID) *ocsp.Response {
	return &ocsp.Response{
		Statuses:   []ocsp.Status{{ID: id, State: ocsp.Good, ThisUpdate: now, NextUpdate: now.Add(time.Hour)}},
		ProducedAt: now, Responder: p.cert,
	}
}

// TestRequestOracle: what another encoder writes is read (O-006).
func TestRequestOracle(t *testing.T) {
	ca := newCA()
	issuer := must(ocsp.NewIssuer(ca.cert))
	leaf := newParty("leaf", p256(), &ca, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(0xabcdef) })
	for _, h := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
		der := must(oracle.CreateRequest(leaf.cert, ca.cert, &oracle.RequestOptions{Hash: h}))
		r, err := ocsp.ParseRequest(der)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.IDs) != 1 || r.Nonce != nil || r.IDs[0].HashAlgorithm != h || !bytes.Equal(r.IDs[0].Serial, []byte{0, 0xab, 0xcd, 0xef}) {
			t.Errorf("%v: %+v", h, r)
		}
		if !issuer.Issued(&r.IDs[0]) {
			t.Errorf("%v: not recognised", h)
		}
		if own := issuer.ID(h, r.IDs[0].Serial); !bytes.Equal(own.Raw, r.IDs[0].Raw) {
			t.Errorf("%v: own CertID %x, theirs %x", h, own.Raw, r.IDs[0].Raw)
		}
		// O-007: either hash alone is not enough.
		half := r.IDs[0]
		half.IssuerKeyHash = make([]byte, len(half.IssuerKeyHash))
		other := r.IDs[0]
		other.IssuerNameHash = make([]byte, len(other.IssuerNameHash))
		if issuer.Issued(&half) || issuer.Issued(&other) {
			t.Errorf("%v: recognised by half", h)
		}
	}
	if none := (ocsp.CertID{}); issuer.Issued(&none) {
		t.Error("recognised by nothing")
	}
}

// TestResponseOracle: what Sign writes is read by another parser, which
// verifies the signature (O-004, O-010, O-013, O-014).
func TestResponseOracle(t *testing.T) {
	for kind, key := range map[string]crypto.Signer{
		"P-256": p256(), "P-384": must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), "RSA": must(rsa.GenerateKey(rand.Reader, 2048)),
	} {
		ca := newParty("Test CA", key, nil, nil)
		for state, want := range map[ocsp.State]int{ocsp.Good: oracle.Good, ocsp.Revoked: oracle.Revoked, ocsp.Unknown: oracle.Unknown} {
			for _, reason := range []int{0, 1, 6, 10} {
				r := ca.answer(ca.id(crypto.SHA1, 5))
				r.ProducedAt = now.Add(1500 * time.Millisecond)
				if s := &r.Statuses[0]; state == ocsp.Revoked {
					s.RevokedAt, s.Reason = now.Add(-time.Hour), reason
				}
				r.Statuses[0].State = state
				der := must(ocsp.Sign(r, key))
				got, err := oracle.ParseResponse(der, ca.cert)
				if err != nil {
					t.Fatalf("%s, state %d: %v", kind, state, err)
				}
				if got.Status != want || got.SerialNumber.Int64() != 5 || !got.ThisUpdate.Equal(now) ||
					!got.NextUpdate.Equal(now.Add(time.Hour)) || !got.ProducedAt.Equal(now.Add(time.Second)) {
					t.Errorf("%s, state %d: %+v", kind, state, got)
				}
				if state == ocsp.Revoked && (got.RevocationReason != reason || !got.RevokedAt.Equal(now.Add(-time.Hour))) {
					t.Errorf("%s, reason %d: %+v", kind, reason, got)
				}
				if id, _ := asn1.Marshal(got.ResponderKeyHash); got.RawResponderName != nil || len(id) != 22 {
					t.Error("responder is not named by its key")
				}
				if again := must(ocsp.Sign(r, key)); !bytes.Equal(again, der) {
					t.Errorf("%s: signing twice made two answers", kind)
				}
			}
		}
	}
}

// TestRepeatsCertID: the answer holds the request's bytes, also where we would
// have written others (O-006).
func TestRepeatsCertID(t *testing.T) {
	ca := newCA()
	id := ca.id(crypto.SHA256, 5)
	noNull := bytes.Replace(id.Raw, []byte{5, 0}, nil, 1)
	noNull[1] -= 2
	noNull[3] -= 2
	r, err := ocsp.ParseRequest(request(noNull, nil))
	if err != nil {
		t.Fatal(err)
	}
	der := must(ocsp.Sign(ca.answer(r.IDs[0]), ca.key))
	if !bytes.Contains(der, noNull) || bytes.Contains(der, id.Raw) {
		t.Error("another CertID than the request's")
	}
}

func TestNonceEchoed(t *testing.T) {
	ca := newCA()
	for _, n := range []int{1, 16, 32, 128} {
		nonce := bytes.Repeat([]byte{0xdd}, n)
		r, err := ocsp.ParseRequest(request(ca.id(crypto.SHA1, 5).Raw, extensions(nonceExtension(octets(nonce)))))
		if err != nil || !bytes.Equal(r.Nonce, nonce) {
			t.Fatalf("%d octets: %v", n, err)
		}
		answer := ca.answer(r.IDs[0])
		answer.Nonce = r.Nonce
		der := must(ocsp.Sign(answer, ca.key))
		if !bytes.Contains(der, nonceExtension(octets(nonce))) {
			t.Errorf("%d octets: not in the answer", n)
		}
		must(oracle.ParseResponse(der, ca.cert))
	}
}

func TestSeveral(t *testing.T) {
	ca := newCA()
	r, err := ocsp.ParseRequest(requests(append(single(ca.id(crypto.SHA1, 1).Raw), single(ca.id(crypto.SHA256, 2).Raw)...), nil))
	if err != nil || len(r.IDs) != 2 {
		t.Fatal(err)
	}
	answer := ca.answer(r.IDs[0])
	answer.Statuses = append(answer.Statuses, ocsp.Status{
		ID: r.IDs[1], State: ocsp.Revoked, RevokedAt: now, Reason: 4, ThisUpdate: now, NextUpdate: now.Add(time.Hour)})
	der := must(ocsp.Sign(answer, ca.key))
	for i, want := range []int{oracle.Good, oracle.Revoked} {
		cert := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1))}
		if got, err := oracle.ParseResponseForCert(der, cert, ca.cert); err != nil || got.Status != want {
			t.Errorf("certificate %d: %v, %v", i, got, err)
		}
	}
}

// TestDelegate is O-009 as far as the codec sees it.
func TestDelegate(t *testing.T) {
	ca := newCA()
	signing := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning} }
	delegate := newParty("responder", p256(), &ca, signing)
	r := ca.answer(ca.id(crypto.SHA1, 5))
	r.Responder, r.Chain = delegate.cert, []*x509.Certificate{delegate.cert}
	got, err := oracle.ParseResponse(must(ocsp.Sign(r, delegate.key)), ca.cert)
	if err != nil || got.Certificate == nil || !got.Certificate.Equal(delegate.cert) {
		t.Fatal(err)
	}

	r.Chain = nil
	if _, err := ocsp.Sign(r, delegate.key); !errors.Is(err, ocsp.ErrResponder) {
		t.Error("certificate not sent along:", err)
	}
	for what, change := range map[string]func(*x509.Certificate){
		"no purpose": func(c *x509.Certificate) {},
		"expired":    func(c *x509.Certificate) { signing(c); c.NotAfter = now.Add(-time.Second) },
		"too early":  func(c *x509.Certificate) { signing(c); c.NotBefore = now.Add(time.Second) },
		"expires":    func(c *x509.Certificate) { signing(c); c.NotAfter = now.Add(59 * time.Minute) },
	} {
		d := newParty("responder", p256(), &ca, change)
		r.Responder, r.Chain = d.cert, []*x509.Certificate{d.cert}
		if _, err := ocsp.Sign(r, d.key); !errors.Is(err, ocsp.ErrResponder) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	ca := newCA()
	tests := map[string]func(*ocsp.Response){
		"nothing":              func(r *ocsp.Response) { r.Statuses = nil },
		"no id":                func(r *ocsp.Response) { r.Statuses[0].ID.Raw = nil },
		"no state":             func(r *ocsp.Response) { r.Statuses[0].State = 0 },
		"state 4":              func(r *ocsp.Response) { r.Statuses[0].State = 4 },
		"no nextUpdate":        func(r *ocsp.Response) { r.Statuses[0].NextUpdate = time.Time{} },
		"ends at once":         func(r *ocsp.Response) { r.Statuses[0].NextUpdate = now },
		"produced before":      func(r *ocsp.Response) { r.ProducedAt = now.Add(-time.Second) },
		"revoked at no time":   func(r *ocsp.Response) { r.Statuses[0].State = ocsp.Revoked },
		"good with reason":     func(r *ocsp.Response) { r.Statuses[0].Reason = 1 },
		"good, and revoked at": func(r *ocsp.Response) { r.Statuses[0].RevokedAt = now },
		"empty nonce":          func(r *ocsp.Response) { r.Nonce = []byte{} },
		"long nonce":           func(r *ocsp.Response) { r.Nonce = make([]byte, 129) },
		"reason 7": func(r *ocsp.Response) {
			r.Statuses[0].State, r.Statuses[0].RevokedAt, r.Statuses[0].Reason = ocsp.Revoked, now, 7
		},
		"reason 8": func(r *ocsp.Response) {
			r.Statuses[0].State, r.Statuses[0].RevokedAt, r.Statuses[0].Reason = ocsp.Revoked, now, 8
		},
	}
	for what, spoil := range tests {
		r := ca.answer(ca.id(crypto.SHA1, 5))
		spoil(r)
		if _, err := ocsp.Sign(r, ca.key); !errors.Is(err, ocsp.ErrStatus) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := ocsp.Sign(ca.answer(ca.id(crypto.SHA1, 5)), p256()); !errors.Is(err, ocsp.ErrResponder) {
		t.Error("another's key:", err)
	}
	r := ca.answer(ca.id(crypto.SHA1, 5))
	r.Responder = nil
	if _, err := ocsp.Sign(r, ca.key); !errors.Is(err, ocsp.ErrResponder) {
		t.Error("no responder:", err)
	}
}

// TestErrorResponse is O-018: nothing but the status.
func TestErrorResponse(t *testing.T) {
	for _, status := range []int{ocsp.MalformedRequest, ocsp.InternalError, ocsp.TryLater, ocsp.Unauthorized} {
		_, err := oracle.ParseResponse(ocsp.ErrorResponse(status), nil)
		var got oracle.ResponseError
		if !errors.As(err, &got) || int(got.Status) != status {
			t.Errorf("%d: %v", status, err)
		}
	}
}
