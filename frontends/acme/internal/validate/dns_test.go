package validate

import (
	"strings"
	"sync"
	"testing"

	"chancery/engine/dns/dnstest"

	"golang.org/x/net/dns/dnsmessage"
)

const validationName = "_acme-challenge.www.example.org"

// alternating answers with a public address, then with a private one.
func alternating(s *dnstest.Server, mu *sync.Mutex, n *int) func(dnsmessage.Question, bool) *dnsmessage.Message {
	return func(q dnsmessage.Question, tcp bool) *dnsmessage.Message {
		m := &dnsmessage.Message{Questions: []dnsmessage.Question{q}}
		if q.Type != dnsmessage.TypeA {
			return m
		}
		mu.Lock()
		defer mu.Unlock()
		a := [4]byte{198, 51, 100, 7}
		if *n++; *n > 1 {
			a = [4]byte{127, 0, 0, 1}
		}
		m.Answers = []dnsmessage.Resource{record(q.Name, &dnsmessage.AResource{A: a})}
		return m
	}
}

func record(name dnsmessage.Name, body dnsmessage.ResourceBody) dnsmessage.Resource {
	kind := dnsmessage.TypeA
	switch body.(type) {
	case *dnsmessage.TXTResource:
		kind = dnsmessage.TypeTXT
	case *dnsmessage.CNAMEResource:
		kind = dnsmessage.TypeCNAME
	}
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Type: kind, Class: dnsmessage.ClassINET}, Body: body}
}

func (f *farm) dns01() error { return f.v.DNS01(f.t.Context(), "www.example.org", "digest") }

func TestDNS01(t *testing.T) {
	f := newFarm(t)
	fails(t, "none", f.dns01(), DNS)
	f.dns.TXT(validationName, "other")
	fails(t, "another", f.dns01(), IncorrectResponse)
	f.dns.TXT(validationName, "dig", "est")
	if err := f.dns01(); err != nil {
		t.Error(err)
	}
	// Several records, of which one is right; letter for letter.
	f.dns.TXT(validationName, "digest2")
	for _, other := range []string{"Digest", "digest=", `"digest"`, " digest", "digest ", "dige\x00st"} {
		f.dns.Clear(validationName)
		f.dns.TXT(validationName, other)
		fails(t, other, f.dns01(), IncorrectResponse)
	}
	fails(t, "too long", f.v.DNS01(t.Context(), strings.Repeat("a.", 120)+"example", "digest"), DNS)
}

func TestXN_011_AliasToAPrivateAddress(t *testing.T) {
	f := newFarm(t)
	f.dns.CNAME(validationName, "loop.example")
	f.dns.CNAME("loop.example", validationName)
	fails(t, "loop", f.dns01(), DNS)
	f.dns.CNAME("www.example.org", "private.example")
	f.dns.A("private.example", "127.0.0.1")
	fails(t, "to a private address", f.fetch(), Connection)
	if d := f.dials(); len(d) > 0 {
		t.Errorf("dialled %v", d)
	}
	// Delegation of the validation name is followed.
	f.dns.Clear(validationName)
	f.dns.CNAME(validationName, "x.acme-dns.example")
	f.dns.TXT("x.acme-dns.example", "digest")
	if err := f.dns01(); err != nil {
		t.Error(err)
	}
}
