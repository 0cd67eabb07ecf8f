package pki

import (
	"bytes"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/crypto/cryptobyte/asn1"
)

// Tags of GeneralName (RFC 5280, Section 4.2.1.6).
const (
	tagOther        = asn1.Tag(0 | 0xa0)
	tagEmail        = asn1.Tag(1 | 0x80)
	tagDNS          = asn1.Tag(2 | 0x80)
	tagDirectory    = asn1.Tag(4 | 0xa0)
	tagURI          = asn1.Tag(6 | 0x80)
	tagIP           = asn1.Tag(7 | 0x80)
	tagRegisteredID = asn1.Tag(8 | 0x80)
)

// altNameRules are about subjectAltName.
func altNameRules() []rule {
	return []rule{
		{"san-for-empty-subject", "RFC 5280, Section 4.1.2.6", blocks, sanForEmptySubject},
		{"san-critical", "RFC 5280, Section 4.2.1.6", blocks, sanCritical},
		{"san-for-server", "RFC 9525, Section 6.3: clients read only subjectAltName", blocks, sanForServer},
		{"san-empty", "RFC 5280, Section 4.2.1.6", blocks, sanEmpty},
		{"san-kind", "own rule: kinds of name that somebody can check", blocks, sanKind},
		{"san-dns", "RFC 5280, Section 4.2.1.6; RFC 1034, Section 3.5; RFC 9525, Section 6.3", blocks, sanDNS},
		{"san-dns-is-ip", "RFC 5280, Section 4.2.1.6", blocks, sanDNSIsIP},
		{"san-ip", "RFC 5280, Section 4.2.1.6", blocks, sanIP},
		{"san-ip-mapped", "own rule: one form for an IPv4 address", blocks, sanIPMapped},
		{"san-email", "RFC 5280, Section 4.2.1.6", blocks, sanEmail},
		{"san-uri", "RFC 5280, Section 4.2.1.6", blocks, sanURI},
		{"san-repeated", "own rule: each name once", blocks, sanRepeated},
	}
}

func sanForEmptySubject(c *certificate) string {
	if len(c.rdns) == 0 && c.san == nil {
		return "neither subject nor alternative names"
	}
	return ""
}

func sanCritical(c *certificate) string {
	switch {
	case c.san == nil:
		return ""
	case len(c.rdns) == 0 && !c.san.critical:
		return "subject is empty and subjectAltName not critical"
	case len(c.rdns) > 0 && c.san.critical:
		return "subject is not empty and subjectAltName critical"
	}
	return ""
}

func sanForServer(c *certificate) string {
	if c.san == nil && c.purpose(purposeServer) {
		return "serverAuth without alternative names"
	}
	return ""
}

func sanEmpty(c *certificate) string {
	if c.san != nil && len(c.names) == 0 {
		return "subjectAltName holds no names"
	}
	for _, n := range c.names {
		if len(bytes.TrimSpace(n.value)) == 0 || n.tag == tagDirectory && bytes.Equal(n.value, []byte{0x30, 0x00}) {
			return "subjectAltName holds an empty name"
		}
	}
	return ""
}

func sanKind(c *certificate) string {
	for _, n := range c.names {
		switch n.tag {
		case tagOther, tagEmail, tagDNS, tagDirectory, tagURI, tagIP, tagRegisteredID:
		default:
			return fmt.Sprintf("name of kind [%d]", n.tag&0x1f)
		}
	}
	return ""
}

func sanDNS(c *certificate) string {
	for _, n := range c.names {
		if n.tag == tagDNS && len(n.value) > 0 {
			if problem := dnsProblem(string(n.value)); problem != "" {
				return fmt.Sprintf("dNSName %q: %s", n.value, problem)
			}
		}
	}
	return ""
}

// dnsProblem checks the preferred syntax, with a wildcard for the whole of the
// first label.
func dnsProblem(name string) string {
	name = strings.TrimPrefix(name, "*.")
	if len(name) == 0 || len(name) > 253 {
		return "not 1 to 253 octets"
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) == 0 || len(label) > 63 {
			return "label is not 1 to 63 octets"
		}
		if label[0] == '-' || label[len(label)-1] == '-' {
			return "label begins or ends with a hyphen"
		}
		for i := range len(label) {
			if b := label[i]; !letter(b) && b != '-' && (b < '0' || b > '9') {
				return "not letters, digits, hyphens"
			}
		}
	}
	return ""
}

func sanDNSIsIP(c *certificate) string {
	for _, n := range c.names {
		if n.tag == tagDNS && numeric(string(n.value)) {
			return fmt.Sprintf("dNSName %q is an address", n.value)
		}
	}
	return ""
}

// numeric finds what some reader takes for an address: the last label of a host
// name is never a number (RFC 1123, Section 2.1; the URL Standard goes by it).
func numeric(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	return last != "" && strings.Trim(last, "0123456789") == ""
}

func sanIP(c *certificate) string {
	for _, n := range c.names {
		if n.tag == tagIP && len(n.value) > 0 && len(n.value) != 4 && len(n.value) != 16 {
			return fmt.Sprintf("iPAddress of %d octets", len(n.value))
		}
	}
	return ""
}

func sanIPMapped(c *certificate) string {
	for _, n := range c.names {
		if a, ok := netip.AddrFromSlice(n.value); n.tag == tagIP && ok && a.Is4In6() {
			return "iPAddress is an IPv4 address written as IPv6"
		}
	}
	return ""
}

func sanEmail(c *certificate) string {
	for _, n := range c.names {
		if n.tag != tagEmail || len(n.value) == 0 {
			continue
		}
		local, domain, ok := strings.Cut(string(n.value), "@")
		if !ok || local == "" || !visible(n.value) || strings.HasPrefix(domain, "*") || dnsProblem(domain) != "" {
			return fmt.Sprintf("rfc822Name %q is no mailbox", n.value)
		}
	}
	return ""
}

func sanURI(c *certificate) string {
	for _, n := range c.names {
		if n.tag != tagURI || len(n.value) == 0 {
			continue
		}
		u, err := url.Parse(string(n.value))
		if err != nil || !visible(n.value) || u.Scheme == "" || u.Opaque == "" && u.Host == "" || strings.Contains(u.Host, "*") {
			return fmt.Sprintf("uniformResourceIdentifier %q is not absolute", n.value)
		}
	}
	return ""
}

// visible tells whether v is ASCII without spaces and control characters.
func visible(v []byte) bool {
	for _, b := range v {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	return true
}

func sanRepeated(c *certificate) string {
	if len(c.names) < 2 {
		return ""
	}
	seen := make(map[string]bool, len(c.names))
	for _, n := range c.names {
		key := string(rune(n.tag)) + string(n.value)
		if n.tag == tagDNS {
			key = strings.ToLower(key)
		}
		if seen[key] {
			return fmt.Sprintf("%q appears twice", n.value)
		}
		seen[key] = true
	}
	return ""
}
