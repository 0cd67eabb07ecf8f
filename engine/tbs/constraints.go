package tbs

import (
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// A subtree is the base of a GeneralSubtree: minimum is 0, which DER leaves
// out, and maximum is absent (RFC 5280, Section 4.2.1.10).
type subtree struct {
	tag  asn1.Tag
	base []byte
}

// NameConstraints is the nameConstraints extension of a CA certificate,
// critical (RFC 5280, Section 4.2.1.10). It permits these DNS names and what is
// below them, the mailboxes and URIs there, and the addresses in these networks;
// without a network no address.
//
// A form that no subtree speaks of is not constrained at all. So there is one
// for every form of name that our certificates can have.
func NameConstraints(permittedDNS []string, permittedIP []netip.Prefix) (Extension, error) {
	const field = "nameConstraints"
	if len(permittedDNS) == 0 {
		return Extension{}, refuse(field, "no names")
	}
	var permitted, excluded []subtree
	for _, n := range permittedDNS {
		if strings.TrimPrefix(n, ".") == "" || !printable(n) {
			return Extension{}, refuse(field, "%q is no DNS name", n)
		}
		permitted = append(permitted, subtree{tagDNS, []byte(n)})
	}
	hosts := hostSubtrees(permittedDNS)
	for _, tag := range []asn1.Tag{tagEmail, tagURI} {
		for _, h := range hosts {
			permitted = append(permitted, subtree{tag, []byte(h)})
		}
	}
	for _, p := range permittedIP {
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
			return Extension{}, refuse(field, "%s is no network such as 10.0.0.0/8 or fd00::/8", p)
		}
		permitted = append(permitted, networkSubtree(p))
	}
	if len(permittedIP) == 0 {
		for _, all := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
			excluded = append(excluded, networkSubtree(netip.PrefixFrom(all, 0)))
		}
	}
	return Extension{OIDNameConstraints, true, sequenceOf(func(b *cryptobyte.Builder) {
		addSubtrees(b, tag0Nested, permitted)
		addSubtrees(b, tag1Nested, excluded)
	})}, nil
}

// addSubtrees leaves out a list without members, as it must be (RFC 5280,
// Appendix A.2: SIZE (1..MAX)).
func addSubtrees(b *cryptobyte.Builder, list asn1.Tag, all []subtree) {
	if len(all) == 0 {
		return
	}
	b.AddASN1(list, func(b *cryptobyte.Builder) {
		for _, s := range all {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(s.tag, func(b *cryptobyte.Builder) { b.AddBytes(s.base) })
			})
		}
	})
}

// hostSubtrees says of DNS names what mailboxes and URIs need to hear twice: a
// host is that host alone, and what is below begins with a dot (RFC 5280,
// Section 4.2.1.10).
func hostSubtrees(permittedDNS []string) []string {
	// localhost is another machine for everybody (RFC 6761, Section 6.3): no
	// mailbox and no resource there is the domain's. If it is all that is
	// permitted it stays, because without a subtree all of them would be.
	domains := slices.DeleteFunc(slices.Clone(permittedDNS), func(n string) bool { return strings.EqualFold(n, "localhost") })
	if len(domains) == 0 {
		domains = permittedDNS[:1]
	}
	var all []string
	for _, n := range domains {
		below := strings.TrimPrefix(n, ".")
		if below == n {
			all = append(all, n)
		}
		all = append(all, "."+below)
	}
	return all
}

// networkSubtree is an address and a mask (RFC 5280, Section 4.2.1.10).
func networkSubtree(p netip.Prefix) subtree {
	base := p.Addr().AsSlice()
	mask := make([]byte, len(base))
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return subtree{tagIP, append(base, mask...)}
}
