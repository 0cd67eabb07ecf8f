package names

import (
	"strings"
	"unicode"
)

// Equal compares two names by structure (RFC 5280, Section 7.1): the same
// number of RDNs in the same order, each the same set of attributes, values
// compared without regard to case and to the amount of space. Rendered text is
// never compared: "CN=a\,OU=b" and "CN=a,OU=b" are different names.
//
// Of the string preparation of RFC 4518 the mapping, case folding and space
// handling are done; Unicode normalisation is not, so a value and its decomposed
// spelling count as different.
func (d DN) Equal(e DN) bool {
	return len(d) == len(e) && d.within(e)
}

// within says that e begins with the RDNs of d: e lies in the subtree of d.
func (d DN) within(e DN) bool {
	if len(d) > len(e) {
		return false
	}
	for i := range d {
		if !d[i].equal(e[i]) {
			return false
		}
	}
	return true
}

// equal compares two sets: each member of one is paired with one of the other.
// Taking the first that fits is enough, because sameness is transitive.
func (r RDN) equal(s RDN) bool {
	if len(r) != len(s) {
		return false
	}
	if len(r) == 1 {
		return r[0].same(s[0])
	}
	paired := make([]bool, len(s))
	for _, a := range r {
		found := false
		for i, b := range s {
			if !paired[i] && a.same(b) {
				paired[i], found = true, true
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

func (a Attribute) same(b Attribute) bool {
	return a.OID == b.OID && sameText(a.Value, b.Value)
}

// sameText is caseIgnoreMatch (RFC 4517, Section 4.2.11).
func sameText(a, b string) bool {
	return a == b || strings.EqualFold(prepare(a), prepare(b))
}

// prepare applies the Map and Insignificant Space steps of RFC 4518, Sections
// 2.2 and 2.6.1: spaces of every kind become one, leading and trailing ones go.
func prepare(s string) string {
	var b strings.Builder
	space := false
	for _, r := range s {
		switch {
		case unicode.Is(unicode.Zs, r):
			space = true
			continue
		case mappedToNothing(r):
			continue
		}
		if space && b.Len() > 0 {
			b.WriteByte(' ')
		}
		space = false
		b.WriteRune(r)
	}
	return b.String()
}

// mappedToNothing lists the characters that RFC 4518, Section 2.2 drops and
// checkText lets through.
func mappedToNothing(r rune) bool {
	switch {
	case r == 0x00ad, r == 0x034f, r == 0x1806, r == 0x200b, r == 0xfffc:
		return true
	case 0x180b <= r && r <= 0x180d, 0xfe00 <= r && r <= 0xfe0f:
		return true
	}
	return unicode.Is(unicode.Cf, r)
}
