package pki

import (
	"bytes"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

const maxDepth = 20

const constructed = 0x20

// strictDER walks all of the certificate, and into the values of extensions.
func strictDER(c *certificate) string {
	if problem := walk(c.tbs, 0); problem != "" {
		return problem
	}
	for i := range c.extensions {
		e := &c.extensions[i]
		if e.explicitFalse {
			return "critical FALSE is written, and it is the default"
		}
		if len(e.value) == 0 {
			return "extension " + dotted(e.oid) + " has no value"
		}
		s := cryptobyte.String(e.value)
		var one cryptobyte.String
		var tag asn1.Tag
		if !s.ReadAnyASN1Element(&one, &tag) || !s.Empty() {
			return "extension " + dotted(e.oid) + " does not hold one element"
		}
		if problem := walk(e.value, 0); problem != "" {
			return "extension " + dotted(e.oid) + ": " + problem
		}
	}
	return ""
}

// walk checks a run of elements. Tags and lengths are checked by cryptobyte,
// which takes nothing but DER.
func walk(s cryptobyte.String, depth int) string {
	if depth > maxDepth {
		return "nested too deep"
	}
	for !s.Empty() {
		var body cryptobyte.String
		var tag asn1.Tag
		if !s.ReadAnyASN1(&body, &tag) {
			return "tag or length is not DER"
		}
		if tag&constructed != 0 {
			if tag == asn1.SET && !sorted(body) {
				return "members of a SET are not in order"
			}
			if problem := walk(body, depth+1); problem != "" {
				return problem
			}
		} else if problem := primitive(tag, body); problem != "" {
			return problem
		}
	}
	return ""
}

func primitive(tag asn1.Tag, v []byte) string {
	switch tag {
	case asn1.BOOLEAN:
		if len(v) != 1 || v[0] != 0x00 && v[0] != 0xff {
			return "BOOLEAN is neither 00 nor FF"
		}
	case asn1.INTEGER, asn1.ENUM:
		if len(v) == 0 || len(v) > 1 && (v[0] == 0x00 && v[1]&0x80 == 0 || v[0] == 0xff && v[1]&0x80 != 0) {
			return "INTEGER is not as short as it can be"
		}
	case asn1.BIT_STRING:
		if len(v) == 0 || v[0] > 7 || len(v) == 1 && v[0] != 0 || v[len(v)-1]&(1<<v[0]-1) != 0 {
			return "BIT STRING has wrong unused bits"
		}
	case asn1.NULL:
		if len(v) != 0 {
			return "NULL is not empty"
		}
	case asn1.OBJECT_IDENTIFIER:
		return objectIdentifier(v)
	case asn1.UTF8String:
		if !utf8.Valid(v) {
			return "UTF8String is not UTF-8"
		}
	}
	return ""
}

func objectIdentifier(v []byte) string {
	if len(v) == 0 || v[len(v)-1]&0x80 != 0 {
		return "OBJECT IDENTIFIER is cut off"
	}
	for i, b := range v {
		if b == 0x80 && (i == 0 || v[i-1]&0x80 == 0) {
			return "OBJECT IDENTIFIER has a padded arc"
		}
	}
	return ""
}

// sorted tells whether the members of a SET OF ascend (X.690, Section 11.6).
func sorted(s cryptobyte.String) bool {
	var previous []byte
	for !s.Empty() {
		var one cryptobyte.String
		var tag asn1.Tag
		if !s.ReadAnyASN1Element(&one, &tag) {
			return false
		}
		if bytes.Compare(previous, one) > 0 {
			return false
		}
		previous = one
	}
	return true
}
