package names

import (
	"net/netip"
	"strings"
)

// Pattern is a set of names as a person writes it in a grant or a profile. The
// zero Pattern matches nothing. Patterns compare with ==.
type Pattern struct {
	typ    Type // the type it admits; empty in the zero Pattern and in "any"
	form   patternForm
	value  string       // exact value; base domain; mail domain; URI prefix
	prefix netip.Prefix // for IP
}

type patternForm uint8

const (
	nothing patternForm = iota
	exact
	below    // *.example.com, *@example.com, spiffe://td.example/*
	network  // 192.0.2.0/24
	everyOne // *, ip:*, email:*, uri:*
	anyName  // any
)

// ParsePattern reads the text form of a pattern:
//
//	host.example.com     that DNS name, never a wildcard
//	*.example.com        every DNS name below example.com at any depth, and the
//	                     wildcards over example.com and what is below it
//	*                    every DNS name
//	192.0.2.7, 10.0.0.0/8, 2001:db8::/32
//	user@example.com, *@example.com
//	spiffe://td.example/x, spiffe://td.example/*
//	dns: ip: email: uri: in front say the type where it is not plain
//	ip:*, email:*, uri:* every name of that type
//	any                  every name
func ParsePattern(s string) (Pattern, error) {
	if s == "any" {
		return Pattern{form: anyName}, nil
	}
	typ, text := patternType(s)
	p, reason := Pattern{typ: typ, form: exact}, ""
	switch {
	case text == "*":
		p.form = everyOne
	case typ == IP:
		p.prefix, reason = parseNetwork(text)
		p.form = network
	case typ == DNS && strings.HasPrefix(text, "*."):
		p.form = below
		p.value, reason = parseDNS(text[2:], false)
	case typ == DNS:
		p.value, reason = parseDNS(text, false)
	case typ == Email && strings.HasPrefix(text, "*@"):
		p.form = below
		p.value, reason = parseDNS(text[2:], false)
	case typ == Email:
		p.value, reason = parseEmail(text)
	case strings.HasSuffix(text, "*"):
		p.form = below
		p.value, reason = parseURIPrefix(strings.TrimSuffix(text, "*"))
	default:
		p.value, reason = parseURI(text)
	}
	if reason == "" && strings.Contains(p.value, "*") {
		reason = "a * may stand only at the start of a dns or email pattern and at the end of a uri pattern"
	}
	if reason != "" {
		return Pattern{}, &SyntaxError{What: "pattern", Value: s, Reason: reason}
	}
	return p, nil
}

// patternType splits off the prefix, or tells the type by the text's shape.
func patternType(s string) (Type, string) {
	if head, tail, ok := strings.Cut(s, ":"); ok {
		switch t := Type(head); t {
		case DNS, IP, Email, URI:
			return t, tail
		}
	}
	switch {
	case strings.Contains(s, "://"):
		return URI, s
	case strings.Contains(s, "@"):
		return Email, s
	}
	if _, reason := parseNetwork(s); reason == "" || strings.Contains(s, "/") {
		return IP, s
	}
	return DNS, s
}

// parseNetwork reads an address or a CIDR block.
func parseNetwork(s string) (p netip.Prefix, reason string) {
	if !strings.Contains(s, "/") {
		canonical, reason := parseIP(s)
		if reason != "" {
			return p, reason
		}
		addr := netip.MustParseAddr(canonical)
		return netip.PrefixFrom(addr, addr.BitLen()), ""
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || p.Addr().Is4In6():
		return netip.Prefix{}, "not a network; write 192.0.2.0/24 or 2001:db8::/32"
	case p.Masked() != p:
		return netip.Prefix{}, "has bits set after the prefix; did you mean " + p.Masked().String() + "?"
	}
	return p, ""
}

// parseURIPrefix reads what stands before the star. The authority must be
// complete, or "https://example.com*" would admit example.com.attacker.test.
func parseURIPrefix(s string) (canonical, reason string) {
	u, reason := splitURI(s)
	if reason != "" {
		return "", reason
	}
	if !u.authority || !strings.HasPrefix(u.rest, "/") {
		return "", "a uri pattern names the whole host before the star, as in spiffe://td.example/*"
	}
	return u.String(), ""
}

// Match says whether n is one of the names that p stands for.
func (p Pattern) Match(n Name) bool {
	if p.form == anyName {
		return true
	}
	if p.typ != n.Type {
		return false
	}
	switch p.form {
	case everyOne:
		return true
	case exact:
		return p.value == n.Value
	case network:
		addr, err := netip.ParseAddr(n.Value)
		return err == nil && p.prefix.Contains(addr)
	case below:
		return p.matchBelow(n)
	}
	return false
}

func (p Pattern) matchBelow(n Name) bool {
	switch p.typ {
	case DNS:
		// The wildcard *.example.com ends in .example.com like any other name
		// below it, so one comparison serves both.
		return strings.HasSuffix(n.Value, "."+p.value)
	case Email:
		_, host, _ := strings.Cut(n.Value, "@")
		return host == p.value
	}
	return strings.HasPrefix(n.Value, p.value)
}

// String gives the canonical text form, which ParsePattern reads back.
func (p Pattern) String() string {
	prefix := string(p.typ) + ":"
	switch p.form {
	case anyName:
		return "any"
	case everyOne:
		if p.typ == DNS {
			return "*"
		}
		return prefix + "*"
	case network:
		if p.prefix.IsSingleIP() {
			return p.prefix.Addr().String()
		}
		return p.prefix.String()
	case below:
		switch p.typ {
		case DNS:
			return "*." + p.value
		case Email:
			return "*@" + p.value
		}
		return p.value + "*"
	case exact:
		if p.ambiguous() {
			return prefix + p.value
		}
		return p.value
	}
	return ""
}

// ambiguous says that an exact value needs its prefix to be read back as itself.
func (p Pattern) ambiguous() bool {
	t, text := patternType(p.value)
	return t != p.typ || text != p.value || p.value == "any"
}

// MarshalText implements encoding.TextMarshaler.
func (p Pattern) MarshalText() ([]byte, error) {
	if p.form == nothing {
		return nil, &SyntaxError{What: "pattern", Reason: "empty; write any to admit every name"}
	}
	return []byte(p.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Pattern) UnmarshalText(text []byte) error {
	parsed, err := ParsePattern(string(text))
	if err != nil {
		return err
	}
	*p = parsed
	return nil
}
