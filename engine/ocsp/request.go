package ocsp

import (
	"bytes"
	"crypto"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Bounds on a request. An answer repeats the identifiers and the nonce, so they
// bound the answer too.
const (
	MaxRequest = 8 << 10
	MaxIDs     = 16
	MaxNonce   = 128 // RFC 9654, Section 2.1
	maxSerial  = 32  // imported authorities have signed a little more than 20 octets
	maxExts    = 16
)

const (
	oidSHA1   = "\x2b\x0e\x03\x02\x1a"                 // 1.3.14.3.2.26
	oidSHA256 = "\x60\x86\x48\x01\x65\x03\x04\x02\x01" // 2.16.840.1.101.3.4.2.1
	oidNonce  = "\x2b\x06\x01\x05\x05\x07\x30\x01\x02" // 1.3.6.1.5.5.7.48.1.2
	oidBasic  = "\x2b\x06\x01\x05\x05\x07\x30\x01\x01" // 1.3.6.1.5.5.7.48.1.1
)

func explicit(n uint8) asn1.Tag { return asn1.Tag(n).ContextSpecific().Constructed() }

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// ParseRequest reads a request. Every error wraps ErrMalformed. Whether the
// client signed the request makes no difference: who may ask is not decided here
// (RFC 6960, Section 4.1.2).
func ParseRequest(der []byte) (*Request, error) {
	if len(der) > MaxRequest {
		return nil, malformed("too long")
	}
	var outer, body cryptobyte.String
	in := cryptobyte.String(der)
	if !in.ReadASN1(&outer, asn1.SEQUENCE) || !in.Empty() || !outer.ReadASN1(&body, asn1.SEQUENCE) {
		return nil, malformed("not an OCSPRequest")
	}
	if err := skipSignature(outer); err != nil {
		return nil, err
	}
	// The version is v1 and, being the default, not written in DER.
	if err := skipRequestor(&body); err != nil {
		return nil, err
	}
	var list cryptobyte.String
	if !body.ReadASN1(&list, asn1.SEQUENCE) {
		return nil, malformed("no requestList")
	}
	r := new(Request)
	if err := r.readIDs(list); err != nil {
		return nil, err
	}
	nonce, err := readExtensions(&body, explicit(2))
	if err != nil {
		return nil, err
	}
	if !body.Empty() {
		return nil, malformed("something after the request")
	}
	r.Nonce = nonce
	return r, nil
}

// skipSignature reads over optionalSignature, checking only its outline.
func skipSignature(s cryptobyte.String) error {
	var wrapped, signature cryptobyte.String
	var present bool
	if !s.ReadOptionalASN1(&wrapped, &present, explicit(0)) || !s.Empty() {
		return malformed("something after tbsRequest")
	}
	if !present {
		return nil
	}
	if !wrapped.ReadASN1(&signature, asn1.SEQUENCE) || !wrapped.Empty() ||
		!signature.SkipASN1(asn1.SEQUENCE) || !signature.SkipASN1(asn1.BIT_STRING) ||
		!signature.SkipOptionalASN1(explicit(0)) || !signature.Empty() {
		return malformed("optionalSignature")
	}
	return nil
}

// skipRequestor reads over requestorName, a GeneralName of any kind.
func skipRequestor(s *cryptobyte.String) error {
	var wrapped, name cryptobyte.String
	var present bool
	var tag asn1.Tag
	if !s.ReadOptionalASN1(&wrapped, &present, explicit(1)) {
		return malformed("requestorName")
	}
	if !present {
		return nil
	}
	const class, contextSpecific = 0xc0, 0x80
	if !wrapped.ReadAnyASN1(&name, &tag) || !wrapped.Empty() || tag&class != contextSpecific {
		return malformed("requestorName")
	}
	return nil
}

func (r *Request) readIDs(list cryptobyte.String) error {
	for !list.Empty() {
		if len(r.IDs) == MaxIDs {
			return malformed("too many certificates")
		}
		var one cryptobyte.String
		if !list.ReadASN1(&one, asn1.SEQUENCE) {
			return malformed("requestList")
		}
		id, err := readID(&one)
		if err != nil {
			return err
		}
		if _, err := readExtensions(&one, explicit(0)); err != nil {
			return err
		}
		if !one.Empty() {
			return malformed("something after a Request")
		}
		r.IDs = append(r.IDs, id)
	}
	if len(r.IDs) == 0 {
		return malformed("asks for nothing")
	}
	return nil
}

// readID reads a CertID (RFC 6960, Section 4.1.1).
func readID(s *cryptobyte.String) (CertID, error) {
	var raw, body, alg, oid, name, key, serial cryptobyte.String
	if !s.ReadASN1Element(&raw, asn1.SEQUENCE) {
		return CertID{}, malformed("no CertID")
	}
	whole := raw
	if !raw.ReadASN1(&body, asn1.SEQUENCE) || !body.ReadASN1(&alg, asn1.SEQUENCE) ||
		!alg.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) ||
		!body.ReadASN1(&name, asn1.OCTET_STRING) || !body.ReadASN1(&key, asn1.OCTET_STRING) ||
		!body.ReadASN1(&serial, asn1.INTEGER) || !body.Empty() {
		return CertID{}, malformed("CertID")
	}
	if !minimal(serial) || len(serial) > maxSerial {
		return CertID{}, malformed("serialNumber")
	}
	id := CertID{IssuerNameHash: name, IssuerKeyHash: key, Serial: serial, Raw: whole}
	switch string(oid) {
	case oidSHA1:
		id.HashAlgorithm = crypto.SHA1
	case oidSHA256:
		id.HashAlgorithm = crypto.SHA256
	default:
		return id, nil // well-formed, but matches no issuer
	}
	// NULL parameters and absent ones are both met (RFC 5754, Section 2).
	if !alg.Empty() && !bytes.Equal(alg, []byte{0x05, 0x00}) {
		return CertID{}, malformed("hashAlgorithm")
	}
	if n := id.HashAlgorithm.Size(); len(name) != n || len(key) != n {
		return CertID{}, malformed("hash of another length")
	}
	return id, nil
}

// readExtensions reads an optional list of extensions and returns the nonce,
// the only one that is understood.
func readExtensions(s *cryptobyte.String, tag asn1.Tag) (nonce []byte, err error) {
	var wrapped, list cryptobyte.String
	var present bool
	if !s.ReadOptionalASN1(&wrapped, &present, tag) {
		return nil, malformed("extensions")
	}
	if !present {
		return nil, nil
	}
	// RFC 5280, Section 4.1: Extensions has at least one member.
	if !wrapped.ReadASN1(&list, asn1.SEQUENCE) || !wrapped.Empty() || list.Empty() {
		return nil, malformed("extensions")
	}
	var seen [maxExts]string
	for n := 0; !list.Empty(); n++ {
		var ext, oid, value cryptobyte.String
		if n == maxExts {
			return nil, malformed("too many extensions")
		}
		if !list.ReadASN1(&ext, asn1.SEQUENCE) || !ext.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) {
			return nil, malformed("extension")
		}
		critical, ok := readCritical(&ext)
		if !ok || !ext.ReadASN1(&value, asn1.OCTET_STRING) || !ext.Empty() {
			return nil, malformed("extension")
		}
		for _, earlier := range seen[:n] {
			if earlier == string(oid) {
				return nil, malformed("extension appears twice")
			}
		}
		seen[n] = string(oid)
		// RFC 9654, Section 2: the nonce is a requestExtension.
		if string(oid) == oidNonce && tag == explicit(2) {
			if nonce, err = readNonce(value); err != nil {
				return nil, err
			}
		} else if critical {
			return nil, malformed("critical extension that is not understood")
		}
	}
	return nonce, nil
}

// readCritical reads critical BOOLEAN DEFAULT FALSE: in DER it is TRUE or absent.
func readCritical(s *cryptobyte.String) (critical, ok bool) {
	if !s.PeekASN1Tag(asn1.BOOLEAN) {
		return false, true
	}
	ok = s.ReadASN1Boolean(&critical)
	return critical, ok && critical
}

// readNonce obeys RFC 9654, Section 2.1: an OCTET STRING of 1 to 128 octets
// inside the OCTET STRING of the extension; all else is a malformed request.
func readNonce(value cryptobyte.String) ([]byte, error) {
	var nonce cryptobyte.String
	if !value.ReadASN1(&nonce, asn1.OCTET_STRING) || !value.Empty() {
		return nil, malformed("nonce is no OCTET STRING")
	}
	if len(nonce) < 1 || len(nonce) > MaxNonce {
		return nil, malformed("nonce of a length that is not allowed")
	}
	return nonce, nil
}

// minimal tells whether v is the DER content of an INTEGER.
func minimal(v []byte) bool {
	switch {
	case len(v) == 0:
		return false
	case len(v) == 1:
		return true
	}
	return !(v[0] == 0x00 && v[1]&0x80 == 0 || v[0] == 0xff && v[1]&0x80 != 0)
}
