package validate

import "net/netip"

// admission returns what decides whether an address may be connected to.
func admission(networks []netip.Prefix, loopback bool) func(netip.Addr) bool {
	if len(networks) == 0 {
		return func(a netip.Addr) bool { return ordinary(a, loopback) }
	}
	return func(a netip.Addr) bool { return listed(a, networks) }
}

// listed is the policy for a server whose operator named the networks. What
// stands for another address is what that is.
func listed(a netip.Addr, networks []netip.Prefix) bool {
	a = a.Unmap() // ::ffff:127.0.0.1 is 127.0.0.1
	if a.Zone() != "" || !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a == broadcast {
		return false
	}
	in := false
	for _, p := range networks {
		in = in || p.Contains(a)
	}
	if inner, ok := embedded(a); in && ok {
		return listed(inner, networks)
	}
	return in
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// special are networks where no applicant's server is (RFC 6890 and its
// registries): what is left is private networks and the public Internet.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // shared address space: somebody else's carrier
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"), // 6to4 relays
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),          // IPv4-compatible
	netip.MustParsePrefix("64:ff9b:1::/48"), // local NAT64
	netip.MustParsePrefix("100::/64"),       // discard
	netip.MustParsePrefix("2001::/32"),      // Teredo: an IPv4 address in disguise
	netip.MustParsePrefix("fec0::/10"),      // site-local

	// Instance metadata outside the above and outside link-local.
	netip.MustParsePrefix("168.63.129.16/32"),       // Azure
	netip.MustParsePrefix("fd00:ec2::/32"),          // Amazon: 254 and its neighbours
	netip.MustParsePrefix("fd20:ce::254/128"),       // Google
	netip.MustParsePrefix("fd00:42::42/128"),        // Scaleway
	netip.MustParsePrefix("fd00:c1::a9fe:a9fe/128"), // Oracle
}

// ordinary is the policy for a server whose operator named no networks.
func ordinary(a netip.Addr, loopback bool) bool {
	a = a.Unmap()
	switch {
	case a.Zone() != "", !a.IsValid(), a.IsUnspecified(), a.IsMulticast(), a.IsLinkLocalUnicast():
		return false
	case a.IsLoopback():
		return loopback
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	if inner, ok := embedded(a); ok {
		return ordinary(inner, false)
	}
	return true
}

var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")    // RFC 6052: the last 32 bits are the IPv4 address
	siit       = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 2765: the same
	compatible = netip.MustParsePrefix("::/96")           // RFC 4291, Section 2.5.5.1: the same
	sixToFour  = netip.MustParsePrefix("2002::/16")       // RFC 3056: bits 16 to 47 are
)

// embedded returns the IPv4 address that an IPv6 address leads to, if it does.
func embedded(a netip.Addr) (netip.Addr, bool) {
	if a.Is4() || a.IsLoopback() {
		return netip.Addr{}, false
	}
	b := a.As16()
	switch {
	case nat64.Contains(a), siit.Contains(a), compatible.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	case (b[8] == 0 || b[8] == 2) && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP, RFC 5214, Section 6.1
		return netip.AddrFrom4([4]byte(b[12:16])), true
	}
	return netip.Addr{}, false
}
