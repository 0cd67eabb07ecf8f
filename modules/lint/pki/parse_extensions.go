package pki

import (
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Contents of object identifiers: extensions (RFC 5280, Section 4.2).
const (
	oidSubjectKeyID     = "\x55\x1d\x0e"
	oidKeyUsage         = "\x55\x1d\x0f"
	oidSubjectAltName   = "\x55\x1d\x11"
	oidBasicConstraints = "\x55\x1d\x13"
	oidNameConstraints  = "\x55\x1d\x1e"
	oidCRLPoints        = "\x55\x1d\x1f"
	oidPolicies         = "\x55\x1d\x20"
	oidPolicyMappings   = "\x55\x1d\x21"
	oidAuthorityKeyID   = "\x55\x1d\x23"
	oidPolicyLimits     = "\x55\x1d\x24"
	oidExtKeyUsage      = "\x55\x1d\x25"
	oidInhibitAny       = "\x55\x1d\x36"
	oidInfoAccess       = "\x2b\x06\x01\x05\x05\x07\x01\x01"
	oidNoCheck          = "\x2b\x06\x01\x05\x05\x07\x30\x01\x05"
	oidAccessOCSP       = "\x2b\x06\x01\x05\x05\x07\x30\x01"
)

type basicConstraints struct {
	ca, explicitFalse, pathLen bool
}

type authorityKeyID struct {
	keyID []byte
	other bool // authorityCertIssuer or authorityCertSerialNumber
}

type access struct {
	method string // content of the object identifier
	url    string // empty: not a uniformResourceIdentifier
}

// readExtensions decodes those extensions that rules look into. One that is
// repeated counts with its first instance; a rule of its own refuses the second.
func (c *certificate) readExtensions() {
	for i := range c.extensions {
		e := &c.extensions[i]
		ok := true
		switch s := cryptobyte.String(e.value); e.oid {
		case oidSubjectAltName:
			ok = repeats(&c.san, e) || c.readAltNames(s)
		case oidKeyUsage:
			ok = repeats(&c.keyUsage, e) || c.readKeyUsage(s)
		case oidExtKeyUsage:
			ok = repeats(&c.extUsage, e) || c.readPurposes(s)
		case oidBasicConstraints:
			ok = repeats(&c.basic, e) || c.constraints.read(s)
		case oidSubjectKeyID:
			ok = repeats(&c.keyID, e) || (s.ReadASN1Bytes(&c.subjectID, asn1.OCTET_STRING) && s.Empty())
		case oidAuthorityKeyID:
			ok = repeats(&c.authorityID, e) || c.authority.read(s)
		case oidCRLPoints:
			ok = repeats(&c.crlPoints, e) || c.readCRLPoints(s)
		case oidInfoAccess:
			ok = repeats(&c.access, e) || c.readAccess(s)
		}
		if !ok {
			c.broken = append(c.broken, e.oid)
		}
	}
}

// repeats tells whether the slot is taken, and takes it.
func repeats(slot **extension, e *extension) bool {
	if *slot != nil {
		return true
	}
	*slot = e
	return false
}

func (c *certificate) readAltNames(s cryptobyte.String) bool {
	var list cryptobyte.String
	if !s.ReadASN1(&list, asn1.SEQUENCE) || !s.Empty() {
		return false
	}
	c.names = make([]generalName, 0, 4)
	for !list.Empty() {
		var value cryptobyte.String
		var n generalName
		if !list.ReadAnyASN1(&value, &n.tag) {
			return false
		}
		n.value = value
		c.names = append(c.names, n)
	}
	return true
}

func (c *certificate) readKeyUsage(s cryptobyte.String) bool {
	var bits cryptobyte.String
	if !s.ReadASN1(&bits, asn1.BIT_STRING) || !s.Empty() || len(bits) < 1 || len(bits) > 3 {
		return false
	}
	for i, b := range bits[1:] {
		c.usage |= uint16(b) << (8 - 8*i)
	}
	return true
}

func (c *certificate) readPurposes(s cryptobyte.String) bool {
	var list cryptobyte.String
	if !s.ReadASN1(&list, asn1.SEQUENCE) || !s.Empty() {
		return false
	}
	for !list.Empty() {
		var oid cryptobyte.String
		if !list.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) {
			return false
		}
		c.purposes = append(c.purposes, string(oid))
	}
	return true
}

func (b *basicConstraints) read(s cryptobyte.String) bool {
	var body cryptobyte.String
	if !s.ReadASN1(&body, asn1.SEQUENCE) || !s.Empty() {
		return false
	}
	if body.PeekASN1Tag(asn1.BOOLEAN) {
		if !body.ReadASN1Boolean(&b.ca) {
			return false
		}
		b.explicitFalse = !b.ca
	}
	if body.Empty() {
		return true
	}
	b.pathLen = true
	return body.SkipASN1(asn1.INTEGER) && body.Empty()
}

func (a *authorityKeyID) read(s cryptobyte.String) bool {
	var body, keyID cryptobyte.String
	var present bool
	if !s.ReadASN1(&body, asn1.SEQUENCE) || !s.Empty() || !body.ReadOptionalASN1(&keyID, &present, implicit(0)) {
		return false
	}
	a.keyID, a.other = keyID, !body.Empty()
	return body.SkipOptionalASN1(explicit(1)) && body.SkipOptionalASN1(implicit(2)) && body.Empty()
}

// readCRLPoints takes only points that say where the list is by fullName, for
// nothing else is issued here. An address that is no URI is kept as "".
func (c *certificate) readCRLPoints(s cryptobyte.String) bool {
	var list cryptobyte.String
	if !s.ReadASN1(&list, asn1.SEQUENCE) || !s.Empty() || list.Empty() {
		return false
	}
	for !list.Empty() {
		var point, name, full cryptobyte.String
		if !list.ReadASN1(&point, asn1.SEQUENCE) || !point.ReadASN1(&name, explicit(0)) || !point.Empty() ||
			!name.ReadASN1(&full, explicit(0)) || !name.Empty() || full.Empty() {
			return false
		}
		for !full.Empty() {
			var tag asn1.Tag
			var value cryptobyte.String
			if !full.ReadAnyASN1(&value, &tag) {
				return false
			}
			if tag != tagURI {
				value = nil
			}
			c.crlURLs = append(c.crlURLs, string(value))
		}
	}
	return true
}

func (c *certificate) readAccess(s cryptobyte.String) bool {
	var list cryptobyte.String
	if !s.ReadASN1(&list, asn1.SEQUENCE) || !s.Empty() || list.Empty() {
		return false
	}
	for !list.Empty() {
		var one, oid, value cryptobyte.String
		var tag asn1.Tag
		if !list.ReadASN1(&one, asn1.SEQUENCE) || !one.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) ||
			!one.ReadAnyASN1(&value, &tag) || !one.Empty() {
			return false
		}
		if tag != tagURI {
			value = nil
		}
		c.accessURLs = append(c.accessURLs, access{string(oid), string(value)})
	}
	return true
}

// has tells whether the certificate has an extension.
func (c *certificate) has(oid string) bool {
	for i := range c.extensions {
		if c.extensions[i].oid == oid {
			return true
		}
	}
	return false
}

// purpose tells whether extKeyUsage has a purpose.
func (c *certificate) purpose(oid string) bool {
	for _, p := range c.purposes {
		if p == oid {
			return true
		}
	}
	return false
}
