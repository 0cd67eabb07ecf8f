package scep

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"math/big"

	"chancery/engine"
	"chancery/engine/names"
	"chancery/frontends/internal/cms"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// poll serves CertPoll (RFC 8894, Section 4.4). Only who signed the request, with
// the same subject, finds it.
func (f *Frontend) poll(ctx context.Context, e *endpoint, m *message, content []byte) (reply, error) {
	s := cryptobyte.String(content)
	var seq, issuer, subject cryptobyte.String
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !s.Empty() || !seq.ReadASN1Element(&issuer, cbasn1.SEQUENCE) ||
		!seq.ReadASN1Element(&subject, cbasn1.SEQUENCE) || !seq.Empty() { // Section 3.2.3: IssuerAndSubject
		return reply{}, unreadable()
	}
	dn, err := names.ParseDN(subject)
	if err != nil {
		return reply{}, unreadable()
	}
	keys := []engine.Key{m.key(e, dn, engine.CertID{})}
	switch row, err := f.deps.Certificates.Identify(ctx, m.signed.Signer.Certificate.Raw); {
	case err == nil: // perhaps a renewal
		keys = append(keys, m.key(e, dn, row.CertID))
	case !errors.Is(err, engine.ErrNoCertificate):
		return reply{}, err
	}
	for _, k := range keys {
		d, err := f.deps.Requests.Status(ctx, k)
		if !errors.Is(err, engine.ErrNoRequest) {
			return m.outcome(d, err)
		}
	}
	return reply{}, fail(badCertID, "There is no such transaction of this key and subject: send the request itself.")
}

// issuerAndSerial reads IssuerAndSerialNumber for an issuer of this CA (RFC 8894,
// Sections 4.5, 4.6).
func (f *Frontend) issuerAndSerial(ctx context.Context, content []byte) (*x509.Certificate, *big.Int, error) {
	s := cryptobyte.String(content)
	var seq, issuer cryptobyte.String
	serial := new(big.Int)
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !s.Empty() || !seq.ReadASN1Element(&issuer, cbasn1.SEQUENCE) ||
		!seq.ReadASN1Integer(serial) || !seq.Empty() {
		return nil, nil, unreadable()
	}
	chain, err := f.deps.chain(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !bytes.Equal(chain[0].RawSubject, issuer) || serial.Sign() <= 0 || serial.BitLen() > 160 {
		return nil, nil, fail(badCertID, "This CA has issued no such certificate.")
	}
	return chain[0], serial, nil
}

// getCert serves RFC 8894, Section 4.5. Certificates are public.
func (f *Frontend) getCert(ctx context.Context, content []byte) (reply, error) {
	ca, serial, err := f.issuerAndSerial(ctx, content)
	if err != nil {
		return reply{}, err
	}
	_, der, err := f.deps.Certificates.Certificate(ctx, engine.NewCertID(ca.SubjectKeyId, serial.Bytes()))
	if errors.Is(err, engine.ErrNoCertificate) {
		return reply{}, fail(badCertID, "This CA has issued no such certificate.")
	} else if err != nil {
		return reply{}, err
	}
	out, err := cms.Degenerate([][]byte{der}, nil)
	return reply{status: success, content: out}, err
}

// getCRL serves RFC 8894, Section 4.6: the one list of the CA, in crls.
func (f *Frontend) getCRL(ctx context.Context, content []byte) (reply, error) {
	ca, _, err := f.issuerAndSerial(ctx, content)
	if err != nil {
		return reply{}, err
	}
	list, err := f.deps.Certificates.CRL(ctx, hex.EncodeToString(ca.SubjectKeyId))
	if err != nil {
		return reply{}, err
	}
	out, err := cms.Degenerate(nil, [][]byte{list.DER})
	return reply{status: success, content: out}, err
}
