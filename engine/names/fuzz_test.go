package names

import (
	"bytes"
	"encoding/asn1"
	"slices"
	"strings"
	"testing"
	"unicode"
)

func FuzzParseSAN(f *testing.F) {
	f.Add(der(0x30, der(0x82, []byte("www.example.com")), der(0x87, []byte{192, 0, 2, 1})))
	f.Add(der(0x30, der(0x81, []byte("a@example.com")), der(0x86, []byte("spiffe://td.example/%c3%bc"))))
	f.Add(der(0x30, upn, der(0x82, []byte("*.xn--bcher-kva.de"))))
	f.Fuzz(func(t *testing.T, in []byte) {
		list, err := ParseSAN(in)
		if err != nil {
			return
		}
		for _, n := range list {
			if again, err := Parse(n.Type, n.Value); err != nil || again != n {
				t.Fatalf("%v is not canonical: %v, %v", n, again, err)
			}
			if strings.ContainsFunc(n.Value, func(r rune) bool { return r > unicode.MaxASCII || unicode.IsControl(r) || r == ' ' }) {
				t.Fatalf("%q", n)
			}
		}
		ext, err := MarshalSAN(list)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseSAN(ext); err != nil || !slices.Equal(again, list) {
			t.Fatalf("%v became %v, %v", list, again, err)
		}
	})
}

func FuzzParseDN(f *testing.F) {
	for _, seed := range []string{"CN=Chancery Root,O=Example,C=DE", "CN=a+OU=b,DC=x", "1.2.3=ü,emailAddress=a@b"} {
		dn, err := ParseDNString(seed)
		if err != nil {
			f.Fatal(err)
		}
		raw, _ := dn.Marshal()
		f.Add(raw)
	}
	f.Add(cn(30, "\x00a\x20\xac"))
	f.Add(cn(20, "T61"))
	f.Fuzz(func(t *testing.T, in []byte) {
		dn, err := ParseDN(in)
		if err != nil {
			return
		}
		raw, err := dn.Marshal()
		if err != nil {
			// Old string types can grow past the cap as UTF-8.
			if len(in) > maxDN/2 {
				return
			}
			t.Fatal(err)
		}
		back, err := ParseDN(raw)
		if err != nil || !back.Equal(dn) || !dn.Equal(dn) {
			t.Fatalf("%v became %v, %v", dn, back, err)
		}
		if twice, err := back.Marshal(); err != nil || !bytes.Equal(twice, raw) {
			t.Fatalf("%x became %x", raw, twice)
		}
		text := dn.String()
		fromText, err := ParseDNString(text)
		if err != nil && len(text) > maxDN {
			return
		}
		if err != nil || !fromText.Equal(dn) {
			t.Fatalf("%q became %v, %v", text, fromText, err)
		}
	})
}

func FuzzParseDNString(f *testing.F) {
	f.Add("CN=Chancery Root,O=Example")
	f.Add(`1.2.3=#0c0161,CN=\#a\ +OU=\C3\BC`)
	f.Fuzz(func(t *testing.T, in string) {
		dn, err := ParseDNString(in)
		if err != nil {
			return
		}
		raw, err := dn.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseDN(raw); err != nil || !back.Equal(dn) {
			t.Fatalf("%q: %v became %v, %v", in, dn, back, err)
		}
		if again, err := ParseDNString(dn.String()); err != nil && len(dn.String()) <= maxDN || err == nil && !again.Equal(dn) {
			t.Fatalf("%q became %v, %v", dn.String(), again, err)
		}
	})
}

func FuzzParseConstraints(f *testing.F) {
	f.Add(der(0x30, der(0xa0, der(0x30, der(0x82, []byte(".example.com"))))), "a.example.com")
	f.Add(der(0x30, der(0xa1, der(0x30, der(0x87, []byte{10, 0, 0, 0, 255, 0, 0, 0})))), "10.0.0.1")
	f.Add(der(0x30, der(0xa1, der(0x30, der(0x81, []byte("a@example.com"))), der(0x30, der(0x86, []byte("example.com"))))), "a@example.com")
	f.Add(der(0x30, der(0xa0, der(0x30, der(0xa4, cn(12, "a"))))), "*.example.com")
	f.Fuzz(func(t *testing.T, in []byte, value string) {
		c, err := ParseConstraints(in)
		if err != nil {
			return
		}
		dn := DN{{{OID: oidCommonName, Value: "a"}}}
		for _, typ := range []Type{DNS, IP, Email, URI} {
			n, err := Parse(typ, value)
			if err != nil {
				continue
			}
			// What is refused stays refused beside another name.
			if c.Check([]Name{n}, nil) != nil && c.Check([]Name{{DNS, "x.test"}, n}, dn) == nil {
				t.Fatalf("%v refused alone and admitted in company", n)
			}
			// A wildcard is refused when a name that it covers is.
			if !n.Wildcard() {
				continue
			}
			for _, label := range []string{"foo", "www"} {
				covered := Name{DNS, label + n.Value[1:]}
				if c.Check([]Name{n}, nil) == nil && c.Check([]Name{covered}, nil) != nil {
					t.Fatalf("%v admitted though %v is refused", n, covered)
				}
			}
		}
	})
}

func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{"*.example.com", "any", "10.0.0.0/8", "*@example.com", "spiffe://td.example/*", "uri:urn:x", "ip:*"} {
		f.Add(s, "a.example.com")
	}
	f.Fuzz(func(t *testing.T, s, value string) {
		p, err := ParsePattern(s)
		if err != nil {
			return
		}
		back, err := ParsePattern(p.String())
		if err != nil || back != p {
			t.Fatalf("%q became %q, %v", s, p, err)
		}
		for _, typ := range []Type{DNS, IP, Email, URI} {
			n, err := Parse(typ, value)
			if err == nil && p.Match(n) && p.typ != "" && p.typ != n.Type {
				t.Fatalf("%q matches %v", p, n)
			}
			if err == nil && n.Wildcard() && p.form == exact && p.Match(n) {
				t.Fatalf("exact %q matches %v", p, n)
			}
		}
	})
}

// FuzzOID holds our reading of object identifiers to the standard library's.
func FuzzOID(f *testing.F) {
	f.Add([]byte{0x55, 4, 3})
	f.Add([]byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14})
	f.Add([]byte{0x88, 0x37, 3})
	f.Fuzz(func(t *testing.T, in []byte) {
		ours, ok := OIDString(in)
		if len(in) > maxOID {
			return
		}
		var theirs asn1.ObjectIdentifier
		_, err := asn1.Unmarshal(der(6, in), &theirs)
		if ok != (err == nil) || ok && ours != theirs.String() {
			t.Fatalf("%x: ours %q %v, theirs %v %v", in, ours, ok, theirs, err)
		}
	})
}
