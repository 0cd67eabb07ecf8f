package names

import (
	"strings"
	"unicode"
)

const (
	maxDomain = 253 // RFC 1035, Section 2.3.4: 255 octets on the wire is 253 as text
	maxLabel  = 63  // RFC 1035, Section 2.3.4
)

// parseDNS reads a host name in the preferred name syntax (RFC 5280, Section
// 4.2.1.6; RFC 1034, Section 3.5; RFC 1123, Section 2.1) and folds it to lower
// case. Internationalised names come as A-labels only (RFC 5280, Section 7.2).
func parseDNS(s string, wildcard bool) (canonical, reason string) {
	switch {
	case s == "":
		return "", "empty"
	case len(s) > maxDomain:
		return "", "longer than 253 octets"
	case strings.HasSuffix(s, "."):
		return "", "ends with a dot; leave the dot out"
	}
	if reason := dnsOctets(s, wildcard); reason != "" {
		return "", reason
	}
	s = strings.ToLower(s)
	host := s
	if strings.HasPrefix(s, "*.") {
		host = s[2:]
		// A wildcard over a whole top-level domain is never one party's to ask.
		if strings.IndexByte(host, '.') < 0 {
			return "", "a wildcard needs at least two labels after *."
		}
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if reason := checkLabel(label); reason != "" {
			return "", reason
		}
		last = label
	}
	// An all-numeric last label makes the name an IPv4 address to some
	// readers (RFC 3696, Section 2).
	if strings.Trim(last, "0123456789") == "" {
		return "", "the last label is a number; an address is asked for as an ip name"
	}
	return s, ""
}

// dnsOctets refuses what no label may hold, with words for the usual mistakes.
func dnsOctets(s string, wildcard bool) (reason string) {
	for i := range len(s) {
		c := s[i]
		switch {
		case isAlnum(c) || c == '-' || c == '.':
		case c == '*':
			if !wildcard {
				return "a wildcard is not admitted here"
			}
			if i != 0 || !strings.HasPrefix(s, "*.") {
				return "a wildcard is one * as the whole leftmost label, as in *.example.com"
			}
		case c == '_':
			return "an underscore is not admitted in a host name"
		case c == ':':
			return "a host name has no port and is no address; an address is asked for as an ip name"
		case c >= 0x80:
			return "not ASCII; write the A-label (xn--…)"
		default:
			return "only letters, digits, hyphen and dot are admitted"
		}
	}
	return ""
}

// checkLabel checks one lower-case label.
func checkLabel(label string) (reason string) {
	switch {
	case label == "":
		return "an empty label (two dots, or one at the start)"
	case len(label) > maxLabel:
		return "a label is longer than 63 octets"
	case label[0] == '-' || label[len(label)-1] == '-':
		return "a label starts or ends with a hyphen"
	}
	if len(label) < 4 || label[2:4] != "--" {
		return ""
	}
	// RFC 5890, Section 2.3.1: "--" in the third and fourth place is reserved,
	// and xn-- is the one prefix in use.
	if label[:2] != "xn" {
		return "a label with -- in the third and fourth place that is not xn--"
	}
	return checkALabel(label[4:])
}

// checkALabel checks that what follows xn-- is the one Punycode spelling of a
// label that IDNA could have made (RFC 5890, Section 2.3.2.1). It applies the
// parts of RFC 5892 that the Unicode categories give: lower-case letters, marks,
// decimal digits and the contextual characters, no leading mark. Bidirectional
// and joining context rules are left to the registries.
func checkALabel(puny string) (reason string) {
	const invalid = "a label starts with xn-- but is not a valid A-label"
	runes, ok := decodePunycode(puny)
	if !ok || encodePunycode(runes) != puny {
		return invalid
	}
	ascii := true
	for i, r := range runes {
		if r < 0x80 {
			if !isAlnum(byte(r)) && r != '-' {
				return invalid
			}
			continue
		}
		ascii = false
		mark := unicode.Is(unicode.M, r)
		if i == 0 && mark || unicode.ToLower(r) != r {
			return invalid
		}
		if !mark && !unicode.Is(unicode.L, r) && !unicode.Is(unicode.Nd, r) && !contextual(r) {
			return invalid
		}
	}
	if ascii {
		return "a label starts with xn-- but holds only ASCII"
	}
	if runes[0] == '-' || runes[len(runes)-1] == '-' {
		return invalid
	}
	return ""
}

// contextual lists the CONTEXTJ and CONTEXTO characters of RFC 5892, Appendix A
// that are neither letters, marks nor digits.
func contextual(r rune) bool {
	switch r {
	case 0x00b7, 0x0375, 0x05f3, 0x05f4, 0x200c, 0x200d, 0x30fb:
		return true
	}
	return false
}
