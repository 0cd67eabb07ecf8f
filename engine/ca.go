package engine

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"chancery/engine/keys"
	"chancery/engine/names"
	"chancery/engine/tbs"
)

// A CASpec says what a CA certificate is to be.
type CASpec struct {
	Subject   names.DN
	PublicKey crypto.PublicKey
	NotBefore time.Time
	NotAfter  time.Time
	PathLen   int // CAs that may follow; -1: any number

	// Domains are the DNS names that it may certify, with mailboxes and URIs
	// there; then Addresses are the networks in which it may certify addresses.
	// Without Domains it may certify any name.
	Domains   []string
	Addresses []netip.Prefix

	CRL    []string // where the parent's CRL is; only real names
	OCSP   []string
	Parent []string // where the parent's certificate is
	Usages []string // extended key usages that leaves may have; none: any
	Rand   io.Reader
}

// MakeCA makes a CA certificate in DER, signed by parent, or by its own key if
// parent is nil (RFC 5280, Section 4.2).
func MakeCA(s CASpec, parent *x509.Certificate, key crypto.Signer) ([]byte, error) {
	pub, err := keys.FromKey(s.PublicKey)
	if err != nil {
		return nil, err
	}
	subject, err := s.Subject.Marshal()
	if err != nil {
		return nil, err
	}
	c := &tbs.Certificate{
		Issuer: subject, Subject: subject, SPKI: pub.SPKI,
		NotBefore: s.NotBefore.UTC().Truncate(time.Second), NotAfter: s.NotAfter.UTC().Truncate(time.Second),
	}
	if c.Serial, err = newSerial(s.Rand); err != nil {
		return nil, err
	}
	ku, err := tbs.KeyUsage("keyCertSign", "cRLSign", "digitalSignature")
	if err != nil {
		return nil, err
	}
	c.Extensions = []tbs.Extension{tbs.BasicConstraints(true, s.PathLen), ku, tbs.SKI(pub.KeyID())}
	if parent != nil {
		if !parent.IsCA || s.NotAfter.After(parent.NotAfter) {
			return nil, errors.New("a CA must end before the CA above it")
		}
		c.Issuer = parent.RawSubject
		c.Extensions = append(c.Extensions, tbs.AKI(parent.SubjectKeyId))
	}
	if err := s.extend(c); err != nil {
		return nil, err
	}
	alg, err := tbs.AlgorithmFor(key.Public())
	if err != nil {
		return nil, err
	}
	raw, err := tbs.Render(c, alg)
	if err != nil {
		return nil, fmt.Errorf("CA certificate: %w", err)
	}
	return tbs.Sign(raw, alg, key)
}

func (s *CASpec) extend(c *tbs.Certificate) error {
	add := func(x tbs.Extension, err error) error {
		c.Extensions = append(c.Extensions, x)
		return err
	}
	var errs []error
	if len(s.Addresses) > 0 && len(s.Domains) == 0 {
		errs = append(errs, errors.New("a CA that is constrained to addresses needs domains too"))
	}
	if len(s.Usages) > 0 {
		errs = append(errs, add(tbs.ExtKeyUsage(s.Usages...)))
	}
	if len(s.Domains) > 0 {
		errs = append(errs, add(tbs.NameConstraints(s.Domains, s.Addresses)))
	}
	if len(s.OCSP)+len(s.Parent) > 0 {
		errs = append(errs, add(tbs.AuthorityInfoAccess(s.OCSP, s.Parent)))
	}
	if len(s.CRL) > 0 {
		errs = append(errs, add(tbs.CRLDistributionPoints(s.CRL)))
	}
	return errors.Join(errs...)
}
