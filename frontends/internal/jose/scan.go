package jose

import "strconv"

// A scanner reads the outer object of a flattened JWS: three members, each
// once, each a string of base64url. JSON allows many more spellings of such an
// object; no client uses them, and each is a chance for two readers to differ.
type scanner struct {
	s string
	i int
}

// scan takes the object apart. payload must be present: a missing one is a
// detached signature (RFC 7515, Appendix F), which is not POST-as-GET.
func scan(body string) (protected, payload, signature string, err error) {
	c := scanner{s: body}
	if !c.next('{') {
		return "", "", "", malformed("the body is not a JWS in flattened JSON serialization, an object with protected, payload and signature")
	}
	var seen [3]bool
	for n := 0; ; n++ {
		if n > 0 && !c.next(',') {
			break
		}
		name, value, err := c.member()
		if err != nil {
			return "", "", "", err
		}
		k := 0
		switch name {
		case "protected":
			protected = value
		case "payload":
			k, payload = 1, value
		case "signature":
			k, signature = 2, value
		}
		if seen[k] {
			return "", "", "", malformed("the member " + name + " is there twice")
		}
		seen[k] = true
	}
	if !c.next('}') {
		return "", "", "", malformed("the JWS is not valid JSON")
	}
	c.space()
	switch {
	case c.i != len(body):
		return "", "", "", malformed("something follows the JWS")
	case !seen[0] || !seen[1] || !seen[2]:
		return "", "", "", malformed("the JWS needs the members protected, payload and signature")
	}
	return protected, payload, signature, nil
}

// member reads one of the three members.
func (c *scanner) member() (name, value string, err error) {
	if name, err = c.text(); err != nil {
		return "", "", err
	}
	switch name {
	case "protected", "payload", "signature":
	case "header", "signatures":
		// RFC 8555, Section 6.2: no unprotected header, one signature.
		return "", "", malformed("the member " + name + " is not allowed: use the flattened serialization without an unprotected header")
	default:
		return "", "", malformed("unknown member " + shorten(name) + " in the JWS")
	}
	if !c.next(':') {
		return "", "", malformed("the JWS is not valid JSON")
	}
	if value, err = c.text(); err != nil {
		return "", "", malformed("the member " + name + " is not a string of base64url without padding")
	}
	if i := notBase64URL(value); i >= 0 {
		return "", "", malformed("the member " + name + " is not base64url without padding (character " + strconv.Itoa(i+1) + ")")
	}
	return name, value, nil
}

// text reads a string without escapes.
func (c *scanner) text() (string, error) {
	if !c.next('"') {
		return "", malformed("the JWS is not an object whose members are strings")
	}
	from := c.i
	for ; c.i < len(c.s); c.i++ {
		switch b := c.s[c.i]; {
		case b == '"':
			c.i++
			return c.s[from : c.i-1], nil
		case b == '\\' || b < 0x20 || b > 0x7e:
			return "", malformed("a string in the JWS has an escape or a character outside base64url")
		}
	}
	return "", malformed("the JWS ends in a string")
}

// next skips white space and then the octet, if that is what comes.
func (c *scanner) next(b byte) bool {
	c.space()
	if c.i < len(c.s) && c.s[c.i] == b {
		c.i++
		return true
	}
	return false
}

func (c *scanner) space() {
	for c.i < len(c.s) {
		switch c.s[c.i] {
		case ' ', '\t', '\n', '\r':
			c.i++
		default:
			return
		}
	}
}

// shorten quotes a text from outside.
func shorten(s string) string {
	if len(s) > 40 {
		s = s[:40]
	}
	return strconv.QuoteToASCII(s)
}
