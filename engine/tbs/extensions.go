package tbs

import (
	"math/bits"
	"net/url"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers of the extensions that this package knows (RFC 5280,
// Section 4.2).
const (
	OIDSubjectKeyID          = "2.5.29.14"
	OIDKeyUsage              = "2.5.29.15"
	OIDSubjectAltName        = "2.5.29.17"
	OIDBasicConstraints      = "2.5.29.19"
	OIDNameConstraints       = "2.5.29.30"
	OIDCRLDistributionPoints = "2.5.29.31"
	OIDAuthorityKeyID        = "2.5.29.35"
	OIDExtKeyUsage           = "2.5.29.37"
	OIDFreshestCRL           = "2.5.29.46"
	OIDAuthorityInfoAccess   = "1.3.6.1.5.5.7.1.1"
)

var (
	tag0       = asn1.Tag(0).ContextSpecific()
	tag0Nested = tag0.Constructed()
	tag1Nested = asn1.Tag(1).ContextSpecific().Constructed()
	tagEmail   = asn1.Tag(1).ContextSpecific()
	tagDNS     = asn1.Tag(2).ContextSpecific()
	tagURI     = asn1.Tag(6).ContextSpecific()
	tagIP      = asn1.Tag(7).ContextSpecific()
)

// build runs one encoder. The closures below cannot fail: what they add was
// checked before.
func build(f func(*cryptobyte.Builder)) []byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, 64))
	f(b)
	return b.BytesOrPanic()
}

func sequenceOf(f func(*cryptobyte.Builder)) []byte {
	return build(func(b *cryptobyte.Builder) { b.AddASN1(asn1.SEQUENCE, f) })
}

// SKI is the subjectKeyIdentifier extension, never critical (RFC 5280, Section 4.2.1.2).
func SKI(keyID []byte) Extension {
	return Extension{OIDSubjectKeyID, false, build(func(b *cryptobyte.Builder) { b.AddASN1OctetString(keyID) })}
}

// AKI is the authorityKeyIdentifier extension in its keyIdentifier form, never
// critical; keyID is the issuer's subjectKeyIdentifier (RFC 5280, Section 4.2.1.1).
func AKI(keyID []byte) Extension {
	return Extension{OIDAuthorityKeyID, false, sequenceOf(func(b *cryptobyte.Builder) {
		b.AddASN1(tag0, func(b *cryptobyte.Builder) { b.AddBytes(keyID) })
	})}
}

// KeyUsage is the keyUsage extension, critical, with bits named as in RFC 5280,
// Section 4.2.1.3.
func KeyUsage(names ...string) (Extension, error) {
	var set uint16 // bit 0 of the RFC is the highest here
	for _, n := range names {
		i := keyUsageBit(n)
		if i < 0 {
			return Extension{}, refuse("keyUsage", "no bit is called %q", n)
		}
		set |= 0x8000 >> i
	}
	if set == 0 {
		// RFC 5280, Section 4.2.1.3: at least one of the bits is set.
		return Extension{}, refuse("keyUsage", "no bits")
	}
	// X.690, Section 11.2.2: a named bit list loses its trailing zero bits.
	unused := bits.TrailingZeros16(set)
	value := []byte{0x03, 0x02, byte(unused % 8), byte(set >> 8)}
	if unused < 8 {
		value[1] = 0x03
		value = append(value, byte(set))
	}
	return Extension{OIDKeyUsage, true, value}, nil
}

func keyUsageBit(name string) int {
	switch name {
	case "digitalSignature":
		return 0
	case "nonRepudiation", "contentCommitment":
		return 1
	case "keyEncipherment":
		return 2
	case "dataEncipherment":
		return 3
	case "keyAgreement":
		return 4
	case "keyCertSign":
		return 5
	case "cRLSign":
		return 6
	case "encipherOnly":
		return 7
	case "decipherOnly":
		return 8
	}
	return -1
}

// ExtKeyUsage is the extKeyUsage extension, not critical, with purposes named
// as in RFC 5280, Section 4.2.1.12, or by dotted object identifiers.
func ExtKeyUsage(names ...string) (Extension, error) {
	if len(names) == 0 {
		return Extension{}, refuse("extKeyUsage", "no purposes")
	}
	oids := make([][]byte, len(names))
	for i, n := range names {
		var ok bool
		if oids[i], ok = appendOID(nil, purposeOID(n)); !ok {
			return Extension{}, refuse("extKeyUsage", "no purpose is called %q", n)
		}
	}
	return Extension{OIDExtKeyUsage, false, sequenceOf(func(b *cryptobyte.Builder) {
		for _, oid := range oids {
			b.AddBytes(oid)
		}
	})}, nil
}

func purposeOID(name string) string {
	const arc = "1.3.6.1.5.5.7.3."
	switch name {
	case "serverAuth":
		return arc + "1"
	case "clientAuth":
		return arc + "2"
	case "codeSigning":
		return arc + "3"
	case "emailProtection":
		return arc + "4"
	case "timeStamping":
		return arc + "8"
	case "OCSPSigning":
		return arc + "9"
	}
	return name
}

// BasicConstraints is the basicConstraints extension, critical. A negative
// pathLen, and any of an end entity, is left out (RFC 5280, Section 4.2.1.9).
func BasicConstraints(ca bool, pathLen int) Extension {
	return Extension{OIDBasicConstraints, true, sequenceOf(func(b *cryptobyte.Builder) {
		if !ca { // cA is DEFAULT FALSE and left out in DER
			return
		}
		b.AddASN1Boolean(true)
		if pathLen >= 0 {
			b.AddASN1Int64(int64(pathLen))
		}
	})}
}

// CRLDistributionPoints is the cRLDistributionPoints extension, not critical,
// with one DistributionPoint that holds all addresses: they serve the same list
// (RFC 5280, Section 4.2.1.13).
func CRLDistributionPoints(urls []string) (Extension, error) {
	if err := checkURLs("cRLDistributionPoints", urls); err != nil {
		return Extension{}, err
	}
	if len(urls) == 0 {
		return Extension{}, refuse("cRLDistributionPoints", "no addresses")
	}
	return Extension{OIDCRLDistributionPoints, false, sequenceOf(func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(tag0Nested, func(b *cryptobyte.Builder) { // distributionPoint
				b.AddASN1(tag0Nested, func(b *cryptobyte.Builder) { // fullName
					for _, u := range urls {
						b.AddASN1(tagURI, func(b *cryptobyte.Builder) { b.AddBytes([]byte(u)) })
					}
				})
			})
		})
	})}, nil
}

// FreshestCRL is the freshestCRL extension, not critical: where the delta list is
// (RFC 5280, Section 4.2.1.15).
func FreshestCRL(urls []string) (Extension, error) {
	x, err := CRLDistributionPoints(urls)
	x.OID = OIDFreshestCRL
	return x, err
}

// AuthorityInfoAccess is the authorityInfoAccess extension, not critical
// (RFC 5280, Section 4.2.2.1).
func AuthorityInfoAccess(ocsp, caIssuers []string) (Extension, error) {
	const field = "authorityInfoAccess"
	if err := checkURLs(field, ocsp); err != nil {
		return Extension{}, err
	}
	if err := checkURLs(field, caIssuers); err != nil {
		return Extension{}, err
	}
	if len(ocsp)+len(caIssuers) == 0 {
		return Extension{}, refuse(field, "no addresses")
	}
	const arc = "\x2b\x06\x01\x05\x05\x07\x30" // 1.3.6.1.5.5.7.48
	return Extension{OIDAuthorityInfoAccess, false, sequenceOf(func(b *cryptobyte.Builder) {
		for _, u := range ocsp {
			addAccess(b, arc+"\x01", u)
		}
		for _, u := range caIssuers {
			addAccess(b, arc+"\x02", u)
		}
	})}, nil
}

func addAccess(b *cryptobyte.Builder, method, address string) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.OBJECT_IDENTIFIER, func(b *cryptobyte.Builder) { b.AddBytes([]byte(method)) })
		b.AddASN1(tagURI, func(b *cryptobyte.Builder) { b.AddBytes([]byte(address)) })
	})
}

// checkURLs obeys RFC 5280, Section 4.2.1.6: a uniformResourceIdentifier is an
// absolute IA5String with a host.
func checkURLs(field string, urls []string) error {
	for _, s := range urls {
		u, err := url.Parse(s)
		if err != nil || !printable(s) || u.Host == "" || u.Scheme == "" {
			return refuse(field, "%q is no absolute address", s)
		}
	}
	return nil
}

// printable tells whether s is ASCII without spaces and control characters.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
