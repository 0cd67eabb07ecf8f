package pki

import (
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// A certificate is one taken apart, as far as its outline goes. The rules look
// into the pieces.
type certificate struct {
	der, tbs            []byte
	version             int
	serial              []byte // content of the INTEGER
	inner, outer        []byte // AlgorithmIdentifier, whole
	signature           []byte
	issuer, subject     []byte // whole
	issuerRDN, rdns     []attribute
	notBefore, notAfter moment
	key                 publicKey
	uniqueIDs           bool
	extensions          []extension

	san         *extension
	names       []generalName
	keyUsage    *extension
	usage       uint16 // bit 0 of the RFC is the highest
	extUsage    *extension
	purposes    []string // contents of the object identifiers
	basic       *extension
	constraints basicConstraints
	keyID       *extension
	subjectID   []byte
	authorityID *extension
	authority   authorityKeyID
	crlPoints   *extension
	crlURLs     []string
	access      *extension
	accessURLs  []access
	broken      []string // extensions whose value does not have its form
}

type attribute struct {
	oid   string // content
	tag   asn1.Tag
	value []byte
	rdn   int
}

type moment struct {
	tag  asn1.Tag
	text []byte
	at   time.Time // zero where the text is not as RFC 5280 wants it
}

type extension struct {
	oid           string // content
	critical      bool
	explicitFalse bool
	value         []byte
}

type generalName struct {
	tag   asn1.Tag
	value []byte
}

func explicit(n uint8) asn1.Tag { return asn1.Tag(n).ContextSpecific().Constructed() }
func implicit(n uint8) asn1.Tag { return asn1.Tag(n).ContextSpecific() }

// parse takes a certificate apart (RFC 5280, Section 4.1).
func parse(der []byte) (c *certificate, problem string) {
	c = &certificate{der: der}
	var body, tbs, inner, outer cryptobyte.String
	in := cryptobyte.String(der)
	if !in.ReadASN1(&body, asn1.SEQUENCE) || !in.Empty() {
		return nil, "not one SEQUENCE"
	}
	if !body.ReadASN1Element(&tbs, asn1.SEQUENCE) || !body.ReadASN1Element(&outer, asn1.SEQUENCE) ||
		!body.ReadASN1BitStringAsBytes(&c.signature) || !body.Empty() {
		return nil, "not a Certificate"
	}
	c.tbs, c.outer = tbs, outer

	var version, serial, issuer, validity, subject, key cryptobyte.String
	if !tbs.ReadASN1(&tbs, asn1.SEQUENCE) {
		return nil, "not a tbsCertificate"
	}
	var versioned bool
	if !tbs.ReadOptionalASN1(&version, &versioned, explicit(0)) ||
		versioned && (!version.ReadASN1Integer(&c.version) || !version.Empty()) {
		return nil, "version"
	}
	if !tbs.ReadASN1(&serial, asn1.INTEGER) || len(serial) == 0 {
		return nil, "serialNumber"
	}
	if !tbs.ReadASN1Element(&inner, asn1.SEQUENCE) || !tbs.ReadASN1Element(&issuer, asn1.SEQUENCE) ||
		!tbs.ReadASN1(&validity, asn1.SEQUENCE) || !tbs.ReadASN1Element(&subject, asn1.SEQUENCE) ||
		!tbs.ReadASN1Element(&key, asn1.SEQUENCE) {
		return nil, "tbsCertificate lacks a field"
	}
	c.serial, c.inner, c.issuer, c.subject = serial, inner, issuer, subject

	var ok1, ok2 bool
	c.issuerRDN, ok1 = parseName(issuer)
	c.rdns, ok2 = parseName(subject)
	if !ok1 || !ok2 {
		return nil, "Name"
	}
	if !c.notBefore.read(&validity) || !c.notAfter.read(&validity) || !validity.Empty() {
		return nil, "validity"
	}
	if !c.key.read(key) {
		return nil, "subjectPublicKeyInfo"
	}
	if !c.readTail(&tbs) {
		return nil, "extensions"
	}
	c.readExtensions()
	return c, ""
}

// readTail reads what stands behind the key.
func (c *certificate) readTail(tbs *cryptobyte.String) bool {
	var wrapped, list, skipped cryptobyte.String
	var one, two, present bool
	if !tbs.ReadOptionalASN1(&skipped, &one, implicit(1)) || !tbs.ReadOptionalASN1(&skipped, &two, implicit(2)) ||
		!tbs.ReadOptionalASN1(&wrapped, &present, explicit(3)) || !tbs.Empty() {
		return false
	}
	c.uniqueIDs = one || two
	if !present {
		return true
	}
	if !wrapped.ReadASN1(&list, asn1.SEQUENCE) || !wrapped.Empty() || list.Empty() {
		return false
	}
	c.extensions = make([]extension, 0, 12)
	for !list.Empty() {
		var one, oid, value cryptobyte.String
		var e extension
		if !list.ReadASN1(&one, asn1.SEQUENCE) || !one.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) {
			return false
		}
		if one.PeekASN1Tag(asn1.BOOLEAN) {
			if !one.ReadASN1Boolean(&e.critical) {
				return false
			}
			e.explicitFalse = !e.critical
		}
		if !one.ReadASN1(&value, asn1.OCTET_STRING) || !one.Empty() {
			return false
		}
		e.oid, e.value = string(oid), value
		c.extensions = append(c.extensions, e)
	}
	return true
}

func parseName(der cryptobyte.String) ([]attribute, bool) {
	var list cryptobyte.String
	if !der.ReadASN1(&list, asn1.SEQUENCE) || !der.Empty() {
		return nil, false
	}
	var out []attribute
	for rdn := 0; !list.Empty(); rdn++ {
		var set cryptobyte.String
		if !list.ReadASN1(&set, asn1.SET) || set.Empty() {
			return nil, false
		}
		for !set.Empty() {
			var one, oid, value cryptobyte.String
			a := attribute{rdn: rdn}
			if !set.ReadASN1(&one, asn1.SEQUENCE) || !one.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) ||
				!one.ReadAnyASN1(&value, &a.tag) || !one.Empty() {
				return nil, false
			}
			a.oid, a.value = string(oid), value
			out = append(out, a)
		}
	}
	return out, true
}

// read reads a Time. Only the forms of RFC 5280, Section 4.1.2.5, give it a
// meaning: fixed length, seconds, Zulu.
func (m *moment) read(s *cryptobyte.String) bool {
	var text cryptobyte.String
	if !s.ReadAnyASN1(&text, &m.tag) || m.tag != asn1.UTCTime && m.tag != asn1.GeneralizedTime {
		return false
	}
	m.text = text
	digits := string(text)
	if m.tag == asn1.UTCTime && len(text) == len("yymmddhhmmssZ") {
		century := "19"
		if digits < "5" { // Section 4.1.2.5.1: 50 to 99 are in the twentieth century
			century = "20"
		}
		digits = century + digits
	} else if m.tag == asn1.UTCTime {
		return true
	}
	const layout = "20060102150405Z"
	if len(digits) != len(layout) { // time.Parse would take a fraction
		return true
	}
	if at, err := time.Parse(layout, digits); err == nil {
		m.at = at
	}
	return true
}
