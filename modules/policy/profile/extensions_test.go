package profile

import (
	"encoding/asn1"
	"errors"
	"slices"
	"testing"

	"chancery/engine"
	"chancery/engine/names"
	"chancery/engine/tbs"
)

func der(t *testing.T, v any) []byte {
	t.Helper()
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func usage(t *testing.T, bits ...string) []byte {
	t.Helper()
	x, err := tbs.KeyUsage(bits...)
	if err != nil {
		t.Fatal(err)
	}
	return x.Value
}

func purpose(t *testing.T, list ...string) []byte {
	t.Helper()
	x, err := tbs.ExtKeyUsage(list...)
	if err != nil {
		t.Fatal(err)
	}
	return x.Value
}

type constraints struct {
	CA   bool `asn1:"optional"`
	Path int  `asn1:"optional,default:-1"`
}

// profilesToTry are profiles of every kind: what is refused is refused by all.
func profilesToTry() map[string]engine.Profile {
	client, person, manual := web(), web(), web()
	client.ExtKeyUsage = []string{"clientAuth", "1.3.6.1.4.1.311.10.3.4"}
	person.Subject.CN = "free"
	manual.Approval = "manual"
	return map[string]engine.Profile{"server": web(), "client": client, "person": person, "manual": manual}
}

func refusedByAll(t *testing.T, x engine.AskedExtension, says string) {
	t.Helper()
	for name, p := range profilesToTry() {
		for _, critical := range []bool{false, true} {
			r := request(t)
			x.Critical = critical
			r.Asked.Extensions = []engine.AskedExtension{x}
			v, _ := shape(t, p, r)
			if _, _, is := v.Denied(); !is {
				t.Errorf("profile %s, critical %v: %s was not refused", name, critical, x.OID)
				continue
			}
			denied(t, v, engine.BadCSR, says)
		}
	}
}

// XK-005: nobody becomes an authority, or gets a purpose, by asking.
func TestXK005AuthorityBits(t *testing.T) {
	for _, tt := range []struct {
		name, oid string
		value     []byte
		says      string
	}{
		{"CA", tbs.OIDBasicConstraints, der(t, constraints{CA: true, Path: -1}), "asks to be a certificate authority"},
		{"CA with pathLen", tbs.OIDBasicConstraints, der(t, constraints{CA: true, Path: 3}), "asks to be a certificate authority"},
		{"pathLen alone", tbs.OIDBasicConstraints, der(t, constraints{Path: 3}), "asks to be a certificate authority"},
		{"broken basicConstraints", tbs.OIDBasicConstraints, []byte{0x30, 0x03, 0x01, 0x01, 0x42}, "not DER"},
		{"trailing basicConstraints", tbs.OIDBasicConstraints, []byte{0x30, 0x00, 0x00}, "not DER"},
		{"no basicConstraints", tbs.OIDBasicConstraints, nil, "not DER"},
		{"keyCertSign", tbs.OIDKeyUsage, usage(t, "digitalSignature", "keyCertSign"), "keyUsage of a certificate authority"},
		{"cRLSign", tbs.OIDKeyUsage, usage(t, "cRLSign"), "keyUsage of a certificate authority"},
		{"broken keyUsage", tbs.OIDKeyUsage, []byte{0x03, 0x02, 0x09, 0x80}, "not DER"},
		{"nameConstraints", tbs.OIDNameConstraints, []byte{0x30, 0x00}, "only certificates of authorities"},
		{"policyMappings", "2.5.29.33", []byte{0x30, 0x00}, "only certificates of authorities"},
		{"policyConstraints", "2.5.29.36", []byte{0x30, 0x00}, "only certificates of authorities"},
		{"inhibitAnyPolicy", "2.5.29.54", []byte{0x02, 0x01, 0x00}, "only certificates of authorities"},
		{"any purpose", tbs.OIDExtKeyUsage, purpose(t, "2.5.29.37.0"), "2.5.29.37.0"},
		{"OCSPSigning", tbs.OIDExtKeyUsage, purpose(t, "OCSPSigning"), "1.3.6.1.5.5.7.3.9"},
		{"codeSigning", tbs.OIDExtKeyUsage, purpose(t, "serverAuth", "clientAuth", "codeSigning"), "ask for another profile"},
		{"smart card logon", tbs.OIDExtKeyUsage, purpose(t, "1.3.6.1.4.1.311.20.2.2"), "1.3.6.1.4.1.311.20.2.2"},
		{"enrolment agent", tbs.OIDExtKeyUsage, purpose(t, "1.3.6.1.4.1.311.20.2.1"), "1.3.6.1.4.1.311.20.2.1"},
		{"no purposes", tbs.OIDExtKeyUsage, []byte{0x30, 0x00}, "not DER"},
		{"broken purposes", tbs.OIDExtKeyUsage, []byte{0x30, 0x02, 0x05, 0x00}, "not DER"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			refusedByAll(t, engine.AskedExtension{OID: tt.oid, Value: tt.value}, tt.says)
		})
	}
}

// Clients that ask for both purposes of TLS get the one that the profile has.
func TestBothPurposesOfTLS(t *testing.T) {
	for _, has := range []string{"serverAuth", "clientAuth"} {
		p, r := web(), request(t)
		p.ExtKeyUsage = []string{has}
		r.Asked.Extensions = []engine.AskedExtension{{OID: tbs.OIDExtKeyUsage, Value: purpose(t, "serverAuth", "clientAuth")}}
		v, d := shape(t, p, r)
		passes(t, v)
		if !slices.Equal(d.ExtKeyUsage, p.ExtKeyUsage) {
			t.Errorf("%s: %v", has, d.ExtKeyUsage)
		}
	}
	p, r := web(), request(t)
	p.ExtKeyUsage = []string{"emailProtection"}
	r.Asked.Extensions = []engine.AskedExtension{{OID: tbs.OIDExtKeyUsage, Value: purpose(t, "serverAuth", "clientAuth")}}
	v, _ := shape(t, p, r)
	denied(t, v, engine.BadCSR, "ask for another profile")
}

// XK-006: who marks an unknown extension critical wants nothing without it.
func TestXK006UnknownCritical(t *testing.T) {
	for _, oid := range []string{"1.2.3.4", "1.3.6.1.5.5.7.1.24", "2.5.29.32", tbs.OIDAuthorityKeyID, tbs.OIDCRLDistributionPoints} {
		r := request(t)
		r.Asked.Extensions = []engine.AskedExtension{{OID: oid, Value: []byte{0x05, 0x00}}}
		v, _ := shape(t, web(), r)
		passes(t, v)
		r.Asked.Extensions[0].Critical = true
		v, _ = shape(t, web(), r)
		denied(t, v, engine.BadCSR, oid+" critical, which is not issued here; leave it out")
	}
}

// XK-007: names of other forms do not get as far as the profile, and the profile
// takes none of what it does not list.
func TestXK007OtherNameForms(t *testing.T) {
	for name, san := range map[string][]byte{
		"user principal name": {0x30, 0x14, 0xa0, 0x12, 0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x14, 0x02, 0x03, 0xa0, 0x04, 0x0c, 0x02, 'a', 'b'},
		"x400Address":         {0x30, 0x02, 0xa3, 0x00},
		"directoryName":       {0x30, 0x04, 0xa4, 0x02, 0x30, 0x00},
		"registeredID":        {0x30, 0x05, 0x88, 0x03, 0x2a, 0x03, 0x04},
	} {
		var unsupported *names.UnsupportedError
		if _, err := names.ParseSAN(san); !errors.As(err, &unsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	refusedByAll(t, engine.AskedExtension{OID: "1.3.6.1.4.1.311.20.2.3", Value: []byte{0x0c, 0x01, 'a'}}, "user principal name")
	for _, n := range []names.Name{{Type: names.URI, Value: "spiffe://td.example/admin"}, {Type: names.Email, Value: "a@example.com"}} {
		r := request(t)
		r.Asked.Names = append(r.Asked.Names, n)
		r.Proofs[0].Names = r.Asked.Names
		v, _ := shape(t, web(), r)
		denied(t, v, engine.NameNotAllowed, n.String())
	}
}

// XL-009, ESC9, ESC10, ESC16: a security identifier is never copied.
func TestXL009SecurityIdentifier(t *testing.T) {
	refusedByAll(t, engine.AskedExtension{OID: "1.3.6.1.4.1.311.25.2", Value: []byte{0x30, 0x00}}, "security identifier")
}

// XL-011, ESC13: policies come from nowhere but the CA.
func TestXL011CertificatePolicies(t *testing.T) {
	r := request(t)
	r.Asked.Extensions = []engine.AskedExtension{{OID: "2.5.29.32", Value: []byte{0x30, 0x06, 0x30, 0x04, 0x06, 0x02, 0x2a, 0x03}}}
	v, _ := shape(t, web(), r)
	passes(t, v) // and a draft has no place to put them
	r.Asked.Extensions[0].Critical = true
	v, _ = shape(t, web(), r)
	denied(t, v, engine.BadCSR, "2.5.29.32")
}

// XL-013, ESC15 (CVE-2024-49019): application policies beside the purposes.
func TestXL013ApplicationPolicies(t *testing.T) {
	refusedByAll(t, engine.AskedExtension{OID: "1.3.6.1.4.1.311.21.10", Value: []byte{0x30, 0x00}}, "application policies")
}

func TestHarmlessExtensionsArePassedOver(t *testing.T) {
	for name, x := range map[string]engine.AskedExtension{
		"no CA":                {OID: tbs.OIDBasicConstraints, Critical: true, Value: []byte{0x30, 0x00}},
		"no CA, spelled out":   {OID: tbs.OIDBasicConstraints, Value: []byte{0x30, 0x03, 0x01, 0x01, 0x00}},
		"key usage":            {OID: tbs.OIDKeyUsage, Critical: true, Value: usage(t, "digitalSignature")},
		"more key usage":       {OID: tbs.OIDKeyUsage, Critical: true, Value: usage(t, "digitalSignature", "nonRepudiation", "keyEncipherment")},
		"purpose":              {OID: tbs.OIDExtKeyUsage, Critical: true, Value: purpose(t, "serverAuth")},
		"key identifier":       {OID: tbs.OIDSubjectKeyID, Value: []byte{0x04, 0x01, 0x01}},
		"must-staple":          {OID: "1.3.6.1.5.5.7.1.24", Value: []byte{0x30, 0x03, 0x02, 0x01, 0x05}},
		"certificate template": {OID: "1.3.6.1.4.1.311.20.2", Value: []byte{0x1e, 0x02, 0x00, 'A'}},
	} {
		r := request(t)
		r.Asked.Extensions = []engine.AskedExtension{x}
		v, d := shape(t, web(), r)
		if reason, detail, is := v.Denied(); is {
			t.Errorf("%s: %s %s", name, reason, detail)
		}
		if len(d.KeyUsage) != 1 || len(d.ExtKeyUsage) != 1 {
			t.Errorf("%s: copied into %+v", name, d)
		}
	}
}
