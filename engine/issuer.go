package engine

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
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
	base        string   // of the addresses in certificates
	aia         tbs.Extension
	freshest    tbs.Extension
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
	is.base = base
	var errs [3]error
	is.aia, errs[0] = tbs.AuthorityInfoAccess([]string{base + "/ocsp"}, []string{base + "/aia/" + is.keyID + ".crt"})
	is.freshest, errs[1] = tbs.FreshestCRL([]string{is.listURL(base, deltaScope)})
	_, errs[2] = is.lists(0)
	return errors.Join(errs[:]...)
}

// listURL is where the list of a scope is published.
func (is *issuer) listURL(base, scope string) string {
	return base + "/crl/" + listName(is.keyID, scope) + ".crl"
}

// lists says where the list of a shard is; of 0, the complete one.
func (is *issuer) lists(shard int) (tbs.Extension, error) {
	scope := ""
	if shard > 0 {
		scope = strconv.Itoa(shard)
	}
	return tbs.CRLDistributionPoints([]string{is.listURL(is.base, scope)})
}

// statusExtensions say how the status of a certificate is found. That of a
// delegate is not to be asked for (RFC 6960, Section 4.2.2.2.1; RFC 5019, Section
// 2.2.2).
func (is *issuer) statusExtensions(rules CRLRules, r *Request, d *Draft) ([]tbs.Extension, error) {
	if d.Profile == ProfileOCSP {
		return []tbs.Extension{{OID: oidOCSPNoCheck, Value: []byte{5, 0}}}, nil
	}
	cdp, err := is.lists(rules.shard(r.ID))
	if err != nil {
		return nil, err
	}
	all := []tbs.Extension{is.aia, cdp}
	if rules.Delta {
		all = append(all, is.freshest)
	}
	return all, nil
}

// shard is the shard of a request's certificate, from 1; 0 without shards.
func (c CRLRules) shard(requestID string) int {
	if c.Shards == 0 {
		return 0
	}
	h := sha256.Sum256([]byte(requestID))
	return 1 + int(binary.BigEndian.Uint64(h[:8])%uint64(c.Shards))
}

// shardOf reads out of a certificate which list it names as its own. What was
// signed says so, whatever the policy says by now.
func shardOf(c *x509.Certificate, keyID string) int {
	for _, u := range c.CRLDistributionPoints {
		if _, name, ok := strings.Cut(u, "/crl/"+keyID+"-"); ok {
			if k, err := strconv.Atoi(strings.TrimSuffix(name, ".crl")); err == nil && k > 0 {
				return k
			}
		}
	}
	return 0
}
