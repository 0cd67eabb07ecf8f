package pki

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte/asn1"
)

// Contents of object identifiers: attributes of a Name (RFC 5280, Appendix A.1).
const (
	attrCommonName   = "\x55\x04\x03"
	attrSurname      = "\x55\x04\x04"
	attrSerialNumber = "\x55\x04\x05"
	attrCountry      = "\x55\x04\x06"
	attrLocality     = "\x55\x04\x07"
	attrState        = "\x55\x04\x08"
	attrStreet       = "\x55\x04\x09"
	attrOrganization = "\x55\x04\x0a"
	attrUnit         = "\x55\x04\x0b"
	attrTitle        = "\x55\x04\x0c"
	attrName         = "\x55\x04\x29"
	attrGivenName    = "\x55\x04\x2a"
	attrInitials     = "\x55\x04\x2b"
	attrGeneration   = "\x55\x04\x2c"
	attrPseudonym    = "\x55\x04\x41"
	attrEmail        = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01"
	attrDomain       = "\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19"
)

// nameRules are about issuer and subject.
func nameRules() []rule {
	return []rule{
		{"issuer-empty", "RFC 5280, Section 4.1.2.4", blocks, issuerEmpty},
		{"subject-not-issuer", "own rule: an end entity does not bear its issuer's name", blocks, subjectNotIssuer},
		{"subject-length", "RFC 5280, Appendix A.1, upper bounds", blocks, subjectLength},
		{"subject-characters", "own rule: nothing that hides in a display", blocks, subjectCharacters},
		{"subject-empty-value", "X.520: a DirectoryString has a character", blocks, subjectEmptyValue},
		{"subject-string", "RFC 5280, Sections 4.1.2.4 and 4.1.2.6", blocks, subjectString},
		{"subject-repeated", "own rule: one value where readers look for one", blocks, subjectRepeated},
		{"subject-country", "RFC 5280, Appendix A.1: two letters", blocks, subjectCountry},
		{"common-name-in-san", "own rule: a name in CN is proved like any other", blocks, commonNameInSAN},
	}
}

func issuerEmpty(c *certificate) string {
	if len(c.issuerRDN) == 0 {
		return "issuer is empty"
	}
	return ""
}

func subjectNotIssuer(c *certificate) string {
	if len(c.rdns) > 0 && bytes.Equal(c.issuer, c.subject) {
		return "subject and issuer are the same name"
	}
	return ""
}

// bound is how many characters an attribute may have.
func bound(oid string) int {
	switch oid {
	case attrCommonName, attrOrganization, attrUnit, attrTitle, attrSerialNumber:
		return 64
	case attrLocality, attrState, attrStreet, attrPseudonym:
		return 128
	case attrName, attrSurname, attrGivenName, attrInitials, attrGeneration:
		return 32768
	}
	return 255 // ub-emailaddress-length, and our own for the rest
}

func subjectLength(c *certificate) string {
	for _, a := range c.rdns {
		if n := utf8.RuneCount(a.value); n > bound(a.oid) {
			return fmt.Sprintf("attribute %s has %d characters; %d are allowed", dotted(a.oid), n, bound(a.oid))
		}
	}
	return ""
}

func subjectCharacters(c *certificate) string {
	for _, a := range c.rdns {
		if i := bytes.IndexFunc(a.value, hidden); i >= 0 {
			return fmt.Sprintf("attribute %s holds %q", dotted(a.oid), a.value)
		}
	}
	return ""
}

// hidden finds control characters, line ends of all kinds, and those that
// change the direction of what follows.
func hidden(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

func subjectEmptyValue(c *certificate) string {
	for _, a := range c.rdns {
		if len(bytes.TrimSpace(a.value)) == 0 {
			return "attribute " + dotted(a.oid) + " is blank"
		}
	}
	return ""
}

// subjectString allows PrintableString and UTF8String, and IA5String for the
// two attributes that are defined so.
func subjectString(c *certificate) string {
	for _, a := range c.rdns {
		ok := false
		switch {
		case a.oid == attrEmail || a.oid == attrDomain:
			ok = a.tag == asn1.IA5String && ascii(a.value)
		case a.tag == asn1.PrintableString:
			ok = printableString(a.value)
		case a.tag == asn1.UTF8String:
			ok = a.oid != attrCountry && a.oid != attrSerialNumber
		}
		if !ok {
			return "attribute " + dotted(a.oid) + " is in a string of the wrong kind"
		}
	}
	return ""
}

func ascii(v []byte) bool {
	for _, b := range v {
		if b >= 0x80 {
			return false
		}
	}
	return true
}

func printableString(v []byte) bool {
	for _, b := range v {
		if !(b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte(" '()+,-./:=?", b) >= 0) {
			return false
		}
	}
	return true
}

// subjectRepeated lets units, domains and streets be many, for they nest.
func subjectRepeated(c *certificate) string {
	for i, a := range c.rdns {
		if a.oid == attrUnit || a.oid == attrDomain || a.oid == attrStreet {
			continue
		}
		for _, b := range c.rdns[:i] {
			if a.oid == b.oid {
				return "attribute " + dotted(a.oid) + " appears twice"
			}
		}
	}
	return ""
}

func subjectCountry(c *certificate) string {
	for _, a := range c.rdns {
		if a.oid == attrCountry && (len(a.value) != 2 || !letter(a.value[0]) || !letter(a.value[1])) {
			return fmt.Sprintf("country %q", a.value)
		}
	}
	return ""
}

func letter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

// commonNameInSAN takes a CN for a name when readers might: a host name with a
// dot, an address, a mailbox, or a URI.
func commonNameInSAN(c *certificate) string {
	for _, a := range c.rdns {
		if a.oid != attrCommonName {
			continue
		}
		cn := string(a.value)
		ip, err := netip.ParseAddr(cn)
		looks := err == nil || strings.Contains(cn, "@") || strings.Contains(cn, "://") ||
			strings.Contains(cn, ".") && dnsProblem(cn) == ""
		if !looks {
			continue
		}
		found := false
		for _, n := range c.names {
			switch n.tag {
			case tagDNS, tagEmail:
				found = found || strings.EqualFold(string(n.value), cn)
			case tagURI:
				found = found || string(n.value) == cn
			case tagIP:
				found = found || err == nil && bytes.Equal(n.value, ip.AsSlice())
			}
		}
		if !found {
			return fmt.Sprintf("CN %q is not among the alternative names", cn)
		}
	}
	return ""
}
