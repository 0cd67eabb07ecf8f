package names

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

var label63 = strings.Repeat("a", 63)

// badDNS is what no frontend may let through as a dns name.
var badDNS = map[string]string{
	"empty":                   "",
	"dot":                     ".",
	"NUL":                     "www.example.com\x00.attacker.test",
	"CR LF":                   "www.example.com\r\nX: y",
	"space":                   "www.example com",
	"only space":              " ",
	"empty label":             "a..b",
	"leading dot":             ".example.com",
	"trailing dot":            "example.com.",
	"leading hyphen":          "-a.com",
	"trailing hyphen":         "a-.com",
	"underscore":              "a_b.com",
	"64-octet label":          label63 + "a.com",
	"254 octets":              strings.Repeat(label63+".", 3) + strings.Repeat("a", 62),
	"U-label":                 "bücher.de",
	"Latin-1":                 "b\xfccher.de",
	"IPv4":                    "192.0.2.1",
	"IPv6":                    "2001:db8::1",
	"IPv6 in brackets":        "[2001:db8::1]",
	"numeric TLD":             "example.123",
	"port":                    "example.com:443",
	"URL":                     "https://example.com/",
	"R-LDH":                   "ab--cd.com",
	"A-label empty":           "xn--.com",
	"A-label short":           "xn--a.com",
	"A-label ASCII":           "xn--example-.com",
	"A-label hyphen":          "xn---.com",
	"A-label broken":          "xn--0.com",
	"A-label of capital":      "xn--bcher-2pa.com", // bÜcher
	"A-label of leading mark": "xn--a-wbb.com",
	"A-label of emoji":        "xn--ls8h.la",
	"A-label of space":        "xn-- -7ga.com",
	"A-label overflow":        "xn--99999999999999.com",
	"A-label surrogate":       "xn--ib9b.com",
}

func TestXK_001_DNSNames(t *testing.T) {
	for what, value := range badDNS {
		var syntax *SyntaxError
		if n, err := Parse(DNS, value); !errors.As(err, &syntax) {
			t.Errorf("%s: %q gave %v, %v", what, value, n, err)
		} else if strings.ContainsAny(err.Error(), "\r\n\x00") {
			t.Errorf("%s: message with controls: %q", what, err)
		}
	}
	for value, want := range map[string]string{
		"www.example.com":      "www.example.com",
		"WWW.Example.COM":      "www.example.com",
		"localhost":            "localhost",
		"3com.com":             "3com.com",
		"a.1.b2":               "a.1.b2",
		"xn--bcher-kva.de":     "xn--bcher-kva.de",
		"XN--BCHER-KVA.de":     "xn--bcher-kva.de",
		"xn--fiqs8s":           "xn--fiqs8s",
		"xn--mgbh0fb.xn--p1ai": "xn--mgbh0fb.xn--p1ai",
		label63 + ".com":       label63 + ".com",
		strings.Repeat(label63+".", 3) + strings.Repeat("a", 61): strings.Repeat(label63+".", 3) + strings.Repeat("a", 61),
	} {
		if n, err := Parse(DNS, value); err != nil || n != (Name{DNS, want}) {
			t.Errorf("%q gave %v, %v", value, n, err)
		}
	}
}

func TestXK_018_Wildcards(t *testing.T) {
	for _, value := range []string{"*", "*.", "*.com", "a*.example.com", "*a.example.com", "*.*.example.com", "a.*.example.com", "**.example.com", "*.-a.com", "*..com", "*.192.0.2.1"} {
		if n, err := Parse(DNS, value); err == nil {
			t.Errorf("%q gave %v", value, n)
		}
	}
	for typ, value := range map[Type]string{IP: "*.example.com", Email: "user@*.example.com", URI: "https://*.example.com/"} {
		if n, err := Parse(typ, value); err == nil {
			t.Errorf("%s %q gave %v", typ, value, n)
		}
	}
	n, err := Parse(DNS, "*.Example.com")
	if err != nil || n.Value != "*.example.com" || !n.Wildcard() {
		t.Errorf("gave %v, %v", n, err)
	}
	if (Name{Email, "*.x@example.com"}).Wildcard() {
		t.Error("an email name is no wildcard")
	}
}

func TestXK_021_IPAddresses(t *testing.T) {
	for _, value := range []string{"", "1.2.3", "1.2.3.256", "01.2.3.4", "::ffff:1.2.3.4", "::ffff:102:304", "fe80::1%eth0", "10.0.0.0/8", "[::1]", " 1.2.3.4", "1.2.3.4:80"} {
		if n, err := Parse(IP, value); err == nil {
			t.Errorf("%q gave %v", value, n)
		}
	}
	for value, want := range map[string]string{"192.0.2.1": "192.0.2.1", "2001:DB8:0:0:0:0:0:1": "2001:db8::1", "::": "::"} {
		if n, err := Parse(IP, value); err != nil || n.Value != want {
			t.Errorf("%q gave %v, %v", value, n, err)
		}
	}
	for what, octets := range map[string][]byte{
		"none": {}, "five": {1, 2, 3, 4, 5}, "CIDR": {10, 0, 0, 0, 255, 0, 0, 0},
		"mapped": netip.MustParseAddr("::ffff:1.2.3.4").AsSlice(),
	} {
		if list, err := ParseSAN(der(0x30, der(0x87, octets))); err == nil {
			t.Errorf("%s: gave %v", what, list)
		}
	}
}

func TestEmailAndURI(t *testing.T) {
	for _, value := range []string{"", "user", "@example.com", "user@", "a@b@example.com", "a b@example.com", "\"a b\"@example.com", ".a@example.com", "a..b@example.com", "jürgen@example.com", "a@[192.0.2.1]", "a@example.com\n", strings.Repeat("a", 65) + "@example.com", "a@bücher.de"} {
		if n, err := Parse(Email, value); err == nil {
			t.Errorf("%q gave %v", value, n)
		}
	}
	if n, err := Parse(Email, "Ada.Lovelace+x@Example.COM"); err != nil || n.Value != "Ada.Lovelace+x@example.com" {
		t.Errorf("gave %v, %v", n, err)
	}
	for _, value := range []string{"", "/relative", "//example.com/", "example.com", "1http://x.example/", "https:", "https://", "file:///etc/passwd", "https://user@example.com/", "https://example.com:99999/", "https://example.com:/", "https://example.com/a b", "https://example.com/\x00", "https://example.com/%0a", "https://example.com/%2e%2e/x", "https://example.com/../x", "https://example.com/./x", "https://example.com/%2Fx", "https://example.com/%4", "https://example.com/%zz", "https://example.com/a#b#c", "https://exa_mple.com/", "https://[::ffff:1.2.3.4]/", "https://[example.com]/", "https://bücher.de/", "https://x.example/" + strings.Repeat("a", 2048)} {
		if n, err := Parse(URI, value); err == nil {
			t.Errorf("%q gave %v", value, n)
		}
	}
	for value, want := range map[string]string{
		"SPIFFE://TD.Example/Work":       "spiffe://td.example/Work",
		"https://192.0.2.1:8443/x?y#z":   "https://192.0.2.1:8443/x?y#z",
		"https://[2001:DB8::1]":          "https://[2001:db8::1]",
		"urn:uuid:f81d4fae-7dec":         "urn:uuid:f81d4fae-7dec",
		"https://example.com/%c3%bc/a..": "https://example.com/%C3%BC/a..",
	} {
		if n, err := Parse(URI, value); err != nil || n.Value != want {
			t.Errorf("%q gave %v, %v", value, n, err)
		}
	}
}

func TestUnknownType(t *testing.T) {
	var unsupported *UnsupportedError
	if _, err := Parse("upn", "ada@example.com"); !errors.As(err, &unsupported) {
		t.Errorf("gave %v", err)
	}
}
