package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"math/bits"
	"strings"
)

// Verify reports whether the key signed the message with the algorithm in its
// header (RFC 7515, Section 5.2). The error is an *Error.
func (m *Message) Verify(k *Key) error {
	ok, fits := verify(k.Public, m.Algorithm, m.signature, m.protected, ".", m.payload)
	switch {
	case !fits:
		return malformed("the algorithm " + string(m.Algorithm) + " does not fit the key")
	case !ok:
		return &Error{BadSignature, "the signature does not verify"}
	}
	return nil
}

// verify reports whether the key signed the parts together, and whether it is
// one for the algorithm.
func verify(pub crypto.PublicKey, alg Algorithm, sig []byte, parts ...string) (ok, fits bool) {
	switch p := pub.(type) {
	case *ecdsa.PublicKey:
		return verifyECDSA(p, alg, sig, parts)
	case *rsa.PublicKey:
		if fits = alg == RS256; fits {
			// RFC 7518, Section 3.3. The library refuses a signature whose length
			// is not the modulus's.
			ok = rsa.VerifyPKCS1v15(p, crypto.SHA256, digest(sha256.New(), parts), sig) == nil
		}
	case ed25519.PublicKey:
		if fits = alg == EdDSA; fits {
			ok = len(sig) == ed25519.SignatureSize && ed25519.Verify(p, []byte(strings.Join(parts, "")), sig)
		}
	}
	return ok, fits
}

// verifyECDSA: RFC 7518, Section 3.4: each algorithm has one curve, and the
// signature is R and S at the full length of the curve's order, not ASN.1.
func verifyECDSA(p *ecdsa.PublicKey, alg Algorithm, sig []byte, parts []string) (ok, fits bool) {
	var h hash.Hash
	size := 0
	switch p.Curve.Params().BitSize {
	case 256:
		fits, h, size = alg == ES256, sha256.New(), 32
	case 384:
		fits, h, size = alg == ES384, sha512.New384(), 48
	case 521:
		fits, h, size = alg == ES512, sha512.New(), 66
	}
	if !fits || len(sig) != 2*size {
		return false, fits
	}
	return ecdsa.VerifyASN1(p, digest(h, parts), asn1Signature(sig[:size], sig[size:])), true
}

func digest(h hash.Hash, parts []string) []byte {
	for _, p := range parts {
		h.Write([]byte(p)) // cannot fail
	}
	return h.Sum(nil)
}

// asn1Signature is the Ecdsa-Sig-Value of RFC 3279, Section 2.2.3, which the
// library's verifier wants. Values out of range are left to it.
func asn1Signature(r, s []byte) []byte {
	body := appendInteger(appendInteger(make([]byte, 0, len(r)+len(s)+6), r), s)
	out := append(make([]byte, 0, len(body)+3), 0x30)
	if len(body) >= 0x80 { // P-521: at most 138 octets, one octet of length
		out = append(out, 0x81)
	}
	return append(append(out, byte(len(body))), body...)
}

// appendInteger appends a non-negative INTEGER in DER.
func appendInteger(out, v []byte) []byte {
	for len(v) > 1 && v[0] == 0 {
		v = v[1:]
	}
	out = append(out, 2)
	if bits.Len8(v[0]) == 8 {
		return append(append(out, byte(len(v)+1), 0), v...)
	}
	return append(append(out, byte(len(v))), v...)
}
