package names

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"
)

func TestParseSAN(t *testing.T) {
	ext := der(0x30,
		der(0x82, []byte("WWW.example.com")), der(0x82, []byte("*.example.com")),
		der(0x87, []byte{192, 0, 2, 1}), der(0x87, append([]byte{0x20, 1, 0xd, 0xb8}, make([]byte, 12)...)),
		der(0x81, []byte("ada@EXAMPLE.com")), der(0x86, []byte("spiffe://td.example/x")),
		der(0x82, []byte("www.example.com")))
	want := []Name{{DNS, "www.example.com"}, {DNS, "*.example.com"}, {IP, "192.0.2.1"}, {IP, "2001:db8::"},
		{Email, "ada@example.com"}, {URI, "spiffe://td.example/x"}}
	got, err := ParseSAN(ext)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("gave %v, %v", got, err)
	}
	again, err := MarshalSAN(got)
	if err != nil {
		t.Fatal(err)
	}
	if got, err = ParseSAN(again); err != nil || !slices.Equal(got, want) {
		t.Fatalf("second reading gave %v, %v", got, err)
	}
}

func TestXK_007_OtherForms(t *testing.T) {
	for form, element := range map[string][]byte{
		"otherName 1.3.6.1.4.1.311.20.2.3": upn,
		"otherName":                        der(0xa0, []byte{1}),
		"x400Address":                      der(0xa3),
		"directoryName":                    der(0xa4, der(0x30)),
		"ediPartyName":                     der(0xa5),
		"registeredID 1.2.3":               der(0x88, []byte{0x2a, 3}),
	} {
		var unsupported *UnsupportedError
		_, err := ParseSAN(der(0x30, der(0x82, []byte("www.example.com")), element))
		if !errors.As(err, &unsupported) || unsupported.Form != form {
			t.Errorf("%s: gave %v", form, err)
		}
	}
}

func TestO_033_SANSyntax(t *testing.T) {
	good := der(0x82, []byte("a.example"))
	for what, ext := range map[string][]byte{
		"nothing":             {},
		"no names":            der(0x30),
		"SET":                 der(0x31, good),
		"trailing":            append(der(0x30, good), 0),
		"short":               der(0x30, good)[:5],
		"indefinite length":   append(append([]byte{0x30, 0x80}, good...), 0, 0),
		"long form of length": append([]byte{0x30, 0x81, byte(len(good))}, good...),
		"universal tag":       der(0x30, der(0x16, []byte("a.example"))),
		"constructed dNSName": der(0x30, der(0xa2, []byte("a.example"))),
		"empty dNSName":       der(0x30, der(0x82)),
		"space dNSName":       der(0x30, der(0x82, []byte(" "))),
		"non-ASCII":           der(0x30, der(0x82, []byte{0xff})),
		"tag 9":               der(0x30, der(0x89, []byte("x"))),
	} {
		if list, err := ParseSAN(ext); err == nil {
			t.Errorf("%s: gave %v", what, list)
		}
	}
}

func TestXK_017_ManyNames(t *testing.T) {
	san := func(n int) []byte {
		var parts [][]byte
		for i := range n {
			parts = append(parts, der(0x82, []byte("h"+strconv.Itoa(i)+".example.com")))
		}
		return der(0x30, parts...)
	}
	if list, err := ParseSAN(san(MaxNames)); err != nil || len(list) != MaxNames {
		t.Errorf("gave %d, %v", len(list), err)
	}
	if _, err := ParseSAN(san(MaxNames + 1)); err == nil {
		t.Error("101 names passed")
	}
	huge := der(0x30, san(10000)[4:], der(0xa0, bytes.Repeat([]byte{0}, 1<<20)))
	start := time.Now()
	if _, err := ParseSAN(huge); err == nil {
		t.Error("10000 names passed")
	}
	if took := time.Since(start); took > 100*time.Millisecond {
		t.Errorf("took %v", took)
	}
}

func TestMarshalSANRefuses(t *testing.T) {
	for what, list := range map[string][]Name{
		"none":          {},
		"upper case":    {{DNS, "A.example"}},
		"NUL":           {{DNS, "a\x00.example"}},
		"twice":         {{DNS, "a.example"}, {DNS, "a.example"}},
		"unknown":       {{"upn", "a@b.example"}},
		"IP as written": {{IP, "2001:DB8::1"}},
		"too many":      make([]Name, MaxNames+1),
	} {
		if ext, err := MarshalSAN(list); err == nil {
			t.Errorf("%s: gave %x", what, ext)
		}
	}
}
