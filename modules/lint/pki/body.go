package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/bits"
	"time"

	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"chancery/engine/tbs"
)

// bodyRules are about the basic fields.
func bodyRules() []rule {
	return []rule{
		{"der", "X.690, Sections 10 and 11", blocks, strictDER},
		{"version", "RFC 5280, Section 4.1.2.1", blocks, version},
		{"serial-positive", "RFC 5280, Section 4.1.2.2", blocks, serialPositive},
		{"serial-length", "RFC 5280, Section 4.1.2.2", blocks, serialLength},
		{"serial-bits", "own rule: serial numbers cannot be guessed", blocks, serialBits},
		{"signature-same", "RFC 5280, Section 4.1.1.2", blocks, signatureSame},
		{"signature-strong", "own rule: no MD5, no SHA-1, nothing unknown", blocks, signatureStrong},
		{"validity-form", "RFC 5280, Section 4.1.2.5", blocks, validityForm},
		{"validity-order", "RFC 5280, Section 4.1.2.5", blocks, validityOrder},
		{"validity-end", "RFC 5280, Section 4.1.2.5", warns, validityEnd},
		{"unique-ids", "RFC 5280, Section 4.1.2.8", blocks, uniqueIDs},
	}
}

func version(c *certificate) string {
	if c.version != 2 {
		return fmt.Sprintf("version value is %d, not 2", c.version)
	}
	return ""
}

func serialPositive(c *certificate) string {
	if c.serial[0]&0x80 != 0 || len(c.serial) == 1 && c.serial[0] == 0 {
		return "serial number is not positive"
	}
	return ""
}

func serialLength(c *certificate) string {
	if len(c.serial) > tbs.MaxSerial {
		return fmt.Sprintf("serial number takes %d octets", len(c.serial))
	}
	return ""
}

// serialBits looks at the length: randomness itself cannot be seen.
func serialBits(c *certificate) string {
	if c.serial[0]&0x80 != 0 || len(c.serial) == 1 && c.serial[0] == 0 {
		return "" // serialPositive speaks of that
	}
	m := bytes.TrimLeft(c.serial, "\x00")
	if n := 8*(len(m)-1) + bits.Len8(m[0]); n < 64 {
		return fmt.Sprintf("serial number has %d bits; 64 are the least", n)
	}
	return ""
}

func signatureSame(c *certificate) string {
	if !bytes.Equal(c.inner, c.outer) {
		return "signature and signatureAlgorithm differ"
	}
	return ""
}

func signatureStrong(c *certificate) string {
	if _, ok := tbs.AlgorithmOf(c.inner); ok {
		return ""
	}
	switch string(c.inner) {
	case "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00", // sha384WithRSAEncryption
		"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00": // sha512WithRSAEncryption
		return "" // of an upstream issuer
	}
	return fmt.Sprintf("signature algorithm %x is not one to trust", c.inner)
}

func validityForm(c *certificate) string {
	for _, m := range [...]*moment{&c.notBefore, &c.notAfter} {
		if m.at.IsZero() {
			return fmt.Sprintf("%q is not a time in seconds and Zulu", m.text)
		}
		if (m.at.Year() < 2050) != (m.tag == cryptobyteasn1.UTCTime) {
			return fmt.Sprintf("%q has the form of another half-century", m.text)
		}
	}
	return ""
}

func validityOrder(c *certificate) string {
	if c.notAfter.at.IsZero() || !c.notAfter.at.Before(c.notBefore.at) {
		return ""
	}
	return "ends before it begins"
}

// validityEnd finds the date that means "never", which an end entity should not
// have.
func validityEnd(c *certificate) string {
	if c.notAfter.at.Before(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)) {
		return ""
	}
	return "has no end"
}

func uniqueIDs(c *certificate) string {
	if c.uniqueIDs {
		return "has unique identifiers of issuer or subject"
	}
	return ""
}

// secondReading is what another parser makes of the certificate.
func secondReading() []rule {
	return []rule{{"reparse", "own rule: another parser reads the same", blocks, reparse}}
}

// reparse reads the certificate with crypto/x509 and renders what was read
// again. A difference means that two parsers may disagree on what was signed.
func reparse(c *certificate) string {
	p, err := x509.ParseCertificate(c.der)
	if err != nil {
		return "crypto/x509 refuses it: " + err.Error()
	}
	alg, ok := tbs.AlgorithmOf(c.inner)
	if !ok {
		return "" // an algorithm that is never rendered here
	}
	again := &tbs.Certificate{
		Serial: p.SerialNumber.Bytes(), Issuer: p.RawIssuer, Subject: p.RawSubject,
		NotBefore: p.NotBefore, NotAfter: p.NotAfter, SPKI: p.RawSubjectPublicKeyInfo,
		Extensions: make([]tbs.Extension, len(p.Extensions)),
	}
	for i, e := range p.Extensions {
		again.Extensions[i] = tbs.Extension{OID: e.Id.String(), Critical: e.Critical, Value: e.Value}
	}
	if rendered, err := tbs.Render(again, alg); err != nil {
		return "what crypto/x509 reads cannot be rendered: " + err.Error()
	} else if !bytes.Equal(rendered, c.tbs) {
		return "crypto/x509 reads something else"
	}
	return ""
}

// dotted writes the content of an object identifier for people.
func dotted(content string) string {
	var oid asn1.ObjectIdentifier
	der := append([]byte{0x06, byte(len(content))}, content...)
	if rest, err := asn1.Unmarshal(der, &oid); err != nil || len(rest) > 0 {
		return fmt.Sprintf("%x", content)
	}
	return oid.String()
}
