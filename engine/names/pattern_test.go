package names

import (
	"encoding/json"
	"testing"
)

func TestPatternMatch(t *testing.T) {
	table := []struct {
		pattern string
		yes, no []Name
	}{
		{"host.example.com", []Name{{DNS, "host.example.com"}},
			[]Name{{DNS, "a.host.example.com"}, {DNS, "*.host.example.com"}, {DNS, "*.example.com"}, {URI, "host.example.com"}}},
		{"*.example.com", []Name{{DNS, "a.example.com"}, {DNS, "a.b.example.com"}, {DNS, "*.example.com"}, {DNS, "*.a.example.com"}},
			[]Name{{DNS, "example.com"}, {DNS, "badexample.com"}, {DNS, "*.com"}, {DNS, "a.example.com.test"}, {Email, "x@a.example.com"}}},
		{"dns:*", []Name{{DNS, "a.b"}, {DNS, "*.a.b"}}, []Name{{IP, "192.0.2.1"}, {Email, "a@b.c"}}},
		{"192.0.2.0/24", []Name{{IP, "192.0.2.255"}}, []Name{{IP, "192.0.3.1"}, {IP, "2001:db8::1"}, {DNS, "192.0.2.1"}}},
		{"192.0.2.7", []Name{{IP, "192.0.2.7"}}, []Name{{IP, "192.0.2.8"}}},
		{"2001:db8::/32", []Name{{IP, "2001:db8:1::1"}}, []Name{{IP, "2001:db9::1"}, {IP, "192.0.2.1"}}},
		{"0.0.0.0/0", []Name{{IP, "10.0.0.1"}}, []Name{{IP, "::1"}}},
		{"ip:*", []Name{{IP, "10.0.0.1"}, {IP, "::1"}}, []Name{{DNS, "a.b"}}},
		{"ada@example.com", []Name{{Email, "ada@example.com"}}, []Name{{Email, "Ada@example.com"}, {Email, "bob@example.com"}}},
		{"*@example.com", []Name{{Email, "ada@example.com"}}, []Name{{Email, "ada@sub.example.com"}, {Email, "ada@badexample.com"}, {DNS, "example.com"}}},
		{"spiffe://td.example/*", []Name{{URI, "spiffe://td.example/x"}, {URI, "spiffe://td.example/x/y"}},
			[]Name{{URI, "spiffe://td.example"}, {URI, "spiffe://td.example.attacker.test/x"}, {URI, "https://td.example/x"}}},
		{"spiffe://td.example/x", []Name{{URI, "spiffe://td.example/x"}}, []Name{{URI, "spiffe://td.example/x/y"}}},
		{"any", []Name{{URI, "urn:x"}, {DNS, "*.a.b"}, {IP, "::1"}, {Email, "a@b.c"}}, nil},
		{"dns:any", []Name{{DNS, "any"}}, []Name{{DNS, "a.b"}}},
	}
	for _, row := range table {
		p, err := ParsePattern(row.pattern)
		if err != nil {
			t.Errorf("%s: %v", row.pattern, err)
			continue
		}
		for _, n := range row.yes {
			if !p.Match(n) {
				t.Errorf("%s does not match %s", row.pattern, n)
			}
		}
		for _, n := range row.no {
			if p.Match(n) {
				t.Errorf("%s matches %s", row.pattern, n)
			}
		}
	}
	if (Pattern{}).Match(Name{}) || (Pattern{}).Match(Name{DNS, "a.b"}) {
		t.Error("the zero Pattern matches")
	}
}

func TestPatternText(t *testing.T) {
	for in, want := range map[string]string{
		"dns:Host.Example.com": "host.example.com", "*": "*", "dns:*": "*", "any": "any", "dns:any": "dns:any",
		"ip:10.0.0.0/8": "10.0.0.0/8", "192.0.2.1/32": "192.0.2.1", "2001:DB8::/32": "2001:db8::/32", "ip:*": "ip:*", "email:*": "email:*",
		"uri:*": "uri:*", "*@Example.com": "*@example.com", "uri:urn:x:y": "uri:urn:x:y", "SPIFFE://TD.example/*": "spiffe://td.example/*",
		"*.com": "*.com",
	} {
		p, err := ParsePattern(in)
		if err != nil || p.String() != want {
			t.Errorf("%q gave %q, %v", in, p, err)
		}
		text, err := json.Marshal(p)
		var back Pattern
		if err != nil || json.Unmarshal(text, &back) != nil || back != p {
			t.Errorf("%q: JSON %s gave %v", in, text, back)
		}
	}
	for _, in := range []string{"", "dns:", "ip:", "email:", "uri:", "*.*.com", "a*.com", "*com", "host.*", "*.", "10.0.0.1/8", "10.0.0.0/33", "::ffff:10.0.0.0/104", "a*@example.com", "*@*", "*@*.example.com", "spiffe://td.example*", "spiffe://*", "spiffe://td.example/a*b", "spiffe://td.example/*/x", "spiffe://td.example/../*", "uri:urn:x*", "exa mple.com", "a_b.com", "any "} {
		if p, err := ParsePattern(in); err == nil {
			t.Errorf("%q gave %q", in, p)
		}
	}
	if text, err := json.Marshal(Pattern{}); err == nil {
		t.Errorf("the zero Pattern became %s", text)
	}
}
