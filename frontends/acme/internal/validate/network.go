package validate

import "net/netip"

// admission returns what decides whether an address may be connected to.
func admission(networks []netip.Prefix, loopback bool) func(netip.Addr) bool {
	if len(networks) == 0 {
		return func(a netip.Addr) bool { return ordinary(a, loopback) }
	}
	return func(a netip.Addr) bool {
		a = a.Unmap().WithZone("")
		if a.IsUnspecified() || a.IsMulticast() || a == broadcast {
			return false
		}
		for _, p := range networks {
			if p.Contains(a) {
				return true
			}
		}
		return false
	}
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// special are networks where no applicant's server is, or which lead to another
// address than they show (RFC 6890 and its registries): what is left is private
// networks and the public Internet.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // shared address space: somebody else's carrier
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"), // 6to4 relays
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),             // IPv4-compatible
	netip.MustParsePrefix("64:ff9b:1::/48"),    // local NAT64
	netip.MustParsePrefix("100::/64"),          // discard
	netip.MustParsePrefix("2001::/32"),         // Teredo: an IPv4 address in disguise
	netip.MustParsePrefix("fd00:ec2::254/128"), // instance metadata
	netip.MustParsePrefix("fec0::/10"),         // site-local
}

var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052: the last 32 bits are the IPv4 address
	sixToFour = netip.MustParsePrefix("2002::/16")    // RFC 3056: bits 16 to 47 are
)

// ordinary is the policy for a server whose operator named no networks.
func ordinary(a netip.Addr, loopback bool) bool {
	a = a.Unmap() // ::ffff:127.0.0.1 is 127.0.0.1
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
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return ordinary(netip.AddrFrom4([4]byte(b[12:16])), false)
	case sixToFour.Contains(a):
		return ordinary(netip.AddrFrom4([4]byte(b[2:6])), false)
	}
	return true
}
