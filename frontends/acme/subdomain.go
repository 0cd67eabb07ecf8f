package acme

import (
	"strings"

	"golang.org/x/net/publicsuffix"

	"chancery/engine"
	"chancery/engine/names"
)

// Subdomains (RFC 9444): whoever controls the DNS of a domain may prove that
// once, instead of each name below it.

// parseAncestor checks the domain that a client names above one of its own
// (RFC 9444, Section 4.3).
func parseAncestor(n names.Name, value string) (ancestor, kind, detail string) {
	if n.Type != names.DNS {
		return "", malformed, "only a dns identifier has an ancestorDomain"
	}
	a, err := names.Parse(names.DNS, value)
	if err != nil {
		kind, detail = nameProblem(err)
		return "", kind, "ancestorDomain: " + detail
	}
	host := strings.TrimPrefix(n.Value, "*.")
	above := strings.HasSuffix(host, "."+a.Value) || n.Wildcard() && host == a.Value
	if a.Wildcard() || !above {
		return "", malformed, "ancestorDomain is not a domain above " + n.Value
	}
	if why := shared(a.Value); why != "" {
		return "", rejectedIdentifier, why
	}
	return a.Value, "", ""
}

// shared says why a domain is too high to speak for what is below it: many
// parties have names there.
func shared(domain string) string {
	if suffix, _ := publicsuffix.PublicSuffix(domain); suffix == domain {
		return domain + " is a public suffix: control of it says nothing about the names below it"
	}
	return ""
}

// above lists the domains above a DNS name, the nearest first, that may speak
// for it.
func above(n names.Name) []string {
	if n.Type != names.DNS {
		return nil
	}
	host, wildcard := strings.CutPrefix(n.Value, "*.")
	var all []string
	if wildcard && shared(host) == "" {
		all = append(all, host)
	}
	for {
		_, rest, ok := strings.Cut(host, ".")
		if !ok || shared(rest) != "" {
			return all
		}
		all, host = append(all, rest), rest
	}
}

// speaksBelow reports whether a challenge can prove control of everything below
// a domain: only the DNS can. A record for dns-persist-01 says of itself what it
// is for, and is not taken for more than its own name.
func speaksBelow(m engine.Method) bool { return m == engine.DNS01 || m == engine.DNSAccount01 }
