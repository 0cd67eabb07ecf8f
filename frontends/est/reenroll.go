package est

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"time"

	"chancery/engine"
	"chancery/engine/names"
	"chancery/engine/pkcs10"
	"chancery/frontends/internal/clientcert"
)

// proofLife is how long a certificate that was good warrants its names to whom it
// was shown. What an officer decides later rests on the officer's word.
const proofLife = 15 * time.Minute

// simpleReenroll is RFC 7030, Section 4.2.2. Who asks is the holder of the
// certificate that is renewed, and nobody else: a password tells no identity.
func (f *Frontend) simpleReenroll(w http.ResponseWriter, r *http.Request, p *endpoint) error {
	c, err := f.holder(r, p)
	if err != nil {
		return err
	}
	csr, err := f.request(w, r, p)
	if err != nil {
		return err
	}
	if c.late && !bytes.Equal(csr.Key.SPKI, c.cert.RawSubjectPublicKeyInfo) {
		return refuse(http.StatusForbidden, "The certificate has ended: it can be renewed with its own key only.")
	}
	if c.row.Profile != p.Profile {
		return refuse(http.StatusForbidden, "The certificate is of profile "+c.row.Profile+", which is not renewed at this address.")
	}
	if err := p.renews(csr, c); err != nil {
		return err
	}
	s := engine.Submission{Requester: c.principal, Proofs: c.proofs}
	f.renewal(&s, c)
	return f.submit(w, r, p, csr, s, "reenroll")
}

// renewal says in a submission that the client renews its certificate.
func (f *Frontend) renewal(s *engine.Submission, c *client) {
	now := f.d.Now()
	s.Replaces = c.row.CertID
	s.Proofs = append(s.Proofs, engine.Proof{Method: engine.OldCert, Principal: s.Requester, Names: c.row.Names,
		Ref: c.row.CertID.String(), At: now, Expires: now.Add(proofLife)})
}

// holder is the client by its certificate. Where the endpoint wants a password
// too, there must be a good one.
func (f *Frontend) holder(r *http.Request, p *endpoint) (*client, error) {
	if len(r.TLS.PeerCertificates) == 0 {
		return nil, refuse(http.StatusForbidden, "A renewal needs the certificate that is renewed, in the TLS handshake. Without it, use simpleenroll.")
	}
	c, err := f.late(r, p)
	if c == nil && err == nil {
		c, err = f.byCertificate(r, p)
	}
	if err == nil && c.row == nil { // a manufacturer's is not ours to renew
		err = &refusal{status: http.StatusUnauthorized}
	}
	var no *refusal
	if errors.As(err, &no) && (no.status == http.StatusUnauthorized || no.status == http.StatusForbidden) { // a password would not help
		return nil, &refusal{status: http.StatusForbidden, cause: no.cause, detail: "The client certificate is not one of this CA that is in force, so it cannot be renewed."}
	} else if err != nil {
		return nil, err
	}
	if p.Authenticate == both {
		if _, err := f.grant(r, p); err != nil {
			return nil, err
		}
	}
	f.d.Note(r.Context(), "requester", string(c.principal))
	return c, nil
}

// late is for the device that was off, or that nobody could visit, when it should
// have renewed its certificate. The profile must allow it; nil: it does not, or
// the certificate has not ended. All else holds as on its last day: it is ours,
// byte for byte as recorded, and was not revoked.
func (f *Frontend) late(r *http.Request, p *endpoint) (*client, error) {
	sent, grace, now := r.TLS.PeerCertificates, time.Duration(p.profile.LateRenewal), f.d.Now()
	if grace <= 0 || !now.After(sent[0].NotAfter) || now.Sub(sent[0].NotAfter) > grace {
		return nil, nil
	}
	row, err := f.clients.Expired(r.Context(), sent, f.d.Anchors)
	switch {
	case errors.Is(err, clientcert.ErrRefused):
		return nil, p.unauthorized(err)
	case err != nil:
		return nil, err
	case row.Authority != p.profile.Authority:
		return nil, p.unauthorized(errors.New("the client certificate is of authority " + row.Authority))
	}
	f.d.Note(r.Context(), "late", now.Sub(sent[0].NotAfter).Truncate(time.Second).String())
	who := engine.Principal("key:" + row.SPKI)
	return &client{principal: who, row: row, cert: sent[0], late: true,
		proofs: []engine.Proof{{Method: engine.ClientCert, Principal: who, Ref: row.CertID.String(), At: now}}}, nil
}

// renews checks that the request asks for the subject and the names of the
// client's certificate. They are compared as structures (RFC 5280, Section 7.1),
// after the rules of the profile: what it drops from a request is not compared.
func (p *endpoint) renews(csr *pkcs10.Request, c *client) error {
	old, err := names.ParseDN(c.cert.RawSubject)
	if err != nil {
		return err
	}
	asked := p.namesOf(csr, c.row.Names)
	if !sameNames(asked, c.row.Names) {
		return refuse(http.StatusForbidden, "A renewal must ask for the subject alternative names of the certificate, no more and no fewer; for others use simpleenroll.")
	}
	if !p.sameSubject(csr.Subject, old, asked) {
		return refuse(http.StatusForbidden, "A renewal must ask for the subject of the certificate, which is "+old.String()+"; for another use simpleenroll.")
	}
	return nil
}

// namesOf is which names the profile will read from the request: a common name
// that looks like a DNS name counts as one.
func (p *endpoint) namesOf(csr *pkcs10.Request, had []names.Name) []names.Name {
	all := slices.Clone(csr.Names)
	for _, cn := range csr.Subject.CommonNames() {
		n, err := names.Parse(names.DNS, cn)
		if err != nil || p.profile.Subject.CN == "free" || p.profile.Subject.CN != "asked" && !slices.Contains(had, n) {
			continue
		}
		if !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	return all
}

// sameNames compares two sets: the order of names says nothing.
func sameNames(a, b []names.Name) bool {
	return !slices.ContainsFunc(a, func(n names.Name) bool { return !slices.Contains(b, n) }) &&
		!slices.ContainsFunc(b, func(n names.Name) bool { return !slices.Contains(a, n) })
}

func (p *endpoint) sameSubject(asked, old names.DN, all []names.Name) bool {
	cn := commonNames(old)
	if rule := p.profile.Subject.CN; rule == "" || rule == "san" {
		// The profile writes the first name that fits: it must be the same again.
		if first := firstDNS(all); first != "" && !(names.DN{{{OID: oidCN, Value: first}}}).Equal(cn) {
			return false
		}
	}
	if asked.Equal(old) {
		return true
	}
	switch p.profile.Subject.CN {
	case "asked", "free":
		return commonNames(asked).Equal(cn)
	}
	return len(commonNames(asked)) == 0 || commonNames(asked).Equal(cn)
}

const (
	oidCN = "2.5.4.3"
	maxCN = 64 // RFC 5280, Appendix A.1: ub-common-name
)

func firstDNS(all []names.Name) string {
	for _, n := range all {
		if n.Type == names.DNS && len(n.Value) <= maxCN {
			return n.Value
		}
	}
	return ""
}

// commonNames is what profiles take of a subject.
func commonNames(d names.DN) names.DN {
	var out names.DN
	for _, cn := range d.CommonNames() {
		out = append(out, names.RDN{{OID: oidCN, Value: cn}})
	}
	return out
}
