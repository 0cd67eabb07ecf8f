package engine

import (
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"

	"chancery/engine/names"
	"chancery/engine/ocsp"
	"chancery/engine/tbs"
)

// An issuer is a CA key in use, with what every certificate of it shares.
type issuer struct {
	Issuer
	cert        *x509.Certificate
	keyID       string // hexadecimal
	alg         tbs.Algorithm
	chain       [][]byte // for clients: without the root
	status      []tbs.Extension
	aki         tbs.Extension
	constraints []*names.Constraints // of every CA certificate in the chain
	ocsp        *ocsp.Issuer
	wake        chan struct{} // a new list is wanted
	responder   atomic.Pointer[responder]
	epoch       epoch
}

func newIssuer(i Issuer, statusURL string) (*issuer, error) {
	if len(i.Chain) == 0 {
		return nil, errors.New("it has no certificate")
	}
	ca := i.Chain[0]
	if !ca.IsCA || ca.KeyUsage&x509.KeyUsageCertSign == 0 || len(ca.SubjectKeyId) == 0 {
		return nil, errors.New("its certificate is not that of a CA (basicConstraints, keyCertSign, subjectKeyIdentifier)")
	}
	if i.Key != nil {
		if pub, ok := i.Key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(ca.PublicKey) {
			return nil, errors.New("its key is not the key of its certificate: check which files belong together")
		}
	}
	alg, err := tbs.AlgorithmFor(ca.PublicKey)
	if err != nil {
		return nil, err
	}
	is := &issuer{Issuer: i, cert: ca, keyID: hex.EncodeToString(ca.SubjectKeyId), alg: alg, aki: tbs.AKI(ca.SubjectKeyId), wake: make(chan struct{}, 1)}
	if is.ocsp, err = ocsp.NewIssuer(ca); err != nil {
		return nil, err
	}
	for n, c := range i.Chain {
		if n > 0 {
			if err := i.Chain[n-1].CheckSignatureFrom(c); err != nil {
				return nil, fmt.Errorf("certificate %d of its chain is not signed by the next: %w", n, err)
			}
		}
		if n < len(i.Chain)-1 || len(i.Chain) == 1 {
			is.chain = append(is.chain, c.Raw)
		}
		if der := extension(c, oidNameConstraints); der != nil {
			nc, err := names.ParseConstraints(der)
			if err != nil {
				return nil, fmt.Errorf("name constraints of %s: %w", c.Subject, err)
			}
			is.constraints = append(is.constraints, nc)
		}
	}
	return is, is.address(statusURL)
}

// Permits says why the name constraints of an authority's certificates refuse a
// name, or nil (RFC 5280, Section 4.2.1.10). A CA keeps them, whatever the
// policy says by now.
func (e *Engine) Permits(authority string, n names.Name) error {
	is := e.current[authority]
	if is == nil {
		return fmt.Errorf("there is no authority %q", authority)
	}
	for _, nc := range is.constraints {
		if err := nc.Check([]names.Name{n}, nil); err != nil {
			return err
		}
	}
	return nil
}

// address makes the extensions that say where the status of a certificate is
// found. Every certificate has them.
func (is *issuer) address(base string) error {
	cdp, err := tbs.CRLDistributionPoints([]string{base + "/crl/" + is.keyID + ".crl"})
	if err != nil {
		return err
	}
	aia, err := tbs.AuthorityInfoAccess([]string{base + "/ocsp"}, []string{base + "/aia/" + is.keyID + ".crt"})
	if err != nil {
		return err
	}
	is.status = []tbs.Extension{aia, cdp}
	return nil
}
