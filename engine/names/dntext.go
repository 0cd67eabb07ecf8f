package names

import (
	"encoding/hex"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// String writes the DN as RFC 4514 does: last RDN first, types by short name
// where one is known, other types as dotted OID with the value in hexadecimal.
// It is for people and configuration; compare with Equal.
func (d DN) String() string {
	var b strings.Builder
	for i := len(d) - 1; i >= 0; i-- {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		for j, a := range d[i] {
			if j > 0 {
				b.WriteByte('+')
			}
			a.write(&b)
		}
	}
	return b.String()
}

func (a Attribute) write(b *strings.Builder) {
	if k, ok := kindOf(a.OID); ok {
		b.WriteString(k.short)
		b.WriteByte('=')
		escapeValue(b, a.Value)
		return
	}
	// RFC 4514, Section 2.4: a type without a name has its value as #hex.
	var der cryptobyte.Builder
	der.AddASN1(asn1.Tag(a.tag()), func(b *cryptobyte.Builder) { b.AddBytes([]byte(a.Value)) })
	b.WriteString(a.OID)
	b.WriteString("=#")
	b.WriteString(hex.EncodeToString(der.BytesOrPanic()))
}

// escapeValue is RFC 4514, Section 2.4.
func escapeValue(b *strings.Builder, s string) {
	for i := range len(s) {
		c := s[i]
		edge := c == ' ' && (i == 0 || i == len(s)-1) || c == '#' && i == 0
		if edge || strings.IndexByte(`"+,;<>\`, c) >= 0 {
			b.WriteByte('\\')
		}
		if c < 0x20 || c == 0x7f {
			b.WriteByte('\\')
			b.WriteString(hex.EncodeToString([]byte{c}))
			continue
		}
		b.WriteByte(c)
	}
}

// ParseDNString reads the form that String writes: "CN=Chancery Root,O=Example"
// (RFC 4514, Section 3). Types are short names in any case or dotted OIDs; space
// around separators is allowed; a multi-valued RDN is joined with +.
func ParseDNString(s string) (DN, error) {
	if len(s) > maxDN {
		return nil, dnError("longer than 4096 octets")
	}
	dn := DN{}
	if strings.TrimSpace(s) == "" {
		return dn, nil
	}
	rdn := RDN{}
	for rest, more := s, true; more; {
		var a Attribute
		var separator byte
		var reason string
		a, separator, rest, reason = readPair(rest)
		if reason != "" {
			return nil, &SyntaxError{What: "distinguished name", Value: s, Reason: reason}
		}
		if err := a.check(); err != nil {
			return nil, err
		}
		rdn = append(rdn, a)
		if separator != '+' {
			dn = append(dn, rdn)
			rdn = RDN{}
		}
		more = separator != 0
	}
	// The text has the last RDN first (RFC 4514, Section 2.1).
	for i, j := 0, len(dn)-1; i < j; i, j = i+1, j-1 {
		dn[i], dn[j] = dn[j], dn[i]
	}
	if _, err := dn.Marshal(); err != nil {
		return nil, err
	}
	return dn, nil
}

// readPair reads one type=value and the separator after it, 0 at the end.
func readPair(s string) (a Attribute, separator byte, rest, reason string) {
	name, rest, ok := strings.Cut(s, "=")
	if !ok {
		return a, 0, "", "an attribute without =; write CN=…"
	}
	if a.OID = typeByName(strings.TrimSpace(name)); a.OID == "" {
		return a, 0, "", "an unknown attribute type " + quote(name) + "; write a dotted OID"
	}
	value, separator, rest, reason := readValue(strings.TrimLeft(rest, " "))
	if reason != "" {
		return a, 0, "", reason
	}
	if encoded, ok := strings.CutPrefix(value, "#"); ok {
		a, reason = a.fromHex(encoded)
		return a, separator, rest, reason
	}
	a.Value, reason = unescapeValue(value)
	return a, separator, rest, reason
}

// readValue cuts a value, still escaped, at the first bare separator.
func readValue(s string) (value string, separator byte, rest, reason string) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ',', '+':
			return s[:i], s[i], s[i+1:], ""
		case '"', ';', '<', '>':
			return "", 0, "", `one of ";<> without a \ before it`
		}
	}
	return s, 0, "", ""
}

func unescapeValue(s string) (value, reason string) {
	// Trailing space goes unless a backslash keeps it.
	for strings.HasSuffix(s, " ") && !strings.HasSuffix(s, `\ `) {
		s = s[:len(s)-1]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && strings.IndexByte(` "#+,;<=>\`, s[i+1]) >= 0 {
			b.WriteByte(s[i+1])
			i++
			continue
		}
		if i+2 >= len(s) {
			return "", `a \ that escapes nothing`
		}
		octet, err := hex.DecodeString(s[i+1 : i+3])
		if err != nil {
			return "", `a \ that escapes nothing`
		}
		b.Write(octet)
		i += 2
	}
	return b.String(), ""
}

// fromHex reads the #hex form of a value.
func (a Attribute) fromHex(s string) (Attribute, string) {
	const reason = "a # that is not followed by the hexadecimal DER of a string"
	der, err := hex.DecodeString(strings.TrimRight(s, " "))
	if err != nil {
		return a, reason
	}
	input := cryptobyte.String(der)
	var value cryptobyte.String
	var tag asn1.Tag
	if !input.ReadAnyASN1(&value, &tag) || !input.Empty() {
		return a, reason
	}
	a.Value, err = ParseString(int(tag), value)
	if err != nil {
		return a, reason
	}
	if a.Tag = int(tag); a.tag() != int(tag) {
		a.Tag = 0
	}
	if plain := (Attribute{OID: a.OID, Value: a.Value}); plain.tag() == a.tag() {
		a.Tag = 0
	}
	return a, ""
}

func typeByName(s string) string {
	for i := range kinds {
		if strings.EqualFold(kinds[i].short, s) {
			return kinds[i].oid
		}
	}
	if _, ok := parseOID(s); ok {
		return s
	}
	return ""
}
