package names

import (
	"net/netip"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// maxSubtrees bounds a constraints extension: Check does names × subtrees.
const maxSubtrees = 500

// Constraints are the name constraints of one issuer (RFC 5280, Section
// 4.2.1.10). The zero value constrains nothing. Constraints of the whole chain
// are checked one issuer after the other.
type Constraints struct {
	permitted, excluded []subtree
}

// dirName is the form of a subtree that speaks of the subject. It is no type of
// Name that Parse takes.
const dirName Type = "dirName"

// subtree is one GeneralSubtree, read into the form that comparing needs.
type subtree struct {
	typ    Type
	text   string // host of dns, email and uri, lower case, without a leading dot
	dotted bool   // the text had a leading dot: only what is below
	local  string // for email: the part before @, if one mailbox is meant
	prefix netip.Prefix
	dn     DN
}

// ParseConstraints reads the value of a nameConstraints extension. A subtree of
// a form that Check does not know, or one that it cannot read, is an error: to
// ignore it would be to issue outside it.
func ParseConstraints(ext []byte) (*Constraints, error) {
	input := cryptobyte.String(ext)
	var seq, permitted, excluded cryptobyte.String
	var hasPermitted, hasExcluded bool
	if !input.ReadASN1(&seq, asn1.SEQUENCE) || !input.Empty() ||
		!seq.ReadOptionalASN1(&permitted, &hasPermitted, asn1.Tag(0).ContextSpecific().Constructed()) ||
		!seq.ReadOptionalASN1(&excluded, &hasExcluded, asn1.Tag(1).ContextSpecific().Constructed()) ||
		!seq.Empty() {
		return nil, constraintsError("not two lists of subtrees in DER")
	}
	// RFC 5280, Section 4.2.1.10: the extension is not empty, nor is a list.
	if !hasPermitted && !hasExcluded || hasPermitted && permitted.Empty() || hasExcluded && excluded.Empty() {
		return nil, constraintsError("an empty list of subtrees")
	}
	c := &Constraints{}
	var err error
	if c.permitted, err = parseSubtrees(permitted); err != nil {
		return nil, err
	}
	if c.excluded, err = parseSubtrees(excluded); err != nil {
		return nil, err
	}
	if len(c.permitted)+len(c.excluded) > maxSubtrees {
		return nil, constraintsError("more than 500 subtrees")
	}
	return c, nil
}

func constraintsError(reason string) error {
	return &SyntaxError{What: "nameConstraints", Reason: reason}
}

func parseSubtrees(list cryptobyte.String) ([]subtree, error) {
	var out []subtree
	for !list.Empty() {
		if len(out) == maxSubtrees {
			return nil, constraintsError("more than 500 subtrees")
		}
		var seq, base cryptobyte.String
		var tag asn1.Tag
		// RFC 5280, Section 4.2.1.10: minimum is 0, which DER leaves out, and
		// maximum is absent. So base is all there is.
		if !list.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadAnyASN1(&base, &tag) || !seq.Empty() {
			return nil, constraintsError("a subtree is not one base name without minimum and maximum")
		}
		s, err := parseSubtree(tag, base)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func parseSubtree(tag asn1.Tag, base cryptobyte.String) (subtree, error) {
	var s subtree
	var reason string
	switch tag {
	case asn1.Tag(tagDNSName).ContextSpecific():
		s, reason = hostSubtree(DNS, string(base))
	case asn1.Tag(tagURI).ContextSpecific():
		s, reason = hostSubtree(URI, string(base))
	case asn1.Tag(tagRFC822Name).ContextSpecific():
		s, reason = emailSubtree(string(base))
	case asn1.Tag(tagIPAddress).ContextSpecific():
		s, reason = networkSubtree(base)
	case asn1.Tag(tagDirectoryName).ContextSpecific().Constructed():
		dn, err := ParseDN(base)
		if err != nil {
			return s, err
		}
		s = subtree{typ: dirName, dn: dn}
	default:
		if form := unsupportedForm(tag, base); form != "" {
			return s, &UnsupportedError{Form: form}
		}
		reason = "a subtree's base is not a GeneralName"
	}
	if reason != "" {
		return s, &SyntaxError{What: "nameConstraints", Value: string(base), Reason: reason}
	}
	return s, nil
}

// hostSubtree reads a host, or a domain with a leading dot, or nothing, which
// stands for every host.
func hostSubtree(t Type, text string) (s subtree, reason string) {
	s.typ = t
	if text == "" {
		return s, ""
	}
	if text[0] == '.' {
		s.dotted = true
		text = text[1:]
	}
	s.text, reason = parseDNS(text, false)
	return s, reason
}

// emailSubtree reads a mailbox, a host, or a domain with a leading dot.
func emailSubtree(text string) (s subtree, reason string) {
	mailbox, reason := parseEmail(text)
	if reason != "" {
		return hostSubtree(Email, text)
	}
	s = subtree{typ: Email}
	at := strings.LastIndexByte(mailbox, '@')
	s.local, s.text = mailbox[:at], mailbox[at+1:]
	return s, ""
}

// networkSubtree reads address and mask: 8 octets or 32, the mask a run of ones
// (RFC 5280, Section 4.2.1.10; RFC 4632, Section 3.1).
func networkSubtree(b []byte) (s subtree, reason string) {
	const bad = "an ip subtree is an address and a contiguous mask, 8 or 32 octets"
	if len(b) != 8 && len(b) != 32 {
		return s, bad
	}
	addr, _ := netip.AddrFromSlice(b[:len(b)/2])
	ones, ended := 0, false
	for _, octet := range b[len(b)/2:] {
		for bit := 7; bit >= 0; bit-- {
			set := octet>>bit&1 == 1
			if set && ended {
				return s, bad
			}
			if set {
				ones++
			} else {
				ended = true
			}
		}
	}
	// A mapped network would never hold an address in canonical form.
	if addr.Is4In6() && ones >= 96 {
		return s, "an IPv4-mapped network; write it with 8 octets"
	}
	s.typ, s.prefix = IP, netip.PrefixFrom(addr, ones).Masked()
	return s, ""
}
