package scep

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/engine"
	"chancery/frontends/internal/cms"

	"go.mozilla.org/pkcs7"
)

type x509Pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func rsaPrivate(k crypto.Decrypter) crypto.Signer { return k.(*rsa.PrivateKey) }

func requestSubject(t testing.TB, der []byte) []byte {
	t.Helper()
	r, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	return r.RawSubject
}

// S-016, XS-001: a message type that is none, with and without a challenge.
func TestSCEP_XS001_S016_MessageTypes(t *testing.T) {
	w := newWorld(t)
	d := w.device(rsaKey(t, 0))
	for _, challenge := range []string{"", w.challenge(1, "", "a.test")} {
		content := csr(t, d.key, challenge, "a.test")
		for i := range 256 {
			kind := fmt.Sprint(i)
			switch kind {
			case "17", "19", "20", "21", "22":
				continue
			}
			d.send(sent{kind: kind, content: content}).expect(t, "type "+kind, failed, badRequest)
		}
		for what, change := range map[string]func([]cms.Attribute) []cms.Attribute{
			"absent":     func(a []cms.Attribute) []cms.Attribute { return a[1:] },
			"twice":      func(a []cms.Attribute) []cms.Attribute { return append(a, a[0]) },
			"two values": func(a []cms.Attribute) []cms.Attribute { a[0].Value = append(a[0].Value, tlv(0x13, "19")...); return a },
			"INTEGER":    func(a []cms.Attribute) []cms.Attribute { a[0].Value = []byte{2, 1, 19}; return a },
			"empty":      func(a []cms.Attribute) []cms.Attribute { a[0].Value = tlv(0x13, ""); return a },
			"UTF8String": func(a []cms.Attribute) []cms.Attribute { a[0].Value = tlv(0x0c, "19"); return a },
			"zero":       func(a []cms.Attribute) []cms.Attribute { a[0].Value = tlv(0x13, "019"); return a },
		} {
			d.send(sent{kind: "19", content: content, change: change}).expect(t, what, failed, badRequest)
		}
	}
	if w.issued() != 0 {
		t.Error("certificates were issued")
	}
}

// S-015, S-017, XS-010: identifiers and nonces.
func TestSCEP_S015_S017_Identifiers(t *testing.T) {
	w := newWorld(t)
	d := w.device(rsaKey(t, 0))
	set := func(i int, value []byte) func([]cms.Attribute) []cms.Attribute {
		return func(a []cms.Attribute) []cms.Attribute {
			if value == nil {
				return append(a[:i:i], a[i+1:]...)
			}
			a[i].Value = value
			return a
		}
	}
	for what, value := range map[string][]byte{
		"absent": nil, "empty": tlv(0x13, ""), "long": tlv(0x13, strings.Repeat("x", 10_000)), "UTF8String": tlv(0x0c, "x"), "escaped": tlv(0x13, "%00"),
	} {
		if a := d.send(sent{kind: "19", change: set(1, value)}); a.code != http.StatusBadRequest {
			t.Errorf("transactionID %s: HTTP %d", what, a.code)
		}
	}
	for _, nonce := range []string{"1", "123456789012345", "12345678901234567", strings.Repeat("x", 1000)} {
		d.send(sent{kind: "19", nonce: []byte(nonce), content: []byte("x")}).expect(t, "nonce", failed, badMessageCheck)
	}
	d.send(sent{kind: "19", change: set(2, nil)}).expect(t, "no nonce", failed, badRequest)
	d.send(sent{kind: "19", tx: "../../etc/passwd", content: csr(t, d.key, w.challenge(1, "", "a.test"), "a.test")}).expect(t, "path", success, "")
}

// S-011, S-012, S-013, S-014, S-020, XS-014, XS-018, XS-019, XS-020, XS-021: what
// is signed or encrypted in another way.
func TestSCEP_S011_S012_S013_Envelopes(t *testing.T) {
	w := newWorld(t)
	d := w.device(rsaKey(t, 0))
	ra, err := w.ra.Keys(context.Background(), false)
	if err != nil {
		t.Fatal(err)
	}
	content := csr(t, d.key, w.challenge(1, "", "a.test"), "a.test")
	des, err := pkcs7.Encrypt(content, []*x509.Certificate{ra[0].Certificate}) // DES by default
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := cms.Degenerate([][]byte{d.cert.Raw}, nil)
	if err != nil {
		t.Fatal(err)
	}
	good := sent{kind: "19", content: content}
	d.send(sent{kind: "19", envelope: des}).expect(t, "DES", failed, badAlg)
	d.send(sent{kind: "19", content: content, digest: crypto.SHA1}).expect(t, "SHA-1", failed, badAlg)
	d.send(sent{kind: "19", envelope: content}).expect(t, "not enveloped", failed, badRequest)
	d.send(sent{kind: "19", envelope: bundle}).expect(t, "signed in place of enveloped", failed, badRequest)
	flip := func(part []byte) func([]byte) []byte {
		return func(der []byte) []byte {
			der[bytes.LastIndex(der, part)+len(part)-1] ^= 1
			return der
		}
	}
	good.mutate = flip(nonce16)
	d.read2(good, badMessageCheck, "attribute changed")
	good.mutate = func(der []byte) []byte { der[len(der)-1] ^= 1; return der }
	d.read2(good, badMessageCheck, "signature changed")
	good.mutate = nil
	other := w.device(rsaKey(t, 1))
	good.mutate = func(der []byte) []byte {
		return bytes.Replace(der, d.cert.Raw[len(d.cert.Raw)-40:], other.cert.Raw[len(other.cert.Raw)-40:], 1)
	}
	d.read2(sent{kind: "19", content: content, to: other.cert}, badMessageCheck, "encrypted to another")
	for what, body := range map[string][]byte{
		"nothing": nil, "13 octets": {0x30, 0x0b, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2}, "unsigned": bundle, "enveloped": des, "text": []byte("hello"),
	} {
		if a := w.do(http.MethodPost, "/scep?operation=PKIOperation", body); a.code != http.StatusBadRequest {
			t.Errorf("%s: HTTP %d", what, a.code)
		}
	}
	if w.issued() != 0 {
		t.Error("a certificate was issued")
	}
}

func (d *device) read2(s sent, info failInfo, what string) {
	d.w.t.Helper()
	der := d.message(s)
	a := d.w.do(http.MethodPost, d.path+"?operation=PKIOperation", der)
	if a.code == http.StatusOK {
		d.read(a, nil)
	}
	a.expect(d.w.t, what, failed, info)
}

// S-035, XS-026: a client whose key cannot decrypt gets a refusal, and nothing in
// the clear.
func TestSCEP_S035_XS026_SignatureOnlyKey(t *testing.T) {
	w := newWorld(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d := w.device(key)
	d.send(sent{kind: "19", content: csr(t, key, w.challenge(1, "", "a.test"), "a.test")}).expect(t, "ECDSA", failed, badAlg)
}

// S-022: the content is that of the message type.
func TestSCEP_S022_ContentOfAnotherType(t *testing.T) {
	w := newWorld(t)
	d := w.device(rsaKey(t, 0))
	request := csr(t, d.key, w.challenge(1, "", "a.test"), "a.test")
	poll := issuerAndSubject(w.ca.RawSubject, requestSubject(t, request))
	serial := tlv(0x30, string(w.ca.RawSubject)+string([]byte{2, 1, 5}))
	for what, s := range map[string]sent{
		"PKCSReq of a poll":   {kind: "19", content: poll},
		"CertPoll of a CSR":   {kind: "20", content: request},
		"RenewalReq of a CRL": {kind: "17", content: serial},
		"GetCert of a CSR":    {kind: "21", content: request},
		"GetCRL of a poll":    {kind: "22", content: poll},
	} {
		d.send(s).expect(t, what, failed, badMessageCheck)
	}
}

// S-032, S-033
func TestSCEP_S032_S033_CertificatesAndLists(t *testing.T) {
	w := newWorld(t)
	d := w.device(rsaKey(t, 0))
	c := d.enroll("a.test")
	id := func(issuer []byte, serial *big.Int) []byte {
		return tlv(0x30, string(issuer)+string(tlv(2, string(append([]byte{0}, serial.Bytes()...))[min(1, 1-int(serial.Bytes()[0]>>7)):])))
	}
	a := d.send(sent{kind: "21", content: id(w.ca.RawSubject, c.SerialNumber)})
	a.expect(t, "known", success, "")
	if len(a.certs) != 1 || !a.certs[0].Equal(c) {
		t.Error("another certificate")
	}
	d.send(sent{kind: "21", content: id(w.ca.RawSubject, big.NewInt(5))}).expect(t, "unknown", failed, badCertID)
	d.send(sent{kind: "21", content: id(d.cert.RawSubject, c.SerialNumber)}).expect(t, "another issuer", failed, badCertID)
	w.publish()
	a = d.send(sent{kind: "22", content: id(w.ca.RawSubject, c.SerialNumber)})
	a.expect(t, "list", success, "")
	if len(a.crls) != 1 || len(a.certs) != 0 {
		t.Fatalf("%d lists, %d certificates", len(a.crls), len(a.certs))
	}
	list, err := x509.ParseRevocationList(a.crls[0])
	if err != nil || list.CheckSignatureFrom(w.ca) != nil {
		t.Errorf("the list: %v", err)
	}
}

// publish has the engine make its first list.
func (w *world) publish() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.engine.Run(ctx)
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := w.engine.CRL(ctx, hex.EncodeToString(w.ca.SubjectKeyId)); err == nil {
			cancel()
			<-done
			return
		}
		select {
		case <-tick.C:
		case <-done:
			w.t.Fatal("there is no list")
		}
	}
}

// S-001 to S-007, S-009, S-034, XS-023
func TestSCEP_S001_S004_S006_Operations(t *testing.T) {
	w := newWorld(t)
	a := w.do("GET", "/scep?operation=GetCACaps", nil)
	if string(a.raw) != "AES\nSHA-256\nSHA-384\nSHA-512\nPOSTPKIOperation\nSCEPStandard\nRenewal\n" || a.kind != "text/plain" {
		t.Errorf("%s: %q", a.kind, a.raw)
	}
	a = w.do("GET", "/scep?operation=GetCACert", nil)
	m, err := cms.ParseSigned(a.raw)
	if err != nil || a.kind != "application/x-x509-ca-ra-cert" || m.Signer != nil || m.Content != nil || len(m.Certificates) != 2 {
		t.Fatalf("%s: %v %+v", a.kind, err, m)
	}
	ra, err := x509.ParseCertificate(m.Certificates[0])
	if err != nil || ra.KeyUsage != x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment || ra.CheckSignatureFrom(w.ca) != nil || !bytes.Equal(m.Certificates[1], w.ca.Raw) {
		t.Errorf("RA: %v %v", ra.KeyUsage, err)
	}
	for target, code := range map[string]int{
		"/scep?operation=GetCACert&message=default":                            200,
		"/scep/other?operation=GetCACert&message=other":                        200,
		"/scep?operation=GetCACert&message=another":                            404,
		"/scep/nobody?operation=GetCACaps":                                     404,
		"/scep/pkiclient.exe?operation=GetCACaps":                              200,
		"/scep/other/pkiclient.exe?operation=GetCACaps":                        200,
		"/cgi-bin/pkiclient.exe?operation=GetCACaps":                           200,
		"/certsrv/mscep/mscep.dll?operation=GetCACaps&message=x":               200,
		"/certsrv/mscep/mscep.dll/pkiclient.exe?operation=GetCACaps":           200,
		"/scep?operation=GetNextCACert":                                        404,
		"/scep?operation=GetCACaps&operation=GetCACaps":                        400,
		"/scep?operation=PKIOperation&message=a&message=b":                     400,
		"/scep?operation=PKIOperation&message=%00":                             400,
		"/scep?operation=PKIOperation":                                         400,
		"/scep?operation=getcacaps":                                            400,
		"/scep":                                                                400,
		"/scep?operation=PKIOperation&message=" + strings.Repeat("A", 100_000): 400,
	} {
		if a := w.do("GET", target, nil); a.code != code {
			t.Errorf("%.80s: HTTP %d, want %d", target, a.code, code)
		}
	}
	if a := w.do("POST", "/scep?operation=GetCACaps", nil); a.code != 405 {
		t.Errorf("POST GetCACaps: HTTP %d", a.code)
	}
}

// S-009: base64 with raw plus signs and line breaks.
func TestSCEP_S009_RawBase64(t *testing.T) {
	w := newWorld(t)
	d := w.device(rsaKey(t, 0))
	text := base64.StdEncoding.EncodeToString(d.message(sent{kind: "19", content: csr(t, d.key, w.challenge(1, "", "a.test"), "a.test")}))
	if !strings.Contains(text, "+") || !strings.Contains(text, "/") {
		t.Fatal("the message shows nothing")
	}
	a := w.do("GET", "/scep?operation=PKIOperation&message="+text[:64]+"%0A"+text[64:], nil)
	if d.read(a, nonce16); a.status != success {
		t.Errorf("%s %s", a.status, a.text)
	}
}

// XS-004: one challenge, a hundred devices at once, one certificate.
func TestSCEP_XS004_OneChallengeManyDevices(t *testing.T) {
	w := newWorld(t)
	challenge := w.challenge(1, "", "a.test")
	const devices, each = 5, 20
	var bodies [][]byte
	for i := range devices {
		d := w.device(rsaKey(t, i))
		for j := range each {
			bodies = append(bodies, d.message(sent{kind: "19", tx: fmt.Sprintf("%d-%d", i, j), content: csr(t, d.key, challenge, "a.test")}))
		}
	}
	var all sync.WaitGroup
	begin := make(chan struct{})
	for _, b := range bodies {
		all.Go(func() {
			<-begin
			w.do("POST", "/scep?operation=PKIOperation", b)
		})
	}
	close(begin)
	all.Wait()
	if n := w.issued(); n != 1 {
		t.Errorf("%d certificates", n)
	}
}

// XS-011: whatever is changed in an envelope, the answer is the same but for its
// nonce and signature.
func TestSCEP_XS011_UniformFailure(t *testing.T) {
	w := newWorld(t)
	d := w.device(rsaKey(t, 0))
	ra, err := w.ra.Keys(context.Background(), false)
	if err != nil {
		t.Fatal(err)
	}
	// Of another key, as one who has captured a message must sign it.
	envelope, err := cms.Encrypt(csr(t, rsaKey(t, 1), w.challenge(1, "", "a.test"), "a.test"), ra[0].Certificate, cms.AES128, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	start := bytes.Index(envelope, ra[0].Certificate.RawIssuer) // what is before is structure
	want := ""
	for i := range 400 {
		b := bytes.Clone(envelope)
		at := start + len(ra[0].Certificate.RawIssuer) + 60 + i*5%(len(envelope)-start-len(ra[0].Certificate.RawIssuer)-60)
		b[at] ^= byte(1 + i%255)
		if p, err := cms.ParseEnveloped(b); err != nil || p.Cipher != cms.AES128 {
			continue // the structure: anybody can see that
		}
		a := d.send(sent{kind: "19", envelope: b})
		got := fmt.Sprint(a.code, a.status, a.info, a.text, len(a.raw))
		if want == "" {
			want = got
		}
		if got != want {
			t.Fatalf("octet %d: %s, not %s", at, got, want)
		}
	}
	if !strings.HasPrefix(want, "200 2 1") && !strings.HasPrefix(want, "20021") {
		t.Errorf("the answer is %s", want)
	}
}

// Every denial has its failInfo.
func TestReasonsAreMapped(t *testing.T) {
	for _, r := range engine.Reasons {
		if infoOf(r) == "" {
			t.Errorf("%s has no failInfo", r)
		}
	}
}
