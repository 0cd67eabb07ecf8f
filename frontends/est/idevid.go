package est

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"time"

	"chancery/engine"
	"chancery/engine/names"
)

// maxSent is how many certificates of a client's are looked at.
const maxSent = 5

// manufacturers reads the roots of those whose devices may introduce themselves
// by the certificates that they were made with (IEEE 802.1AR, IDevID). Nil: none.
func manufacturers(texts []string) (*x509.CertPool, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	for i, text := range texts {
		found := false
		for rest := []byte(text); ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil || block.Type != "CERTIFICATE" || !c.IsCA {
				return nil, fmt.Errorf("manufacturers: number %d holds what is not the certificate of a CA", i+1)
			}
			pool.AddCert(c)
			found = true
		}
		if !found {
			return nil, fmt.Errorf("manufacturers: number %d is not a certificate in PEM", i+1)
		}
	}
	return pool, nil
}

// made reports whether a manufacturer made the device with this certificate. Many
// have no extended key usage, and end on 99991231235959Z (RFC 5280, Section
// 4.1.2.5), for ever.
func (p *endpoint) made(sent []*x509.Certificate, now time.Time) bool {
	if p.makers == nil || len(sent) == 0 || sent[0].IsCA {
		return false
	}
	between := x509.NewCertPool()
	for _, c := range sent[1:min(len(sent), maxSent)] {
		between.AddCert(c)
	}
	_, err := sent[0].Verify(x509.VerifyOptions{Roots: p.makers, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// ours reports whether a CA key of ours made the certificate: then its status in
// the records counts, and nothing else.
func (f *Frontend) ours(c *x509.Certificate) bool {
	_, err := f.d.Records.Issuer(hex.EncodeToString(c.AuthorityKeyId))
	return err == nil
}

// byManufacturer is for a device with the key that it was made with. Which names
// it may have, the grants say that this key holds, or an officer, who is shown
// what the manufacturer calls it.
func (f *Frontend) byManufacturer(r *http.Request, p *endpoint) (*client, error) {
	ctx, cert := r.Context(), r.TLS.PeerCertificates[0]
	subject, err := names.ParseDN(cert.RawSubject)
	if err != nil {
		return nil, p.unauthorized(errors.New("the subject of the manufacturer's certificate does not parse"))
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	c := &client{principal: engine.Principal("idevid:" + hex.EncodeToString(sum[:]))}
	c.claims = []engine.Claim{{Origin: "est", Name: "manufactured as", Value: subject.String()}}
	held, err := f.d.Grants.HeldGrants(ctx, engine.EST, p.name, c.principal)
	if err != nil {
		return nil, err
	}
	now := f.d.Now()
	for _, g := range held {
		c.proofs = append(c.proofs, engine.Proof{Method: engine.ByGrant, Principal: c.principal, Ref: g.ID, At: now})
	}
	c.proofs = append(c.proofs, engine.Proof{Method: engine.ClientCert, Principal: c.principal, Ref: "idevid", At: now})
	return c, nil
}
