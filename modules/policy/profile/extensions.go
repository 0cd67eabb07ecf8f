package profile

import (
	"encoding/asn1"
	"errors"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"chancery/engine"
	"chancery/engine/tbs"
)

const (
	oidServerAuth = "1.3.6.1.5.5.7.3.1"
	oidClientAuth = "1.3.6.1.5.5.7.3.2"
	oidAnyPurpose = "2.5.29.37.0"
)

// Extensions that nobody may ask for, with why. Asking is an attack or a
// mistake; a certificate that silently lacks it would hide which.
func forbidden(oid string) string {
	switch oid {
	case tbs.OIDNameConstraints, "2.5.29.33", "2.5.29.36", "2.5.29.54": // policyMappings, policyConstraints, inhibitAnyPolicy
		return "only certificates of authorities have it"
	case "1.3.6.1.4.1.311.21.10": // application policies, which Windows reads beside the extended key usage
		return "application policies come from the profile (eku)"
	case "1.3.6.1.4.1.311.25.2": // security identifier, which domain controllers map to an account
		return "a security identifier is never taken from a request"
	case "1.3.6.1.4.1.311.20.2.3": // user principal name, as an extension of its own
		return "a user principal name is never taken from a request"
	}
	return ""
}

// extensions judges what a request asks for beside names. None of it is copied:
// what is harmless is passed over, and the profile decides.
func (p *profile) extensions(asked []engine.AskedExtension) *refusal {
	for _, x := range asked {
		if why := forbidden(x.OID); why != "" {
			return refuse(engine.BadCSR, "the request asks for the extension %s; %s; leave it out", x.OID, why)
		}
		var r *refusal
		switch x.OID {
		case tbs.OIDBasicConstraints:
			r = basicConstraints(x.Value)
		case tbs.OIDKeyUsage:
			r = keyUsage(x.Value)
		case tbs.OIDExtKeyUsage:
			r = p.extKeyUsage(x.Value)
		case tbs.OIDSubjectKeyID, tbs.OIDSubjectAltName: // the names were read from it
		default:
			// RFC 5280, Section 4.2: who marks an extension critical wants no
			// certificate without it.
			if x.Critical {
				r = refuse(engine.BadCSR, "the request marks the extension %s critical, which is not issued here; leave it out", x.OID)
			}
		}
		if r != nil {
			return r
		}
	}
	return nil
}

// basicConstraints takes only the statement that the requester is no CA.
func basicConstraints(der []byte) *refusal {
	in := cryptobyte.String(der)
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() {
		return refuse(engine.BadCSR, "the basicConstraints asked for are not DER; leave them out")
	}
	var ca bool
	if seq.PeekASN1Tag(cbasn1.BOOLEAN) && !seq.ReadASN1Boolean(&ca) {
		return refuse(engine.BadCSR, "the basicConstraints asked for are not DER; leave them out")
	}
	if ca || !seq.Empty() {
		return refuse(engine.BadCSR, "the request asks to be a certificate authority (basicConstraints); no profile makes one; leave it out")
	}
	return nil
}

// keyUsage refuses what only authorities have. Other bits are the profile's to
// set: clients ask for all kinds out of habit.
func keyUsage(der []byte) *refusal {
	in := cryptobyte.String(der)
	var bits asn1.BitString
	if !in.ReadASN1BitString(&bits) || !in.Empty() {
		return refuse(engine.BadCSR, "the keyUsage asked for is not DER; leave it out")
	}
	const keyCertSign, cRLSign = 5, 6 // RFC 5280, Section 4.2.1.3
	if bits.At(keyCertSign) != 0 || bits.At(cRLSign) != 0 {
		return refuse(engine.BadCSR, "the request asks for the keyUsage of a certificate authority (keyCertSign, cRLSign); no profile has it; leave it out")
	}
	return nil
}

// extKeyUsage refuses purposes that the profile does not have. Only of server and
// client authentication one is enough: some clients (acme.sh) ask for both out of
// habit, and get the one that the profile has.
func (p *profile) extKeyUsage(der []byte) *refusal {
	asked, err := purposes(der)
	if err != nil {
		return refuse(engine.BadCSR, "the extKeyUsage asked for is not DER; leave it out")
	}
	one := slices.ContainsFunc(asked, func(oid string) bool { return slices.Contains(p.purposes, oid) })
	for _, oid := range asked {
		if one && (oid == oidServerAuth || oid == oidClientAuth) {
			continue
		}
		if oid == oidAnyPurpose || !slices.Contains(p.purposes, oid) {
			return refuse(engine.BadCSR, "the request asks for the extended key usage %s, and profile %s is for %s; leave it out, or ask for another profile", oid, p.name, strings.Join(p.ExtKeyUsage, ", "))
		}
	}
	return nil
}

// purposes reads the value of an extKeyUsage extension.
func purposes(der []byte) ([]string, error) {
	in := cryptobyte.String(der)
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() || seq.Empty() {
		return nil, errors.New("not a sequence of purposes")
	}
	var out []string
	for !seq.Empty() {
		var oid asn1.ObjectIdentifier
		if !seq.ReadASN1ObjectIdentifier(&oid) {
			return nil, errors.New("not a sequence of purposes")
		}
		out = append(out, oid.String())
	}
	return out, nil
}

// purposeOIDs turns a profile's names of purposes into OIDs, by way of the very
// extension that will be issued.
func purposeOIDs(list []string) ([]string, error) {
	x, err := tbs.ExtKeyUsage(list...)
	if err != nil {
		return nil, err
	}
	return purposes(x.Value)
}
