package pkcs10

import (
	"bytes"
	"encoding/pem"
	"unicode"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// maxPEM bounds a file: MaxSize in base64 with line ends and the two marker lines.
const maxPEM = MaxSize*3/2 + 128

// ParsePEMOrDER finds the one request in a file: DER, or a single PEM block with
// nothing but white space around it (RFC 7468, Section 7). A private key is
// refused and never repeated in the message. The DER is not yet parsed.
func ParsePEMOrDER(b []byte) (der []byte, err error) {
	if len(b) > maxPEM {
		return nil, &Error{Kind: TooLarge, Detail: "longer than 16 KiB; ask for fewer names"}
	}
	if bytes.Contains(b, []byte("PRIVATE KEY")) || privateDER(b) {
		return nil, privateKeySent()
	}
	if len(b) > 0 && b[0] == 0x30 {
		return b, nil
	}
	text := bytes.TrimFunc(b, unicode.IsSpace)
	begin := []byte("-----BEGIN ")
	if !bytes.HasPrefix(text, begin) {
		return nil, malformed("neither DER nor a PEM block at the start; send what `openssl req -new` writes")
	}
	// pem.Decode passes over text before a block, broken blocks and headers.
	block, rest := pem.Decode(text)
	if block == nil || len(rest) != 0 || len(block.Headers) != 0 || bytes.Count(text, begin) != 1 {
		return nil, malformed("not exactly one PEM block, or a damaged one; send the request alone")
	}
	if privateDER(block.Bytes) {
		return nil, privateKeySent()
	}
	switch block.Type {
	case "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
		return block.Bytes, nil
	case "CERTIFICATE":
		return nil, malformed("a certificate, not a certificate request; make a request with `openssl req -new`")
	}
	return nil, malformed("a PEM block that is not labelled CERTIFICATE REQUEST")
}

func privateKeySent() error {
	return &Error{Kind: PrivateKey, Detail: "this is a private key, not a request; it was not kept, but treat it as disclosed: make a new key and send only its certificate request"}
}

// privateDER tells private keys from a request by what the SEQUENCE begins with:
// PKCS #1, PKCS #8 and SEC 1 with a version INTEGER, an encrypted PKCS #8 key
// with an AlgorithmIdentifier, where a request has another SEQUENCE with an
// INTEGER in it.
func privateDER(b []byte) bool {
	input := cryptobyte.String(b)
	var outer, first cryptobyte.String
	if !input.ReadASN1(&outer, asn1.SEQUENCE) {
		return false
	}
	if outer.PeekASN1Tag(asn1.INTEGER) {
		return true
	}
	return outer.ReadASN1(&first, asn1.SEQUENCE) && first.PeekASN1Tag(asn1.OBJECT_IDENTIFIER) &&
		outer.PeekASN1Tag(asn1.OCTET_STRING)
}
