package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	context0 = cbasn1.Tag(0).ContextSpecific().Constructed()
	context1 = cbasn1.Tag(1).ContextSpecific().Constructed()
)

// A SignedData is a signed message (RFC 5652, Section 5), parsed and not yet
// verified.
type SignedData struct {
	Type         asn1.ObjectIdentifier // of the content
	Content      []byte                // nil if it is absent
	Certificates [][]byte              // DER
	CRLs         [][]byte              // DER

	// What the one signer says of itself; nil if nobody signed. Before Verify
	// none of it is worth anything.
	Signer *Signer
}

// A Signer is a SignerInfo.
type Signer struct {
	Certificate *x509.Certificate // among the certificates of the message
	Digest      crypto.Hash

	sid        identifier
	attributes []attribute
	signed     []byte // signedAttrs in DER as SET OF
	algorithm  algorithm
	signature  []byte
}

type attribute struct {
	oid    asn1.ObjectIdentifier
	values cryptobyte.String
}

// An identifier is a SignerIdentifier or RecipientIdentifier.
type identifier struct {
	issuer, serial []byte // the name in DER; the octets of the number
	keyID          []byte // in place of these
}

func (i *identifier) names(c *x509.Certificate) bool {
	if i.keyID != nil {
		return bytes.Equal(i.keyID, c.SubjectKeyId)
	}
	serial, err := asn1.Marshal(c.SerialNumber)
	return err == nil && bytes.Equal(i.issuer, c.RawIssuer) && bytes.Equal(i.serial, serial)
}

// readIdentifier reads issuerAndSerialNumber or [0] subjectKeyIdentifier.
func readIdentifier(s *cryptobyte.String, id *identifier) bool {
	if s.PeekASN1Tag(cbasn1.Tag(0).ContextSpecific()) {
		var key cryptobyte.String
		ok := s.ReadASN1(&key, cbasn1.Tag(0).ContextSpecific()) && len(key) > 0
		id.keyID = key
		return ok
	}
	var seq, issuer, serial cryptobyte.String
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1Element(&issuer, cbasn1.SEQUENCE) ||
		!seq.ReadASN1Element(&serial, cbasn1.INTEGER) || !seq.Empty() {
		return false
	}
	id.issuer, id.serial = issuer, serial
	return true
}

// contentInfo opens a ContentInfo of a type (RFC 5652, Section 3).
func contentInfo(der []byte, want asn1.ObjectIdentifier) (cryptobyte.String, error) {
	s := cryptobyte.String(der)
	var info, content cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !s.ReadASN1(&info, cbasn1.SEQUENCE) || !s.Empty() || !info.ReadASN1ObjectIdentifier(&oid) {
		return nil, fmt.Errorf("%w: not a CMS message", ErrMalformed)
	}
	if !oid.Equal(want) {
		return nil, fmt.Errorf("%w: a message of type %s in place of %s", ErrMalformed, oid, want)
	}
	var seq cryptobyte.String
	if !info.ReadASN1(&content, context0) || !info.Empty() || !content.ReadASN1(&seq, cbasn1.SEQUENCE) || !content.Empty() {
		return nil, fmt.Errorf("%w: a message without its content", ErrMalformed)
	}
	return seq, nil
}

// ParseSigned reads a SignedData in DER, with its ContentInfo. There may be one
// signer, or none.
func ParseSigned(der []byte) (*SignedData, error) {
	s, err := contentInfo(der, OIDSigned)
	if err != nil {
		return nil, err
	}
	bad := func(what string) error { return fmt.Errorf("%w: SignedData: %s", ErrMalformed, what) }
	var version int
	var algorithms, encap, infos cryptobyte.String
	if !s.ReadASN1Integer(&version) || version < 0 || version > 5 || !s.ReadASN1(&algorithms, cbasn1.SET) || !s.ReadASN1(&encap, cbasn1.SEQUENCE) {
		return nil, bad("version, algorithms or content")
	}
	d := &SignedData{}
	if err := d.parseContent(encap); err != nil {
		return nil, err
	}
	if d.Certificates, err = readSet(&s, context0, maxCertificates); err != nil {
		return nil, err
	}
	if d.CRLs, err = readSet(&s, context1, maxCRLs); err != nil {
		return nil, err
	}
	if !s.ReadASN1(&infos, cbasn1.SET) || !s.Empty() {
		return nil, bad("signers")
	}
	if infos.Empty() {
		return d, nil
	}
	var info cryptobyte.String
	if !infos.ReadASN1(&info, cbasn1.SEQUENCE) || !infos.Empty() {
		return nil, bad("more than one signer")
	}
	return d, d.parseSigner(info)
}

func (d *SignedData) parseContent(encap cryptobyte.String) error {
	bad := fmt.Errorf("%w: SignedData: the content", ErrMalformed)
	if !encap.ReadASN1ObjectIdentifier(&d.Type) {
		return bad
	}
	if encap.Empty() {
		return nil
	}
	var outer, inner cryptobyte.String
	if !encap.ReadASN1(&outer, context0) || !encap.Empty() || !outer.ReadASN1(&inner, cbasn1.OCTET_STRING) || !outer.Empty() {
		return bad
	}
	d.Content = append([]byte{}, inner...) // never nil: it is there
	return nil
}

// readSet reads [n] IMPLICIT SET OF SEQUENCE, if it is there.
func readSet(s *cryptobyte.String, tag cbasn1.Tag, most int) ([][]byte, error) {
	var set cryptobyte.String
	var there bool
	if !s.ReadOptionalASN1(&set, &there, tag) {
		return nil, fmt.Errorf("%w: certificates or CRLs", ErrMalformed)
	}
	var all [][]byte
	for !set.Empty() {
		var element cryptobyte.String
		if len(all) == most || !set.ReadASN1Element(&element, cbasn1.SEQUENCE) {
			return nil, fmt.Errorf("%w: more than %d certificates or CRLs, or others than those of X.509", ErrMalformed, most)
		}
		all = append(all, element)
	}
	return all, nil
}

// parseSigner reads SignerInfo (RFC 5652, Section 5.3).
func (d *SignedData) parseSigner(s cryptobyte.String) error {
	bad := func(what string) error { return fmt.Errorf("%w: SignerInfo: %s", ErrMalformed, what) }
	n := &Signer{}
	var version int
	var digest algorithm
	if !s.ReadASN1Integer(&version) || !readIdentifier(&s, &n.sid) || !readAlgorithm(&s, &digest) {
		return bad("version, signer or digest algorithm")
	}
	var attributes, whole, signature, unsigned cryptobyte.String
	whole = s
	if !s.ReadASN1(&attributes, context0) {
		return bad("there are no signed attributes")
	}
	// RFC 5652, Section 5.4: signed is the SET OF, not the [0].
	n.signed = bytes.Clone(whole[:len(whole)-len(s)])
	n.signed[0] = byte(cbasn1.SET)
	if !readAlgorithm(&s, &n.algorithm) || !s.ReadASN1(&signature, cbasn1.OCTET_STRING) {
		return bad("signature")
	}
	n.signature = signature
	if s.PeekASN1Tag(context1) && !s.ReadASN1(&unsigned, context1) || !s.Empty() {
		return bad("unsigned attributes")
	}
	for !attributes.Empty() {
		var a attribute
		var seq cryptobyte.String
		if len(n.attributes) == maxAttributes || !attributes.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&a.oid) ||
			!seq.ReadASN1(&a.values, cbasn1.SET) || !seq.Empty() {
			return bad("attributes")
		}
		n.attributes = append(n.attributes, a)
	}
	n.Digest, _ = digestOf(&digest) // 0: Verify refuses
	for _, der := range d.Certificates {
		// One that does not parse is not the signer's, or the signer is unknown.
		if c, err := x509.ParseCertificate(der); err == nil && n.sid.names(c) {
			n.Certificate = c
			break
		}
	}
	d.Signer = n
	return nil
}

// Attribute is the DER of a signed attribute's only value; nil if there is no
// such attribute. One that stands twice or has other than one value is an error.
func (n *Signer) Attribute(oid asn1.ObjectIdentifier) ([]byte, error) {
	var found []byte
	for _, a := range n.attributes {
		if !a.oid.Equal(oid) {
			continue
		}
		values := a.values
		var value cryptobyte.String
		var tag cbasn1.Tag
		if found != nil || !values.ReadAnyASN1Element(&value, &tag) || !values.Empty() {
			return nil, fmt.Errorf("%w: attribute %s does not stand once with one value", ErrMalformed, oid)
		}
		found = value
	}
	return found, nil
}

// Verify checks that the signer's certificate is there and that its key signed
// the content with the attributes. Digests lists what is accepted. It says
// nothing about who the signer is.
func (d *SignedData) Verify(accepted ...crypto.Hash) error {
	n := d.Signer
	switch {
	case n == nil:
		return fmt.Errorf("%w: nobody signed", ErrSignature)
	case n.Certificate == nil:
		return fmt.Errorf("%w: the signer's certificate is not in the message", ErrSignature)
	case d.Content == nil:
		return fmt.Errorf("%w: there is no content", ErrSignature)
	case n.Digest == 0 || !slices.Contains(accepted, n.Digest):
		return fmt.Errorf("%w: the digest of the signature", ErrAlgorithm)
	}
	if err := n.matches(d); err != nil {
		return err
	}
	h := n.Digest.New()
	h.Write(n.signed)
	return n.check(h.Sum(nil))
}

// matches compares the attributes with the content (RFC 5652, Section 5.6).
func (n *Signer) matches(d *SignedData) error {
	kind, err := n.Attribute(oidContentType)
	if err != nil {
		return err
	}
	want, err := asn1.Marshal(d.Type)
	if err != nil || !bytes.Equal(kind, want) {
		return fmt.Errorf("%w: the attribute contentType", ErrSignature)
	}
	value, err := n.Attribute(oidMessageDigest)
	if err != nil {
		return err
	}
	s := cryptobyte.String(value)
	var digest cryptobyte.String
	h := n.Digest.New()
	h.Write(d.Content)
	if !s.ReadASN1(&digest, cbasn1.OCTET_STRING) || !s.Empty() || subtle.ConstantTimeCompare(digest, h.Sum(nil)) != 1 {
		return fmt.Errorf("%w: the attribute messageDigest", ErrSignature)
	}
	return nil
}

func (n *Signer) check(sum []byte) error {
	i := slices.IndexFunc(digests, func(x digest) bool { return x.hash == n.Digest })
	switch key := n.Certificate.PublicKey.(type) {
	case *rsa.PublicKey:
		// RFC 3370, Section 3.2: rsaEncryption, or with the digest in its name.
		if !n.algorithm.plain() || !n.algorithm.oid.Equal(oidRSA) && !n.algorithm.oid.Equal(digests[i].rsa) {
			return fmt.Errorf("%w: the signature algorithm is not RSA with the same digest", ErrAlgorithm)
		}
		if rsa.VerifyPKCS1v15(key, n.Digest, sum, n.signature) == nil {
			return nil
		}
	case *ecdsa.PublicKey:
		if !n.algorithm.plain() || !n.algorithm.oid.Equal(digests[i].ecdsa) {
			return fmt.Errorf("%w: the signature algorithm is not ECDSA with the same digest", ErrAlgorithm)
		}
		if ecdsa.VerifyASN1(key, sum, n.signature) {
			return nil
		}
	default:
		return fmt.Errorf("%w: a signer's key is RSA or ECDSA", ErrAlgorithm)
	}
	return ErrSignature
}
