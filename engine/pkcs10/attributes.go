package pkcs10

import (
	"slices"

	"chancery/engine/names"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Caps on counts, so that looking for duplicates stays cheap.
const (
	maxAttributes = 32
	maxExtensions = 64
	maxChallenge  = 255 // characters: RFC 2985, Section 5.4.1
)

// Attributes and extensions that are read.
const (
	oidExtensionRequest   = "1.2.840.113549.1.9.14"  // RFC 2985, Section 5.4.2
	oidChallengePassword  = "1.2.840.113549.1.9.7"   // RFC 2985, Section 5.4.1
	oidMicrosoftExtension = "1.3.6.1.4.1.311.2.1.14" // the same content as extensionRequest
	oidSubjectAltName     = "2.5.29.17"
)

func badAttribute(detail string) error { return &Error{Kind: BadAttribute, Detail: detail} }

// parseAttributes reads SET OF Attribute. Each type stands at most once, and of
// the two that carry extensions only one: which of two lists counts must not be
// a matter of taste.
func (r *Request) parseAttributes(list cryptobyte.String) error {
	var seen []string
	hasExtensions := false
	for !list.Empty() {
		if len(seen) == maxAttributes {
			return &Error{Kind: TooLarge, Detail: "more than 32 attributes"}
		}
		start := len(list)
		var attribute, values cryptobyte.String
		var oid string
		element := list
		if !list.ReadASN1(&attribute, asn1.SEQUENCE) || !readOID(&attribute, &oid) ||
			!attribute.ReadASN1(&values, asn1.SET) || !attribute.Empty() {
			return malformed("an attribute is not a type and a set of values")
		}
		raw := element[:start-len(list)]
		if slices.Contains(seen, oid) {
			return badAttribute("attribute " + oid + " stands twice")
		}
		seen = append(seen, oid)
		switch oid {
		case oidExtensionRequest, oidMicrosoftExtension:
			if hasExtensions {
				return badAttribute("extensions are asked for in two attributes; leave out " + oidMicrosoftExtension)
			}
			hasExtensions = true
			if err := r.parseExtensions(values); err != nil {
				return err
			}
		case oidChallengePassword:
			if err := r.parseChallenge(values); err != nil {
				return err
			}
			continue // not part of the request without secrets
		default:
			r.Attributes = append(r.Attributes, oid)
		}
		r.kept = append(r.kept, raw)
	}
	return nil
}

// readOID reads an object identifier in dotted form.
func readOID(s *cryptobyte.String, out *string) bool {
	var content cryptobyte.String
	if !s.ReadASN1(&content, asn1.OBJECT_IDENTIFIER) {
		return false
	}
	dotted, ok := names.OIDString(content)
	*out = dotted
	return ok
}

// parseChallenge reads the one DirectoryString of challengePassword. Its errors
// say nothing of the value.
func (r *Request) parseChallenge(values cryptobyte.String) error {
	var value cryptobyte.String
	var tag asn1.Tag
	if !values.ReadAnyASN1(&value, &tag) || !values.Empty() {
		return badAttribute("the challengePassword is not one string")
	}
	text, err := names.ParseString(int(tag), value)
	if err != nil {
		return badAttribute("the challengePassword is empty, holds control characters or is no ASN.1 string; use UTF8String")
	}
	if len([]rune(text)) > maxChallenge {
		return badAttribute("the challengePassword is longer than 255 characters")
	}
	r.ChallengePassword = text
	return nil
}

// parseExtensions reads the one Extensions value of an extensionRequest.
func (r *Request) parseExtensions(values cryptobyte.String) error {
	var list cryptobyte.String
	if !values.ReadASN1(&list, asn1.SEQUENCE) || !values.Empty() {
		return badAttribute("the extension request is not one list of extensions")
	}
	var seen []string
	for !list.Empty() {
		if len(seen) == maxExtensions {
			return &Error{Kind: TooLarge, Detail: "more than 64 extensions"}
		}
		e, err := parseExtension(&list)
		if err != nil {
			return err
		}
		// RFC 5280, Section 4.2: no extension more than once.
		if slices.Contains(seen, e.OID) {
			return badAttribute("extension " + e.OID + " is asked for twice")
		}
		seen = append(seen, e.OID)
		if e.OID != oidSubjectAltName {
			r.Extensions = append(r.Extensions, e)
			continue
		}
		if r.Names, err = names.ParseSAN(e.Value); err != nil {
			return &Error{Kind: BadNames, Detail: "subjectAltName", Err: err}
		}
	}
	return nil
}

// parseExtension reads Extension (RFC 5280, Section 4.1).
func parseExtension(list *cryptobyte.String) (Extension, error) {
	var e Extension
	var seq, critical, value cryptobyte.String
	var hasCritical bool
	if !list.ReadASN1(&seq, asn1.SEQUENCE) || !readOID(&seq, &e.OID) ||
		!seq.ReadOptionalASN1(&critical, &hasCritical, asn1.BOOLEAN) ||
		!seq.ReadASN1(&value, asn1.OCTET_STRING) || !seq.Empty() {
		return e, malformed("a requested extension is not DER")
	}
	// X.690, Sections 11.1 and 11.5: TRUE is FF, and the default, FALSE, is
	// left out.
	if hasCritical && (len(critical) != 1 || critical[0] != 0xff) {
		return e, malformed("extension " + e.OID + " has a critical flag that is not DER")
	}
	e.Critical, e.Value = hasCritical, value
	return e, nil
}
