package est_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"slices"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

const (
	oidChallenge         = "1.2.840.113549.1.9.7"
	oidChangeSubjectName = "1.3.6.1.5.5.7.7.36"
)

// withAttribute adds an attribute with one UTF8String to a request of an ECDSA
// key on P-256, and signs it anew.
func withAttribute(t testing.TB, csr []byte, key crypto.Signer, oid, value string) []byte {
	t.Helper()
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(value)) })
	return withValue(t, csr, key, oid, b.BytesOrPanic())
}

func withValue(t testing.TB, csr []byte, key crypto.Signer, oid string, value []byte) []byte {
	t.Helper()
	var request, info, head, attributes cryptobyte.String
	tag := cbasn1.Tag(0).ContextSpecific().Constructed()
	in := cryptobyte.String(csr)
	if !in.ReadASN1(&request, cbasn1.SEQUENCE) || !request.ReadASN1(&info, cbasn1.SEQUENCE) {
		t.Fatal("not a request")
	}
	whole := info
	for range 3 { // version, subject, key
		var skipped cryptobyte.String
		var kind cbasn1.Tag
		if !info.ReadAnyASN1Element(&skipped, &kind) {
			t.Fatal("not a request")
		}
	}
	head = whole[:len(whole)-len(info)]
	if !info.ReadASN1(&attributes, tag) {
		t.Fatal("no attributes")
	}
	var all [][]byte
	for !attributes.Empty() {
		var one cryptobyte.String
		if !attributes.ReadASN1Element(&one, cbasn1.SEQUENCE) {
			t.Fatal("attributes")
		}
		all = append(all, one)
	}
	var a cryptobyte.Builder
	a.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(parseOID(t, oid))
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(value) })
	})
	all = append(all, a.BytesOrPanic())
	slices.SortFunc(all, bytes.Compare)
	var n cryptobyte.Builder
	n.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(head)
		b.AddASN1(tag, func(b *cryptobyte.Builder) {
			for _, one := range all {
				b.AddBytes(one)
			}
		})
	})
	signed := n.BytesOrPanic()
	sum := sha256.Sum256(signed)
	signature, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	var out cryptobyte.Builder
	out.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(signed)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2})
		})
		b.AddASN1BitString(signature)
	})
	return out.BytesOrPanic()
}

func parseOID(t testing.TB, dotted string) asn1.ObjectIdentifier {
	t.Helper()
	var oid asn1.ObjectIdentifier
	n := 0
	for _, c := range dotted + "." {
		if c == '.' {
			oid, n = append(oid, n), 0
			continue
		}
		n = 10*n + int(c-'0')
	}
	return oid
}
