// Package tbs renders the to-be-signed part of a certificate without any key,
// so that it can be linted, shown and recorded before a certificate authority's
// key comes near it, and later signs exactly those bytes (RFC 5280, Section 4.1).
//
// The encoder is our own because x509.CreateCertificate wants the issuer's key,
// decides about extensions by itself, and lets a serial number of zero or of 22
// octets, reversed dates and repeated extensions pass.
package tbs

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// MaxSerial is the length in octets that an encoded serial number may have.
const MaxSerial = 20

const maxYear = 9999 // GeneralizedTime has four digits

const (
	tagInteger         = 0x02
	tagBitString       = 0x03
	tagOctetString     = 0x04
	tagUTCTime         = 0x17
	tagGeneralizedTime = 0x18
	tagSequence        = 0x30

	tagVersion    = asn1.Tag(0xa0)
	tagExtensions = asn1.Tag(0xa3)
)

// An Extension is one extension of a certificate, its value already in DER.
type Extension struct {
	OID      string // dotted
	Critical bool
	Value    []byte // what the OCTET STRING holds
}

// A Certificate is what the rendered bytes say.
type Certificate struct {
	Serial              []byte // big-endian magnitude, positive
	Issuer, Subject     []byte // Name, DER
	NotBefore, NotAfter time.Time
	SPKI                []byte      // SubjectPublicKeyInfo, DER
	Extensions          []Extension // in this order
}

// A RefusedError says which part of a Certificate cannot be rendered.
type RefusedError struct {
	Field  string // as the RFC calls it
	Reason string
}

// Error implements error.
func (e *RefusedError) Error() string { return "tbs: " + e.Field + ": " + e.Reason }

func refuse(field, format string, args ...any) error {
	return &RefusedError{field, fmt.Sprintf(format, args...)}
}

// Render encodes the tbsCertificate. It refuses with a *RefusedError what no
// certificate may hold, whatever the profile.
func Render(c *Certificate, alg Algorithm) ([]byte, error) {
	if alg.identifier == "" {
		return nil, refuse("signature", "no algorithm chosen")
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	extensions, err := c.encodeExtensions()
	if err != nil {
		return nil, err
	}
	validity := appendTime(appendTime(make([]byte, 0, 40), c.NotBefore), c.NotAfter)
	serial := magnitude(c.Serial)

	n := len("\xa0\x03\x02\x01\x02") + 2 + len(serial) + len(alg.identifier) + len(c.Issuer) + 2 + len(validity) +
		len(c.Subject) + len(c.SPKI) + len(extensions)
	out := appendHeader(make([]byte, 0, headerLength(n)+n), tagSequence, n)
	// RFC 5280, Section 4.1.2.1: with extensions the version is 3 (value 2).
	out = append(out, "\xa0\x03\x02\x01\x02"...)
	out = append(appendHeader(out, tagInteger, len(serial)), serial...)
	out = append(out, alg.identifier...)
	out = append(out, c.Issuer...)
	out = append(appendHeader(out, tagSequence, len(validity)), validity...)
	out = append(out, c.Subject...)
	out = append(out, c.SPKI...)
	return append(out, extensions...), nil
}

// Digest is the hash by which a rendering is named in records.
func Digest(tbs []byte) [32]byte { return sha256.Sum256(tbs) }

func (c *Certificate) check() error {
	// RFC 5280, Section 4.1.2.2: positive, at most 20 octets.
	switch m := magnitude(c.Serial); {
	case len(m) == 1 && m[0] == 0:
		return refuse("serialNumber", "is zero")
	case len(m) > MaxSerial:
		return refuse("serialNumber", "takes %d octets, %d are allowed", len(m), MaxSerial)
	}
	// RFC 5280, Section 4.1.2.4: the issuer is a non-empty distinguished name.
	if body, ok := sequence(c.Issuer); !ok {
		return refuse("issuer", "is not a Name")
	} else if body.Empty() {
		return refuse("issuer", "is empty")
	}
	if _, ok := sequence(c.Subject); !ok {
		return refuse("subject", "is not a Name")
	}
	if body, ok := sequence(c.SPKI); !ok || body.Empty() {
		return refuse("subjectPublicKeyInfo", "is not one")
	}
	return c.checkValidity()
}

func (c *Certificate) checkValidity() error {
	for _, t := range [...]time.Time{c.NotBefore, c.NotAfter} {
		if t.Nanosecond() != 0 {
			// RFC 5280, Section 4.1.2.5: no fractions. Cutting them here would make
			// a certificate that differs from what was decided.
			return refuse("validity", "%s is not a whole second", t.UTC().Format(time.RFC3339Nano))
		}
		if y := t.UTC().Year(); y < 1950 || y > maxYear {
			return refuse("validity", "year %d cannot be written", y)
		}
	}
	if c.NotAfter.Before(c.NotBefore) {
		return refuse("validity", "ends before it begins")
	}
	return nil
}

// encodeExtensions writes the field with its tag, having checked what can be
// checked without knowing what the values mean.
func (c *Certificate) encodeExtensions() ([]byte, error) {
	if len(c.Extensions) == 0 {
		return nil, refuse("extensions", "none; a version 3 certificate has some")
	}
	size := 0
	for i := range c.Extensions {
		size += len(c.Extensions[i].Value) + 32
	}
	list := make([]byte, 0, size)
	var room [256]byte
	oids := room[:0] // of the extensions so far, each with its header
	for i := range c.Extensions {
		e := &c.Extensions[i]
		if err := e.check(); err != nil {
			return nil, err
		}
		start := len(oids)
		var ok bool
		if oids, ok = appendOID(oids, e.OID); !ok {
			return nil, refuse("extensions", "%q is no object identifier", e.OID)
		}
		// RFC 5280, Section 4.2: one instance of a particular extension.
		if repeated(oids[:start], oids[start:]) {
			return nil, refuse("extensions", "%s appears twice", e.OID)
		}
		list = appendExtension(list, oids[start:], e)
	}
	inner := headerLength(len(list)) + len(list)
	out := appendHeader(make([]byte, 0, inner+8), byte(tagExtensions), inner)
	out = appendHeader(out, tagSequence, len(list))
	return append(out, list...), nil
}

func (e *Extension) check() error {
	body, ok := element(e.Value)
	if !ok {
		return refuse("extensions", "value of %s is not one DER element", e.OID)
	}
	// RFC 5280, Section 4.2.1.6: GeneralNames holds at least one name.
	if e.OID == OIDSubjectAltName && body.Empty() {
		return refuse("extensions", "subjectAltName has no names")
	}
	return nil
}

// repeated looks for an element in a run of short elements.
func repeated(run, one []byte) bool {
	for len(run) > 0 {
		n := 2 + int(run[1])
		if bytes.Equal(run[:n], one) {
			return true
		}
		run = run[n:]
	}
	return false
}

func appendExtension(out, oid []byte, e *Extension) []byte {
	n := len(oid) + headerLength(len(e.Value)) + len(e.Value)
	if e.Critical {
		n += 3
	}
	out = append(appendHeader(out, tagSequence, n), oid...)
	if e.Critical { // DEFAULT FALSE is left out in DER
		out = append(out, 0x01, 0x01, 0xff)
	}
	out = appendHeader(out, tagOctetString, len(e.Value))
	return append(out, e.Value...)
}

// appendTime obeys RFC 5280, Section 4.1.2.5: UTCTime through 2049,
// GeneralizedTime from 2050, in Zulu and with seconds.
func appendTime(out []byte, t time.Time) []byte {
	if t = t.UTC(); t.Year() < 2050 {
		return t.AppendFormat(append(out, tagUTCTime, 13), "060102150405Z")
	}
	return t.AppendFormat(append(out, tagGeneralizedTime, 15), "20060102150405Z")
}

// magnitude returns the content octets of the INTEGER that v is.
func magnitude(v []byte) []byte {
	v = bytes.TrimLeft(v, "\x00")
	if len(v) == 0 {
		return []byte{0}
	}
	if v[0]&0x80 != 0 {
		return append([]byte{0}, v...)
	}
	return v
}

// sequence returns what is inside der, which must be one SEQUENCE.
func sequence(der []byte) (cryptobyte.String, bool) {
	var body cryptobyte.String
	s := cryptobyte.String(der)
	ok := s.ReadASN1(&body, asn1.SEQUENCE) && s.Empty()
	return body, ok
}

// element returns what is inside der, which must be one element of any tag.
func element(der []byte) (cryptobyte.String, bool) {
	var body cryptobyte.String
	var tag asn1.Tag
	s := cryptobyte.String(der)
	ok := s.ReadAnyASN1(&body, &tag) && s.Empty()
	return body, ok
}
