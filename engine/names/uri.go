package names

import (
	"net/netip"
	"strconv"
	"strings"
)

// maxURI bounds a URI name; the longest useful ones (SPIFFE) stop at 2048.
const maxURI = 2048

// uriParts is an absolute URI taken apart, scheme and authority in lower case.
type uriParts struct {
	scheme    string
	authority bool   // "//" was there
	host      string // without port; IPv6 in brackets
	port      string // with its colon, or empty
	rest      string // path, query and fragment, or the opaque part
}

func (u uriParts) String() string {
	if !u.authority {
		return u.scheme + ":" + u.rest
	}
	return u.scheme + "://" + u.host + u.port + u.rest
}

// parseURI reads an absolute URI (RFC 5280, Section 4.2.1.6; RFC 3986, Section
// 4.3) and folds scheme and host to lower case (RFC 3986, Section 6.2.2.1).
func parseURI(s string) (canonical, reason string) {
	u, reason := splitURI(s)
	if reason != "" {
		return "", reason
	}
	return u.String(), ""
}

func splitURI(s string) (u uriParts, reason string) {
	if len(s) > maxURI {
		return u, "longer than 2048 octets"
	}
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || !validScheme(scheme) {
		return u, "not absolute; a URI starts with a scheme, as in https://example.com/"
	}
	u.scheme = strings.ToLower(scheme)
	if after, found := strings.CutPrefix(rest, "//"); found {
		u.authority = true
		end := strings.IndexAny(after, "/?#")
		if end < 0 {
			end = len(after)
		}
		if reason := u.setAuthority(after[:end]); reason != "" {
			return u, reason
		}
		rest = after[end:]
	} else if rest == "" {
		return u, "nothing follows the scheme"
	}
	u.rest, reason = checkURIRest(rest)
	return u, reason
}

// validScheme is RFC 3986, Section 3.1.
func validScheme(s string) bool {
	if s == "" || isDigit(s[0]) {
		return false
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && (i == 0 || strings.IndexByte("+-.", s[i]) < 0) {
			return false
		}
	}
	return true
}

// setAuthority reads host and port. RFC 5280, Section 4.2.1.6: an authority
// holds a fully qualified domain name or an address. A user part is refused:
// it is where a reader takes one host for another.
func (u *uriParts) setAuthority(a string) (reason string) {
	if strings.IndexByte(a, '@') >= 0 {
		return "a user name before the host is not admitted"
	}
	host, port := a, ""
	if i := strings.LastIndexByte(a, ':'); i >= 0 && !strings.HasSuffix(a, "]") {
		host, port = a[:i], a[i:]
		n, err := strconv.ParseUint(port[1:], 10, 16)
		if err != nil || strconv.FormatUint(n, 10) != port[1:] {
			return "the port is not a number from 0 to 65535"
		}
	}
	u.port = port
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		canonical, why := parseIP(inner)
		if !ok || why != "" || strings.IndexByte(canonical, ':') < 0 {
			return "the host in brackets is not an IPv6 address"
		}
		u.host = "[" + canonical + "]"
		return ""
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is4() {
		u.host = addr.String()
		return ""
	}
	canonical, why := parseDNS(host, false)
	if why != "" {
		return "the host: " + why
	}
	u.host = canonical
	return ""
}

// checkURIRest checks path, query and fragment octet by octet (RFC 3986,
// Section 2) and gives percent-encodings their canonical case. What a reader
// could fold into another path is refused, so that a prefix pattern means what
// it shows: dot segments, encoded unreserved characters, encoded slashes and
// encoded controls.
func checkURIRest(s string) (canonical, reason string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '%' {
			if !isAlnum(c) && strings.IndexByte("-._~:/?#[]@!$&'()*+,;=", c) < 0 {
				return "", "a character that a URI cannot hold; encode it with %"
			}
			b.WriteByte(c)
			continue
		}
		if i+2 >= len(s) {
			return "", "a % without two hexadecimal digits"
		}
		v, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", "a % without two hexadecimal digits"
		}
		d := byte(v)
		if isAlnum(d) || strings.IndexByte("-._~", d) >= 0 {
			return "", "a character that needs no encoding is encoded; write it plainly"
		}
		if d < 0x20 || d == 0x7f || d == '/' || d == '\\' {
			return "", "an encoded slash or control character"
		}
		b.WriteString(strings.ToUpper(s[i : i+3]))
		i += 2
	}
	path := s
	if end := strings.IndexAny(s, "?#"); end >= 0 {
		path = s[:end]
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return "", "a . or .. segment in the path; write the path it leads to"
		}
	}
	if strings.Count(s, "#") > 1 {
		return "", "more than one fragment"
	}
	return b.String(), ""
}
