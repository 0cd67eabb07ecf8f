package acme

import (
	"crypto/x509"
	"testing"
)

// A whole life: account, order, both kinds of challenge, certificate.
func TestHappyPath(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	for _, hosts := range [][]string{{"www.example.org"}, {"a.example.org", "*.example.org", "example.org"}, {"localhost"}} {
		key := leafKey(t)
		chain := c.issue(key, hosts...)
		leaf, err := x509.ParseCertificate(chain[0])
		if err != nil {
			t.Fatal(err)
		}
		if len(leaf.DNSNames) != len(hosts) || !key.PublicKey.Equal(leaf.PublicKey) {
			t.Errorf("%v: got %v", hosts, leaf.DNSNames)
		}
	}
	for _, s := range w.engine.submissions() {
		if string(s.Requester) != "account:"+c.kid[len(c.kid)-26:] || !s.KeyPerRun || s.Profile != "web" || s.Endpoint != "default" {
			t.Errorf("submission %+v", s)
		}
		for _, p := range s.Proofs {
			if p.By != "n1" || p.Principal != s.Requester || len(p.Names) != 1 || p.Ref == "" || !p.Expires.After(w.now()) || p.At.After(w.now()) {
				t.Errorf("proof %+v", p)
			}
		}
	}
}
