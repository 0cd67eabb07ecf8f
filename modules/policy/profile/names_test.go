package profile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/engine"
	"chancery/engine/names"
)

func TestEachNameNeedsAWarrant(t *testing.T) {
	grant := func(profile, endpoint string, source engine.Source, names ...string) func(*engine.Profile, *engine.Request) {
		return func(_ *engine.Profile, r *engine.Request) {
			g := &engine.Grant{ID: "g1", Protocol: source, Names: patterns(t, names...), Prevalidated: true}
			if profile != "" {
				g.Profiles = []string{profile}
			}
			if endpoint != "" {
				g.Endpoints = []string{endpoint}
			}
			r.Proofs, r.Grants = []engine.Proof{{Method: engine.ByGrant, Ref: "g1", Names: dns("www.example.com")}}, []*engine.Grant{g}
		}
	}
	proof := func(m engine.Method, source engine.Source, expires time.Duration, values ...string) func(*engine.Profile, *engine.Request) {
		return func(p *engine.Profile, r *engine.Request) {
			p.Frontends, r.Source = []engine.Source{source}, source
			r.Proofs = []engine.Proof{{Method: m, Names: dns(values...), Expires: now.Add(expires)}}
		}
	}
	for _, tt := range []struct {
		name   string
		asks   []string
		change func(*engine.Profile, *engine.Request)
		says   string // in the denial; empty: passes
	}{
		{"proof", nil, nil, ""},
		{"no proof", nil, func(_ *engine.Profile, r *engine.Request) { r.Proofs = nil }, "nobody proved dns:www.example.com; validate it"},
		{"proof of another", nil, proof(engine.HTTP01, engine.ACME, 1, "example.com"), "nobody proved dns:www.example.com"},
		{"one of two", []string{"www.example.com", "b.example.com"}, nil, "nobody proved dns:b.example.com"},
		{"expired", nil, proof(engine.HTTP01, engine.ACME, 0, "www.example.com"), "has expired; validate it again"},
		{"base says nothing of the wildcard", []string{"*.example.com"}, proof(engine.DNS01, engine.ACME, 1, "example.com"), "nobody proved dns:*.example.com"},
		{"wildcard says nothing of the base", []string{"example.com"}, proof(engine.DNS01, engine.ACME, 1, "*.example.com"), "nobody proved dns:example.com"},
		{"wildcard proved", []string{"*.example.com"}, proof(engine.DNS01, engine.ACME, 1, "*.example.com"), ""},
		{"wildcard says nothing of one below", nil, proof(engine.DNS01, engine.ACME, 1, "*.example.com"), "nobody proved dns:www.example.com"},
		{"client certificate", nil, proof(engine.ClientCert, engine.EST, 1, "www.example.com"), "nobody proved"},
		{"vote from a frontend", nil, proof(engine.ByVote, engine.EST, 1, "www.example.com"), "nobody proved"},
		{"self", nil, proof(engine.BySelf, engine.Self, 1, "www.example.com"), ""},
		{"self from outside", nil, proof(engine.BySelf, engine.EST, 1, "www.example.com"), "nobody proved"},
		{"grant", nil, grant("", "", engine.ACME, "*.example.com"), ""},
		{"ACME grant that is not prevalidated", nil, func(p *engine.Profile, r *engine.Request) {
			grant("", "", engine.ACME, "*")(p, r)
			r.Grants[0].Prevalidated = false
		}, "does not cover"},
		{"native grant", nil, func(p *engine.Profile, r *engine.Request) {
			grant("", "", engine.Native, "*")(p, r)
			r.Source, r.Grants[0].Prevalidated = engine.Native, false
			p.Frontends = []engine.Source{engine.Native}
		}, ""},
		{"grant not live", nil, func(p *engine.Profile, r *engine.Request) {
			grant("", "", engine.ACME, "*")(p, r)
			r.Grants = nil
		}, "nobody proved"},
		{"grant for other names", nil, grant("", "", engine.ACME, "*.example.net"), "the grant in use does not cover dns:www.example.com"},
		{"grant for this profile", nil, grant("web", "default", engine.ACME, "*"), ""},
		{"grant for another profile", nil, grant("device", "", engine.ACME, "*"), "does not cover"},
		{"grant for another endpoint", nil, grant("", "other", engine.ACME, "*"), "does not cover"},
		{"grant for another protocol", nil, grant("", "", engine.Native, "*"), "does not cover"},
		{"assigned", nil, func(p *engine.Profile, r *engine.Request) {
			r.Proofs, p.Names.Assigned = nil, patterns(t, "www.example.com")
		}, ""},
		{"assigned, not it", nil, func(p *engine.Profile, r *engine.Request) {
			r.Proofs, p.Names.Assigned = nil, patterns(t, "ftp.example.com")
		}, "nobody proved"},
		{"allowed", nil, func(p *engine.Profile, _ *engine.Request) { p.Names.Allow = patterns(t, "*.example.com") }, ""},
		{"not allowed although proved", nil, func(p *engine.Profile, _ *engine.Request) { p.Names.Allow = patterns(t, "*.example.net", "10.0.0.0/8") },
			"profile web does not take the name dns:www.example.com; it takes *.example.net, 10.0.0.0/8"},
		{"not allowed although assigned", nil, func(p *engine.Profile, _ *engine.Request) {
			p.Names.Allow, p.Names.Assigned = patterns(t, "*.example.net"), patterns(t, "*")
		}, "does not take the name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, r := web(), request(t)
			if tt.asks != nil {
				r.Asked.Names = dns(tt.asks...)
			}
			if tt.change != nil {
				tt.change(&p, r)
			}
			v, d := shape(t, p, r)
			if tt.says != "" {
				denied(t, v, engine.NameNotAllowed, tt.says)
				return
			}
			passes(t, v)
			if !slices.Equal(d.Names, r.Asked.Names) {
				t.Errorf("names %v, want %v", d.Names, r.Asked.Names)
			}
		})
	}
}

func TestNumberOfNames(t *testing.T) {
	p, r := web(), request(t)
	p.Names.Assigned = patterns(t, "*")
	r.Asked.Names = nil
	for i := range 101 {
		r.Asked.Names = append(r.Asked.Names, dns(fmt.Sprintf("n%d.example.com", i))...)
	}
	v, _ := shape(t, p, r)
	denied(t, v, engine.BadCSR, "101 names, profile web takes at most 100; ask for several")
	r.Asked.Names = append(r.Asked.Names[:100:100], r.Asked.Names[0]) // one twice
	v, d := shape(t, p, r)
	passes(t, v)
	if len(d.Names) != 100 {
		t.Errorf("%d names", len(d.Names))
	}
	p.Names.Max = 2
	v, _ = shape(t, p, r)
	denied(t, v, engine.BadCSR, "at most 2")
}

func TestSubject(t *testing.T) {
	long := strings.Repeat("a", 60) + ".example.com"
	for _, tt := range []struct {
		name, cn, fixed string
		asks            string // subject
		names           []names.Name
		subject         string
		want            []names.Name // nil: as asked
		reason          engine.Reason
		says            string
	}{
		{"san: the first name", "", "", "CN=x,O=Mine", dns("a.example.com", "b.example.com"), "CN=a.example.com", nil, "", ""},
		{"san: the first that fits", "san", "", "", dns(long, "b.example.com"), "CN=b.example.com", nil, "", ""},
		{"san: none fits", "san", "", "", dns(long), "", nil, "", ""},
		{"san: addresses are no common names", "", "", "", []names.Name{{Type: names.IP, Value: "192.0.2.1"}}, "", nil, "", ""},
		{"san: wildcard", "", "", "", dns("*.example.com"), "CN=*.example.com", nil, "", ""},
		{"san: only a common name", "", "", "CN=a.example.com", nil, "", nil, engine.BadCSR, "a common name and no subject alternative name"},
		{"nothing", "", "", "", nil, "", nil, engine.BadCSR, "asks for no name"},
		{"drop", "drop", "", "CN=a.example.com", dns("a.example.com"), "", nil, "", ""},
		{"drop, fixed", "drop", "O=Example,C=CH", "CN=a,OU=b", dns("a.example.com"), "O=Example,C=CH", nil, "", ""},
		{"san, fixed", "san", "O=Example,C=CH", "O=Mine", dns("a.example.com"), "CN=a.example.com,O=Example,C=CH", nil, "", ""},
		{"asked", "asked", "", "CN=b.example.com,O=Mine", dns("a.example.com", "b.example.com"), "CN=b.example.com", nil, "", ""},
		{"asked: none", "asked", "", "O=Mine", dns("a.example.com"), "", nil, "", ""},
		{"asked: becomes a name", "asked", "", "CN=B.example.com", dns("a.example.com"), "CN=b.example.com", dns("a.example.com", "b.example.com"), "", ""},
		{"asked: is the only name", "asked", "", "CN=B.example.com", nil, "CN=b.example.com", dns("b.example.com"), "", ""},
		{"asked: an address", "asked", "", "CN=192.0.2.1", []names.Name{{Type: names.IP, Value: "192.0.2.1"}}, "CN=192.0.2.1", nil, "", ""},
		{"asked: no name", "asked", "", "CN=Alice Example", dns("a.example.com"), "", nil, engine.NameNotAllowed, `"Alice Example" is not one of the names`},
		{"asked: two", "asked", "", "CN=a.example.com,CN=b.example.com", dns("a.example.com"), "", nil, engine.BadCSR, "2 common names"},
		{"free", "free", "O=Example", "CN=Alice Example,OU=x", nil, "CN=Alice Example,O=Example", nil, "", ""},
		{"free: a host name is not a name", "free", "", "CN=www.example.com", nil, "CN=www.example.com", nil, "", ""},
		{"free: two", "free", "", "CN=a+OU=b,CN=c", nil, "", nil, engine.BadCSR, "2 common names"},
		{"free: none", "free", "", "O=x", nil, "", nil, engine.BadCSR, "asks for no name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, r := web(), request(t)
			p.Subject, p.Names.Assigned = engine.SubjectRules{CN: tt.cn, Fixed: tt.fixed}, patterns(t, "any")
			r.Asked.Names, r.Proofs = tt.names, nil
			if tt.asks != "" {
				r.Asked.Subject = dn(t, tt.asks)
			}
			v, d := shape(t, p, r)
			if tt.reason != "" {
				denied(t, v, tt.reason, tt.says)
				return
			}
			passes(t, v)
			want := names.DN(nil)
			if tt.subject != "" {
				want = dn(t, tt.subject)
			}
			if !d.Subject.Equal(want) {
				t.Errorf("subject %s, want %s", d.Subject, want)
			}
			if tt.want == nil {
				tt.want = tt.names
			}
			if !slices.Equal(d.Names, tt.want) {
				t.Errorf("names %v, want %v", d.Names, tt.want)
			}
		})
	}
}

func TestNameFromCommonNameNeedsAWarrantToo(t *testing.T) {
	p, r := web(), request(t)
	p.Subject.CN = "asked"
	r.Asked.Subject = dn(t, "CN=bank.example.net")
	v, _ := shape(t, p, r)
	denied(t, v, engine.NameNotAllowed, "nobody proved dns:bank.example.net")
}

func TestLongCommonName(t *testing.T) {
	p, r := web(), request(t)
	p.Subject.CN, p.Names.Assigned = "asked", patterns(t, "*")
	r.Asked.Subject = names.DN{{{OID: oidCN, Value: strings.Repeat("a", 60) + ".example.com"}}}
	v, _ := shape(t, p, r)
	denied(t, v, engine.BadCSR, "longer than 64")
}

// RFC 8555, Section 7.4: the CSR may have an identifier of the order in its
// common name alone.
func TestProvedCommonNameIsAName(t *testing.T) {
	r := request(t)
	r.Asked.Names, r.Asked.Subject = nil, dn(t, "CN=WWW.example.com")
	v, d := shape(t, web(), r)
	passes(t, v)
	if !slices.Equal(d.Names, dns("www.example.com")) || !d.Subject.Equal(dn(t, "CN=www.example.com")) {
		t.Errorf("names %v, subject %s", d.Names, d.Subject)
	}
	r.Asked.Subject = dn(t, "CN=bank.example.net")
	v, _ = shape(t, web(), r)
	denied(t, v, engine.BadCSR, "wants the names there")
}

// XL-001, ESC1: who asks for a client certificate does not choose whom it names.
func TestXL001EnrolleeSuppliesName(t *testing.T) {
	p, r := web(), request(t)
	p.ExtKeyUsage, p.Names.Allow = []string{"clientAuth"}, patterns(t, "email:*", "*")
	r.Asked.Names = []names.Name{{Type: names.Email, Value: "administrator@example.com"}}
	v, _ := shape(t, p, r)
	denied(t, v, engine.NameNotAllowed, "nobody proved email:administrator@example.com")

	// Forms that the profile does not list are refused whatever was proved.
	p.Names.Allow = nil
	r.Proofs[0].Names = r.Asked.Names
	v, _ = shape(t, p, r)
	denied(t, v, engine.NameNotAllowed, "it takes DNS names and addresses")
}

// XL-006, ESC6: nothing beside the request's own names adds one.
func TestXL006NoNamesFromTheSide(t *testing.T) {
	r := request(t)
	r.Claims = []engine.Claim{
		{Origin: "attribute", Name: "san", Value: "dns=admin.example.com&upn=administrator@example.com"},
		{Origin: "challenge", Name: "challengePassword", Value: "san:dns=admin.example.com"},
		{Origin: "query", Name: "names", Value: "admin.example.com"},
	}
	r.Asked.Subject = dn(t, "CN=admin.example.com,1.2.840.113549.1.9.1=#160d61646d696e406578616d706c65")
	r.Asked.Extensions = []engine.AskedExtension{{OID: "1.3.6.1.4.1.311.21.99", Value: []byte{0x05, 0x00}}}
	for _, cn := range []string{"", "san", "drop"} {
		p := web()
		p.Subject.CN = cn
		v, d := shape(t, p, r)
		passes(t, v)
		if !slices.Equal(d.Names, dns("www.example.com")) || slices.Contains(d.Subject.CommonNames(), "admin.example.com") || strings.Contains(d.Subject.String(), "1.9.1") {
			t.Errorf("cn %s: names %v, subject %s", cn, d.Names, d.Subject)
		}
	}
}
