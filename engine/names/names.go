// Package names holds the two kinds of name that a certificate carries: the
// GeneralNames of subjectAltName (RFC 5280, Section 4.2.1.6) and distinguished
// names (RFC 5280, Section 4.1.2.4), with the patterns that grants and profiles
// are written in and the name constraints of an issuer (RFC 5280, Section
// 4.2.1.10).
//
// Everything that leaves a parser of this package is in one canonical form, so
// two names are the same name exactly when they compare equal with ==. What has
// no canonical form, or more than one reading, is refused.
package names

import (
	"net/netip"
	"strings"
)

// Type is the form of a GeneralName.
type Type string

// The four forms that Chancery issues. Every other form is refused, never
// carried along unread.
const (
	DNS   Type = "dns"
	IP    Type = "ip"
	Email Type = "email"
	URI   Type = "uri"
)

// MaxNames is how many names one subjectAltName may hold: checks that compare
// names with constraints grow with the product of the two.
const MaxNames = 100

// Name is one GeneralName in canonical form. Make one with Parse or ParseSAN;
// a Name written by hand is not checked by anything but MarshalSAN.
type Name struct {
	Type  Type   `json:"type"`
	Value string `json:"value"`
}

// String gives the form used in configuration and logs, "dns:www.example.com".
func (n Name) String() string { return string(n.Type) + ":" + n.Value }

// Wildcard says whether n is a DNS name that stands for many.
func (n Name) Wildcard() bool {
	return n.Type == DNS && strings.HasPrefix(n.Value, "*.")
}

// Parse checks value as a name of type t and folds it to canonical form. The
// error is a *SyntaxError, or an *UnsupportedError for an unknown type.
func Parse(t Type, value string) (Name, error) {
	var canonical, reason string
	switch t {
	case DNS:
		canonical, reason = parseDNS(value, true)
	case IP:
		canonical, reason = parseIP(value)
	case Email:
		canonical, reason = parseEmail(value)
	case URI:
		canonical, reason = parseURI(value)
	default:
		return Name{}, &UnsupportedError{Form: string(t)}
	}
	if reason != "" {
		return Name{}, &SyntaxError{What: string(t), Value: value, Reason: reason}
	}
	return Name{Type: t, Value: canonical}, nil
}

// parseIP reads an address. RFC 5280, Section 4.2.1.6: an address is 4 or 16
// octets; an IPv4 address inside IPv6 would be a second spelling of the first,
// and a zone means nothing outside one machine.
func parseIP(s string) (canonical, reason string) {
	addr, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return "", "not an IP address; write 192.0.2.1 or 2001:db8::1"
	case addr.Zone() != "":
		return "", "an address in a certificate has no zone; leave out what follows %"
	case addr.Is4In6():
		return "", "an IPv4-mapped address has two spellings; write the IPv4 address"
	}
	return addr.String(), ""
}

// maxLocalPart is RFC 5321, Section 4.5.3.1.1.
const maxLocalPart = 64

// parseEmail reads a Mailbox of RFC 5321, Section 4.1.2, whose local part is a
// dot-string. Quoted local parts and address literals are refused: programs
// disagree on where they end. The local part keeps its case (RFC 5280, Section
// 7.5), the host does not.
func parseEmail(s string) (canonical, reason string) {
	local, host, ok := strings.Cut(s, "@")
	if !ok || local == "" {
		return "", "not an address of the form user@example.com"
	}
	if len(local) > maxLocalPart {
		return "", "the part before @ is longer than 64 octets"
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" {
			return "", "the part before @ has an empty piece between dots"
		}
	}
	for i := range len(local) {
		if !isAtext(local[i]) && local[i] != '.' {
			return "", "the part before @ has a character that needs quoting; only ASCII letters, digits and !#$%&'*+-/=?^_`{|}~. are admitted"
		}
	}
	domain, reason := parseDNS(host, false)
	if reason != "" {
		return "", "the part after @: " + reason
	}
	return local + "@" + domain, ""
}

// isAtext is atext of RFC 5322, Section 3.2.3.
func isAtext(c byte) bool {
	return isAlnum(c) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
