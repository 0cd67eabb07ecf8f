package acme

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"testing"
)

func csrWithIP(t testing.TB, ip string, hosts ...string) []byte {
	return csrFrom(t, leafKey(t), &x509.CertificateRequest{DNSNames: hosts, IPAddresses: []net.IP{net.ParseIP(ip)}})
}

func orderOfIP(ips ...string) string {
	s := ""
	for i, ip := range ips {
		if i > 0 {
			s += ","
		}
		s += `{"type":"ip","value":` + quote(ip) + `}`
	}
	return `{"identifiers":[` + s + `]}`
}

// RFC 8738: an address is ordered, proved by http-01 to that very address, and
// certified as an iPAddress.
func TestACME_T010_T012_T014_T015_Addresses(t *testing.T) {
	w := newRealWorld(t)
	c := w.client()
	o := w.ok("newOrder", c.post(w.url("new-order"), orderOfIP("127.0.0.1")), 201)
	if got := fmt.Sprint(o.Identifiers); got != "[{ip 127.0.0.1 }]" {
		t.Error(got)
	}
	authz := w.ok("authz", c.read(o.Authorizations[0]), 200)
	if authz.Identifier != (identifier{Type: "ip", Value: "127.0.0.1"}) || authz.pick("dns-01") != nil || authz.has("wildcard") {
		t.Errorf("%s", authz.body)
	}
	asked := len(w.dns.Asked())
	c.prove(o.Authorizations[0])
	if got := len(w.dns.Asked()); got != asked {
		t.Errorf("%d DNS queries for an address", got-asked)
	}
	if r := w.site.requests(); r[len(r)-1].Host != "127.0.0.1" {
		t.Errorf("Host: %s", r[len(r)-1].Host)
	}
	mapped := []byte{0x30, 0x12, 0x87, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1}
	for name, template := range map[string]*x509.CertificateRequest{
		"as dNSName":       {DNSNames: []string{"127.0.0.1"}},
		"both":             {DNSNames: []string{"127.0.0.1"}, IPAddresses: []net.IP{{127, 0, 0, 1}}},
		"another":          {IPAddresses: []net.IP{{127, 0, 0, 2}}},
		"in the CN alone":  {Subject: pkix.Name{CommonName: "127.0.0.1"}},
		"IPv4-mapped":      {ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 17}, Value: mapped}}},
		"nothing":          {},
		"and another name": {IPAddresses: []net.IP{{127, 0, 0, 1}}, DNSNames: []string{"a.example.org"}},
	} {
		w.want(name, c.post(o.Finalize, csrPayload(csrFrom(t, leafKey(t), template))), 400, badCSR)
	}
	a := w.ok("finalize", c.post(o.Finalize, csrPayload(csrFrom(t, leafKey(t), &x509.CertificateRequest{Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{{127, 0, 0, 1}}}))), 200)
	leaf, err := x509.ParseCertificate(pemChain(t, w.ok("certificate", c.read(a.Certificate), 200).body)[0])
	if err != nil {
		t.Fatal(err)
	}
	if len(leaf.DNSNames) != 0 || len(leaf.IPAddresses) != 1 || !leaf.IPAddresses[0].Equal(net.IPv4(127, 0, 0, 1)) {
		t.Errorf("%v %v", leaf.DNSNames, leaf.IPAddresses)
	}
	// Revocation by another account that proved the address, and not by one that
	// did not.
	w.want("stranger", w.client().post(w.url("revoke-cert"), revocation(leaf.Raw, "")), 403, unauthorized)
	other := w.client()
	o = w.ok("newOrder", other.post(w.url("new-order"), orderOfIP("127.0.0.1")), 201)
	other.prove(o.Authorizations[0])
	w.ok("who proved it", other.post(w.url("revoke-cert"), revocation(leaf.Raw, "")), 200)
}

// RFC 8738, Section 3: one spelling (RFC 5952); everything else is refused.
func TestACME_T010_T011_AddressForms(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	o := w.ok("IPv6", c.post(w.url("new-order"), orderOfIP("2001:DB8:0:0::1", "2001:db8::1", "192.0.2.1")), 201)
	if got := fmt.Sprint(o.Identifiers); got != "[{ip 2001:db8::1 } {ip 192.0.2.1 }]" {
		t.Error(got)
	}
	for _, v := range []string{"192.000.002.001", "0x7f.1", "127.1", "fe80::1%eth0", "192.0.2.0/24", "[::1]", "::ffff:192.0.2.1", "192.0.2.1:80", "", "a.example.org", "2130706433", "*.192.0.2.1", " 192.0.2.1"} {
		w.want(v, c.post(w.url("new-order"), orderOfIP(v)), 400, malformed)
	}
	w.want("address as dns", c.post(w.url("new-order"), orderOf("192.0.2.1")), 400, malformed)
}

// T-016: an address is taken where a list names it, and nowhere else.
func TestACME_T016_AddressesMustBeAdmitted(t *testing.T) {
	for _, tt := range []struct {
		names []string
		open  bool
		ip    string
		kind  string
	}{
		{nil, true, "10.0.0.1", rejectedIdentifier}, {nil, true, "127.0.0.1", rejectedIdentifier}, {nil, true, "192.0.2.1", rejectedIdentifier},
		{[]string{"10.0.0.0/8"}, true, "10.0.0.1", ""}, {[]string{"10.0.0.0/8"}, true, "127.0.0.1", rejectedIdentifier},
		{[]string{"10.0.0.0/8"}, false, "11.0.0.1", rejectedIdentifier}, {[]string{"*"}, false, "10.0.0.1", rejectedIdentifier}, {[]string{"ip:*"}, false, "::1", ""},
	} {
		w := newWorld(t, func(w *world) {
			w.deps.Loopback = false
			w.config["default"] = Endpoint{Profiles: []string{"web"}, Open: tt.open, Names: patternsOf(t, tt.names...)}
		})
		a := w.client().post(w.url("new-order"), orderOfIP(tt.ip))
		if tt.kind == "" {
			w.ok(tt.ip, a, 201)
		} else {
			w.want(tt.ip, a, 403, tt.kind)
		}
	}
}
