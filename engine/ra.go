package engine

import (
	"slices"
	"time"
)

// ProfileRA is of the keys that stand before an authority in SCEP: clients encrypt
// to them, and they sign what is answered (RFC 8894, Section 2.1.2).
const ProfileRA = "chancery-scep-ra"

// oidCMCRA is id-kp-cmcRA (RFC 6402, Section 2.10): a registration authority.
const oidCMCRA = "1.3.6.1.5.5.7.3.28"

func raProfile() Profile {
	return Profile{
		Authority: "main", Frontends: []Source{Self}, Validity: Duration(365 * 24 * time.Hour),
		ExtKeyUsage: []string{oidCMCRA}, KeyUsage: []string{"digitalSignature", "keyEncipherment"}, Subject: SubjectRules{CN: "free"},
	}
}

// registers reports whether u is the usage of registration authorities, in a
// profile that Chancery alone can ask for.
func (p *Profile) registers(u string) bool {
	return u == oidCMCRA && slices.Equal(p.Frontends, []Source{Self})
}
