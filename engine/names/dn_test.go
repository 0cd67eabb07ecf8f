package names

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

var (
	cnOID = []byte{0x06, 3, 0x55, 4, 3}
	ouOID = []byte{0x06, 3, 0x55, 4, 11}
)

func atv(oid []byte, tag byte, value string) []byte { return der(0x30, oid, der(tag, []byte(value))) }

func cn(tag byte, value string) []byte { return der(0x30, der(0x31, atv(cnOID, tag, value))) }

func mustDN(t *testing.T, s string) DN {
	t.Helper()
	dn, err := ParseDNString(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return dn
}

func TestXK_002_CommonNames(t *testing.T) {
	for what, in := range map[string][]byte{
		"100 characters":       cn(12, strings.Repeat("a", 100)),
		"65 characters":        cn(12, strings.Repeat("ü", 65)),
		"empty":                cn(12, ""),
		"NUL":                  cn(12, "a\x00b"),
		"newline":              cn(12, "a\nb"),
		"C1 control":           cn(12, "a\u0085b"),
		"line separator":       cn(12, "a\u2028b"),
		"right-to-left":        cn(12, "a\u202eb"),
		"byte order mark":      cn(12, "\ufeffa"),
		"invalid UTF-8":        cn(12, "a\xff"),
		"surrogate in UTF-8":   cn(12, "\xed\xa0\x80"),
		"Printable with @":     cn(19, "a@b"),
		"Printable with *":     cn(19, "*.b"),
		"IA5 with high bit":    cn(22, "\xe9"),
		"T61 with high bit":    cn(20, "\xe9"),
		"Numeric with letter":  cn(18, "12a"),
		"BMP odd":              cn(30, "\x00a\x00"),
		"BMP lone surrogate":   cn(30, "\xd8\x00"),
		"BMP surrogate pair":   cn(30, "\xd8\x3d\xde\x00"),
		"Universal odd":        cn(28, "\x00\x00a"),
		"Universal surrogate":  cn(28, "\x00\x00\xd8\x00"),
		"Universal above":      cn(28, "\x00\x11\x00\x00"),
		"OCTET STRING":         cn(4, "a"),
		"BIT STRING":           cn(3, "\x00a"),
		"constructed string":   cn(0x2c, "a"),
		"trailing":             append(cn(12, "a"), 0),
		"empty RDN":            der(0x30, der(0x31)),
		"SEQUENCE for SET":     der(0x30, der(0x30, atv(cnOID, 12, "a"))),
		"two values":           der(0x30, der(0x31, der(0x30, cnOID, der(12, []byte("a")), der(12, []byte("b"))))),
		"unsorted RDN":         der(0x30, der(0x31, atv(ouOID, 12, "a"), atv(cnOID, 12, "a"))),
		"same twice in an RDN": der(0x30, der(0x31, atv(cnOID, 12, "a"), atv(cnOID, 12, "a"))),
		"OID not minimal":      der(0x30, der(0x31, atv([]byte{6, 4, 0x55, 0x80, 4, 3}, 12, "a"))),
		"OID cut":              der(0x30, der(0x31, atv([]byte{6, 2, 0x55, 0x84}, 12, "a"))),
		"OID empty":            der(0x30, der(0x31, atv([]byte{6, 0}, 12, "a"))),
		"country of 3":         der(0x30, der(0x31, atv([]byte{6, 3, 0x55, 4, 6}, 19, "DEU"))),
		"email not ASCII":      der(0x30, der(0x31, atv([]byte{6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1}, 12, "ü@b"))),
		"other type, 257 long": der(0x30, der(0x31, atv([]byte{6, 2, 0x2a, 3}, 12, strings.Repeat("a", 257)))),
	} {
		var syntax *SyntaxError
		if dn, err := ParseDN(in); !errors.As(err, &syntax) {
			t.Errorf("%s: gave %v, %v", what, dn, err)
		}
	}
	for what, in := range map[string][]byte{
		"UTF8": cn(12, "a1"), "Printable": cn(19, "a1"), "T61": cn(20, "a1"), "IA5": cn(22, "a1"),
		"BMP": cn(30, "\x00a\x001"), "Universal": cn(28, "\x00\x00\x00a\x00\x00\x001"),
	} {
		dn, err := ParseDN(in)
		if err != nil || len(dn.CommonNames()) != 1 || dn.CommonNames()[0] != "a1" {
			t.Errorf("%s: gave %v, %v", what, dn, err)
		}
	}
}

func TestXK_017_LongDN(t *testing.T) {
	var parts [][]byte
	for range 21 {
		parts = append(parts, der(0x31, atv(cnOID, 12, "a")))
	}
	if _, err := ParseDN(der(0x30, parts[:20]...)); err != nil {
		t.Error(err)
	}
	if _, err := ParseDN(der(0x30, parts...)); err == nil {
		t.Error("21 attributes passed")
	}
	start := time.Now()
	if _, err := ParseDN(der(0x30, bytes.Repeat(parts[0], 4000))); err == nil {
		t.Error("64 kB passed")
	}
	if took := time.Since(start); took > 100*time.Millisecond {
		t.Errorf("took %v", took)
	}
}

func TestXK_003_Compare(t *testing.T) {
	equal := [][2]string{
		{"CN=Device 01", "cn=device  01"},
		{"CN=Device 01", `CN=\ Device   01\ `},
		{"CN=ÄÖÜ", "CN=äöü"},
		{"CN=a+OU=b", "OU=B+CN=A"},
		{"O=a+O=b", "O=B+O=A"},
		{"CN=a\u00a0b", "CN=a b"},
		{"", ""},
		{"1.2.3=x", "1.2.3=X"},
	}
	differ := [][2]string{
		{`CN=device-01\,ou\=eng`, "CN=device-01,OU=eng"},
		{"CN=a,OU=b", "OU=b,CN=a"},
		{"CN=a+OU=b", "CN=a,OU=b"},
		{"O=a+O=A+O=b", "O=a+O=b+O=B"},
		{"CN=a", "CN=a,OU=b"},
		{"CN=a", "OU=a"},
		{"CN=a", "CN=ab"},
		{"CN=a b", "CN=ab"},
		{"CN=a", ""},
		{"CN=a,CN=a", "CN=a"},
	}
	for _, pair := range equal {
		a, b := mustDN(t, pair[0]), mustDN(t, pair[1])
		if !a.Equal(b) || !b.Equal(a) {
			t.Errorf("%q and %q must be equal", pair[0], pair[1])
		}
	}
	for _, pair := range differ {
		a, b := mustDN(t, pair[0]), mustDN(t, pair[1])
		if a.Equal(b) || b.Equal(a) {
			t.Errorf("%q and %q must differ", pair[0], pair[1])
		}
	}
	printable, _ := ParseDN(cn(19, "ACME"))
	bmp, _ := ParseDN(cn(30, "\x00a\x00c\x00m\x00e"))
	if !printable.Equal(bmp) {
		t.Error("the string type must not matter")
	}
}

func TestMarshalDN(t *testing.T) {
	dn := mustDN(t, "emailAddress=ca@example.com,CN=Chancery Root 日本,O=Example,C=DE,DC=corp,DC=example")
	got, err := dn.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var seq pkix.RDNSequence
	if rest, err := asn1.Unmarshal(got, &seq); err != nil || len(rest) != 0 || len(seq) != 6 {
		t.Fatalf("the standard library reads %v, %v", seq, err)
	}
	for i, want := range []byte{22, 22, 19, 19, 12, 22} {
		var raw []asn1.RawValue
		if _, err := asn1.Unmarshal(got, &raw); err != nil {
			t.Fatal(err)
		}
		var pair []asn1.RawValue
		if _, err := asn1.Unmarshal(raw[i].Bytes, &pair); err != nil {
			t.Fatal(err)
		}
		if byte(pair[1].Tag) != want {
			t.Errorf("RDN %d has string type %d, not %d", i, pair[1].Tag, want)
		}
	}
	if back, err := ParseDN(got); err != nil || back.String() != dn.String() {
		t.Errorf("reads back as %v, %v", back, err)
	}
	// What is unusual but DER survives byte for byte.
	for _, in := range [][]byte{cn(12, "plain"), cn(22, "a@b"), cn(18, "12"), cn(19, "plain")} {
		dn, err := ParseDN(in)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := json.Marshal(dn)
		var back DN
		if json.Unmarshal(text, &back) != nil {
			t.Fatal("JSON")
		}
		if out, err := back.Marshal(); err != nil || !bytes.Equal(in, out) {
			t.Errorf("%x became %x, %v by way of %s", in, out, err, text)
		}
	}
	for what, dn := range map[string]DN{
		"empty RDN": {{}}, "bad OID": {{{OID: "3.1", Value: "a"}}}, "no value": {{{OID: oidCommonName}}},
		"twice": {{{OID: oidCommonName, Value: "a"}, {OID: oidCommonName, Value: "a"}}},
		"21":    make(DN, 21),
	} {
		if out, err := dn.Marshal(); err == nil {
			t.Errorf("%s: gave %x", what, out)
		}
	}
}

func TestDNString(t *testing.T) {
	for in, want := range map[string]string{
		"CN=Chancery Root,O=Example":       "CN=Chancery Root,O=Example",
		" cn = Chancery Root , o=Example ": "CN=Chancery Root,O=Example",
		`CN=a\,b\+c\"\\\<\>\;,O=x`:         `CN=a\,b\+c\"\\\<\>\;,O=x`,
		`CN=\#a\ `:                         `CN=\#a\ `,
		`CN=a\C3\BC`:                       "CN=aü",
		"CN=a+OU=b,O=c":                    "CN=a+OU=b,O=c",
		"2.5.4.3=a":                        "CN=a",
		"1.2.3=a":                          "1.2.3=#130161",
		"1.2.3=#0c0161":                    "1.2.3=#0c0161",
		"":                                 "",
	} {
		dn, err := ParseDNString(in)
		if err != nil || dn.String() != want {
			t.Errorf("%q gave %q, %v", in, dn, err)
		}
	}
	for _, in := range []string{"CN", "CN=", "CN=a,", ",CN=a", "XX=a", "CN=a;O=b", `CN="a"`, `CN=a\`, `CN=a\zz`, "CN=a+CN=a", "1.2.3=#", "1.2.3=#0400", "C=Germany", "CN=a\nb", "CN=a=b\x00", "CN=" + strings.Repeat("a", 65)} {
		if dn, err := ParseDNString(in); err == nil {
			t.Errorf("%q gave %q", in, dn)
		}
	}
}
