package scep

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"chancery/engine"
	"chancery/engine/names"
	"chancery/engine/pkcs10"
	"chancery/frontends/internal/cms"
)

// signerKey is the principal of the key that signed a message.
func signerKey(c *x509.Certificate) engine.Principal {
	h := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return engine.Principal("key:" + hex.EncodeToString(h[:]))
}

// key is the identity of a transaction (RFC 8894, Section 4.4): nobody else's
// identifier, key or subject leads to it. A renewal's holds what it renews.
func (m *message) key(e *endpoint, subject names.DN, renews engine.CertID) engine.Key {
	id := m.transaction + "\x00" + subject.String()
	if !renews.IsZero() {
		id += "\x00" + string(renewalReq) + "\x00" + renews.String()
	}
	return engine.NewKey(engine.SCEP, e.name, "", signerKey(m.signed.Signer.Certificate), id)
}

// readRequest reads a certification request and checks that it proves possession
// of its key. What fails here is unreadable, unless it is a whole request with a
// good signature: then its sender may know what is wrong with it.
func readRequest(der []byte) (*pkcs10.Request, *failure) {
	csr, err := pkcs10.Parse(der)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err == nil {
		return csr, nil
	}
	if c, other := x509.ParseCertificateRequest(der); other == nil && c.CheckSignature() == nil {
		var e *pkcs10.Error
		if errors.As(err, &e) && (e.Kind == pkcs10.BadKey || e.Kind == pkcs10.BadAlgorithm) {
			return nil, fail(badAlg, "%v", err)
		}
		return nil, fail(badRequest, "%v", err)
	}
	return nil, unreadable()
}

// enroll serves PKCSReq and RenewalReq (RFC 8894, Sections 4.3, 2.5).
func (f *Frontend) enroll(ctx context.Context, e *endpoint, m *message, content []byte) (reply, error) {
	csr, bad := readRequest(content)
	if bad != nil {
		return reply{}, bad
	}
	s := engine.Submission{
		Source: engine.SCEP, Endpoint: e.name, Form: engine.PKCS10, Body: csr.DER,
		Claims: []engine.Claim{{Origin: "scep", Name: "transactionID", Value: m.transaction}},
	}
	var err error
	if m.kind == renewalReq {
		err = f.authorizeRenewal(ctx, e, m, csr, &s)
	} else {
		err = f.authorize(ctx, e, m, csr, &s)
	}
	if err != nil {
		return reply{}, err
	}
	s.Key = m.key(e, csr.Subject, s.Replaces)
	d, err := f.deps.Requests.Submit(ctx, s)
	if errors.Is(err, engine.ErrConflict) {
		return reply{}, fail(badRequest, "This transactionID was used with another request: begin a new transaction, with a new key.")
	}
	return m.outcome(d, err)
}

// authorize finds out with what right a new device enrolls. There is none by
// default.
func (f *Frontend) authorize(ctx context.Context, e *endpoint, m *message, csr *pkcs10.Request, s *engine.Submission) error {
	// RFC 8894, Section 2.3: the signer proves nothing but possession of the key
	// that is to be certified. Another key would be another's request, captured
	// and sent anew.
	if !bytes.Equal(csr.Key.SPKI, m.signed.Signer.Certificate.RawSubjectPublicKeyInfo) {
		return unreadable()
	}
	s.Profile = e.Profiles[0]
	if csr.ChallengePassword == "" && slices.Contains(e.Authorize, manually) {
		s.Requester = signerKey(m.signed.Signer.Certificate)
		return nil
	}
	if csr.ChallengePassword == "" || !slices.Contains(e.Authorize, byGrant) {
		return fail(badRequest, "The request needs a challengePassword: ask for one where this device was given its settings.")
	}
	g, err := f.deps.Grants.CheckGrant(ctx, engine.SCEP, e.name, csr.ChallengePassword)
	if errors.Is(err, engine.ErrNoGrant) {
		return fail(badRequest, "The challengePassword is not good, or no longer: ask for another.")
	} else if err != nil {
		return err
	}
	s.Requester = engine.Principal("grant:" + g.ID)
	if len(g.Profiles) > 0 && !slices.Contains(g.Profiles, s.Profile) {
		for _, p := range e.Profiles {
			if slices.Contains(g.Profiles, p) {
				s.Profile = p // the grant is for another one of the endpoint's
				break
			}
		}
	}
	s.Proofs = []engine.Proof{{Method: engine.ByGrant, Principal: s.Requester, Ref: g.ID, At: f.deps.Now(), Expires: g.Expires}}
	return nil
}

// authorizeRenewal wants a certificate of ours that is good now, and a request
// for nothing but its names (RFC 8894, Section 2.5).
func (f *Frontend) authorizeRenewal(ctx context.Context, e *endpoint, m *message, csr *pkcs10.Request, s *engine.Submission) error {
	signer, now := m.signed.Signer.Certificate, f.deps.Now()
	row, err := f.deps.Certificates.Identify(ctx, signer.Raw) // the very bytes
	if errors.Is(err, engine.ErrNoCertificate) {
		return fail(badRequest, "A renewal must be signed with the certificate that it renews, one of this CA: enroll anew with a challengePassword.")
	} else if err != nil {
		return err
	}
	switch {
	case row.Status != engine.Good:
		return fail(badCertID, "The certificate to be renewed is revoked or on hold: enroll anew with a challengePassword.")
	case now.Before(row.NotBefore) || !now.Before(row.NotAfter.Add(time.Duration(e.RenewAfterExpiry))),
		!now.Before(row.NotAfter) && !bytes.Equal(csr.Key.SPKI, signer.RawSubjectPublicKeyInfo): // then for the same key only
		return fail(badCertID, "The certificate to be renewed has expired: enroll anew with a challengePassword.")
	case !slices.Contains(e.Profiles, row.Profile):
		return fail(badCertID, "The certificate to be renewed is not of a profile of this endpoint.")
	}
	if why := renews(csr, row, signer); why != "" {
		return fail(badRequest, "%s", why)
	}
	s.Requester, s.Profile, s.Replaces = signerKey(signer), row.Profile, row.CertID
	s.Proofs = []engine.Proof{{Method: engine.OldCert, Principal: s.Requester, Names: row.Names, Ref: row.CertID.String(), At: now, Expires: row.NotAfter.Add(time.Duration(e.RenewAfterExpiry))}}
	return nil
}

// renews says why a request does not ask for the names of an old certificate, or
// nothing. Of the subject the common name counts; the rest is the profile's to
// write, as it was the first time.
func renews(csr *pkcs10.Request, row *engine.Certificate, old *x509.Certificate) string {
	asked := slices.Clone(csr.Names)
	for _, cn := range csr.Subject.CommonNames() {
		n, err := names.Parse(names.DNS, cn)
		if err == nil && slices.Contains(row.Names, n) && !slices.Contains(asked, n) {
			asked = append(asked, n)
		}
		// Compared as written: no other spelling is the same name.
		if err != nil && cn != old.Subject.CommonName || err == nil && !slices.Contains(row.Names, n) {
			return "The common name is not that of the certificate to be renewed: ask for the same names, or enroll anew with a challengePassword."
		}
	}
	if len(asked) != len(row.Names) || slices.ContainsFunc(asked, func(n names.Name) bool { return !slices.Contains(row.Names, n) }) {
		return "The subject alternative names are not those of the certificate to be renewed: ask for the same names, or enroll anew with a challengePassword."
	}
	return ""
}

// outcome turns what the engine says into a reply.
func (m *message) outcome(d engine.Disposition, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	switch d := d.(type) {
	case engine.Issued:
		// RFC 8894, Section 3.3.2.1: the certificate alone, so that no device
		// takes another of the bundle for its own.
		content, err := cms.Degenerate([][]byte{d.Cert}, nil)
		return reply{status: success, content: content}, err
	case engine.Pended:
		return reply{status: pending}, nil
	case engine.Denied:
		return reply{}, fail(infoOf(d.Reason), "%s", d.Detail)
	}
	return reply{}, errors.New("scep: a disposition of no known kind")
}

// infoOf is the failInfo of a denial.
func infoOf(r engine.Reason) failInfo {
	switch r {
	case engine.BadKey:
		return badAlg
	case engine.BadCSR, engine.NameNotAllowed, engine.NotAuthorized, engine.UnknownProfile, engine.PolicyRefused, engine.LimitExceeded,
		engine.Rejected, engine.Superseded, engine.Abandoned, engine.CAARefused:
		return badRequest
	}
	return ""
}
