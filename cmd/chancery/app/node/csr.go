package node

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"

	"chancery/engine/names"
)

// request makes the certification request for a certificate of Chancery's own.
func request(o Own, key crypto.Signer) ([]byte, error) {
	t := &x509.CertificateRequest{Subject: pkix.Name{CommonName: o.CN}}
	for _, n := range o.Names {
		switch n.Type {
		case names.DNS:
			t.DNSNames = append(t.DNSNames, n.Value)
		case names.IP:
			t.IPAddresses = append(t.IPAddresses, net.ParseIP(n.Value))
		}
	}
	// Without randomness an ECDSA signature is that of RFC 6979: the same request
	// made again, after a crash, is the same bytes.
	return x509.CreateCertificateRequest(nil, t, key)
}
