package engine

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"chancery/engine/names"
)

// No enrollment profile can have these extended key usages: whoever holds one
// speaks for the CA.
var forbiddenUsages = []string{
	"1.3.6.1.5.5.7.3.9", "OCSPSigning",
	"1.3.6.1.5.5.7.3.28", // id-kp-cmcRA
	"2.5.29.37.0", "any", "anyExtendedKeyUsage",
	"1.3.6.1.4.1.311.20.2.1", // certificate request agent
}

// What may be in a leaf certificate at all, by OID. Default-deny.
var leafExtensions = []string{
	"2.5.29.15", "2.5.29.37", "2.5.29.14", "2.5.29.35", "2.5.29.17", // KU, EKU, SKI, AKI, SAN
	"1.3.6.1.5.5.7.1.1", "2.5.29.31", "2.5.29.46", // AIA, CDP, freshestCRL
}

// gate looks at the finished tbsCertificate, whoever shaped it, and lets through
// only what is warranted: every name by an unexpired proof, grant, vote or rule
// of the profile, checked again now; the key that was asked for; validity, usages
// and extensions as the profile has them; the constraints of every CA above. It
// is the same for every frontend.
func (e *Engine) gate(set *setup, r *Request, o *outcome, votes []Vote) (*Denied, error) {
	c := o.rendered.Cert
	p, ok := set.profiles[o.draft.Profile]
	if !ok {
		return &Denied{Reason: UnknownProfile, Detail: fmt.Sprintf("there is no profile %q", o.draft.Profile)}, nil
	}
	if !slices.Contains(p.Frontends, r.Source) {
		return &Denied{Reason: UnknownProfile, Detail: fmt.Sprintf("profile %s cannot be had by %s", o.draft.Profile, r.Source)}, nil
	}
	if !bytes.Equal(c.RawSubjectPublicKeyInfo, r.Asked.Key.SPKI) {
		return nil, fmt.Errorf("the rendered key is not the key that was asked for")
	}
	if d := e.gateShape(p, c, o.issuer); d != nil {
		return d, nil
	}
	all, subject, err := certificateNames(c)
	if err != nil {
		return nil, fmt.Errorf("the rendered names do not parse: %w", err)
	}
	if d := e.gateNames(p, r, o, votes, all, subject); d != nil {
		return d, nil
	}
	for _, nc := range o.issuer.constraints { // RFC 5280, Section 4.2.1.10
		if err := nc.Check(all, subject); err != nil {
			return &Denied{Reason: NameNotAllowed, Detail: "the CA is constrained to other names: " + err.Error()}, nil
		}
	}
	return nil, nil
}

// gateShape checks everything but names.
func (e *Engine) gateShape(p Profile, c *x509.Certificate, is *issuer) *Denied {
	refuse := func(format string, args ...any) *Denied {
		return &Denied{Reason: PolicyRefused, Detail: fmt.Sprintf(format, args...)}
	}
	now := e.now()
	span := c.NotAfter.Sub(c.NotBefore) + time.Second // RFC 5280, Section 4.1.2.5: both ends included
	switch {
	case c.NotBefore.Before(is.cert.NotBefore) || c.NotAfter.After(is.cert.NotAfter):
		return refuse("the validity is outside that of the CA")
	case now.After(is.cert.NotAfter):
		return refuse("the CA certificate expired on %s: renew it", is.cert.NotAfter.Format(time.DateOnly))
	case span > time.Duration(p.Validity)+backdate:
		return refuse("a validity of %s is more than the profile's %s", span, time.Duration(p.Validity))
	case c.NotAfter.Sub(now) < p.minValidity():
		return refuse("only %s of validity are left under this CA, and the profile wants %s at least: renew the CA", c.NotAfter.Sub(now).Truncate(time.Second), p.minValidity())
	case c.IsCA:
		return refuse("an enrollment profile cannot make a CA")
	}
	for _, x := range c.Extensions {
		if !slices.Contains(leafExtensions, x.Id.String()) && !(p.delegate && x.Id.String() == oidOCSPNoCheck) {
			return refuse("the extension %s is not one that this CA issues", x.Id)
		}
	}
	if c.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
		return refuse("an enrollment profile cannot sign certificates or CRLs")
	}
	got, err := certificateUsages(c)
	if err != nil || len(got) == 0 {
		return refuse("the certificate has no extended key usage that can be read")
	}
	for _, u := range got {
		if !slices.Contains(p.usages, u) || p.forbids(u) {
			return refuse("the extended key usage %s is not in the profile", u)
		}
		if !nests(is.Chain, u) {
			return refuse("the CA above is not allowed the extended key usage %s", u)
		}
	}
	return nil
}

// gateNames checks that every name and the subject are warranted.
func (e *Engine) gateNames(p Profile, r *Request, o *outcome, votes []Vote, all []names.Name, subject names.DN) *Denied {
	now := e.now()
	refuse := func(format string, args ...any) *Denied {
		return &Denied{Reason: NameNotAllowed, Detail: fmt.Sprintf(format, args...)}
	}
	mayWait := len(o.pends) > 0 // officers will look at exactly these names
	for _, n := range all {
		if !p.Names.Admits(n) {
			return refuse("profile %s does not admit %s", o.draft.Profile, n)
		}
		by, grant := e.warrant(p, r, o, votes, n, now)
		if grant != "" && !slices.Contains(o.grants, grant) {
			o.grants = append(o.grants, grant)
		}
		if by == "" && !mayWait {
			return refuse("nobody proved %s: validate it, or use a grant that covers it", n)
		}
		if by != "" {
			o.warrants = append(o.warrants, Warrant{n.String(), by})
		}
	}
	for _, cn := range subject.CommonNames() {
		named := slices.ContainsFunc(all, func(n names.Name) bool { return n.Value == cn })
		if !named && p.Subject.CN != "free" {
			return refuse("the common name %.70q is not one of the names of the certificate", cn)
		}
		if !named {
			o.warrants = append(o.warrants, Warrant{"cn:" + cn, "profile " + o.draft.Profile})
		}
	}
	if d := e.gateGrants(p, r, o); d != nil {
		return d
	}
	return e.gateBinding(r, o, all)
}

// gateGrants holds requesters to the grant that they authenticated with: it must
// admit the profile, and is counted whether or not a name needed it.
func (e *Engine) gateGrants(p Profile, r *Request, o *outcome) *Denied {
	use := func(id string) {
		if !slices.Contains(o.grants, id) {
			o.grants = append(o.grants, id)
		}
	}
	refuse := func(format string, args ...any) *Denied {
		return &Denied{Reason: NotAuthorized, Detail: fmt.Sprintf(format, args...)}
	}
	if id, ok := strings.CutPrefix(string(r.Requester), "grant:"); ok {
		g := slices.IndexFunc(r.Grants, func(g *Grant) bool { return g.ID == id })
		if g < 0 {
			return refuse("the grant can no longer be used: it expired, was revoked or is used up; ask its owner for another")
		}
		if !r.Grants[g].admits(o.draft.Profile) {
			return refuse("the grant is not for profile %s", o.draft.Profile)
		}
		use(id)
	}
	if p.needsGrant && r.Source != Self {
		g := slices.IndexFunc(r.Grants, func(g *Grant) bool { return slices.Contains(g.Profiles, o.draft.Profile) })
		if g < 0 {
			return refuse("profile %s needs a grant that names it", o.draft.Profile)
		}
		use(r.Grants[g].ID)
	}
	return nil
}

// warrant says what warrants one name, and which grant if it is one.
func (e *Engine) warrant(p Profile, r *Request, o *outcome, votes []Vote, n names.Name, now time.Time) (by, grant string) {
	for _, pr := range r.Proofs {
		if !pr.live(now) || pr.Method == ByGrant || pr.Method == ClientCert || pr.Method == ByVote {
			continue
		}
		if pr.Method == BySelf && r.Source != Self {
			continue
		}
		if slices.Contains(pr.Names, n) {
			return string(pr.Method) + " " + pr.Ref, ""
		}
	}
	for _, g := range r.Grants {
		if g.covers(r, o.draft.Profile, n) {
			return "grant " + g.ID, g.ID
		}
	}
	if slices.ContainsFunc(p.Names.Assigned, func(m names.Pattern) bool { return m.Match(n) }) {
		return "profile " + o.draft.Profile, ""
	}
	if len(votes) > 0 { // each is for exactly these names
		return "vote " + votes[0].By, ""
	}
	return "", ""
}

// forbids reports whether u is a usage that no profile can hold, but for those
// of Chancery's own OCSP responders and registration authority.
func (p *Profile) forbids(u string) bool {
	return slices.Contains(forbiddenUsages, u) && !(p.delegate && u == oidOCSPSigning) && !p.registers(u)
}

// nests reports whether every CA in the chain that limits extended key usages
// allows this one.
func nests(chain []*x509.Certificate, usage string) bool {
	for _, ca := range chain {
		limits, err := certificateUsages(ca)
		if err != nil {
			return false
		}
		if len(limits) > 0 && !slices.Contains(limits, usage) && !slices.Contains(limits, "2.5.29.37.0") {
			return false
		}
	}
	return true
}
