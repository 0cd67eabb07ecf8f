package pkcs10

import (
	"bytes"

	"chancery/engine/keys"
	"chancery/engine/names"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Parse reads a CertificationRequest (RFC 2986, Section 4). It does not verify
// the signature: call CheckSignature. The error is an *Error.
func Parse(der []byte) (*Request, error) {
	if len(der) > MaxSize {
		return nil, &Error{Kind: TooLarge, Detail: "longer than 16 KiB; ask for fewer names"}
	}
	r := &Request{DER: bytes.Clone(der)}
	input := cryptobyte.String(r.DER)
	var outer, info, algorithm, signature cryptobyte.String
	if !input.ReadASN1(&outer, asn1.SEQUENCE) {
		return nil, malformed("not a DER SEQUENCE; send PKCS #10")
	}
	if !input.Empty() {
		return nil, malformed("something follows the request")
	}
	if !outer.ReadASN1Element(&info, asn1.SEQUENCE) || !outer.ReadASN1(&algorithm, asn1.SEQUENCE) ||
		!outer.ReadASN1(&signature, asn1.BIT_STRING) || !outer.Empty() {
		return nil, malformed("not a PKCS #10 request in DER")
	}
	// Every signature here is whole octets: no unused bits.
	if len(signature) == 0 || signature[0] != 0 {
		return nil, malformed("the signature is not whole octets")
	}
	r.info, r.algorithm, r.signature = info, algorithm, signature[1:]
	if err := r.parseInfo(info); err != nil {
		return nil, err
	}
	return r, nil
}

// parseInfo reads CertificationRequestInfo (RFC 2986, Section 4.1).
func (r *Request) parseInfo(element cryptobyte.String) error {
	var info, version, subject, key, attributes cryptobyte.String
	if !element.ReadASN1(&info, asn1.SEQUENCE) {
		return malformed("the request's body is not DER")
	}
	content := info
	if !info.ReadASN1(&version, asn1.INTEGER) {
		return malformed("the version is missing")
	}
	if !bytes.Equal(version, []byte{0}) {
		return malformed("the version is not 0; only PKCS #10 version 1, written 0, exists")
	}
	if !info.ReadASN1Element(&subject, asn1.SEQUENCE) || !info.ReadASN1Element(&key, asn1.SEQUENCE) {
		return malformed("subject or public key is missing")
	}
	r.head = content[:len(content)-len(info)]
	if !info.ReadASN1(&attributes, asn1.Tag(0).ContextSpecific().Constructed()) || !info.Empty() {
		return malformed("the attributes are missing; an empty [0] is required")
	}
	var err error
	if r.Subject, err = names.ParseDN(subject); err != nil {
		return &Error{Kind: BadSubject, Detail: "subject", Err: err}
	}
	if r.Key, err = keys.Parse(key); err != nil {
		return &Error{Kind: BadKey, Detail: "key", Err: err}
	}
	return r.parseAttributes(attributes)
}
