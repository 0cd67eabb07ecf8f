package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A Signature is how a message is signed.
type Signature struct {
	Key         crypto.Signer // RSA or ECDSA
	Certificate *x509.Certificate
	Digest      crypto.Hash
	Attributes  []Attribute // beside contentType, messageDigest and signingTime
	Chain       [][]byte    // certificates in DER to send along; the signer's own is always
	Time        time.Time   // for signingTime; zero: none
	Rand        io.Reader
}

// An Attribute is a signed attribute with one value in DER.
type Attribute struct {
	OID   asn1.ObjectIdentifier
	Value []byte
}

// Sign makes a SignedData of content of a type, with its ContentInfo. Content
// that is nil is left out.
func Sign(kind asn1.ObjectIdentifier, content []byte, o Signature) ([]byte, error) {
	i := slices.IndexFunc(digests, func(x digest) bool { return x.hash == o.Digest })
	if i < 0 {
		return nil, fmt.Errorf("%w: digest %v", ErrAlgorithm, o.Digest)
	}
	alg, null := oidRSA, true // strongSwan before 5.9.11 reads no other name
	switch o.Key.Public().(type) {
	case *rsa.PublicKey:
	case *ecdsa.PublicKey:
		alg, null = digests[i].ecdsa, false
	default:
		return nil, fmt.Errorf("%w: a signer's key is RSA or ECDSA", ErrAlgorithm)
	}
	attributes, err := signedAttributes(kind, content, &o)
	if err != nil {
		return nil, err
	}
	h := o.Digest.New()
	h.Write(attributes)
	signature, err := o.Key.Sign(o.Rand, h.Sum(nil), o.Digest)
	if err != nil {
		return nil, fmt.Errorf("cms: signing: %w", err)
	}
	attributes[0] = byte(context0)
	return wrap(OIDSigned, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { addAlgorithm(b, digests[i].oid, true) })
		addContent(b, kind, content)
		addSet(b, context0, append([][]byte{o.Certificate.Raw}, o.Chain...))
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1)
				addIssuerAndSerial(b, o.Certificate)
				addAlgorithm(b, digests[i].oid, true)
				b.AddBytes(attributes)
				addAlgorithm(b, alg, null)
				b.AddASN1OctetString(signature)
			})
		})
	})
}

// signedAttributes is the SET OF that is signed, in order (X.690, Section 11.6).
func signedAttributes(kind asn1.ObjectIdentifier, content []byte, o *Signature) ([]byte, error) {
	h := o.Digest.New()
	h.Write(content)
	all := slices.Clone(o.Attributes)
	add := func(oid asn1.ObjectIdentifier, value any, params string) error {
		der, err := asn1.MarshalWithParams(value, params)
		all = append(all, Attribute{oid, der})
		return err
	}
	if err := add(oidContentType, kind, ""); err != nil {
		return nil, err
	}
	if err := add(oidMessageDigest, h.Sum(nil), ""); err != nil {
		return nil, err
	}
	if !o.Time.IsZero() {
		if err := add(oidSigningTime, o.Time.UTC(), "utc"); err != nil {
			return nil, err
		}
	}
	var encoded [][]byte
	for _, a := range all {
		var b cryptobyte.Builder
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(a.OID)
			b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(a.Value) })
		})
		der, err := b.Bytes()
		if err != nil {
			return nil, err
		}
		encoded = append(encoded, der)
	}
	slices.SortFunc(encoded, bytes.Compare)
	var b cryptobyte.Builder
	addSet(&b, cbasn1.SET, encoded)
	return b.Bytes()
}

// Degenerate makes a SignedData that only carries certificates and CRLs in DER,
// with its ContentInfo (RFC 5652, Section 5.2; RFC 8894, Section 3.4). There is
// no eContent, not even an empty one.
func Degenerate(certificates, crls [][]byte) ([]byte, error) {
	return wrap(OIDSigned, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1(cbasn1.SET, func(*cryptobyte.Builder) {})
		addContent(b, OIDData, nil)
		addSet(b, context0, certificates)
		addSet(b, context1, crls)
		b.AddASN1(cbasn1.SET, func(*cryptobyte.Builder) {})
	})
}

func wrap(kind asn1.ObjectIdentifier, fn func(*cryptobyte.Builder)) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(kind)
		b.AddASN1(context0, func(b *cryptobyte.Builder) { b.AddASN1(cbasn1.SEQUENCE, fn) })
	})
	return b.Bytes()
}

func addContent(b *cryptobyte.Builder, kind asn1.ObjectIdentifier, content []byte) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(kind)
		if content != nil {
			b.AddASN1(context0, func(b *cryptobyte.Builder) { b.AddASN1OctetString(content) })
		}
	})
}

func addSet(b *cryptobyte.Builder, tag cbasn1.Tag, elements [][]byte) {
	if len(elements) == 0 && tag != cbasn1.SET {
		return
	}
	b.AddASN1(tag, func(b *cryptobyte.Builder) {
		for _, e := range elements {
			b.AddBytes(e)
		}
	})
}

func addIssuerAndSerial(b *cryptobyte.Builder, c *x509.Certificate) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(c.RawIssuer)
		b.AddASN1BigInt(c.SerialNumber)
	})
}
