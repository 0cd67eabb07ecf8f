package scep

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"chancery/frontends/internal/cms"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// keys are made once: they cost more than everything else.
var keys = struct {
	sync.Mutex
	all []*rsa.PrivateKey
}{}

func rsaKey(t testing.TB, i int) *rsa.PrivateKey {
	t.Helper()
	keys.Lock()
	defer keys.Unlock()
	for len(keys.all) <= i {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		keys.all = append(keys.all, k)
	}
	return keys.all[i]
}

// A device has a key, and a certificate that it signs messages with.
type device struct {
	w    *world
	key  crypto.Signer
	cert *x509.Certificate
	path string
}

func (w *world) device(key crypto.Signer) *device {
	w.t.Helper()
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "device"}, NotBefore: w.now().Add(-time.Hour), NotAfter: w.now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	return &device{w: w, key: key, cert: c, path: "/scep"}
}

// csr asks for a name, with a challenge if there is one.
func csr(t testing.TB, key crypto.Signer, challenge, cn string, sans ...string) []byte {
	t.Helper()
	tmpl := &x509.CertificateRequest{Subject: pkix.Name{CommonName: cn}, DNSNames: sans}
	if challenge == "" {
		der, err := x509.CreateCertificateRequest(rand.Reader, tmpl, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, tmpl, key)
	if err != nil {
		t.Fatal(err)
	}
	return withChallenge(t, der, key, challenge)
}

// withChallenge adds the attribute and signs anew: the standard library cannot.
func withChallenge(t testing.TB, der []byte, key crypto.Signer, challenge string) []byte {
	t.Helper()
	s := cryptobyte.String(der)
	var req, info, version, subject, spki, attributes cryptobyte.String
	if !s.ReadASN1(&req, cbasn1.SEQUENCE) || !req.ReadASN1(&info, cbasn1.SEQUENCE) || !info.ReadASN1Element(&version, cbasn1.INTEGER) ||
		!info.ReadASN1Element(&subject, cbasn1.SEQUENCE) || !info.ReadASN1Element(&spki, cbasn1.SEQUENCE) || !info.ReadASN1(&attributes, cbasn1.Tag(0).ContextSpecific().Constructed()) {
		t.Fatal("a request that does not parse")
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(version)
		b.AddBytes(subject)
		b.AddBytes(spki)
		b.AddASN1(cbasn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddBytes(attributes)
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7})
				b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
					b.AddASN1(cbasn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(challenge)) })
				})
			})
		})
	})
	tbs := b.BytesOrPanic()
	h := crypto.SHA256.New()
	h.Write(tbs)
	signature, err := key.Sign(rand.Reader, h.Sum(nil), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	alg := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	_, ec := key.(*ecdsa.PrivateKey)
	if ec {
		alg = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	}
	var out cryptobyte.Builder
	out.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(alg)
			if !ec {
				b.AddASN1NULL()
			}
		})
		b.AddASN1BitString(signature)
	})
	return out.BytesOrPanic()
}

// A sent is a pkiMessage to be made; what is zero is as it should be.
type sent struct {
	kind     string
	tx       string
	nonce    []byte
	content  []byte // of the envelope
	envelope []byte // in place of one that is made
	cipher   cms.Cipher
	digest   crypto.Hash
	change   func([]cms.Attribute) []cms.Attribute
	mutate   func(der []byte) []byte
	to       *x509.Certificate
	get      bool
}

func tlv(tag byte, value string) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.Tag(tag), func(b *cryptobyte.Builder) { b.AddBytes([]byte(value)) })
	return b.BytesOrPanic()
}

var nonce16 = []byte("0123456789abcdef")

// message is the DER of a pkiMessage.
func (d *device) message(s sent) []byte {
	t := d.w.t
	t.Helper()
	if s.to == nil {
		ra, err := d.w.ra.Keys(context.Background(), false)
		if err != nil {
			t.Fatal(err)
		}
		s.to = ra[0].Certificate
	}
	if s.cipher == "" {
		s.cipher = cms.AES128
	}
	if s.digest == 0 {
		s.digest = crypto.SHA256
	}
	if s.tx == "" {
		s.tx = "transaction-1"
	}
	if s.nonce == nil {
		s.nonce = nonce16
	}
	var err error
	if s.envelope == nil {
		if s.envelope, err = cms.Encrypt(s.content, s.to, s.cipher, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	all := []cms.Attribute{{OID: oidMessageType, Value: tlv(0x13, s.kind)}, {OID: oidTransactionID, Value: tlv(0x13, s.tx)}, {OID: oidSenderNonce, Value: tlv(4, string(s.nonce))}}
	if s.change != nil {
		all = s.change(all)
	}
	der, err := cms.Sign(cms.OIDData, s.envelope, cms.Signature{Key: d.key, Certificate: d.cert, Digest: s.digest, Attributes: all, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	if s.mutate != nil {
		der = s.mutate(der)
	}
	return der
}

// An answered is what came back.
type answered struct {
	code     int
	kind     string
	raw      []byte
	status   string
	info     string
	text     string
	certs    []*x509.Certificate
	crls     [][]byte
	envelope *cms.Enveloped
	digest   crypto.Hash
	signer   *x509.Certificate
}

func (w *world) do(method, target string, body []byte) *answered {
	w.t.Helper()
	r := httptest.NewRequest(method, target, bytes.NewReader(body))
	rec := httptest.NewRecorder()
	w.front.ServeHTTP(rec, r)
	raw, _ := io.ReadAll(rec.Body)
	return &answered{code: rec.Code, kind: rec.Header().Get("Content-Type"), raw: raw}
}

func (d *device) send(s sent) *answered {
	d.w.t.Helper()
	der := d.message(s)
	var a *answered
	if s.get {
		a = d.w.do(http.MethodGet, d.path+"?operation=PKIOperation&message="+url.QueryEscape(base64.StdEncoding.EncodeToString(der)), nil)
	} else {
		a = d.w.do(http.MethodPost, d.path+"?operation=PKIOperation", der)
	}
	if a.code == http.StatusOK {
		if s.nonce == nil {
			s.nonce = nonce16
		}
		d.read(a, s.nonce)
	}
	return a
}

// read checks what every CertRep must have (S-018) and opens it.
func (d *device) read(a *answered, nonce []byte) {
	t := d.w.t
	t.Helper()
	if a.kind != "application/x-pki-message" {
		t.Errorf("content type %q", a.kind)
	}
	m, err := cms.ParseSigned(a.raw)
	if err != nil {
		t.Fatal(err)
	}
	get := func(oid asn1.ObjectIdentifier) string {
		der, err := m.Signer.Attribute(oid)
		if err != nil {
			t.Fatal(err)
		}
		if der == nil {
			return ""
		}
		return string(der[2:])
	}
	if m.Content == nil {
		// A library that verifies needs some content; there is none (S-019).
		m.Content = []byte{}
	}
	if err := m.Verify(crypto.SHA256, crypto.SHA384, crypto.SHA512); err != nil {
		t.Fatal(err)
	}
	a.signer, a.digest = m.Signer.Certificate, m.Signer.Digest
	a.status, a.info = get(oidPKIStatus), get(oidFailInfo)
	if der, _ := m.Signer.Attribute(oidFailInfoText); der != nil {
		if _, err := asn1.Unmarshal(der, &a.text); err != nil {
			t.Fatal(err)
		}
	}
	if get(oidMessageType) != "3" || get(oidTransactionID) == "" || len(get(oidSenderNonce)) != 16 {
		t.Errorf("messageType %q, transactionID %q, senderNonce %q", get(oidMessageType), get(oidTransactionID), get(oidSenderNonce))
	}
	if n, _ := m.Signer.Attribute(oidRecipientNonce); n != nil && !bytes.HasSuffix(n, nonce) {
		t.Errorf("recipientNonce %x", n)
	}
	if a.status != success {
		if (a.status == failed) != (a.info != "") || len(m.Content) != 0 {
			t.Errorf("status %s, failInfo %q, %d octets of content", a.status, a.info, len(m.Content))
		}
		return
	}
	if a.envelope, err = cms.ParseEnveloped(m.Content); err != nil {
		t.Fatal(err)
	}
	content, err := a.envelope.Decrypt(rand.Reader, cms.Pair{Certificate: d.cert, Key: d.key.(crypto.Decrypter)})
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := cms.ParseSigned(content)
	if err != nil || bundle.Signer != nil || bundle.Content != nil {
		t.Fatalf("not degenerate: %v", err)
	}
	a.crls = bundle.CRLs
	for _, der := range bundle.Certificates {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		a.certs = append(a.certs, c)
	}
}

// enroll gets a certificate for a name, or fails the test.
func (d *device) enroll(cn string) *x509.Certificate {
	d.w.t.Helper()
	a := d.send(sent{kind: "19", tx: "enroll-" + cn, content: csr(d.w.t, d.key, d.w.challenge(1, "", cn), cn)})
	if a.status != success || len(a.certs) != 1 {
		d.w.t.Fatalf("enrolling %s: %d %s %s %q", cn, a.code, a.status, a.info, a.text)
	}
	return a.certs[0]
}
