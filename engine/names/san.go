package names

import (
	"net/netip"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Tags of GeneralName, RFC 5280, Section 4.2.1.6.
const (
	tagOtherName     = 0
	tagRFC822Name    = 1
	tagDNSName       = 2
	tagX400Address   = 3
	tagDirectoryName = 4
	tagEDIPartyName  = 5
	tagURI           = 6
	tagIPAddress     = 7
	tagRegisteredID  = 8
)

// ParseSAN reads the value of a subjectAltName extension (RFC 5280, Section
// 4.2.1.6) into canonical names, each once, in their order. A form that is not
// issued is an *UnsupportedError: passing over it would let the raw extension
// carry a name that nobody judged.
func ParseSAN(ext []byte) ([]Name, error) {
	input := cryptobyte.String(ext)
	var seq cryptobyte.String
	if !input.ReadASN1(&seq, asn1.SEQUENCE) || !input.Empty() {
		return nil, sanError("not one DER SEQUENCE")
	}
	if seq.Empty() {
		return nil, sanError("holds no names; leave the extension out")
	}
	var out []Name
	seen := make(map[Name]bool)
	for n := 0; !seq.Empty(); n++ {
		if n == MaxNames {
			return nil, sanError("more than 100 names; ask for several certificates")
		}
		var value cryptobyte.String
		var tag asn1.Tag
		if !seq.ReadAnyASN1(&value, &tag) {
			return nil, sanError("broken DER")
		}
		name, err := generalName(tag, value)
		if err != nil {
			return nil, err
		}
		if !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out, nil
}

func sanError(reason string) error {
	return &SyntaxError{What: "subjectAltName", Reason: reason}
}

// generalName reads one GeneralName of the four forms.
func generalName(tag asn1.Tag, value cryptobyte.String) (Name, error) {
	switch tag {
	case asn1.Tag(tagRFC822Name).ContextSpecific():
		return Parse(Email, string(value))
	case asn1.Tag(tagDNSName).ContextSpecific():
		return Parse(DNS, string(value))
	case asn1.Tag(tagURI).ContextSpecific():
		return Parse(URI, string(value))
	case asn1.Tag(tagIPAddress).ContextSpecific():
		addr, ok := netip.AddrFromSlice(value)
		if !ok {
			return Name{}, sanError("an iPAddress is 4 or 16 octets")
		}
		return Parse(IP, addr.String())
	}
	if form := unsupportedForm(tag, value); form != "" {
		return Name{}, &UnsupportedError{Form: form}
	}
	return Name{}, sanError("an element is not a GeneralName")
}

// unsupportedForm names the forms that are not issued, with the OID where there
// is one, or returns "" for what is no GeneralName at all.
func unsupportedForm(tag asn1.Tag, value cryptobyte.String) string {
	switch tag {
	case asn1.Tag(tagOtherName).ContextSpecific().Constructed():
		var oid cryptobyte.String
		if value.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) {
			if s, ok := OIDString(oid); ok {
				return "otherName " + s
			}
		}
		return "otherName"
	case asn1.Tag(tagX400Address).ContextSpecific().Constructed():
		return "x400Address"
	case asn1.Tag(tagDirectoryName).ContextSpecific().Constructed():
		return "directoryName"
	case asn1.Tag(tagEDIPartyName).ContextSpecific().Constructed():
		return "ediPartyName"
	case asn1.Tag(tagRegisteredID).ContextSpecific():
		if s, ok := OIDString(value); ok {
			return "registeredID " + s
		}
		return "registeredID"
	}
	return ""
}

// MarshalSAN writes the value of a subjectAltName extension. It refuses an empty
// list, more than MaxNames, a name twice, and names that are not canonical.
func MarshalSAN(list []Name) ([]byte, error) {
	if len(list) == 0 || len(list) > MaxNames {
		return nil, sanError("holds 1 to 100 names")
	}
	seen := make(map[Name]bool, len(list))
	var b cryptobyte.Builder
	var failed error
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, n := range list {
			checked, err := Parse(n.Type, n.Value)
			switch {
			case err != nil:
				failed = err
			case checked != n:
				failed = &SyntaxError{What: string(n.Type), Value: n.Value, Reason: "not in canonical form; make names with Parse"}
			case seen[n]:
				failed = &SyntaxError{What: string(n.Type), Value: n.Value, Reason: "listed twice"}
			}
			if failed != nil {
				return
			}
			seen[n] = true
			addGeneralName(b, n)
		}
	})
	if failed != nil {
		return nil, failed
	}
	return b.Bytes()
}

func addGeneralName(b *cryptobyte.Builder, n Name) {
	tag, value := asn1.Tag(tagDNSName), []byte(n.Value)
	switch n.Type {
	case Email:
		tag = tagRFC822Name
	case URI:
		tag = tagURI
	case IP:
		tag, value = tagIPAddress, netip.MustParseAddr(n.Value).AsSlice()
	}
	b.AddASN1(tag.ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(value) })
}
