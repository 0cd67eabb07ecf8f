package acme

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"chancery/engine"
	"chancery/engine/names"
	"chancery/frontends/internal/jose"
	"chancery/store"
)

// certificate: RFC 8555, Section 7.4.2. The address is the request's, so it goes
// on working when the order is forgotten.
func (c *call) certificate() error {
	if !c.postAsGet() {
		return bad("a certificate is only read: send an empty payload (POST-as-GET)")
	}
	if !accepts(c.accept, pemChainType) {
		return refuse(http.StatusNotAcceptable, malformed, "certificates are sent as %s; accept that", pemChainType)
	}
	d, err := c.f.deps.Requests.Retrieve(c.ctx, c.id, c.account.principal())
	if errors.Is(err, engine.ErrNoRequest) {
		return notFound()
	} else if err != nil {
		return err
	}
	issued, ok := d.(engine.Issued)
	if !ok {
		return notFound()
	}
	chain, err := c.chain(issued)
	if err != nil {
		return err
	}
	c.note("request", issued.RequestID)
	// Each certificate certifies the one before it; the root is left out.
	var b bytes.Buffer
	for _, der := range append([][]byte{issued.Cert}, chain...) {
		if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			return err
		}
	}
	c.w.Header().Set("Content-Type", pemChainType)
	c.w.Write(b.Bytes()) // the client may be gone; nothing is left to do about it
	return nil
}

// pemChainType: RFC 8555, Section 9.1.
const pemChainType = "application/pem-certificate-chain"

// accepts reports whether an Accept header takes a media type (RFC 9110, Section
// 12.5.1). Without one anything is taken.
func accepts(header []string, kind string) bool {
	wants := strings.Join(header, ",")
	if strings.TrimSpace(wants) == "" {
		return true
	}
	whole, _, _ := strings.Cut(kind, "/")
	read := 0
	for part := range strings.SplitSeq(wants, ",") {
		t, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err == nil {
			read++
		}
		if err != nil || t != kind && t != whole+"/*" && t != "*/*" {
			continue
		}
		if q, err := strconv.ParseFloat(params["q"], 64); params["q"] == "" || err == nil && q > 0 {
			return true
		}
	}
	return read == 0 // what says nothing
}

// chain is the chain that the address names: the first, or by its number one of
// the others (RFC 8555, Section 7.4.2). It links to those that it is not.
func (c *call) chain(d engine.Issued) ([][]byte, error) {
	chains := append([][][]byte{d.Chain}, c.f.deps.Certificates.Alternates(d.ID.Issuer)...)
	at := 0
	if c.sub != "" {
		n, err := strconv.Atoi(c.sub)
		if err != nil || n < 1 || n >= len(chains) || strconv.Itoa(n) != c.sub {
			return nil, notFound()
		}
		at = n
	}
	for i := range chains {
		url := c.ep.base + "/certificate/" + c.id
		if i > 0 {
			url += "/" + strconv.Itoa(i)
		}
		if i != at {
			c.w.Header().Add("Link", "<"+url+`>;rel="alternate"`)
		}
	}
	return chains[at], nil
}

// The reasons of RFC 5280, Section 5.3.1 that a subscriber can give.
var clientReasons = []int64{0, keyCompromise, 3, 4, 5, 9}

const keyCompromise = 1

// revoke: RFC 8555, Section 7.6.
func (c *call) revoke() error {
	var in struct {
		Certificate string `json:"certificate"`
		Reason      *int64 `json:"reason"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	der, err := jose.Decode("certificate", in.Certificate)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return bad("certificate is not one certificate in DER, as base64url")
	}
	reason := int64(0)
	if in.Reason != nil {
		reason = *in.Reason
	}
	if !slices.Contains(clientReasons, reason) {
		return refuse(http.StatusBadRequest, badRevocationReason, "the reason must be 0, 1, 3, 4, 5 or 9")
	}
	// By its bytes, never by its serial number alone.
	row, err := c.f.deps.Certificates.Identify(c.ctx, der)
	if errors.Is(err, engine.ErrNoCertificate) {
		return refuse(http.StatusNotFound, malformed, "this certificate is not from here")
	} else if err != nil {
		return err
	}
	by, owns, err := c.mayRevoke(row, cert)
	if err != nil {
		return err
	}
	if reason == keyCompromise && !owns {
		return refuse(http.StatusBadRequest, badRevocationReason, "keyCompromise is for the certificate's key, or the account that it was issued to, to say; give another reason")
	}
	if c.now.After(row.NotAfter) {
		return bad("the certificate has expired; there is nothing to revoke")
	}
	c.note("serial", row.Serial)
	err = c.f.deps.Certificates.Revoke(c.ctx, engine.Revocation{ID: row.CertID, Reason: int(reason), By: by, Also: c.nonce.in})
	switch {
	case err == nil:
		c.w.WriteHeader(http.StatusOK)
		return nil
	case errors.Is(err, engine.ErrAlreadyRevoked):
		return refuse(http.StatusBadRequest, alreadyRevoked, "the certificate is revoked already")
	case errors.Is(err, engine.ErrBadReason):
		return refuse(http.StatusBadRequest, badRevocationReason, "this reason cannot be given")
	}
	return err
}

// mayRevoke says by what right the signer revokes: as the certificate's key or
// the account that it was issued to, who own it, or as one that has proved
// control of all its names. That one may say that they are no longer the
// owner's, but nothing about the key, which keyCompromise blocks for ever.
func (c *call) mayRevoke(row *engine.Certificate, cert *x509.Certificate) (by string, owns bool, err error) {
	if c.account == nil {
		k, err := jose.FromPublic(cert.PublicKey)
		if err != nil || k.Thumbprint() != c.key.Thumbprint() {
			return "", false, refuse(http.StatusForbidden, unauthorized, "the message is not signed by the certificate's key")
		}
		return "key:" + row.SPKI, true, nil
	}
	if row.Requester == c.account.principal() {
		return string(row.Requester), true, nil
	}
	ok, err := c.controls(row.Names)
	if err != nil {
		return "", false, err
	}
	if !ok {
		return "", false, refuse(http.StatusForbidden, unauthorized, "the certificate was issued to another account, and this one has not proved control of all its names")
	}
	return string(c.account.principal()), false, nil
}

// controls reports whether the account has a valid authorization for each name.
func (c *call) controls(all []names.Name) (bool, error) {
	if len(all) == 0 {
		return false, nil
	}
	ok := true
	vouched := false // what its grant vouched for counts while the grant is good
	if c.account.Grant != "" {
		_, err := c.grant()
		vouched = err == nil
	}
	err := c.f.view(c.ctx, func(tx store.Tx) (err error) {
		ok = true
		for _, n := range all {
			if ok, err = c.proved(tx, n, vouched); !ok || err != nil {
				return err
			}
		}
		return nil
	})
	return ok && err == nil, err
}

// proved looks for an authorization of exactly the name, or of a domain above it
// with all that is below.
func (c *call) proved(tx store.Tx, n names.Name, vouched bool) (bool, error) {
	for i, name := range append([]string{stored(n)}, above(n)...) {
		for a, err := range authzs.By(tx, "proved", provedValue(c.account.ID, name), "") {
			if err != nil {
				return false, err
			}
			if a.Account == c.account.ID && a.Name == name && (i == 0 || a.Below) && (a.Grant == "" || vouched) && a.State == valid && c.now.Before(time.Unix(a.Expires, 0)) {
				return true, nil
			}
		}
	}
	return false, nil
}
