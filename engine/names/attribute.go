package names

import (
	"unicode/utf8"
)

// Attribute types that have rules of their own here.
const (
	oidCommonName   = "2.5.4.3"
	oidSerialNumber = "2.5.4.5"
	oidCountry      = "2.5.4.6"
	oidDNQualifier  = "2.5.4.46"
	oidEmail        = "1.2.840.113549.1.9.1"
	oidDC           = "0.9.2342.19200300.100.1.25"
)

// kind is what is known of an attribute type.
type kind struct {
	short string // the name in text; those of RFC 4514, Section 3 first
	oid   string
	most  int // upper bound in characters: RFC 5280, Appendix A.1 and X.520
}

// kinds lists the attribute types known by name.
var kinds = [...]kind{
	{"CN", oidCommonName, 64},
	{"L", "2.5.4.7", 128},
	{"ST", "2.5.4.8", 128},
	{"O", "2.5.4.10", 64},
	{"OU", "2.5.4.11", 64},
	{"C", oidCountry, 2},
	{"STREET", "2.5.4.9", 128},
	{"DC", oidDC, 63},
	{"UID", "0.9.2342.19200300.100.1.1", 256},
	{"serialNumber", oidSerialNumber, 64},
	{"emailAddress", oidEmail, 255},
	{"title", "2.5.4.12", 64},
	{"SN", "2.5.4.4", 40},
	{"givenName", "2.5.4.42", 64},
	{"initials", "2.5.4.43", 64},
	{"generationQualifier", "2.5.4.44", 64},
	{"dnQualifier", oidDNQualifier, 64},
	{"pseudonym", "2.5.4.65", 128},
	{"name", "2.5.4.41", 64},
	{"businessCategory", "2.5.4.15", 128},
	{"postalCode", "2.5.4.17", 40},
	{"organizationIdentifier", "2.5.4.97", 256},
	{"unstructuredName", "1.2.840.113549.1.9.2", 255},
	{"unstructuredAddress", "1.2.840.113549.1.9.8", 255},
}

// otherMost bounds attribute types that are not in the list.
const otherMost = 256

func kindOf(oid string) (kind, bool) {
	for i := range kinds {
		if kinds[i].oid == oid {
			return kinds[i], true
		}
	}
	return kind{most: otherMost}, false
}

// check holds a value to its type's rules, whichever way it came in.
func (a Attribute) check() error {
	k, known := kindOf(a.OID)
	what := a.OID
	if known {
		what = k.short
	}
	if reason := checkText(a.Value); reason != "" {
		return &SyntaxError{What: what, Value: a.Value, Reason: reason}
	}
	if n := utf8.RuneCountInString(a.Value); n > k.most {
		return &SyntaxError{What: what, Value: a.Value, Reason: "longer than its type allows (RFC 5280, Appendix A.1); shorten it"}
	}
	reason := ""
	switch a.OID {
	case oidCountry:
		// X.520: two letters of ISO 3166.
		if len(a.Value) != 2 || !isAlnum(a.Value[0]) || !isAlnum(a.Value[1]) || isDigit(a.Value[0]) || isDigit(a.Value[1]) {
			reason = "a country is two letters"
		}
	case oidSerialNumber, oidDNQualifier:
		if !printable(a.Value) {
			reason = "only letters, digits, space and '()+,-./:=? are admitted"
		}
	case oidEmail, oidDC:
		if !ascii(a.Value) {
			reason = "only ASCII is admitted"
		}
	}
	if reason != "" {
		return &SyntaxError{What: what, Value: a.Value, Reason: reason}
	}
	return nil
}

// tag chooses the string type to write.
func (a Attribute) tag() int {
	switch a.OID {
	case oidCountry, oidSerialNumber, oidDNQualifier:
		return TagPrintableString
	case oidEmail, oidDC:
		return TagIA5String
	}
	switch a.Tag {
	case TagUTF8String:
		return TagUTF8String
	case TagIA5String:
		if ascii(a.Value) {
			return TagIA5String
		}
	case TagNumericString:
		if numeric(a.Value) {
			return TagNumericString
		}
	}
	if printable(a.Value) {
		return TagPrintableString
	}
	return TagUTF8String
}
