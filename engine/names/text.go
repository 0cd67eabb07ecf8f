package names

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ASN.1 string types that a name may come in (RFC 5280, Section 4.1.2.4, and
// IA5String, NumericString for attributes defined with them).
const (
	TagUTF8String      = 12
	TagNumericString   = 18
	TagPrintableString = 19
	TagTeletexString   = 20
	TagIA5String       = 22
	TagUniversalString = 28
	TagBMPString       = 30
)

// ParseString reads the content octets of one ASN.1 string type as UTF-8. It
// refuses octets that the type cannot hold, empty strings, control characters
// and bidirectional marks. Of TeletexString only the ASCII part is read: the
// rest has no agreed meaning.
func ParseString(tag int, content []byte) (string, error) {
	s, reason := decodeString(tag, content)
	if reason == "" {
		reason = checkText(s)
	}
	if reason != "" {
		return "", &SyntaxError{What: "string of ASN.1 type " + strconv.Itoa(tag), Value: string(content), Reason: reason}
	}
	return s, nil
}

func decodeString(tag int, content []byte) (s, reason string) {
	s = string(content)
	ok := false
	switch tag {
	case TagUTF8String:
		ok = utf8.ValidString(s)
	case TagPrintableString:
		ok = printable(s)
	case TagIA5String, TagTeletexString:
		ok = ascii(s)
	case TagNumericString:
		ok = numeric(s)
	case TagBMPString:
		s, ok = decodeFixed(content, 2)
	case TagUniversalString:
		s, ok = decodeFixed(content, 4)
	default:
		return "", "not a string type that a name may hold; use UTF8String"
	}
	if !ok {
		return "", "holds octets that its string type cannot; use UTF8String"
	}
	return s, ""
}

// decodeFixed reads big-endian code points of width octets. Surrogates are not
// characters of BMPString, alone or in pairs (X.680, Section 41).
func decodeFixed(content []byte, width int) (string, bool) {
	if len(content)%width != 0 {
		return "", false
	}
	var b strings.Builder
	for ; len(content) > 0; content = content[width:] {
		code := uint32(0)
		for _, c := range content[:width] {
			code = code<<8 | uint32(c)
		}
		if code > unicode.MaxRune || !utf8.ValidRune(rune(code)) {
			return "", false
		}
		b.WriteRune(rune(code))
	}
	return b.String(), true
}

// checkText refuses text that could not be shown on one line as what it is.
func checkText(s string) (reason string) {
	if s == "" {
		return "empty; leave the attribute out"
	}
	if !utf8.ValidString(s) {
		return "not valid UTF-8"
	}
	if ascii(s) {
		for i := range len(s) {
			if s[i] < 0x20 || s[i] == 0x7f {
				return "a control character"
			}
		}
		return ""
	}
	for _, r := range s {
		switch {
		case unicode.IsControl(r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r):
			return "a control character"
		case unicode.Is(unicode.Bidi_Control, r):
			return "a bidirectional mark"
		case unicode.Is(unicode.Noncharacter_Code_Point, r) || r == 0xfeff:
			return "a code point that is no character"
		}
	}
	return ""
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func numeric(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) && s[i] != ' ' {
			return false
		}
	}
	return true
}

// printable is the character set of PrintableString (X.680, Section 41.4).
func printable(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && strings.IndexByte(" '()+,-./:=?", s[i]) < 0 {
			return false
		}
	}
	return true
}
