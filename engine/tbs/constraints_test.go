package tbs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"net"
	"net/netip"
	"slices"
	"testing"

	"chancery/engine/names"
	"chancery/engine/tbs"
)

// constrained is a CA certificate as the standard library reads it.
func constrained(t *testing.T, x tbs.Extension) *x509.Certificate {
	t.Helper()
	if _, err := names.ParseConstraints(x.Value); err != nil {
		t.Fatalf("the engine cannot read it: %v", err)
	}
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c := leaf(key.Public())
	c.Extensions = []tbs.Extension{tbs.BasicConstraints(true, 0), x}
	alg := must(tbs.AlgorithmFor(key.Public()))
	return must(x509.ParseCertificate(tbs.Twin(must(tbs.Render(c, alg)), alg)))
}

func networks(list []*net.IPNet) []string {
	var all []string
	for _, n := range list {
		all = append(all, n.String())
	}
	return all
}

// Every form of name has a subtree, or else it would not be constrained.
func TestNameConstraints(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	p := constrained(t, must(tbs.NameConstraints([]string{"corp.example", "localhost"}, loopback)))
	both := []string{"corp.example", ".corp.example"}
	if !slices.Equal(p.PermittedDNSDomains, []string{"corp.example", "localhost"}) || !p.PermittedDNSDomainsCritical ||
		!slices.Equal(p.PermittedEmailAddresses, both) || !slices.Equal(p.PermittedURIDomains, both) ||
		!slices.Equal(networks(p.PermittedIPRanges), []string{"127.0.0.0/8", "::1/128"}) || len(p.ExcludedIPRanges) != 0 {
		t.Errorf("dns %q, email %q, uri %q, ip %v", p.PermittedDNSDomains, p.PermittedEmailAddresses, p.PermittedURIDomains, p.PermittedIPRanges)
	}
	p = constrained(t, must(tbs.NameConstraints([]string{".corp.example"}, nil)))
	if !slices.Equal(p.PermittedEmailAddresses, both[1:]) || !slices.Equal(p.PermittedURIDomains, both[1:]) {
		t.Errorf("only what is below: email %q, uri %q", p.PermittedEmailAddresses, p.PermittedURIDomains)
	}
	if len(p.PermittedIPRanges) != 0 || !slices.Equal(networks(p.ExcludedIPRanges), []string{"0.0.0.0/0", "::/0"}) {
		t.Errorf("no network: permitted %v, excluded %v", p.PermittedIPRanges, p.ExcludedIPRanges)
	}
	p = constrained(t, must(tbs.NameConstraints([]string{"localhost"}, loopback)))
	if len(p.PermittedEmailAddresses) == 0 || len(p.PermittedURIDomains) == 0 {
		t.Error("a CA for localhost alone can certify any mailbox and URI")
	}
}
