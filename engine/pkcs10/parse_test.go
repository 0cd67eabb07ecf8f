package pkcs10

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/engine/names"
)

func kindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

func TestRecorded(t *testing.T) {
	all := recorded(t)
	r, err := Parse(all["ec-names"])
	if err != nil {
		t.Fatal(err)
	}
	want := []names.Name{{Type: "dns", Value: "www.example.com"}, {Type: "dns", Value: "*.example.com"},
		{Type: "ip", Value: "192.0.2.1"}, {Type: "ip", Value: "2001:db8::1"},
		{Type: "email", Value: "ada@example.com"}, {Type: "uri", Value: "spiffe://td.example/x"}}
	if !slices.Equal(r.Names, want) || r.Subject.String() != "CN=www.example.com,O=Example Org,C=DE" || r.Key.Curve != "P-256" {
		t.Errorf("gave %v", r)
	}
	if len(r.Extensions) != 2 || r.Extensions[0].OID != "2.5.29.15" || !r.Extensions[0].Critical || r.Extensions[1].Critical {
		t.Errorf("gave %v", r.Extensions)
	}
	if r, err = Parse(all["rsa-challenge"]); err != nil || r.ChallengePassword != "s3cret-canary" || !slices.Equal(r.Attributes, []string{"1.2.840.113549.1.9.2"}) {
		t.Errorf("gave %v, %v", r, err)
	}
	for name, raw := range all {
		r, err := Parse(raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := Kind("")
		if strings.HasSuffix(name, "sha1") || strings.HasSuffix(name, "md5") {
			want = BadAlgorithm
		}
		if err := r.CheckSignature(); kindOf(err) != want {
			t.Errorf("%s: signature gave %v", name, err)
		}
	}
}

func TestXK_004_Attributes(t *testing.T) {
	san := sanOf(t, "www.example.com")
	microsoft := attribute(rawMicrosoft, der(0x30, san))
	password := func(s string) []byte { return attribute(rawChallengePassword, der(12, []byte(s))) }
	for what, list := range map[string][][]byte{
		"extensionRequest twice":         {extensionRequest(san), extensionRequest(san)},
		"extensionRequest of two values": {attribute(rawExtensionRequest, der(0x30, san), der(0x30, san))},
		"extensionRequest of no value":   {attribute(rawExtensionRequest)},
		"Microsoft's beside it":          {extensionRequest(san), microsoft},
		"Microsoft's before it":          {microsoft, extensionRequest(san)},
		"Microsoft's twice":              {microsoft, microsoft},
		"challengePassword twice":        {password("a"), password("b")},
		"challengePassword of two":       {attribute(rawChallengePassword, der(12, []byte("a")), der(12, []byte("b")))},
		"challengePassword empty":        {password("")},
		"challengePassword with NUL":     {password("a\x00")},
		"challengePassword too long":     {password(strings.Repeat("a", 256))},
		"challengePassword of octets":    {attribute(rawChallengePassword, der(4, []byte("a")))},
		"unknown twice":                  {attribute(rawUnstructuredName), attribute(rawUnstructuredName)},
		"SAN twice":                      {extensionRequest(san, san)},
		"extension twice":                {extensionRequest(extension("\x2a\x03", true, nil), extension("\x2a\x03", false, nil))},
	} {
		q := newTemplate(t)
		q.attributes = list
		if r, err := Parse(q.build(t)); kindOf(err) != BadAttribute {
			t.Errorf("%s: gave %v, %v", what, r, err)
		}
	}
	q := newTemplate(t)
	q.attributes = [][]byte{microsoft, password("geheim"), attribute(rawUnstructuredName, der(12, []byte("x")))}
	r, err := Parse(q.build(t))
	if err != nil || len(r.Names) != 1 || r.ChallengePassword != "geheim" || len(r.Attributes) != 1 {
		t.Fatalf("gave %v, %v", r, err)
	}
	if err := r.CheckSignature(); err != nil {
		t.Error(err)
	}
}

// TestXK_006_CriticalIsKept: what an unknown critical extension means is decided
// by policy; the parser must not lose it.
func TestXK_006_CriticalIsKept(t *testing.T) {
	q := newTemplate(t)
	q.attributes = [][]byte{extensionRequest(extension("\x2a\x03\x04", true, []byte{5, 0}), extension(rawBasicConstraints, true, der(0x30, []byte{1, 1, 0xff})), sanOf(t, "a.test"))}
	r, err := Parse(q.build(t))
	if err != nil || len(r.Extensions) != 2 || r.Extensions[0].OID != "1.2.3.4" || !r.Extensions[0].Critical || r.Extensions[1].OID != "2.5.29.19" {
		t.Fatalf("gave %v, %v", r, err)
	}
}

func TestXK_007_OtherNames(t *testing.T) {
	q := newTemplate(t)
	upn := der(0xa0, der(6, []byte("\x2b\x06\x01\x04\x01\x82\x37\x14\x02\x03")), der(0xa0, der(12, []byte("administrator@corp.example"))))
	q.attributes = [][]byte{extensionRequest(extension(rawSAN, false, der(0x30, der(0x82, []byte("www.example.com")), upn)))}
	var form *names.UnsupportedError
	if r, err := Parse(q.build(t)); kindOf(err) != BadNames || !errors.As(err, &form) || !strings.Contains(form.Form, "1.3.6.1.4.1.311.20.2.3") {
		t.Errorf("gave %v, %v", r, err)
	}
	for _, host := range []string{"", " ", "a\x00b.test", "a\r\nb.test", "a..b", "-a.com", "*", "*.*.test"} {
		q.attributes = [][]byte{extensionRequest(extension(rawSAN, false, der(0x30, der(0x82, []byte(host)))))}
		if r, err := Parse(q.build(t)); kindOf(err) != BadNames {
			t.Errorf("%q: gave %v, %v", host, r, err)
		}
	}
}

func TestXK_009_StrictDER(t *testing.T) {
	good := newTemplate(t).build(t)
	if _, err := Parse(good); err != nil {
		t.Fatal(err)
	}
	spoiled := func(change func(q *template)) []byte {
		q := newTemplate(t)
		change(q)
		return q.build(t)
	}
	for what, raw := range map[string][]byte{
		"nothing":              {},
		"trailing":             append(bytes.Clone(good), 0),
		"cut":                  good[:len(good)-1],
		"indefinite length":    append(append([]byte{0x30, 0x80}, good[3:]...), 0, 0),
		"long form of length":  append([]byte{0x30, 0x82, 0}, good[2:]...),
		"length overflow":      {0x30, 0x84, 0xff, 0xff, 0xff, 0xff},
		"length of 8 octets":   {0x30, 0x88, 1, 2, 3, 4, 5, 6, 7, 8},
		"SET outside":          append([]byte{0x31}, good[1:]...),
		"version 1":            spoiled(func(q *template) { q.version = []byte{2, 1, 1} }),
		"version 5":            spoiled(func(q *template) { q.version = []byte{2, 1, 5} }),
		"version negative":     spoiled(func(q *template) { q.version = []byte{2, 1, 0xff} }),
		"version not least":    spoiled(func(q *template) { q.version = []byte{2, 2, 0, 0} }),
		"version empty":        spoiled(func(q *template) { q.version = []byte{2, 0} }),
		"version missing":      spoiled(func(q *template) { q.version = nil }),
		"no attributes at all": spoiled(func(q *template) { q.noAttributes = true }),
		"attribute not DER":    spoiled(func(q *template) { q.attributes = [][]byte{{0x30, 0x80, 0, 0}} }),
		"attribute of OID":     spoiled(func(q *template) { q.attributes = [][]byte{der(6, []byte("\x2a\x03"))} }),
		"critical FALSE": spoiled(func(q *template) {
			q.attributes = [][]byte{extensionRequest(der(0x30, der(6, []byte("\x2a\x03")), []byte{1, 1, 0}, der(4)))}
		}),
		"critical 01": spoiled(func(q *template) {
			q.attributes = [][]byte{extensionRequest(der(0x30, der(6, []byte("\x2a\x03")), []byte{1, 1, 1}, der(4)))}
		}),
		"extension not octets": spoiled(func(q *template) {
			q.attributes = [][]byte{extensionRequest(der(0x30, der(6, []byte("\x2a\x03")), der(12)))}
		}),
	} {
		if r, err := Parse(raw); kindOf(err) != Malformed {
			t.Errorf("%s: gave %v, %v", what, r, err)
		}
	}
	for what, row := range map[string]struct {
		raw  []byte
		kind Kind
	}{
		"subject": {spoiled(func(q *template) { q.subject = der(0x30, der(0x31)) }), BadSubject},
		"key":     {spoiled(func(q *template) { q.spki = der(0x30) }), BadKey},
		"16 KiB":  {make([]byte, MaxSize+1), TooLarge},
		"many": {spoiled(func(q *template) {
			q.attributes = [][]byte{bytes.Repeat(der(0x30, der(6, []byte("\x2a\x03")), der(0x31)), 100)}
		}), BadAttribute},
		"many exts": {spoiled(func(q *template) { q.attributes = [][]byte{extensionRequest(manyExtensions(100))} }), TooLarge},
	} {
		if r, err := Parse(row.raw); kindOf(err) != row.kind {
			t.Errorf("%s: gave %v, %v", what, r, err)
		}
	}
}

func manyExtensions(n int) []byte {
	var out []byte
	for i := range n {
		out = append(out, extension(string([]byte{0x2a, byte(i)}), false, nil)...)
	}
	return out
}

func TestXK_017_Large(t *testing.T) {
	raw := make([]byte, 1<<20)
	copy(raw, []byte{0x30, 0x83, 0x0f, 0xff, 0xfb})
	start := time.Now()
	if _, err := Parse(raw); kindOf(err) != TooLarge {
		t.Errorf("gave %v", err)
	}
	if took := time.Since(start); took > 100*time.Millisecond {
		t.Errorf("took %v", took)
	}
}

// TestEveryOctetCounts changes each octet of a request: no change may give a
// request that still verifies.
func TestEveryOctetCounts(t *testing.T) {
	raw := recorded(t)["ec-names"]
	for i := range raw {
		for _, flip := range []byte{1, 0x80} {
			spoiled := bytes.Clone(raw)
			spoiled[i] ^= flip
			if r, err := Parse(spoiled); err == nil && r.CheckSignature() == nil {
				t.Errorf("octet %d changed by %x verifies", i, flip)
			}
		}
	}
}

// agree holds our reading to the standard library's.
func agree(t *testing.T, raw []byte) {
	t.Helper()
	ours, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := x509.ParseCertificateRequest(raw)
	if err != nil {
		t.Fatalf("the standard library refuses %x: %v", raw, err)
	}
	if !bytes.Equal(ours.Key.SPKI, theirs.RawSubjectPublicKeyInfo) {
		t.Error("another key")
	}
	subject, err := names.ParseDN(theirs.RawSubject)
	if err != nil || !ours.Subject.Equal(subject) {
		t.Errorf("another subject: %v, %v", subject, err)
	}
	count := make(map[names.Type]int)
	for _, n := range ours.Names {
		count[n.Type]++
	}
	for _, host := range theirs.DNSNames {
		want, err := names.Parse(names.DNS, host)
		if err != nil || !slices.Contains(ours.Names, want) {
			t.Errorf("%q is missing: %v", host, err)
		}
	}
	for _, ip := range theirs.IPAddresses {
		if !slices.Contains(ours.Names, names.Name{Type: names.IP, Value: ip.String()}) {
			t.Errorf("%v is missing", ip)
		}
	}
	if count[names.DNS] > len(theirs.DNSNames) || count[names.IP] > len(theirs.IPAddresses) ||
		count[names.Email] > len(theirs.EmailAddresses) || count[names.URI] > len(theirs.URIs) {
		t.Errorf("more names than the standard library: %v", ours.Names)
	}
	for _, e := range ours.Extensions {
		if !slices.ContainsFunc(theirs.Extensions, func(x pkix.Extension) bool {
			return x.Id.String() == e.OID && x.Critical == e.Critical && bytes.Equal(x.Value, e.Value)
		}) {
			t.Errorf("extension %s is missing or another", e.OID)
		}
	}
}
