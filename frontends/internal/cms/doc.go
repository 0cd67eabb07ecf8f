// Package cms reads and writes the Cryptographic Message Syntax (RFC 5652) as far
// as enrollment protocols use it. It decides nothing and keeps nothing: there is
// no global, every choice is an argument.
//
//   - [ToDER] turns what clients send (BER with indefinite lengths and strings in
//     pieces, as OpenSSL and Java write it) into DER, within bounds of size, depth
//     and count. The parsers take its result.
//   - [ParseSigned] and [SignedData.Verify]: exactly one signer, whose certificate
//     is inside, with signed attributes.
//   - [Sign]: a message by a crypto.Signer, which may be in hardware.
//   - [ParseEnveloped] and [Enveloped.Decrypt]: content for an RSA key that is a
//     crypto.Decrypter. Whatever is wrong below the structure is one error, at
//     one price (RFC 8894, Section 7.2).
//   - [Encrypt]: AES in CBC mode, to the RSA key of a certificate.
//   - [Degenerate]: certificates and CRLs that nobody signs ("certs-only").
package cms

import "errors"

// What goes wrong. Errors of this package are one of these, with a detail that
// holds nothing of the content; ErrDecrypt has none.
var (
	ErrMalformed = errors.New("cms: malformed")
	ErrAlgorithm = errors.New("cms: algorithm not accepted")
	ErrSignature = errors.New("cms: the signature is not good")
	ErrDecrypt   = errors.New("cms: the content cannot be decrypted")
)

// Bounds on what is read.
const (
	MaxSize         = 256 << 10 // octets of a message
	maxDepth        = 48        // of elements in elements
	maxElements     = 20_000
	maxCertificates = 20
	maxCRLs         = 20
	maxRecipients   = 16
	maxAttributes   = 32
)
