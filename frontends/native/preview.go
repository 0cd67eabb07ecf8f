package native

import (
	"crypto/x509"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// A previewView is what a tbsCertificate says, for the officer who votes on it.
type previewView struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Serial    string    `json:"serial"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Names     []string  `json:"names"`
	Key       string    `json:"key"`
	KeyHash   string    `json:"key_sha256"` // of the SubjectPublicKeyInfo
	EKU       []string  `json:"eku"`
}

// preview reads a tbsCertificate, by giving it the signature that the parser
// wants to see. It returns nil when there is none or it cannot be read: the
// bytes themselves are in the explanation too.
func preview(tbs []byte) *previewView {
	c := parseTBS(tbs)
	if c == nil {
		return nil
	}
	v := &previewView{
		Subject: c.Subject.String(), Issuer: c.Issuer.String(), Serial: c.SerialNumber.Text(16),
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, Names: []string{},
		Key: c.PublicKeyAlgorithm.String(), KeyHash: sum(c.RawSubjectPublicKeyInfo), EKU: []string{},
	}
	for _, n := range c.DNSNames {
		v.Names = append(v.Names, "dns:"+n)
	}
	for _, ip := range c.IPAddresses {
		v.Names = append(v.Names, "ip:"+ip.String())
	}
	for _, m := range c.EmailAddresses {
		v.Names = append(v.Names, "email:"+m)
	}
	for _, u := range c.URIs {
		v.Names = append(v.Names, "uri:"+u.String())
	}
	for _, e := range c.ExtKeyUsage {
		v.EKU = append(v.EKU, ekuName(e))
	}
	for _, e := range c.UnknownExtKeyUsage {
		v.EKU = append(v.EKU, e.String())
	}
	return v
}

func parseTBS(tbs []byte) *x509.Certificate {
	in := cryptobyte.String(tbs)
	var body, algorithm cryptobyte.String
	if !in.ReadASN1(&body, asn1.SEQUENCE) || !in.Empty() ||
		!body.SkipOptionalASN1(asn1.Tag(0).ContextSpecific().Constructed()) ||
		!body.SkipASN1(asn1.INTEGER) || !body.ReadASN1Element(&algorithm, asn1.SEQUENCE) {
		return nil
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(algorithm)
		b.AddASN1BitString([]byte{0})
	})
	der, err := b.Bytes()
	if err != nil {
		return nil
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	return c
}

func ekuName(e x509.ExtKeyUsage) string {
	switch e {
	case x509.ExtKeyUsageServerAuth:
		return "serverAuth"
	case x509.ExtKeyUsageClientAuth:
		return "clientAuth"
	case x509.ExtKeyUsageCodeSigning:
		return "codeSigning"
	case x509.ExtKeyUsageEmailProtection:
		return "emailProtection"
	case x509.ExtKeyUsageTimeStamping:
		return "timeStamping"
	case x509.ExtKeyUsageOCSPSigning:
		return "OCSPSigning"
	case x509.ExtKeyUsageAny:
		return "anyExtendedKeyUsage"
	}
	return fmt.Sprintf("usage %d", e)
}
