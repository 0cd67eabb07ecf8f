package native

import (
	"context"
	"encoding/hex"
	"mime"
	"net/http"
	"strings"
	"time"

	"go.mozilla.org/pkcs7"

	"chancery/engine"
)

// A certificateView is a certificate as JSON. Who asked for it and who revoked
// it are for the people who run the CA.
type certificateView struct {
	Serial      string    `json:"serial"`
	Issuer      string    `json:"issuer"`
	Status      string    `json:"status"`
	Reason      string    `json:"reason,omitempty"`
	RevokedAt   time.Time `json:"revoked_at,omitzero"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	Subject     string    `json:"subject,omitempty"`
	Names       []string  `json:"names"`
	Profile     string    `json:"profile"`
	Authority   string    `json:"authority"`
	RevokedBy   string    `json:"revoked_by,omitempty"`
	Requester   string    `json:"requester,omitempty"`
	Request     string    `json:"request,omitempty"`
	Key         string    `json:"key,omitempty"` // SHA-256 of the SubjectPublicKeyInfo
	Certificate string    `json:"certificate,omitempty"`
}

func viewCertificate(c *engine.Certificate, der []byte, all bool) certificateView {
	v := certificateView{
		Serial: c.Serial, Issuer: c.Issuer, Status: string(c.Status), RevokedAt: c.RevokedAt,
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, Subject: c.Subject, Names: make([]string, 0, len(c.Names)),
		Profile: c.Profile, Authority: c.Authority,
	}
	if c.Status != engine.Good {
		v.Reason = engine.ReasonName(c.Reason)
	}
	for _, n := range c.Names {
		v.Names = append(v.Names, n.String())
	}
	if all {
		v.RevokedBy, v.Requester, v.Request, v.Key = c.RevokedBy, string(c.Requester), c.Request, c.SPKI
	}
	if der != nil {
		v.Certificate = pemCertificates(der)
	}
	return v
}

// find returns the certificate with the serial number in the path. An issuer is
// needed only where two CA keys drew the same.
func (f *Frontend) find(ctx context.Context, serial, issuer string) (*engine.Certificate, error) {
	s, err := engine.ParseSerial(serial)
	if err != nil {
		return nil, badRequest(err.Error() + ".")
	}
	rows, err := f.d.Engine.BySerial(ctx, s)
	if err != nil {
		return nil, err
	}
	var found []*engine.Certificate
	var issuers []string
	for _, row := range rows {
		if issuer == "" || strings.EqualFold(row.Issuer, issuer) {
			found = append(found, row)
			issuers = append(issuers, row.Issuer)
		}
	}
	switch len(found) {
	case 0:
		return nil, engine.ErrNoCertificate
	case 1:
		return found[0], nil
	}
	return nil, &problem{Status: http.StatusConflict, Reason: "ambiguous-serial",
		Detail: "Several CA keys used this serial number. Say which in issuer: " + strings.Join(issuers, ", ") + "."}
}

// The forms in which certificates are given out.
const (
	asPEM   = "pem"
	asDER   = "der"
	asPKCS7 = "pkcs7"
	asJSON  = "json"
)

// format is the form that the client wants, by ?format= or Accept.
func format(r *http.Request, q *query, fallback string) (string, error) {
	if q.get("format") != "" {
		return oneOf(q, "format", asPEM, asDER, asPKCS7, asJSON)
	}
	accept := r.Header.Get("Accept")
	if accept == "" {
		return fallback, nil
	}
	for item := range strings.SplitSeq(clip(accept, 1024), ",") {
		t, params, err := mime.ParseMediaType(item)
		if err != nil || strings.Trim(params["q"], "0.") == "" && params["q"] != "" {
			continue
		}
		switch t {
		case "*/*", "application/*":
			return fallback, nil
		case "application/pem-certificate-chain", "application/x-pem-file", "text/plain", "text/*":
			return asPEM, nil
		case "application/pkix-cert":
			return asDER, nil
		case "application/pkcs7-mime":
			return asPKCS7, nil
		case "application/json":
			return asJSON, nil
		}
	}
	return "", &problem{Status: http.StatusNotAcceptable, Reason: "not-acceptable",
		Detail: "The forms are application/pem-certificate-chain, application/pkix-cert, application/pkcs7-mime and application/json; or use ?format=pem, der, pkcs7, json."}
}

func (f *Frontend) download(w http.ResponseWriter, r *http.Request, _ *caller) error {
	return f.give(w, r, asPEM, false)
}

func (f *Frontend) showCertificate(w http.ResponseWriter, r *http.Request, _ *caller) error {
	return f.give(w, r, asJSON, true)
}

func (f *Frontend) give(w http.ResponseWriter, r *http.Request, fallback string, all bool) error {
	q, err := readQuery(r, "format", "issuer")
	if err != nil {
		return err
	}
	form, err := format(r, q, fallback)
	if err != nil {
		return err
	}
	ctx := r.Context()
	row, err := f.find(ctx, param(r, "serial"), q.get("issuer"))
	if err != nil {
		return err
	}
	row, der, err := f.d.Engine.Certificate(ctx, row.CertID)
	if err != nil {
		return err
	}
	w.Header().Add("Vary", "Accept")
	if form == asJSON {
		return f.ok(w, http.StatusOK, viewCertificate(row, der, all))
	}
	if der == nil {
		return errNotMade
	}
	if form == asDER {
		send(w, http.StatusOK, "application/pkix-cert", der)
		return nil
	}
	chain, err := f.chainOf(ctx, row.Issuer)
	if err != nil {
		return err
	}
	return sendChain(w, form, append([][]byte{der}, chain...))
}

// errNotMade is for a serial number whose certificate was decided on and then
// given up: the CRL lists it, but there is nothing to hand out.
var errNotMade = &problem{Status: http.StatusNotFound, Reason: "no-certificate",
	Detail: "There is a record of this serial number, but no certificate: issuing it was interrupted. Ask for application/json to see the record."}

func sendChain(w http.ResponseWriter, form string, chain [][]byte) error {
	if form != asPKCS7 {
		send(w, http.StatusOK, "application/pem-certificate-chain", []byte(pemCertificates(chain[0], chain[1:]...)))
		return nil
	}
	var all []byte
	for _, der := range chain {
		all = append(all, der...)
	}
	p7, err := pkcs7.DegenerateCertificate(all)
	if err != nil {
		return err
	}
	send(w, http.StatusOK, "application/pkcs7-mime; smime-type=certs-only", p7)
	return nil
}

// maxChain ends a walk through issuers that name each other.
const maxChain = 8

// chainOf returns the CA certificates from the key up to, but without, the root.
func (f *Frontend) chainOf(_ context.Context, keyID string) ([][]byte, error) {
	var chain [][]byte
	for len(chain) < maxChain {
		ca, err := f.d.Engine.Issuer(keyID)
		if err != nil {
			return chain, nil // a root that was moved off, or an upstream's
		}
		parent := hex.EncodeToString(ca.AuthorityKeyId)
		if parent == "" || parent == keyID {
			return chain, nil
		}
		chain = append(chain, ca.Raw)
		keyID = parent
	}
	return chain, nil
}

// revokeOwn lets a requester revoke what it was given.
func (f *Frontend) revokeOwn(w http.ResponseWriter, r *http.Request, c *caller) error {
	var body struct {
		Reason string `json:"reason"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	if _, err := readQuery(r); err != nil {
		return err
	}
	code, err := reasonCode(body.Reason, requesterReasons)
	if err != nil {
		return err
	}
	row, err := f.find(r.Context(), param(r, "serial"), "")
	if err != nil {
		return err
	}
	if row.Requester != c.principal {
		return &problem{Status: http.StatusForbidden, Reason: "forbidden",
			Detail: "Only who requested a certificate may revoke it here. An officer can revoke any."}
	}
	return f.change(w, r, engine.Revocation{ID: row.CertID, Reason: code, By: string(c.principal)}, false)
}

// revoke lets an officer revoke, hold and release. The serial number in the
// path is the only one: a body that brings another is refused.
func (f *Frontend) revoke(w http.ResponseWriter, r *http.Request, c *caller) error {
	var body struct {
		Reason  string `json:"reason"`
		Release bool   `json:"release"`
		Issuer  string `json:"issuer"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	if _, err := readQuery(r); err != nil {
		return err
	}
	if body.Release && body.Reason != "" {
		return badRequest("To release a held certificate give no reason.")
	}
	code, err := reasonCode(body.Reason, officerReasons)
	if err != nil {
		return err
	}
	row, err := f.find(r.Context(), param(r, "serial"), body.Issuer)
	if err != nil {
		return err
	}
	return f.change(w, r, engine.Revocation{ID: row.CertID, Reason: code, Release: body.Release, By: c.actor.Person}, true)
}

func (f *Frontend) change(w http.ResponseWriter, r *http.Request, change engine.Revocation, all bool) error {
	ctx := r.Context()
	f.d.Note(ctx, "serial", change.ID.Serial)
	if err := f.d.Engine.Revoke(ctx, change); err != nil {
		return err
	}
	row, _, err := f.d.Engine.Certificate(ctx, change.ID)
	if err != nil {
		return err
	}
	return f.ok(w, http.StatusOK, viewCertificate(row, nil, all))
}
