package caa

import "strings"

// An Issue is the value of an issue or issuewild property.
type Issue struct {
	Domain     string // of the issuer, lower case; empty: of none
	Parameters []Parameter
}

// A Parameter is one tag with its value. Tags are in lower case.
type Parameter struct{ Tag, Value string }

// ParseIssue reads an issue-value (RFC 8659, Section 4.2), to the letter of its
// grammar: nothing follows the last parameter, not even a semicolon.
func ParseIssue(s string) (v Issue, ok bool) {
	domain, rest, more := strings.Cut(s, ";")
	domain = trim(domain)
	if domain != "" && !labels(domain) {
		return Issue{}, false
	}
	v.Domain = strings.ToLower(domain)
	if rest = trim(rest); !more || rest == "" {
		return v, true
	}
	for p := range strings.SplitSeq(rest, ";") {
		tag, value, found := strings.Cut(p, "=")
		tag, value = trim(tag), trim(value)
		if !found || !label(tag) || !printable(value) {
			return Issue{}, false
		}
		v.Parameters = append(v.Parameters, Parameter{strings.ToLower(tag), value})
	}
	return v, true
}

// Get returns the value of a parameter, and how often it is there.
func (v *Issue) Get(tag string) (value string, times int) {
	for _, p := range v.Parameters {
		if p.Tag == tag {
			value = p.Value
			times++
		}
	}
	return value, times
}

func trim(s string) string { return strings.Trim(s, " \t") }

func labels(s string) bool {
	for l := range strings.SplitSeq(s, ".") {
		if !label(l) {
			return false
		}
	}
	return true
}

// label: (ALPHA / DIGIT) *( *("-") (ALPHA / DIGIT))
func label(s string) bool {
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i] | 0x20
		if !('a' <= c && c <= 'z' || '0' <= s[i] && s[i] <= '9' || s[i] == '-') {
			return false
		}
	}
	return true
}

// printable: *(%x21-3A / %x3C-7E)
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e || s[i] == ';' {
			return false
		}
	}
	return true
}
