package tbs

import (
	"bytes"
	"errors"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// ErrNotTBS is returned for bytes that Render did not make.
var ErrNotTBS = errors.New("tbs: not a tbsCertificate")

var (
	subjectKeyIDOID = []byte{0x55, 0x1d, 0x0e} // 2.5.29.14
	listsOID        = []byte{0x55, 0x1d, 0x1f} // 2.5.29.31
)

// WithoutSerialAndDates returns the rendering without serialNumber and
// validity: what an approver judges, which stays the same when the same request
// is rendered again. With alsoKey the subjectPublicKeyInfo and the
// subjectKeyIdentifier, which derives from it, are cut too. The two forms cannot
// be taken for each other, for only one of them holds a key. With alsoLists the
// cRLDistributionPoints are cut, of which each request may have its own.
func WithoutSerialAndDates(tbs []byte, alsoKey, alsoLists bool) ([]byte, error) {
	var version, serial, alg, issuer, validity, subject, key, exts cryptobyte.String
	body, ok := sequence(tbs)
	if !ok ||
		!body.ReadASN1Element(&version, tagVersion) ||
		!body.ReadASN1Element(&serial, asn1.INTEGER) ||
		!body.ReadASN1Element(&alg, asn1.SEQUENCE) ||
		!body.ReadASN1Element(&issuer, asn1.SEQUENCE) ||
		!body.ReadASN1Element(&validity, asn1.SEQUENCE) ||
		!body.ReadASN1Element(&subject, asn1.SEQUENCE) ||
		!body.ReadASN1Element(&key, asn1.SEQUENCE) ||
		!body.ReadASN1Element(&exts, tagExtensions) || !body.Empty() {
		return nil, ErrNotTBS
	}
	var cut [][]byte
	if alsoKey {
		key, cut = nil, append(cut, subjectKeyIDOID)
	}
	if alsoLists {
		cut = append(cut, listsOID)
	}
	if len(cut) > 0 {
		var err error
		if exts, err = withoutExtensions(exts, cut); err != nil {
			return nil, err
		}
	}
	parts := [...][]byte{version, alg, issuer, subject, key, exts}
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	out := appendHeader(make([]byte, 0, headerLength(n)+n), 0x30, n)
	for _, p := range parts {
		out = append(out, p...)
	}
	return out, nil
}

// withoutExtensions returns the extensions element without some.
func withoutExtensions(exts cryptobyte.String, cut [][]byte) ([]byte, error) {
	var outer, list cryptobyte.String
	if !exts.ReadASN1(&outer, tagExtensions) || !outer.ReadASN1(&list, asn1.SEQUENCE) || !outer.Empty() {
		return nil, ErrNotTBS
	}
	kept := make([]byte, 0, len(list))
	for !list.Empty() {
		var ext, fields, oid cryptobyte.String
		if !list.ReadASN1Element(&ext, asn1.SEQUENCE) {
			return nil, ErrNotTBS
		}
		whole := ext
		if !ext.ReadASN1(&fields, asn1.SEQUENCE) || !fields.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) {
			return nil, ErrNotTBS
		}
		if !slices.ContainsFunc(cut, func(c []byte) bool { return bytes.Equal(oid, c) }) {
			kept = append(kept, whole...)
		}
	}
	inner := appendHeader(nil, 0x30, len(kept))
	out := appendHeader(nil, byte(tagExtensions), len(inner)+len(kept))
	return append(append(out, inner...), kept...), nil
}
