package engine

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxChains is how many other chains an authority may have.
const maxChains = 8

// Alternates are other chains for certificates of a CA key than the one that
// Issued has: each is DER, a certificate of the same CA key first, without the
// root. They come from the policy document (authorities.NAME.chains), as when
// another root has certified the CA too.
func (e *Engine) Alternates(keyID string) [][][]byte {
	if set := e.setup.Load(); set != nil {
		return set.alternates[keyID]
	}
	return nil
}

// alternates reads the chains of a policy document, by the CA key that they are
// for.
func (e *Engine) alternates(p *Policy) (map[string][][][]byte, error) {
	all := map[string][][][]byte{}
	for _, name := range slices.Sorted(maps.Keys(p.Authorities)) {
		chains := p.Authorities[name].Chains
		if len(chains) > maxChains {
			return nil, fmt.Errorf("authorities.%s.chains: %d are more than %d", name, len(chains), maxChains)
		}
		for i, text := range chains {
			id, chain, err := e.alternate(name, text)
			if err != nil {
				return nil, fmt.Errorf("authorities.%s.chains: number %d: %w", name, i+1, err)
			}
			all[id] = append(all[id], chain)
		}
	}
	return all, nil
}

func (e *Engine) alternate(authority, text string) (keyID string, chain [][]byte, err error) {
	certs, err := parsePEM(text)
	if err != nil {
		return "", nil, err
	}
	id := hex.EncodeToString(certs[0].SubjectKeyId)
	is := e.issuers[id]
	if is == nil || is.Authority != authority || !bytes.Equal(is.cert.RawSubject, certs[0].RawSubject) ||
		!bytes.Equal(is.cert.RawSubjectPublicKeyInfo, certs[0].RawSubjectPublicKeyInfo) {
		return "", nil, fmt.Errorf("its first certificate is not one of this authority: it must have the same subject, key and subject key identifier")
	}
	for i, c := range certs {
		if i > 0 {
			if err := certs[i-1].CheckSignatureFrom(c); err != nil {
				return "", nil, fmt.Errorf("certificate %d is not signed by the next: %w", i, err)
			}
		}
		selfSigned := bytes.Equal(c.RawSubject, c.RawIssuer)
		if i == 0 || !selfSigned {
			chain = append(chain, c.Raw)
		}
	}
	return id, chain, nil
}

// parsePEM reads certificates and nothing else.
func parsePEM(text string) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for rest := []byte(text); strings.TrimSpace(string(rest)) != ""; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil || b.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("it is not certificates in PEM")
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d does not parse: %w", len(certs)+1, err)
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("it is empty")
	}
	return certs, nil
}
