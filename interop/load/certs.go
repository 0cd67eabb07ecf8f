package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"
)

// keyPool makes the subscriber keys before the clock starts.
func (o *common) keyPool() ([]crypto.Signer, error) {
	n := max(1, o.keys)
	if o.keyAlg == "rsa2048" {
		n = min(n, 16)
	}
	out := make([]crypto.Signer, n)
	for i := range out {
		k, err := newKey(o.keyAlg)
		if err != nil {
			return nil, err
		}
		out[i] = k
	}
	return out, nil
}

func newKey(alg string) (crypto.Signer, error) {
	switch alg {
	case "ec256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa2048":
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return nil, fmt.Errorf("unknown key algorithm %q", alg)
}

// runTag makes names unique between runs against the same server.
var (
	runNum = time.Now().UnixMilli() & 0xffffffff
	runTag = fmt.Sprintf("%x", runNum)
)

// name is the subject used by operation i; suffix makes it a domain name.
func name(i int, suffix string) string {
	if suffix == "" {
		return fmt.Sprintf("n%d-%s", i, runTag)
	}
	return fmt.Sprintf("n%d-%s.%s", i, runTag, suffix)
}

// makeCSRs builds one request per operation, on all cores.
func makeCSRs(keys []crypto.Signer, n int, tmpl func(i int) *x509.CertificateRequest) ([][]byte, error) {
	out := make([][]byte, n)
	err := parallel(n, func(i int) (err error) {
		out[i], err = x509.CreateCertificateRequest(rand.Reader, tmpl(i), keys[i%len(keys)])
		return err
	})
	return out, err
}

func dnsCSR(nm string) *x509.CertificateRequest {
	return &x509.CertificateRequest{Subject: pkix.Name{CommonName: nm}, DNSNames: []string{nm}}
}

type pubKey interface{ Equal(crypto.PublicKey) bool }

// samePub checks that the certificate is for the key.
func samePub(cert *x509.Certificate, key crypto.Signer) error {
	p, ok := key.Public().(pubKey)
	if !ok || !p.Equal(cert.PublicKey) {
		return errors.New("certificate is not for the requested key")
	}
	return nil
}

// pemCerts decodes all certificates of a PEM text.
func pemCerts(b []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for {
		var blk *pem.Block
		blk, b = pem.Decode(b)
		if blk == nil {
			break
		}
		if blk.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(blk.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("no certificate in answer")
	}
	return out, nil
}

// checkChain verifies key and, where an issuer came along, the signature.
func checkChain(certs []*x509.Certificate, key crypto.Signer) error {
	if err := samePub(certs[0], key); err != nil {
		return err
	}
	if len(certs) > 1 {
		return certs[0].CheckSignatureFrom(certs[1])
	}
	return nil
}

// keep writes the first verified certificate chain and key where -save says.
func (o *common) keep(certs []*x509.Certificate, key crypto.Signer) {
	if o.save == "" {
		return
	}
	o.saved.Do(func() {
		var b []byte
		for _, c := range certs {
			b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
		}
		k, err := x509.MarshalPKCS8PrivateKey(key)
		if err == nil {
			err = os.WriteFile(o.save+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k}), 0o600)
		}
		if err == nil {
			err = os.WriteFile(o.save+".crt", b, 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "load: -save:", err)
		}
	})
}

func readPEMFile(path string) (*x509.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(b, []byte("-----BEGIN")) {
		return x509.ParseCertificate(b)
	}
	cs, err := pemCerts(b)
	if err != nil {
		return nil, err
	}
	return cs[0], nil
}

// loopIP makes unique loopback addresses 127.a.b.c for ip identifiers.
func loopIP(i int) string {
	x := (int(runNum&0x3fffff) + i) & 0x7effff
	return fmt.Sprintf("127.%d.%d.%d", 1+(x>>16)&0x7f, (x>>8)&0xff, x&0xff)
}
