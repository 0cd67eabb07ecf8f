package pki_test

import (
	"bytes"
	"crypto/rsa"
	"math/big"
	"strings"
	"time"

	"chancery/engine/tbs"
)

type violation struct {
	rule, what string
	spoil      func(*draft)
}

// rebuild changes the fields of a SEQUENCE.
func rebuild(change func(fields [][]byte) [][]byte) func([]byte) []byte {
	return func(der []byte) []byte {
		return el(0x30, change(split(content(der)))...)
	}
}

func content(der []byte) []byte {
	n := 2
	if der[1]&0x80 != 0 {
		n += int(der[1] & 0x7f)
	}
	return der[n:]
}

// split cuts a run of elements with lengths below 65536.
func split(run []byte) [][]byte {
	var out [][]byte
	for len(run) > 0 {
		n := 2 + int(run[1])
		switch run[1] {
		case 0x81:
			n = 3 + int(run[2])
		case 0x82:
			n = 4 + int(run[2])<<8 + int(run[3])
		}
		out, run = append(out, run[:n]), run[n:]
	}
	return out
}

func field(i int, value []byte) func([]byte) []byte {
	return rebuild(func(fields [][]byte) [][]byte { fields[i] = value; return fields })
}

// extensionList changes the list of extensions.
func extensionList(change func([][]byte) [][]byte) func([]byte) []byte {
	return rebuild(func(fields [][]byte) [][]byte {
		list := split(content(content(fields[7])))
		fields[7] = el(0xa3, el(0x30, change(list)...))
		return fields
	})
}

func violations(f fixture) []violation {
	var all []violation
	for _, group := range [][]violation{bodyViolations(), keyViolations(f), nameViolations(), altNameViolations(), extensionViolations(), usageViolations()} {
		all = append(all, group...)
	}
	return all
}

func bodyViolations() []violation {
	sha1WithECDSA := el(0x30, txt(0x06, "\x2a\x86\x48\xce\x3d\x04\x01"))
	serial := func(v ...byte) func(*draft) {
		return func(d *draft) { d.patch = field(1, el(0x02, v)) }
	}
	return []violation{
		{"der", "unused bits set", func(d *draft) { d.ext(tbs.OIDKeyUsage).Value = []byte{3, 2, 4, 0x88} }},
		{"der", "value with long length", func(d *draft) {
			d.add(tbs.Extension{OID: "1.3.6.1.4.1.99999.1", Value: []byte{0x30, 4, 0x04, 0x81, 1, 0}})
		}},
		{"der", "integer padded", func(d *draft) { d.add(tbs.Extension{OID: "1.3.6.1.4.1.99999.1", Value: []byte{2, 2, 0, 1}}) }},
		{"der", "boolean 01", func(d *draft) { d.add(tbs.Extension{OID: "1.3.6.1.4.1.99999.1", Value: []byte{1, 1, 1}}) }},
		{"der", "set out of order", func(d *draft) {
			d.add(tbs.Extension{OID: "1.3.6.1.4.1.99999.1", Value: []byte{0x31, 6, 2, 1, 2, 2, 1, 1}})
		}},
		{"version", "2", func(d *draft) { d.patch = field(0, []byte{0xa0, 3, 2, 1, 3}) }},
		{"serial-bits", "63", func(d *draft) { d.Serial = bytes.Repeat([]byte{0x7f}, 8) }},
		{"serial-positive", "negative", serial(0x9f, 1, 2, 3, 4, 5, 6, 7, 8, 9)},
		{"serial-positive", "zero", serial(0)},
		{"serial-length", "21 octets", serial(append([]byte{0}, bytes.Repeat([]byte{0xff}, 20)...)...)},
		{"signature-same", "outer differs", func(d *draft) {
			d.finish = field(1, el(0x30, txt(0x06, "\x2a\x86\x48\xce\x3d\x04\x03\x03")))
		}},
		{"signature-strong", "SHA-1", func(d *draft) {
			d.patch, d.finish = field(2, sha1WithECDSA), field(1, sha1WithECDSA)
		}},
		{"validity-form", "2049 in GeneralizedTime", func(d *draft) {
			d.patch = field(4, el(0x30, txt(0x17, "260301120000Z"), txt(0x18, "20491231235959Z")))
		}},
		{"validity-order", "ends before", func(d *draft) {
			d.patch = field(4, el(0x30, txt(0x17, "260301120000Z"), txt(0x17, "260301115959Z")))
		}},
		{"validity-end", "never", func(d *draft) { d.NotAfter = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }},
		{"unique-ids", "of the subject", func(d *draft) {
			d.patch = rebuild(func(fs [][]byte) [][]byte {
				return append(append(append([][]byte{}, fs[:7]...), []byte{0x82, 2, 0, 1}), fs[7])
			})
		}},
		{"reparse", "point not on the curve", func(d *draft) { d.SPKI = bytes.Clone(d.SPKI); d.SPKI[len(d.SPKI)-1] ^= 1 }},
	}
}

func keyViolations(f fixture) []violation {
	useRSA := func(n *big.Int, e int) func(*draft) {
		return func(d *draft) { d.SPKI = spki(&rsa.PublicKey{N: n, E: e}) }
	}
	odd := func(bits uint) *big.Int {
		return new(big.Int).SetBit(new(big.Int).Lsh(big.NewInt(1), bits-1), 0, 1)
	}
	rsaOID := "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
	rsaKey := content(split(content(spki(f.rsa)))[1])
	info := func(alg, key []byte) []byte { return el(0x30, alg, el(0x03, key)) }
	return []violation{
		{"key-kind", "DH", func(d *draft) { d.SPKI = info(el(0x30, txt(0x06, "\x2a\x86\x48\xce\x3e\x02\x02")), []byte{0, 2, 1, 5}) }},
		{"key-form", "even modulus", useRSA(new(big.Int).Lsh(big.NewInt(3), 2046), 65537)},
		{"key-form", "Ed25519 of 31 octets", func(d *draft) { d.SPKI = info(el(0x30, txt(0x06, "\x2b\x65\x70")), make([]byte, 32)) }},
		{"rsa-size", "2047 bits", useRSA(odd(2047), 65537)},
		{"rsa-size", "8200 bits", useRSA(odd(8200), 65537)},
		{"rsa-exponent", "3", useRSA(f.rsa.N, 3)},
		{"rsa-exponent", "even", useRSA(f.rsa.N, 65538)},
		{"key-parameters", "RSA without NULL", func(d *draft) { d.SPKI = info(el(0x30, txt(0x06, rsaOID)), rsaKey) }},
		{"key-not-issuers", "same key id", func(d *draft) { d.set(tbs.SKI([]byte("issuer key id, 20 oc"))) }},
	}
}

func nameViolations() []violation {
	subject := func(attrs ...[]byte) func(*draft) { return func(d *draft) { d.Subject = dn(attrs...) } }
	return []violation{
		{"issuer-empty", "", func(d *draft) { d.patch = field(3, el(0x30)) }},
		{"subject-not-issuer", "", func(d *draft) { d.Subject = d.Issuer }},
		{"subject-length", "CN of 65", subject(cn(strings.Repeat("é", 65)))},
		{"subject-characters", "line end", subject(cn("a\nb"))},
		{"subject-characters", "right to left", subject(cn("a\u202eb"))},
		{"subject-characters", "zero", subject(cn("a\x00b"))},
		{"subject-empty-value", "blank", subject(cn("  "))},
		{"subject-string", "T61String", subject(attr(oidCN, t61String, "device"))},
		{"subject-string", "asterisk in PrintableString", subject(attr(oidCN, printableString, "device*"))},
		{"subject-string", "mailbox in UTF8String", subject(attr(oidEmail, utf8String, "e@a.example"))},
		{"subject-repeated", "two CN", subject(cn("device"), cn("other"))},
		{"subject-country", "three letters", subject(attr(oidCountry, printableString, "HUN"))},
		{"common-name-in-san", "host", subject(cn("c.example"))},
		{"common-name-in-san", "wildcard", subject(cn("*.a.example"))},
		{"common-name-in-san", "address", subject(cn("192.0.2.2"))},
		{"common-name-in-san", "mailbox", subject(cn("e@a.example"))},
	}
}

func altNameViolations() []violation {
	names := func(more ...[]byte) func(*draft) {
		return func(d *draft) { d.san(append([][]byte{dns("a.example")}, more...)...) }
	}
	noNames := func(d *draft) { d.Subject = dn(cn("device")); d.drop(tbs.OIDSubjectAltName) }
	all := []violation{
		{"san-for-empty-subject", "", func(d *draft) {
			noNames(d)
			d.Subject = el(0x30)
			d.set(must(tbs.ExtKeyUsage("clientAuth")))
		}},
		{"san-critical", "with a subject", func(d *draft) { d.ext(tbs.OIDSubjectAltName).Critical = true }},
		{"san-critical", "without a subject", func(d *draft) { d.Subject = el(0x30) }},
		{"san-for-server", "", noNames},
		{"san-dns-is-ip", "IPv4", names(dns("192.0.2.1"))},
		{"san-dns-is-ip", "number", names(dns("a.123"))},
		{"san-ip-mapped", "", names(el(0x87, make([]byte, 10), []byte{0xff, 0xff, 192, 0, 2, 1}))},
		{"san-empty", "empty dNSName", names(dns(""))},
		{"san-empty", "empty directoryName", names(el(0xa4, el(0x30)))},
		{"san-ip", "CIDR", names(txt(0x87, "\xc0\x00\x02\x00\xff\xff\xff\x00"))},
		{"san-ip", "5 octets", names(txt(0x87, "\xc0\x00\x02\x00\x01"))},
		{"san-kind", "x400Address", names(el(0xa3, txt(0x0c, "x")))},
		{"san-repeated", "", names(dns("A.example"))},
	}
	for _, s := range []string{"a b.example", "a_b.example", "-a.example", "a-.example", "a..example", "a.example.", "*.*.example",
		"a*.example", "*", ".a", "a.example,b", "a.example:8443", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "a"} {
		all = append(all, violation{"san-dns", s, names(dns(s))})
	}
	for _, s := range []string{"e", "@a.example", "e@", "e@*.a.example", "e f@a.example", "e@a@b.example"} {
		all = append(all, violation{"san-email", s, names(txt(0x81, s))})
	}
	for _, s := range []string{"/path", "https:///x", "https://*.a.example/", "https://a.example/a b"} {
		all = append(all, violation{"san-uri", s, names(txt(0x86, s))})
	}
	return all
}

func extensionViolations() []violation {
	critical := func(oid string) func(*draft) { return func(d *draft) { d.ext(oid).Critical = true } }
	drop := func(oid string) func(*draft) { return func(d *draft) { d.drop(oid) } }
	value := func(oid string, v []byte) func(*draft) { return func(d *draft) { d.ext(oid).Value = v } }
	point := func(s string) []byte { return el(0x30, el(0x30, el(0xa0, el(0xa0, txt(0x86, s))))) }
	ocsp := func(name []byte) []byte {
		return el(0x30, el(0x30, txt(0x06, "\x2b\x06\x01\x05\x05\x07\x30\x01"), name))
	}
	add := func(e tbs.Extension) func(*draft) { return func(d *draft) { d.add(e) } }
	return []violation{
		{"extension-form", "CDP is NULL", value(tbs.OIDCRLDistributionPoints, []byte{5, 0})},
		{"extension-form", "AIA is empty", value(tbs.OIDAuthorityInfoAccess, []byte{0x30, 0})},
		{"extension-repeated", "two SAN", func(d *draft) {
			d.patch = extensionList(func(list [][]byte) [][]byte {
				return append(list, el(0x30, txt(0x06, "\x55\x1d\x11"), el(0x04, el(0x30, dns("evil.example")))))
			})
		}},
		{"extension-unknown-critical", "", add(tbs.Extension{OID: "1.3.6.1.4.1.99999.1", Critical: true, Value: []byte{5, 0}})},
		{"extension-of-ca", "name constraints", add(must(tbs.NameConstraints([]string{"a.example"}, nil)))},
		{"subject-key-id", "none", drop(tbs.OIDSubjectKeyID)},
		{"subject-key-id", "empty", value(tbs.OIDSubjectKeyID, []byte{4, 0})},
		{"authority-key-id", "none", drop(tbs.OIDAuthorityKeyID)},
		{"authority-key-id", "with issuer and serial", value(tbs.OIDAuthorityKeyID,
			el(0x30, txt(0x80, "issuer"), el(0xa1, el(0xa4, dn(cn("Root")))), []byte{0x82, 1, 5}))},
		{"authority-key-id", "no keyIdentifier", value(tbs.OIDAuthorityKeyID, el(0x30))},
		{"key-id-critical", "subject", critical(tbs.OIDSubjectKeyID)},
		{"key-id-critical", "authority", critical(tbs.OIDAuthorityKeyID)},
		{"not-a-ca", "", func(d *draft) { d.set(tbs.BasicConstraints(true, -1)) }},
		{"basic-constraints-default", "", value(tbs.OIDBasicConstraints, []byte{0x30, 3, 1, 1, 0})},
		{"path-length", "", value(tbs.OIDBasicConstraints, []byte{0x30, 3, 2, 1, 0})},
		{"crl-address", "https", value(tbs.OIDCRLDistributionPoints, point("https://ca.example/1.crl"))},
		{"crl-address", "relative", value(tbs.OIDCRLDistributionPoints, point("/crl/1.crl"))},
		{"crl-address", "a name", value(tbs.OIDCRLDistributionPoints, el(0x30, el(0x30, el(0xa0, el(0xa0, el(0xa4, dn(cn("CA"))))))))},
		{"access-address", "ldap", value(tbs.OIDAuthorityInfoAccess, ocsp(txt(0x86, "ldap://ca.example/cn=CA")))},
		{"access-address", "script", value(tbs.OIDAuthorityInfoAccess, ocsp(txt(0x86, "javascript:alert(1)")))},
		{"access-address", "host name", value(tbs.OIDAuthorityInfoAccess, ocsp(dns("ca.example")))},
		{"access-critical", "CRL", critical(tbs.OIDCRLDistributionPoints)},
		{"access-critical", "AIA", critical(tbs.OIDAuthorityInfoAccess)},
	}
}

func usageViolations() []violation {
	usage := func(names ...string) func(*draft) { return func(d *draft) { d.set(must(tbs.KeyUsage(names...))) } }
	purpose := func(names ...string) func(*draft) { return func(d *draft) { d.set(must(tbs.ExtKeyUsage(names...))) } }
	return []violation{
		{"key-usage", "", func(d *draft) { d.drop(tbs.OIDKeyUsage) }},
		{"key-usage-critical", "", func(d *draft) { d.ext(tbs.OIDKeyUsage).Critical = false }},
		{"key-usage-empty", "", func(d *draft) { d.ext(tbs.OIDKeyUsage).Value = []byte{3, 1, 0} }},
		{"key-usage-of-ca", "keyCertSign", usage("digitalSignature", "keyCertSign")},
		{"key-usage-of-ca", "cRLSign", usage("cRLSign")},
		{"key-usage-fits-key", "ECDSA enciphers", usage("digitalSignature", "keyEncipherment")},
		{"key-usage-fits-key", "encipherOnly alone", usage("digitalSignature", "encipherOnly")},
		{"ext-key-usage", "none", func(d *draft) { d.drop(tbs.OIDExtKeyUsage) }},
		{"ext-key-usage-any", "", purpose("clientAuth", "2.5.29.37.0")},
		{"ext-key-usage-repeated", "", purpose("clientAuth", "clientAuth")},
		{"ext-key-usage-mixed", "code and server", purpose("codeSigning", "serverAuth")},
		{"ext-key-usage-mixed", "time and another", func(d *draft) {
			purpose("timeStamping", "clientAuth")(d)
			d.ext(tbs.OIDExtKeyUsage).Critical = true
		}},
		{"time-stamping-critical", "", purpose("timeStamping")},
		{"ocsp-delegate", "", purpose("OCSPSigning")},
	}
}
