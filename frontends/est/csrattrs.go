package est

import (
	"encoding/asn1"
	"math/big"
	"net/http"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"chancery/engine"
	"chancery/engine/tbs"
)

var (
	oidChallengePassword = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}
	oidExtensionRequest  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14}
	oidTemplate          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 61} // id-aa-certificationRequestInfoTemplate
	oidExtensionTemplate = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 62} // id-aa-extensionReqTemplate
	oidExtKeyUsage       = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidSubjectAltName    = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidCommonName        = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidRSA               = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidEC                = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidEd25519           = asn1.ObjectIdentifier{1, 3, 101, 112}
)

var curves = map[string]asn1.ObjectIdentifier{
	"P-256": {1, 2, 840, 10045, 3, 1, 7}, "P-384": {1, 3, 132, 0, 34}, "P-521": {1, 3, 132, 0, 35},
}

// csrAttrs tells what to ask for (RFC 7030, Section 4.5, as RFC 9908 clarifies
// it). It is made from the profile, so that a request built from it is taken.
// Anybody may ask: it says nothing about anybody.
func (f *Frontend) csrAttrs(w http.ResponseWriter, r *http.Request, p *endpoint) error {
	der, err := p.attributes()
	if err != nil {
		return err
	}
	send(w, r, p, "application/csrattrs", der)
	return nil
}

// attributes is CsrAttrs ::= SEQUENCE OF AttrOrOID (RFC 8951, Section 3.3).
func (p *endpoint) attributes() ([]byte, error) {
	usages, err := tbs.ExtKeyUsage(p.profile.ExtKeyUsage...)
	if err != nil {
		return nil, err
	}
	key := keyOf(p.profile)
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		if p.Linking == required { // RFC 7030, Section 3.5
			b.AddASN1ObjectIdentifier(oidChallengePassword)
		}
		if key != nil { // RFC 9908, Section 3.2: one, of the type that is wanted
			attribute(b, key.algorithm, key.detail)
		}
		// RFC 9908, Section 3.2: one attribute, with one value, an Extensions.
		attribute(b, oidExtensionRequest, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { extension(b, oidExtKeyUsage, usages.Value) })
		})
		if p.CSRAttributes == template { // Section 3.4: whoever knows it takes nothing else
			attribute(b, oidTemplate, func(b *cryptobyte.Builder) { p.template(b, key, usages.Value) })
		}
	})
	return b.Bytes()
}

// template is CertificationRequestInfoTemplate (RFC 9908, Section 3.4).
func (p *endpoint) template(b *cryptobyte.Builder, key *wantedKey, usages []byte) {
	asked := p.profile.Subject.CN == "asked" || p.profile.Subject.CN == "free"
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0) // v1
		if asked {
			// The common name, which the client knows. Without it the subject is
			// absent: what is in it is the profile's.
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidCommonName) })
				})
			})
		}
		if key != nil {
			b.AddASN1(cbasn1.Tag(0).ContextSpecific().Constructed(), key.info)
		}
		b.AddASN1(cbasn1.Tag(1).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			if p.Linking == required {
				attribute(b, oidChallengePassword, nil)
			}
			kind := oidExtensionRequest
			if !asked {
				kind = oidExtensionTemplate // never both
			}
			attribute(b, kind, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					extension(b, oidExtKeyUsage, usages)
					if !asked {
						extension(b, oidSubjectAltName, nil) // with the client's names
					}
				})
			})
		})
	})
}

// attribute is Attribute, with no value if value is nil.
func attribute(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, value func(*cryptobyte.Builder)) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
			if value != nil {
				value(b)
			}
		})
	})
}

// extension is Extension, or ExtensionTemplate without a value, not critical.
func extension(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, value []byte) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		if value != nil {
			b.AddASN1OctetString(value)
		}
	})
}

// A wantedKey is the one kind of key that a profile takes.
type wantedKey struct {
	algorithm asn1.ObjectIdentifier
	detail    func(*cryptobyte.Builder) // curve or size, as a value of an attribute; nil: none
	info      func(*cryptobyte.Builder) // content of SubjectPublicKeyInfoTemplate
}

// keyOf is what to say of the key: nothing, if the profile leaves a choice of kinds.
func keyOf(p engine.Profile) *wantedKey {
	k := p.Keys
	unset := k.RSAMin == 0 && k.RSAMax == 0 && k.Curves == nil && !k.Ed25519
	rsa, ec, ed := k.RSAMax >= 0, k.Curves == nil || len(k.Curves) > 0, k.Ed25519
	switch {
	case unset:
		return nil
	case ec && !rsa && !ed:
		curve := "P-256"
		if len(k.Curves) > 0 {
			curve = k.Curves[0]
		}
		detail := func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(curves[curve]) }
		return &wantedKey{oidEC, detail, func(b *cryptobyte.Builder) { algorithm(b, oidEC, detail) }}
	case rsa && !ec && !ed:
		size := max(k.RSAMin, 2048)
		return &wantedKey{oidRSA, func(b *cryptobyte.Builder) { b.AddASN1Int64(int64(size)) }, func(b *cryptobyte.Builder) { placeholder(b, size) }}
	case ed && !ec && !rsa:
		return &wantedKey{oidEd25519, nil, func(b *cryptobyte.Builder) { algorithm(b, oidEd25519, nil) }}
	}
	return nil
}

func algorithm(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, parameters func(*cryptobyte.Builder)) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		if parameters != nil {
			parameters(b)
		}
	})
}

// placeholder is an RSA key whose modulus has the size that is wanted and no other
// meaning (RFC 9908, Section 3.4).
func placeholder(b *cryptobyte.Builder, size int) {
	algorithm(b, oidRSA, func(b *cryptobyte.Builder) { b.AddASN1NULL() })
	var key cryptobyte.Builder
	key.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).Lsh(big.NewInt(1), uint(size-1)))
		b.AddASN1Int64(65537)
	})
	b.AddASN1BitString(key.BytesOrPanic())
}
