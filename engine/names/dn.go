package names

import (
	"bytes"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Caps on a distinguished name.
const (
	maxDN           = 4096 // octets of DER
	maxDNAttributes = 20
)

// DN is a distinguished name (RFC 5280, Section 4.1.2.4): the sequence of its
// relative names, most significant first. The empty DN is valid.
type DN []RDN

// RDN is a relative distinguished name, a set of one or more attributes. X.501
// wants the types of one RDN to differ; software that writes several values of
// one type into one RDN is common enough that this is not refused.
type RDN []Attribute

// Attribute is one type and value of a relative name. Value is always UTF-8,
// whatever string type it came in.
type Attribute struct {
	OID   string `json:"oid"`
	Value string `json:"v"`
	// Tag is the ASN.1 string type to write, where it is not the one that
	// Marshal would choose; ParseDN sets it so that DER survives a round trip.
	Tag int `json:"t,omitempty"`
}

// ParseDN reads a Name in strict DER. It refuses what is no string, values over
// the upper bounds of RFC 5280, Appendix A.1, control characters and
// bidirectional marks. Old string types are read and will be written as UTF-8.
func ParseDN(der []byte) (DN, error) {
	if len(der) > maxDN {
		return nil, dnError("longer than 4096 octets")
	}
	input := cryptobyte.String(der)
	var seq cryptobyte.String
	if !input.ReadASN1(&seq, asn1.SEQUENCE) || !input.Empty() {
		return nil, dnError("not one DER SEQUENCE")
	}
	dn := DN{}
	for total := 0; !seq.Empty(); {
		var set cryptobyte.String
		if !seq.ReadASN1(&set, asn1.SET) || set.Empty() {
			return nil, dnError("an element is not a SET of attributes")
		}
		rdn, err := parseRDN(set, maxDNAttributes-total)
		if err != nil {
			return nil, err
		}
		total += len(rdn)
		dn = append(dn, rdn)
	}
	return dn, nil
}

func dnError(reason string) error {
	return &SyntaxError{What: "distinguished name", Reason: reason}
}

// parseRDN reads the content of one SET OF AttributeTypeAndValue with at most
// room members.
func parseRDN(set cryptobyte.String, room int) (RDN, error) {
	var rdn RDN
	var before []byte
	for !set.Empty() {
		if len(rdn) == room {
			return nil, dnError("more than 20 attributes")
		}
		var element, oid, value cryptobyte.String
		var tag asn1.Tag
		if !set.ReadASN1Element(&element, asn1.SEQUENCE) {
			return nil, dnError("an attribute is not DER")
		}
		// X.690, Section 11.6: the members of a SET OF stand in ascending
		// order of their encodings.
		if before != nil && bytes.Compare(before, element) >= 0 {
			return nil, dnError("the attributes of a multi-valued RDN are not in DER order")
		}
		before = element
		var attr cryptobyte.String
		if !element.ReadASN1(&attr, asn1.SEQUENCE) || !attr.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) ||
			!attr.ReadAnyASN1(&value, &tag) || !attr.Empty() {
			return nil, dnError("an attribute is not a type and one value")
		}
		a, err := parseAttribute(oid, tag, value)
		if err != nil {
			return nil, err
		}
		rdn = append(rdn, a)
	}
	return rdn, nil
}

func parseAttribute(oid []byte, tag asn1.Tag, value []byte) (Attribute, error) {
	dotted, ok := OIDString(oid)
	if !ok {
		return Attribute{}, dnError("an attribute type is not a valid object identifier")
	}
	text, err := ParseString(int(tag), value)
	if err != nil {
		return Attribute{}, err
	}
	a := Attribute{OID: dotted, Value: text}
	if err := a.check(); err != nil {
		return Attribute{}, err
	}
	if want := int(tag); want != a.tag() {
		a.Tag = want
		if a.tag() != want {
			a.Tag = 0 // not a type that Marshal writes: normalised
		}
	}
	return a, nil
}

// Marshal writes the DN in DER: PrintableString where the value allows it, else
// UTF8String (RFC 5280, Section 4.1.2.4), IA5String for emailAddress and domain
// components, unless an attribute's Tag asks for another fitting type. It
// refuses everything that ParseDN would.
func (d DN) Marshal() ([]byte, error) {
	var b cryptobyte.Builder
	var failed error
	total := 0
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, rdn := range d {
			encoded, err := rdn.marshal()
			if total += len(rdn); err == nil && total > maxDNAttributes {
				err = dnError("more than 20 attributes")
			}
			if err != nil {
				failed = err
				return
			}
			b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
				for _, attr := range encoded {
					b.AddBytes(attr)
				}
			})
		}
	})
	if failed != nil {
		return nil, failed
	}
	der, err := b.Bytes()
	if err == nil && len(der) > maxDN {
		err = dnError("longer than 4096 octets")
	}
	return der, err
}

// marshal gives the members of the SET in DER order.
func (r RDN) marshal() ([][]byte, error) {
	if len(r) == 0 {
		return nil, dnError("an RDN without attributes")
	}
	var out [][]byte
	for _, a := range r {
		der, err := a.marshal()
		if err != nil {
			return nil, err
		}
		at := 0
		for at < len(out) && bytes.Compare(out[at], der) < 0 {
			at++
		}
		if at < len(out) && bytes.Equal(out[at], der) {
			return nil, dnError("an attribute stands twice in one RDN")
		}
		out = append(out, nil)
		copy(out[at+1:], out[at:])
		out[at] = der
	}
	return out, nil
}

func (a Attribute) marshal() ([]byte, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	known := true
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		known = addOID(b, a.OID)
		b.AddASN1(asn1.Tag(a.tag()), func(b *cryptobyte.Builder) { b.AddBytes([]byte(a.Value)) })
	})
	if !known {
		return nil, dnError("an attribute type is not a valid object identifier")
	}
	return b.Bytes()
}

// CommonNames gives every commonName of the DN, in order.
func (d DN) CommonNames() []string { return d.values(oidCommonName) }

// values gives the values of one attribute type, in order.
func (d DN) values(oid string) []string {
	var out []string
	for _, rdn := range d {
		for _, a := range rdn {
			if a.OID == oid {
				out = append(out, a.Value)
			}
		}
	}
	return out
}
