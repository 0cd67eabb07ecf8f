package engine

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"chancery/engine/names"
	"chancery/engine/tbs"
)

// backdate is how long before now a certificate begins, for clocks that are
// slow.
const backdate = time.Hour

// NotBefore is when a certificate that is made now begins.
func NotBefore(now time.Time) time.Time { return now.Add(-backdate).Truncate(time.Second) }

// Chancery's own profiles, which no policy document can have.
const (
	ProfileTLS    = "chancery-tls"    // of the https and admin listeners
	ProfilePerson = "chancery-person" // of people, under the management authority

	// ManagementAuthority issues what authenticates people and nodes to
	// Chancery. Its root is not among those that clients trust.
	ManagementAuthority = "management"
)

func ownProfiles() map[string]Profile {
	return map[string]Profile{
		ProfileRA:   raProfile(),
		ProfileOCSP: responderProfile(),
		ProfileTLS: {
			Authority: "main", Frontends: []Source{Self}, Validity: Duration(30 * 24 * time.Hour),
			ExtKeyUsage: []string{"serverAuth"},
		},
		ProfilePerson: {
			Authority: ManagementAuthority, Frontends: []Source{Self, Native}, Validity: Duration(365 * 24 * time.Hour),
			ExtKeyUsage: []string{"clientAuth"}, Subject: SubjectRules{CN: "free"}, needsGrant: true,
		},
	}
}

// minValidity is the least that a certificate must still be valid for. Below, it
// is a denial rather than a short certificate.
func (p *Profile) minValidity() time.Duration {
	return p.MinValidity.or(time.Duration(p.Validity) / 10)
}

// Admits reports whether the profile takes a name at all. Without a list it
// takes DNS names and addresses.
func (n *NameRules) Admits(name names.Name) bool {
	if len(n.Allow) == 0 {
		return name.Type == names.DNS || name.Type == names.IP
	}
	return slices.ContainsFunc(n.Allow, func(p names.Pattern) bool { return p.Match(name) })
}

// ChecksCAA reports whether certificates of the profile need the consent of CAA
// records.
func (p *Profile) ChecksCAA() bool { return p.CAA || p.Public }

// check finds what is wrong with a profile, and prepares it for use.
func (p *Profile) check(name string) error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("profiles."+name+": "+format, args...))
	}
	if len(p.Frontends) == 0 {
		bad("frontends is required: say through which of acme, scep, est, native it may be asked for")
	}
	for _, f := range p.Frontends {
		if !slices.Contains([]Source{ACME, SCEP, EST, Native, Self}, f) {
			bad("frontends: there is no frontend %q", f)
		}
	}
	if p.Validity <= 0 {
		bad("validity is required, such as 90d")
	}
	if p.MinValidity > p.Validity {
		bad("min_validity is longer than validity")
	}
	if err := p.Renewal.check(p.Validity); err != nil {
		bad("%v", err)
	}
	if len(p.ExtKeyUsage) == 0 {
		bad("eku is required and must not be empty: a certificate without one is good for every purpose")
	}
	var err error
	if p.usages, err = usageOIDs(p.ExtKeyUsage); err != nil {
		bad("eku: %v", err)
	}
	for _, u := range p.usages {
		if p.forbids(u) {
			bad("eku: no profile can hold %s, whose holders speak for the CA", u)
		}
	}
	for _, u := range p.KeyUsage {
		if u == "keyCertSign" || u == "cRLSign" {
			bad("key_usage: no profile can hold %s, which makes a CA", u)
		}
	}
	if _, err := tbs.KeyUsage(append([]string{"digitalSignature"}, p.KeyUsage...)...); err != nil {
		bad("key_usage: %v", err)
	}
	if !slices.Contains([]string{"", "none", "manual"}, p.Approval) {
		bad("approval is none or manual, not %q", p.Approval)
	}
	if !slices.Contains([]string{"", "drop", "san", "asked", "free"}, p.Subject.CN) {
		bad("subject.cn is drop, san, asked or free, not %q", p.Subject.CN)
	}
	if _, err := names.ParseDNString(p.Subject.Fixed); p.Subject.Fixed != "" && err != nil {
		bad("subject.fixed: %v", err)
	}
	if p.Names.Max < 0 || p.Names.Max > 100 {
		bad("names.max is between 1 and 100")
	}
	return errors.Join(errs...)
}

// usageOIDs turns names of extended key usages into OIDs.
func usageOIDs(list []string) ([]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	x, err := tbs.ExtKeyUsage(list...)
	if err != nil {
		return nil, err
	}
	return parseUsages(x.Value)
}

func parseUsages(der []byte) ([]string, error) {
	var oids []asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(der, &oids); err != nil || len(rest) > 0 {
		return nil, errors.New("the extended key usage extension does not parse")
	}
	all := make([]string, 0, len(oids))
	for _, o := range oids {
		all = append(all, o.String())
	}
	return all, nil
}

var (
	oidExtKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidSAN         = asn1.ObjectIdentifier{2, 5, 29, 17}

	oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}
)

// certificateUsages lists a certificate's extended key usages; none without the
// extension.
func certificateUsages(c *x509.Certificate) ([]string, error) {
	der := extension(c, oidExtKeyUsage)
	if der == nil {
		return nil, nil
	}
	return parseUsages(der)
}

// certificateNames reads names and subject from the very bytes of a certificate.
func certificateNames(c *x509.Certificate) ([]names.Name, names.DN, error) {
	subject, err := names.ParseDN(c.RawSubject)
	if err != nil {
		return nil, nil, err
	}
	der := extension(c, oidSAN)
	if der == nil {
		return nil, subject, nil
	}
	all, err := names.ParseSAN(der)
	return all, subject, err
}

func extension(c *x509.Certificate, oid asn1.ObjectIdentifier) []byte {
	for _, x := range c.Extensions {
		if x.Id.Equal(oid) {
			return x.Value
		}
	}
	return nil
}
