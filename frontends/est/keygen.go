package est

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"slices"

	"chancery/engine"
	"chancery/engine/keys"
	"chancery/engine/names"
	"chancery/engine/pkcs10"
	"chancery/frontends/internal/cms"
)

// Attributes by which a client wants its key encrypted once more (RFC 7030,
// Section 4.4.1).
const (
	decryptKeyID     = "1.2.840.113549.1.9.16.2.37"
	asymmDecryptKeyI = "1.2.840.113549.1.9.16.2.54"
)

// making bounds how many RSA keys are made at a time: each takes a processor for
// up to seconds.
const making = 2

// serverKeyGen is RFC 7030, Section 4.4: the server makes the key, and gives it
// out over the connection. The key is in no record and no log, so each answer has
// another. A client that lost the answer asks again, for another certificate.
func (f *Frontend) serverKeyGen(w http.ResponseWriter, r *http.Request, p *endpoint) error {
	switch {
	case !p.ServerKeys:
		return notOffered(f, w, r, p)
	case p.profile.Public: // Baseline Requirements, Section 6.1.1.3
		return refuse(http.StatusForbidden, "Keys of profile "+p.Profile+" are made by those who use them.")
	}
	c, err := f.enrollee(r, p)
	if err != nil {
		return err
	}
	csr, err := f.keylessRequest(w, r, p)
	if err != nil {
		return err
	}
	key, err := f.makeKey(r.Context(), csr.Key, p.profile.Keys)
	if err != nil {
		return err
	}
	s, err := f.keyedSubmission(csr, key, c, p)
	if err != nil {
		return err
	}
	d, err := f.d.Requests.Submit(r.Context(), s)
	if err != nil {
		return err
	}
	issued, ok := d.(engine.Issued)
	if !ok {
		return f.disposition(w, r, p, d)
	}
	f.d.Note(r.Context(), "request", issued.RequestID)
	f.d.Note(r.Context(), "serial", issued.ID.Serial)
	return sendKey(w, r, p, key, issued.Cert)
}

// keylessRequest reads a request whose key and signature mean nothing (RFC 7030,
// Section 4.4.1).
func (f *Frontend) keylessRequest(w http.ResponseWriter, r *http.Request, p *endpoint) (*pkcs10.Request, error) {
	csr, err := readRequest(w, r)
	if err != nil {
		return nil, err
	}
	for _, oid := range []string{decryptKeyID, asymmDecryptKeyI} {
		if slices.Contains(csr.Attributes, oid) {
			// RFC 7030, Section 4.4.1.1: an error, and never the key as it is.
			return nil, refuse(http.StatusBadRequest, "The server knows no key with which yours could be encrypted beside the TLS connection. Without DecryptKeyIdentifier and AsymmetricDecryptKeyIdentifier it is protected by that connection.")
		}
	}
	return csr, p.link(r, csr)
}

// keyedSubmission asks for what the client asked for, for the new key. An officer
// who is needed approves it for any key: it is made for the client's next request.
func (f *Frontend) keyedSubmission(asked *pkcs10.Request, key crypto.Signer, c *client, p *endpoint) (engine.Submission, error) {
	var id [16]byte
	if _, err := io.ReadFull(f.d.Rand, id[:]); err != nil {
		return engine.Submission{}, fmt.Errorf("no randomness: %w", err)
	}
	body, err := requestFor(asked, key, f.d.Rand)
	if err != nil {
		return engine.Submission{}, err
	}
	s := engine.Submission{Source: engine.EST, Endpoint: p.name, Requester: c.principal, Proofs: c.proofs, Claims: c.claims, Form: engine.PKCS10, Body: body,
		Profile: p.Profile, KeyPerRun: true, Key: engine.NewKey(engine.EST, p.name, p.profile.Authority, c.principal, "serverkeygen:"+hex.EncodeToString(id[:]))}
	if c.row != nil && c.row.Profile == p.Profile && p.renews(asked, c) == nil {
		f.renewal(&s, c)
	}
	return s, nil
}

// requestFor makes the request anew with a key.
func requestFor(asked *pkcs10.Request, key crypto.Signer, random io.Reader) ([]byte, error) {
	subject, err := asked.Subject.Marshal()
	if err != nil {
		return nil, err
	}
	t := &x509.CertificateRequest{RawSubject: subject}
	if len(asked.Names) > 0 {
		san, err := names.MarshalSAN(asked.Names)
		if err != nil {
			return nil, err
		}
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: oidSubjectAltName, Value: san})
	}
	for _, x := range asked.Extensions {
		oid, err := parseOID(x.OID)
		if err != nil {
			return nil, err
		}
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: oid, Critical: x.Critical, Value: x.Value})
	}
	return x509.CreateCertificateRequest(random, t, key)
}

func parseOID(dotted string) (asn1.ObjectIdentifier, error) {
	oid, err := x509.ParseOID(dotted)
	if err != nil {
		return nil, err
	}
	der, err := oid.MarshalBinary()
	if err != nil {
		return nil, err
	}
	var out asn1.ObjectIdentifier
	_, err = asn1.Unmarshal(append([]byte{asn1.TagOID, byte(len(der))}, der...), &out)
	return out, err
}

// makeKey makes a key of the kind that the request came with, if the profile
// takes that.
func (f *Frontend) makeKey(ctx context.Context, like *keys.Public, rules keys.Rules) (crypto.Signer, error) {
	if err := like.Allowed(rules); err != nil {
		return nil, refuse(http.StatusBadRequest, "The request says by its own key which kind of key to make: "+err.Error())
	}
	switch like.Algorithm {
	case keys.Ed25519:
		_, key, err := ed25519.GenerateKey(f.d.Rand)
		return key, err
	case keys.ECDSA:
		curve, ok := like.Key.(*ecdsa.PublicKey)
		if !ok {
			return nil, errors.New("est: the key is not of its kind")
		}
		return ecdsa.GenerateKey(elliptic.Curve(curve.Curve), f.d.Rand)
	}
	select {
	case f.making <- struct{}{}:
		defer func() { <-f.making }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return rsa.GenerateKey(f.d.Rand, like.Bits)
}

// sendKey answers with the key and its certificate (RFC 7030, Section 4.4.2).
func sendKey(w http.ResponseWriter, r *http.Request, p *endpoint, key crypto.Signer, cert []byte) error {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	defer clear(pkcs8)
	certs, err := cms.Degenerate([][]byte{cert}, nil)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	parts := multipart.NewWriter(&body)
	for _, one := range []struct {
		kind string
		der  []byte
	}{{"application/pkcs8", pkcs8}, {certsOnly, certs}} {
		part, err := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {one.kind}, "Content-Transfer-Encoding": {"base64"}})
		if err != nil {
			return err
		}
		if _, err := part.Write(p.encode(r, one.der)); err != nil {
			return err
		}
	}
	if err := parts.Close(); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "multipart/mixed; boundary="+parts.Boundary())
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body.Bytes())
	clear(body.Bytes())
	return nil
}
