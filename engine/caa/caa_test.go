package caa

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/engine/dns"
	"chancery/engine/names"
)

// zone answers from a map, as "flags tag value" lines; "?" is no answer.
type zone struct {
	records map[string][]string
	asked   []string
}

func (z *zone) CAA(_ context.Context, name string) ([]dns.CAA, time.Duration, error) {
	z.asked = append(z.asked, name)
	if name == "onion" {
		return nil, 0, dns.ErrName
	}
	var all []dns.CAA
	for _, line := range z.records[name] {
		if line == "?" {
			return nil, 0, dns.ErrNoAnswer
		}
		flags, rest, _ := strings.Cut(line, " ")
		tag, value, _ := strings.Cut(rest, " ")
		all = append(all, dns.CAA{Critical: flags == "128", Tag: strings.ToLower(tag), Value: value})
	}
	return all, time.Minute, nil
}

func dnsName(s string) names.Name { return names.Name{Type: names.DNS, Value: s} }

const own = "https://ca.example/acme/default/account/1"

func allowed(t *testing.T, z *zone, name string, methods ...string) (bool, Answer) {
	t.Helper()
	if methods == nil {
		methods = []string{"http-01"}
	}
	c := Checker{Records: z, Identities: []string{"ca.example", "ca2.example"}}
	a, err := c.Check(context.Background(), Request{Name: dnsName(name), Account: own, Methods: methods})
	if err != nil {
		t.Fatal(err)
	}
	return a.Allowed, a
}

// T-027: the closest set counts, by the labels of the name.
func TestACME_T027_TheClosestSetCounts(t *testing.T) {
	for name, tt := range map[string]struct {
		records map[string][]string
		at      string
		ok      bool
	}{
		"none":               {nil, "", true},
		"at the parent":      {map[string][]string{"example.org": {"0 issue other.example"}}, "example.org", false},
		"parent allows":      {map[string][]string{"example.org": {"0 issue ca.example"}}, "example.org", true},
		"at the name, too":   {map[string][]string{"a.b.example.org": {"0 issue ca.example"}, "example.org": {"0 issue other.example"}}, "a.b.example.org", true},
		"at the top":         {map[string][]string{"org": {"0 issue other.example"}}, "org", false},
		"a closer empty one": {map[string][]string{"b.example.org": {"0 iodef mailto:a@b"}, "org": {"0 issue other.example"}}, "b.example.org", true},
	} {
		z := &zone{records: tt.records}
		ok, a := allowed(t, z, "a.b.example.org")
		if ok != tt.ok || a.At != tt.at {
			t.Errorf("%s: %+v", name, a)
		}
		if tt.at == "" && fmt.Sprint(z.asked) != "[a.b.example.org b.example.org example.org org]" {
			t.Errorf("%s: asked %v", name, z.asked)
		}
	}
}

// T-028 to T-031, T-035, T-036, T-038, XN-016: what properties say.
func TestACME_T028_T029_T030_T031_T035_T036_T038_Properties(t *testing.T) {
	for _, tt := range []struct {
		records    string // separated by |
		name, wild bool
	}{
		{"0 issue ca.example", true, true},
		{"0 issue ca2.example", true, true},
		{"0 issue other.example", false, false},
		{"0 issue ;", false, false},
		{"0 issue ", false, false},
		{"0 issue %%%%%", false, false},
		{"0 issue ca.example; bad param===", false, false},
		{"0 issue ca.example; bad==x", true, true}, // "=x" is a value
		{"0 issue ca.example; a=b;", false, false}, // the grammar has no such semicolon
		{"0 issue ca.example;", true, true},
		{"0 issue ;|0 issue ca.example", true, true}, // additive
		{"0 ISSUE   CA.Example\t ;\ta = b ; c=", true, true},
		{"0 issue xca.example", false, false},
		{"0 issue ca.example.evil", false, false},
		{"0 issue ca.example.", false, false},
		{"0 issue ca.example other.example", false, false},
		// T-029
		{"0 issue ca.example|0 issuewild other.example", true, false},
		{"0 issuewild other.example", true, false},
		{"0 issuewild ca.example|0 issue ;", false, true},
		{"0 issuewild ;", true, false},
		// T-030, T-038
		{"128 tbs x", false, false},
		{"128 tbs x|0 issue ca.example", false, false},
		{"1 tbs x", true, true},
		{"128 iodef mailto:a@b", true, true},
		{"128 issue ca.example", true, true},
		{"0 contactemail a@b|128 issuemail ;", true, true},
		// T-035
		{"0 issue ca.example; accounturi=" + own, true, true},
		{"0 issue ca.example; accounturi=" + own + "0", false, false},
		{"0 issue ca.example; accounturi=" + strings.ToUpper(own), false, false},
		{"0 issue ca.example; accounturi=" + own + "; accounturi=" + own, false, false},
		{"0 issue ca.example; accounturi=", false, false},
		{"0 issue ca.example; accounturi=not a uri", false, false},
		{"0 issue other.example; accounturi=" + own, false, false},
		{"0 issue ca.example; AccountURI=" + own + "|0 issue other.example", true, true},
		// T-036
		{"0 issue ca.example; validationmethods=http-01", true, true},
		{"0 issue ca.example; validationmethods=dns-01,http-01", true, true},
		{"0 issue ca.example; validationmethods=dns-01", false, false},
		{"0 issue ca.example; validationmethods=", false, false},
		{"0 issue ca.example; validationmethods=http-01,", false, false},
		{"0 issue ca.example; validationmethods=unknown-99", false, false},
		{"0 issue ca.example; validationmethods=dns-01, http-01", false, false},
		{"0 issue ca.example; validationmethods=http-01; validationmethods=http-01", false, false},
		{"0 issue ca.example; validationmethods=dns-01|0 issue ca.example; validationmethods=http-01", true, true},
		{"0 issue ca.example; unknown=x", true, true},
		{"0 issue ca.example; unknown=a b", false, false},
	} {
		z := &zone{records: map[string][]string{"www.example.org": strings.Split(tt.records, "|")}}
		if ok, a := allowed(t, z, "www.example.org"); ok != tt.name {
			t.Errorf("%s: %+v", tt.records, a)
		}
		if ok, a := allowed(t, z, "*.www.example.org"); ok != tt.wild {
			t.Errorf("%s for the wildcard: %+v", tt.records, a)
		}
	}
	// Any of the ways in which the name was proved.
	z := &zone{records: map[string][]string{"org": {"0 issue ca.example; validationmethods=dns-01"}}}
	if ok, a := allowed(t, z, "example.org", "http-01", "dns-01"); !ok {
		t.Errorf("%+v", a)
	}
	// Without an account, one that is named is another.
	z = &zone{records: map[string][]string{"org": {"0 issue ca.example; accounturi="}}}
	c := Checker{Records: z, Identities: []string{"ca.example"}}
	if a, err := c.Check(t.Context(), Request{Name: dnsName("org")}); err != nil || a.Allowed {
		t.Errorf("%+v, %v", a, err)
	}
}

// XN-016: a thousand records are read as one.
func TestXN_016_ManyRecords(t *testing.T) {
	many := slices.Repeat([]string{"0 issue other.example"}, 999)
	z := &zone{records: map[string][]string{"org": many}}
	if ok, _ := allowed(t, z, "example.org"); ok {
		t.Error("allowed by nobody")
	}
	z.records["org"] = append(many, "0 issue ca.example")
	if ok, a := allowed(t, z, "example.org"); !ok {
		t.Errorf("%+v", a)
	}
	z = &zone{}
	if ok, a := allowed(t, z, strings.Repeat("a.", 60)+"org"); ok || len(z.asked) > 0 {
		t.Errorf("%+v, %d questions", a, len(z.asked))
	}
}

// XN-014, T-032: no answer is a no, wherever on the way up it is missing.
func TestXN_014_T032_NoAnswerIsNo(t *testing.T) {
	for _, at := range []string{"www.example.org", "example.org", "org"} {
		c := Checker{Records: &zone{records: map[string][]string{at: {"?"}}}, Identities: []string{"ca.example"}}
		a, err := c.Check(t.Context(), Request{Name: dnsName("www.example.org")})
		if !errors.Is(err, ErrUnknown) || a.Allowed {
			t.Errorf("%s: %+v, %v", at, a, err)
		}
	}
	// Above the set that counts nobody is asked.
	c := Checker{Records: &zone{records: map[string][]string{"example.org": {"0 issue ca.example"}, "org": {"?"}}}, Identities: []string{"ca.example"}}
	if a, err := c.Check(t.Context(), Request{Name: dnsName("www.example.org")}); err != nil || !a.Allowed {
		t.Errorf("%+v, %v", a, err)
	}
}

func FuzzParseIssue(f *testing.F) {
	for _, s := range []string{"ca.example; accounturi=https://x/1", ";", "", "%%%", "a;b=c;d=e", " \ta.b ; c = d ", "a;=;", "a;b=c;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, ok := ParseIssue(s)
		if !ok {
			return
		}
		// What was read can be written, and reads the same.
		text := v.Domain
		for i, p := range v.Parameters {
			text += map[bool]string{true: "; ", false: ";"}[i == 0] + p.Tag + "=" + p.Value
		}
		w, ok := ParseIssue(text)
		if !ok || w.Domain != v.Domain || !slices.Equal(w.Parameters, v.Parameters) {
			t.Errorf("%q: %+v, again %+v, %v", s, v, w, ok)
		}
	})
}
