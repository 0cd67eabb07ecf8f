package engine

import (
	"crypto/rand"
	"crypto/x509"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"chancery/engine/names"
)

// constrainedWorld is a CA for one domain and its own machine, with a profile
// that admits names of every form: what is refused, the constraints refuse.
func constrainedWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.conf.Issuers[0] = newCA(t, "Constrained CA", w.now(), func(s *CASpec) {
		s.Domains = []string{"corp.example", "localhost"}
		s.Addresses = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	})
	any, err := names.ParsePattern("any")
	if err != nil {
		t.Fatal(err)
	}
	p := w.setup.Policy.Profiles["web"]
	p.Names.Allow = []names.Pattern{any}
	w.setup.Policy.Profiles["web"] = p
	w.open()
	return w
}

// submissionOf asks for a name of any form, and proves it.
func (w *world) submissionOf(n names.Name) Submission {
	w.t.Helper()
	var req x509.CertificateRequest
	switch n.Type {
	case names.DNS:
		req.DNSNames = []string{n.Value}
	case names.IP:
		req.IPAddresses = []net.IP{net.ParseIP(n.Value)}
	case names.Email:
		req.EmailAddresses = []string{n.Value}
	case names.URI:
		u, err := url.Parse(n.Value)
		if err != nil {
			w.t.Fatal(err)
		}
		req.URIs = []*url.URL{u}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &req, newKey(w.t))
	if err != nil {
		w.t.Fatal(err)
	}
	s := Submission{Source: Native, Endpoint: "default", Requester: "key:tester", Form: PKCS10, Profile: "web", Body: der}
	s.Proofs = []Proof{{Method: HTTP01, Names: []names.Name{n}, Ref: "authz", By: "n1", At: w.now(), Expires: w.now().Add(time.Hour)}}
	s.Key = NewKey(s.Source, s.Endpoint, "", s.Requester, n.String())
	return s
}

// No form of name gets out of a CA for a domain (RFC 5280, Section 4.2.1.10: a
// form without a subtree would not be constrained). What it does certify, the
// standard library's own reading of the constraints accepts.
func TestConstrainedCA(t *testing.T) {
	w := constrainedWorld(t)
	roots := x509.NewCertPool()
	roots.AddCert(w.conf.Issuers[0].Chain[0])
	for text, ok := range map[string]bool{
		"dns:corp.example": true, "dns:www.corp.example": true, "dns:*.corp.example": true, "dns:localhost": true,
		"dns:other.example": false, "dns:xcorp.example": false, "dns:*.example.com": false, "dns:intranet": false,
		"ip:127.0.0.1": true, "ip:127.9.9.9": true, "ip:::1": true,
		"ip:10.0.0.5": false, "ip:128.0.0.1": false, "ip:192.0.2.1": false, "ip:::2": false, "ip:2001:db8::1": false,
		"email:ada@corp.example": true, "email:ada@mail.corp.example": true,
		"email:ada@other.example": false, "email:ada@xcorp.example": false, "email:ada@localhost": false,
		"uri:https://corp.example/x": true, "uri:spiffe://id.corp.example/web": true,
		"uri:https://other.example/": false, "uri:https://xcorp.example/": false, "uri:https://127.0.0.1/": false,
		"uri:https://localhost/": false, "uri:urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6": false,
	} {
		form, value, _ := strings.Cut(text, ":")
		n, err := names.Parse(names.Type(form), value)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Permits("main", n); (err == nil) != ok {
			t.Errorf("%s: Permits says %v", text, err)
		}
		if !ok {
			if d := w.denied(w.submissionOf(n), NameNotAllowed); !strings.Contains(d.Detail, "constrained") {
				t.Errorf("%s is refused for something else: %s", text, d.Detail)
			}
			continue
		}
		_, c := w.issue(w.submissionOf(n))
		if _, err := c.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: w.now()}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := w.Permits("nobody", names.Name{Type: names.DNS, Value: "corp.example"}); err == nil {
		t.Error("an authority that is not there permits a name")
	}
}
