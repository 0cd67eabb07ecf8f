package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// certsOf parses a PEM chain.
func certsOf(t *testing.T, chain string) []*x509.Certificate {
	t.Helper()
	var certs []*x509.Certificate
	rest := []byte(chain)
	for {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		cert, err := x509.ParseCertificate(b.Bytes)
		must(t, err)
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		t.Fatalf("no certificate in %q", chain)
	}
	return certs
}

func pemOf(certs ...*x509.Certificate) string {
	var s strings.Builder
	for _, c := range certs {
		_ = pem.Encode(&s, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return s.String()
}

func serialOf(c *x509.Certificate) string { return fmt.Sprintf("%X", c.SerialNumber.Bytes()) }

// files writes leaf, chain and the current CRL where openssl can read them.
func (c *ca) files(chain string) (leaf, issuers string) {
	c.t.Helper()
	certs := certsOf(c.t, chain)
	if len(certs) < 2 {
		c.t.Fatal("the chain holds no issuer")
	}
	base := filepath.Join(c.dir, "openssl-"+serialOf(certs[0]))
	leaf, issuers = base+".pem", base+".chain.pem"
	write(c.t, leaf, pemOf(certs[0]))
	write(c.t, issuers, pemOf(certs[1:]...))
	return leaf, issuers
}

// verify has openssl check the chain against roots.pem, and the names.
func (c *ca) verify(chain string, names ...string) *x509.Certificate {
	c.t.Helper()
	leaf, issuers := c.files(chain)
	out, errs, code := execute(c.t, c.dir, nil, "openssl", "verify", "-x509_strict", "-CAfile", c.roots(), "-untrusted", issuers, leaf)
	if code != 0 {
		text, _, _ := execute(c.t, c.dir, nil, "openssl", "x509", "-in", leaf, "-noout", "-text")
		c.t.Fatalf("openssl verify: %s%s\n%s", out, errs, text)
	}
	cert := certsOf(c.t, chain)[0]
	have := slices.Sorted(slices.Values(cert.DNSNames))
	if want := slices.Sorted(slices.Values(names)); !slices.Equal(have, want) {
		c.t.Errorf("the certificate is for %v, not for %v", have, want)
	}
	if len(cert.OCSPServer) == 0 || len(cert.CRLDistributionPoints) == 0 || len(cert.IssuingCertificateURL) == 0 {
		c.t.Errorf("addresses in the certificate: OCSP %v, CRL %v, issuer %v", cert.OCSPServer, cert.CRLDistributionPoints, cert.IssuingCertificateURL)
	}
	return cert
}

// checkGood has openssl see the certificate as good, by OCSP and by CRL.
func (c *ca) checkGood(chain string) {
	c.t.Helper()
	if err := c.status(chain, false); err != nil {
		c.t.Fatal(err)
	}
}

// checkRevoked has openssl see the certificate as revoked: by OCSP at once, by
// CRL within the second that is promised (and some more on a busy machine).
func (c *ca) checkRevoked(chain string) {
	c.t.Helper()
	eventually(c.t, 10*time.Second, func() error { return c.status(chain, true) })
}

func (c *ca) status(chain string, revoked bool) error {
	c.t.Helper()
	leaf, issuers := c.files(chain)
	cert := certsOf(c.t, chain)[0]

	word := "good"
	if revoked {
		word = "revoked"
	}
	out, errs, code := execute(c.t, c.dir, nil, "openssl", "ocsp", "-CAfile", c.roots(), "-issuer", issuers, "-cert", leaf, "-url", cert.OCSPServer[0])
	if code != 0 || !strings.Contains(out, leaf+": "+word) || !strings.Contains(errs+out, "Response verify OK") {
		return fmt.Errorf("openssl ocsp, wanted %s: exit %d\n%s%s", word, code, out, errs)
	}

	crl := filepath.Join(c.dir, "crl.der")
	write(c.t, crl, string(fetch(c.t, cert.CRLDistributionPoints[0])))
	crlPEM := filepath.Join(c.dir, "crl.pem")
	if out, errs, code := execute(c.t, c.dir, nil, "openssl", "crl", "-inform", "DER", "-in", crl, "-out", crlPEM); code != 0 {
		return fmt.Errorf("openssl crl: %s%s", out, errs)
	}
	out, errs, code = execute(c.t, c.dir, nil, "openssl", "verify", "-crl_check", "-CAfile", c.roots(), "-untrusted", issuers, "-CRLfile", crlPEM, leaf)
	switch {
	case !revoked && code != 0:
		return fmt.Errorf("openssl verify -crl_check: %s%s", out, errs)
	case revoked && code == 0:
		return errors.New("openssl verify -crl_check does not see the revocation")
	case revoked && !strings.Contains(out+errs, "certificate revoked"):
		return fmt.Errorf("openssl verify -crl_check: %s%s", out, errs)
	}
	return nil
}

// newCSR makes a P-256 key and a request for the names, both in files.
func (c *ca) newCSR(names ...string) (csr, key string) {
	c.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(c.t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names}, k)
	must(c.t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	must(c.t, err)
	csr, key = filepath.Join(c.dir, names[0]+".csr"), filepath.Join(c.dir, names[0]+".key")
	write(c.t, csr, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})))
	write(c.t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	return csr, key
}
