package names

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// subtreeOf writes one GeneralSubtree from "dns:…", "ip:CIDR", "email:…",
// "uri:…" or "dn:…".
func subtreeOf(t *testing.T, s string) []byte {
	t.Helper()
	typ, text, _ := strings.Cut(s, ":")
	switch typ {
	case "dns":
		return der(0x30, der(0x82, []byte(text)))
	case "email":
		return der(0x30, der(0x81, []byte(text)))
	case "uri":
		return der(0x30, der(0x86, []byte(text)))
	case "ip":
		p := netip.MustParsePrefix(text)
		mask := make([]byte, p.Addr().BitLen()/8)
		for i := range p.Bits() {
			mask[i/8] |= 0x80 >> (i % 8)
		}
		return der(0x30, der(0x87, p.Addr().AsSlice(), mask))
	}
	raw, err := mustDN(t, text).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return der(0x30, der(0xa4, raw))
}

func constraintsOf(t *testing.T, permitted, excluded []string) *Constraints {
	t.Helper()
	var lists [][]byte
	for i, list := range [][]string{permitted, excluded} {
		var parts [][]byte
		for _, s := range list {
			parts = append(parts, subtreeOf(t, s))
		}
		if parts != nil {
			lists = append(lists, der(byte(0xa0+i), parts...))
		}
	}
	c, err := ParseConstraints(der(0x30, lists...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// constraintRows are issuers, what they are asked for, and whether they may.
var constraintRows = []struct {
	permitted, excluded string // separated by spaces
	name                string
	subject             string
	ok                  bool
}{
	{permitted: "dns:example.com", name: "dns:example.com", ok: true},
	{permitted: "dns:example.com", name: "dns:a.b.example.com", ok: true},
	{permitted: "dns:Example.COM", name: "dns:a.example.com", ok: true},
	{permitted: "dns:example.com", name: "dns:badexample.com"},
	{permitted: "dns:example.com", name: "dns:example.com.attacker.test"},
	{permitted: "dns:.example.com", name: "dns:example.com"},
	{permitted: "dns:.example.com", name: "dns:a.example.com", ok: true},
	{permitted: "dns:", name: "dns:a.example.com", ok: true},
	{permitted: "dns:a.test dns:b.test", name: "dns:x.b.test", ok: true},
	{permitted: "dns:example.com", name: "ip:192.0.2.1", ok: true},
	// Wildcards, CVE-2025-61727.
	{permitted: "dns:example.com", name: "dns:*.example.com", ok: true},
	{permitted: "dns:.example.com", name: "dns:*.example.com", ok: true},
	{permitted: "dns:foo.example.com", name: "dns:*.example.com"},
	{permitted: "dns:foo.example.com", name: "dns:*.foo.example.com", ok: true},
	{excluded: "dns:foo.example.com", name: "dns:*.example.com"},
	{excluded: "dns:.foo.example.com", name: "dns:*.example.com"},
	{excluded: "dns:example.com", name: "dns:*.example.com"},
	{excluded: "dns:example.com", name: "dns:*.a.example.com"},
	{excluded: "dns:a.foo.example.com", name: "dns:*.example.com", ok: true},
	{excluded: "dns:foo.example.com", name: "dns:*.badfoo.example.com", ok: true},
	{excluded: "dns:.example.com", name: "dns:example.com"},
	{excluded: "dns:example.com", name: "dns:badexample.com", ok: true},
	{excluded: "dns:", name: "dns:badexample.com"},
	{permitted: "dns:example.com", excluded: "dns:secret.example.com", name: "dns:x.secret.example.com"},
	{permitted: "ip:10.0.0.0/8", name: "ip:10.1.2.3", ok: true},
	{permitted: "ip:10.0.0.0/8", name: "ip:11.1.2.3"},
	{permitted: "ip:10.0.0.0/8", name: "ip:2001:db8::1"},
	{excluded: "ip:10.0.0.0/8", name: "ip:2001:db8::1", ok: true},
	{excluded: "ip:0.0.0.0/0", name: "ip:192.0.2.1"},
	{excluded: "ip:::/0", name: "ip:2001:db8::1"},
	{permitted: "ip:2001:db8::/32", name: "ip:2001:db8:1::1", ok: true},
	{permitted: "email:example.com", name: "email:a@example.com", ok: true},
	{permitted: "email:example.com", name: "email:a@sub.example.com"},
	{permitted: "email:.example.com", name: "email:a@sub.example.com", ok: true},
	{permitted: "email:.example.com", name: "email:a@example.com"},
	{permitted: "email:Ada@example.com", name: "email:Ada@example.com", ok: true},
	{permitted: "email:Ada@example.com", name: "email:ada@example.com"},
	{excluded: "email:Ada@example.com", name: "email:ada@example.com"},
	{excluded: "email:Ada@example.com", name: "email:bob@example.com", ok: true},
	{permitted: "uri:example.com", name: "uri:https://example.com:8443/x", ok: true},
	{permitted: "uri:example.com", name: "uri:https://a.example.com/"},
	{permitted: "uri:.example.com", name: "uri:https://a.example.com/", ok: true},
	{permitted: "uri:example.com", name: "uri:urn:x:y"},
	{excluded: "uri:example.com", name: "uri:urn:x:y"},
	{excluded: "uri:example.com", name: "uri:https://192.0.2.1/"},
	{excluded: "uri:example.com", name: "uri:https://[2001:db8::1]/"},
	{excluded: "uri:example.com", name: "uri:https://example.org/", ok: true},
	// Subjects.
	{permitted: "dn:O=Example,C=DE", subject: "CN=a,O=EXAMPLE,C=de", ok: true},
	{permitted: "dn:O=Example,C=DE", subject: "CN=a,O=Other,C=DE"},
	{permitted: "dn:O=Example,C=DE", subject: "C=DE"},
	{permitted: "dn:O=Example,C=DE", subject: "O=Example+CN=a,C=DE"},
	{permitted: "dn:O=Example,C=DE", name: "dns:a.test", ok: true},
	{excluded: "dn:O=Example", subject: "CN=a,O=example"},
	{excluded: "dn:", subject: "CN=a"},
	{permitted: "email:example.com", subject: "emailAddress=a@other.test"},
	{permitted: "email:example.com", subject: "emailAddress=a@EXAMPLE.com", ok: true},
	{excluded: "email:example.com", subject: "emailAddress=nonsense"},
	{permitted: "email:example.com", subject: "emailAddress=nonsense"},
	{permitted: "dns:example.com", subject: "CN=www.other.test"},
	{permitted: "dns:example.com", subject: "CN=www.other.test", name: "dns:a.example.com", ok: true},
	{permitted: "dns:example.com", subject: "CN=Device 7", ok: true},
}

func TestXK_019_NameConstraints(t *testing.T) {
	for _, row := range constraintRows {
		c := constraintsOf(t, strings.Fields(row.permitted), strings.Fields(row.excluded))
		if row.permitted == "dn:O=Example,C=DE" && len(c.permitted) != 1 {
			t.Fatal("one subtree expected")
		}
		var list []Name
		if row.name != "" {
			typ, value, _ := strings.Cut(row.name, ":")
			n, err := Parse(Type(typ), value)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, n)
		}
		err := c.Check(list, mustDN(t, row.subject))
		var refused *ConstraintError
		if row.ok && err != nil || !row.ok && !errors.As(err, &refused) {
			t.Errorf("permitted %q excluded %q: %q %q gave %v", row.permitted, row.excluded, row.name, row.subject, err)
		}
	}
	var none *Constraints
	if none.Check([]Name{{DNS, "a.test"}}, nil) != nil || (&Constraints{}).Check([]Name{{DNS, "a.test"}}, nil) != nil {
		t.Error("no constraints must constrain nothing")
	}
}

func TestParseConstraintsRefuses(t *testing.T) {
	good := der(0x30, der(0x82, []byte("example.com")))
	for what, ext := range map[string][]byte{
		"nothing":          {},
		"empty":            der(0x30),
		"empty permitted":  der(0x30, der(0xa0)),
		"wrong order":      der(0x30, der(0xa1, good), der(0xa0, good)),
		"trailing":         append(der(0x30, der(0xa0, good)), 0),
		"minimum":          der(0x30, der(0xa0, der(0x30, der(0x82, []byte("a.test")), der(0x80, []byte{0})))),
		"maximum":          der(0x30, der(0xa0, der(0x30, der(0x82, []byte("a.test")), der(0x81, []byte{9})))),
		"otherName":        der(0x30, der(0xa1, der(0x30, upn))),
		"registeredID":     der(0x30, der(0xa0, der(0x30, der(0x88, []byte{0x2a, 3})))),
		"wildcard":         der(0x30, der(0xa0, der(0x30, der(0x82, []byte("*.example.com"))))),
		"dns with NUL":     der(0x30, der(0xa0, der(0x30, der(0x82, []byte("a\x00.test"))))),
		"lone dot":         der(0x30, der(0xa0, der(0x30, der(0x82, []byte("."))))),
		"uri with scheme":  der(0x30, der(0xa0, der(0x30, der(0x86, []byte("https://a.test"))))),
		"ip of 4 octets":   der(0x30, der(0xa0, der(0x30, der(0x87, []byte{10, 0, 0, 0})))),
		"ip mask gap":      der(0x30, der(0xa0, der(0x30, der(0x87, []byte{10, 0, 0, 0, 255, 0, 255, 0})))),
		"unknown tag":      der(0x30, der(0xa0, der(0x30, der(0x89, []byte("x"))))),
		"too many":         der(0x30, der(0xa0, bytesRepeat(good, maxSubtrees+1))),
		"too many in both": der(0x30, der(0xa0, bytesRepeat(good, 300)), der(0xa1, bytesRepeat(good, 300))),
	} {
		if c, err := ParseConstraints(ext); err == nil {
			t.Errorf("%s: gave %v", what, c)
		}
	}
}

func bytesRepeat(b []byte, n int) []byte { return []byte(strings.Repeat(string(b), n)) }
