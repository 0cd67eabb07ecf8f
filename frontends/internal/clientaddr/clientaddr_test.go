package clientaddr

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// Nobody but a configured proxy says where a request comes from, and of what it
// passes on only its own word counts.
func TestXJ031_ForwardedFor(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("2001:db8:1::/48")}
	for _, tt := range []struct {
		name, remote string
		header       []string
		want         string
	}{
		{"direct", "192.0.2.1:5", nil, "192.0.2.1"},
		{"direct, with a claim", "192.0.2.1:5", []string{"198.51.100.7"}, "192.0.2.1"},
		{"claims to be a proxy", "192.0.2.1:5", []string{"198.51.100.7, 10.0.0.1"}, "192.0.2.1"},
		{"by a proxy", "10.0.0.1:5", []string{"198.51.100.7"}, "198.51.100.7"},
		{"by a proxy, after a claim", "10.0.0.1:5", []string{"127.0.0.1, 8.8.8.8,198.51.100.7"}, "198.51.100.7"},
		{"the claim in a header of its own", "10.0.0.1:5", []string{"8.8.8.8", "198.51.100.7"}, "198.51.100.7"},
		{"by two", "10.0.0.1:5", []string{"8.8.8.8, 198.51.100.7, 10.0.0.2"}, "198.51.100.7"},
		{"by one of IPv6", "[2001:db8:1::5]:5", []string{"2001:db8:9::1"}, "2001:db8:9::1"},
		{"mapped", "[::ffff:10.0.0.1]:5", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		{"with a zone", "[fe80::1%eth0]:5", nil, "fe80::1"},
		{"nothing passed on", "10.0.0.1:5", nil, "10.0.0.1"},
		{"garbage", "10.0.0.1:5", []string{"198.51.100.7, x"}, "10.0.0.1"},
		{"garbage before", "10.0.0.1:5", []string{"x, 10.0.0.9"}, "10.0.0.9"},
		{"proxies all the way", "10.0.0.1:5", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"no end", "10.0.0.1:5", []string{strings.Repeat("10.0.0.2,", 1000) + "10.0.0.3"}, "10.0.0.2"},
		{"socket", "@", []string{"198.51.100.7"}, "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: tt.remote, Header: http.Header{"X-Forwarded-For": tt.header}}
		if got := Of(r, proxies).String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestXJ031_Network(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "2001:db8:1:2::": "2001:db8:1:2::/64",
		"2001:db8:1:3::1": "2001:db8:1:3::/64", "fe80::1%eth0": "fe80::/64", "127.0.0.1": "", "::1": "",
	} {
		if got := Network(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
	if Network(netip.Addr{}) != "" {
		t.Error("no address")
	}
}
