// Package public is the judge that keeps certificates of public profiles to names
// that one party has in the public DNS: none of one label, none under a domain
// that is not delegated (local, internal, corp), no wildcard over everybody's
// names below a public suffix, no private address.
package public

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"

	"chancery/engine"
	"chancery/engine/names"
)

// Config has no settings: profiles say what is judged (public).
type Config struct{}

// New makes the judge.
func New(_ Config, d engine.Deps) (engine.Judge, error) {
	public := map[string]bool{}
	for name, p := range d.Profiles {
		public[name] = p.Public
	}
	return func(_ context.Context, _ *engine.Request, t engine.Rendered) (engine.Verdict, error) {
		if !public[t.Draft.Profile] {
			return engine.Pass(), nil
		}
		for _, n := range t.Draft.Names {
			if why := refuses(n); why != "" {
				return engine.Deny(engine.NameNotAllowed, "%s %s; profile %s is for names of the public DNS", n.Value, why, t.Draft.Profile), nil
			}
		}
		return engine.Pass(), nil
	}, nil
}

// refuses says why a name has no place in a public certificate, or nothing.
func refuses(n names.Name) string {
	switch n.Type {
	case names.IP:
		a, err := netip.ParseAddr(n.Value)
		if err != nil || !a.IsGlobalUnicast() || a.IsPrivate() || reserved(a) {
			return "is no public address"
		}
		return ""
	case names.DNS:
	default:
		return fmt.Sprintf("is of the type %s", n.Type)
	}
	host, wildcard := strings.CutPrefix(n.Value, "*.")
	suffix, icann := publicsuffix.PublicSuffix(host)
	switch {
	case !strings.Contains(host, "."):
		return "has one label"
	case strings.Trim(host[strings.LastIndexByte(host, '.')+1:], "0123456789") == "":
		return "looks like an address"
	case !icann && !strings.Contains(suffix, "."), suffix == "onion", suffix == "arpa": // what no rule of the list knows, or is for other things
		return "is under a domain that is not in the public DNS"
	case suffix == host && wildcard:
		return "stands for everybody's names below a public suffix"
	case suffix == host && icann:
		return "is a public suffix"
	}
	return ""
}

// reserved are networks with global addresses that nobody has (RFC 6890).
func reserved(a netip.Addr) bool {
	for _, s := range []string{
		"100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"64:ff9b::/32", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16",
	} {
		if netip.MustParsePrefix(s).Contains(a) {
			return true
		}
	}
	return false
}
