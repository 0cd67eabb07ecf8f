package scep

import (
	"bytes"
	"testing"

	"chancery/frontends/internal/cms"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// S-024: the subject of a self-signed certificate is nobody's identity.
func TestSCEP_S024_SelfSignedNameOfAnother(t *testing.T) {
	w := newWorld(t)
	w.device(rsaKey(t, 0)).enroll("device.test")
	thief := w.device(rsaKey(t, 1)) // its certificate says CN=device
	thief.send(sent{kind: "17", content: csr(t, thief.key, "", "device.test")}).expect(t, "renewal", failed, badRequest)
	thief.send(sent{kind: "19", content: csr(t, thief.key, "", "device.test")}).expect(t, "enrollment", failed, badRequest)
	if w.issued() != 1 {
		t.Error("a certificate was issued")
	}
}

// S-028: a renewal too proves possession of the new key.
func TestSCEP_S028_RenewalWithoutProofOfPossession(t *testing.T) {
	w := newWorld(t)
	d := w.device(rsaKey(t, 0))
	r := w.renewing(0, &x509Pair{d.enroll("a.test"), d.key})
	request := csr(t, rsaKey(t, 1), "", "a.test")
	request[len(request)-1] ^= 1
	r.send(sent{kind: "17", content: request}).expect(t, "bad signature", failed, badMessageCheck)
}

// S-029: a PKCSReq signed with a certificate of ours is not a renewal: it needs a
// challenge like any other.
func TestSCEP_S029_EnrollmentByAnIssuedCertificate(t *testing.T) {
	w := newWorld(t)
	d := w.device(rsaKey(t, 0))
	r := w.renewing(0, &x509Pair{d.enroll("a.test"), d.key})
	r.send(sent{kind: "19", content: csr(t, d.key, "", "a.test")}).expect(t, "without a challenge", failed, badRequest)
	r.send(sent{kind: "19", content: csr(t, rsaKey(t, 1), w.challenge(1, "", "a.test"), "a.test")}).expect(t, "for another key", failed, badMessageCheck)
	r.send(sent{kind: "19", tx: "2", content: csr(t, d.key, w.challenge(1, "", "a.test"), "a.test")}).expect(t, "with a challenge", success, "")
}

// S-037: indefinite lengths, and strings in pieces, as OpenSSL and Java write them.
func TestSCEP_S037_BER(t *testing.T) {
	w := newWorld(t)
	d := w.device(rsaKey(t, 0))
	request := csr(t, d.key, w.challenge(1, "", "a.test"), "a.test")
	a := d.send(sent{kind: "19", content: request, mutate: func(der []byte) []byte { return indefinite(t, der) }})
	a.expect(t, "BER", success, "")
}

// indefinite writes the two outer elements of a message without lengths, and the
// content in two pieces.
func indefinite(t *testing.T, der []byte) []byte {
	t.Helper()
	m, err := cms.ParseSigned(der)
	if err != nil {
		t.Fatal(err)
	}
	s := cryptobyte.String(der)
	var info, content cryptobyte.String
	var oid cryptobyte.String
	if !s.ReadASN1(&info, cbasn1.SEQUENCE) || !info.ReadASN1Element(&oid, cbasn1.OBJECT_IDENTIFIER) || !info.ReadASN1(&content, cbasn1.Tag(0).ContextSpecific().Constructed()) {
		t.Fatal("not a message")
	}
	whole := tlv(4, string(m.Content))
	half := len(m.Content) / 2
	pieces := append([]byte{0x24, 0x80}, tlv(4, string(m.Content[:half]))...)
	pieces = append(append(pieces, tlv(4, string(m.Content[half:]))...), 0, 0)
	// Around the string everything has to be without a length then.
	inner := cryptobyte.String(content)
	var seq, version, algorithms, encap cryptobyte.String
	if !inner.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1Element(&version, cbasn1.INTEGER) || !seq.ReadASN1Element(&algorithms, cbasn1.SET) || !seq.ReadASN1(&encap, cbasn1.SEQUENCE) {
		t.Fatal("not a SignedData")
	}
	kind := bytes.TrimSuffix(encap, tlv(0xa0, string(whole)))
	out := append([]byte{0x30, 0x80}, oid...)
	out = append(append(append(out, 0xa0, 0x80, 0x30, 0x80), version...), algorithms...)
	out = append(append(append(out, 0x30, 0x80), kind...), 0xa0, 0x80)
	out = append(append(out, pieces...), 0, 0, 0, 0)
	out = append(append(out, seq...), 0, 0, 0, 0, 0, 0)
	return out
}

// S-039: requests that no profile takes.
func TestSCEP_S039_RequestsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	d := w.device(rsaKey(t, 0))
	d.send(sent{kind: "19", tx: "1", content: csr(t, d.key, w.challenge(1, "", "any"), "")}).expect(t, "no name", failed, badRequest)
	d.send(sent{kind: "19", tx: "2", content: csr(t, d.key, w.challenge(1, "", "a.test"), "a.test", "b.test")}).expect(t, "one name too many", failed, badRequest)
	if w.issued() != 0 {
		t.Error("a certificate was issued")
	}
}
