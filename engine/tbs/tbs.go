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
	"crypto/x509"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// MaxSerial is the length in octets that an encoded serial number may have.
const MaxSerial = 20

const maxYear = 9999 // GeneralizedTime has four digits

var (
	tagVersion    = asn1.Tag(0).ContextSpecific().Constructed()
	tagExtensions = asn1.Tag(3).ContextSpecific().Constructed()
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
	oids, err := c.extensionOIDs()
	if err != nil {
		return nil, err
	}

	b := cryptobyte.NewBuilder(make([]byte, 0, c.estimate()))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		// RFC 5280, Section 4.1.2.1: with extensions the version is 3 (value 2).
		b.AddASN1(tagVersion, func(b *cryptobyte.Builder) { b.AddASN1Uint64(2) })
		b.AddASN1(asn1.INTEGER, func(b *cryptobyte.Builder) { b.AddBytes(magnitude(c.Serial)) })
		b.AddBytes([]byte(alg.identifier))
		b.AddBytes(c.Issuer)
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addTime(b, c.NotBefore)
			addTime(b, c.NotAfter)
		})
		b.AddBytes(c.Subject)
		b.AddBytes(c.SPKI)
		b.AddASN1(tagExtensions, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for i := range c.Extensions {
					addExtension(b, oids[i], &c.Extensions[i])
				}
			})
		})
	})
	out, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("tbs: couldn't encode: %w", err)
	}
	return out, nil
}

// Digest is the hash by which a rendering is named in records.
func Digest(tbs []byte) [32]byte { return sha256.Sum256(tbs) }

func (c *Certificate) estimate() int {
	n := 128 + len(c.Issuer) + len(c.Subject) + len(c.SPKI)
	for i := range c.Extensions {
		n += 32 + len(c.Extensions[i].Value)
	}
	return n
}

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

// extensionOIDs returns the encoded identifiers of the extensions, having
// checked what can be checked without knowing their meaning.
func (c *Certificate) extensionOIDs() ([][]byte, error) {
	if len(c.Extensions) == 0 {
		return nil, refuse("extensions", "none; a version 3 certificate has some")
	}
	oids := make([][]byte, len(c.Extensions))
	for i := range c.Extensions {
		e := &c.Extensions[i]
		oid, err := x509.ParseOID(e.OID)
		if err != nil {
			return nil, refuse("extensions", "%q is no object identifier", e.OID)
		}
		if oids[i], err = oid.MarshalBinary(); err != nil {
			return nil, refuse("extensions", "%q is no object identifier", e.OID)
		}
		// RFC 5280, Section 4.2: one instance of a particular extension.
		for _, earlier := range oids[:i] {
			if bytes.Equal(earlier, oids[i]) {
				return nil, refuse("extensions", "%s appears twice", e.OID)
			}
		}
		body, ok := element(e.Value)
		if !ok {
			return nil, refuse("extensions", "value of %s is not one DER element", e.OID)
		}
		// RFC 5280, Section 4.2.1.6: GeneralNames holds at least one name.
		if e.OID == OIDSubjectAltName && body.Empty() {
			return nil, refuse("extensions", "subjectAltName has no names")
		}
	}
	return oids, nil
}

func addExtension(b *cryptobyte.Builder, oid []byte, e *Extension) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.OBJECT_IDENTIFIER, func(b *cryptobyte.Builder) { b.AddBytes(oid) })
		if e.Critical { // DEFAULT FALSE is left out in DER
			b.AddASN1Boolean(true)
		}
		b.AddASN1OctetString(e.Value)
	})
}

// addTime obeys RFC 5280, Section 4.1.2.5: UTCTime through 2049,
// GeneralizedTime from 2050, in Zulu and with seconds.
func addTime(b *cryptobyte.Builder, t time.Time) {
	if t = t.UTC(); t.Year() < 2050 {
		b.AddASN1UTCTime(t)
		return
	}
	b.AddASN1GeneralizedTime(t)
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
