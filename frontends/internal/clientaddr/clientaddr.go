// Package clientaddr finds out from which address a request comes: that of the
// connection, unless it is one of the configured proxies. Of the header
// X-Forwarded-For only what these have written is believed.
package clientaddr

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// maxHops bounds the addresses that are looked at.
const maxHops = 32

// Of is the client's address; not valid where there is none, as on a local socket.
func Of(r *http.Request, proxies []netip.Prefix) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := plain(at.Addr())
	if !trusted(addr, proxies) {
		return addr
	}
	// Each proxy appends whom it got the request from: going back, the first that
	// is no proxy is the client, and what stands before it is its own word.
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i, hop := range slices.Backward(hops) {
		before, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil || len(hops)-i > maxHops {
			return addr
		}
		if addr = plain(before); !trusted(addr, proxies) {
			return addr
		}
	}
	return addr
}

// Network is what counts as one client: an IPv4 address, and of IPv6 a network of
// 64 bits, of which every machine has all the addresses that it wants. Empty: no
// client of the network, or one on this machine.
func Network(a netip.Addr) string {
	if !a.IsValid() || a.IsLoopback() {
		return ""
	}
	if a = plain(a); a.Is4() {
		return a.String()
	}
	p, err := a.Prefix(64)
	if err != nil {
		return ""
	}
	return p.String()
}

// plain has one spelling for each address.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func trusted(a netip.Addr, proxies []netip.Prefix) bool {
	return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}
