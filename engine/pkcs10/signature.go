package pkcs10

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha256" // registers SHA-256
	_ "crypto/sha512" // registers SHA-384 and SHA-512

	"chancery/engine/keys"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// scheme is a signature algorithm with its parameters read.
type scheme struct {
	key  string // keys.RSA, keys.ECDSA or keys.Ed25519
	hash crypto.Hash
	pss  bool
	salt int
}

// CheckSignature verifies that the requester holds the private key (RFC 2986,
// Section 3). Accepted are RSA PKCS #1 v1.5 and PSS, ECDSA, each with SHA-256,
// SHA-384 or SHA-512, and Ed25519. The error is an *Error.
func (r *Request) CheckSignature() error {
	s, err := parseScheme(r.algorithm)
	if err != nil {
		return err
	}
	var digest []byte
	if s.hash != 0 {
		h := s.hash.New()
		h.Write(r.info)
		digest = h.Sum(nil)
	}
	ok, fits := false, false
	switch key := r.Key.Key.(type) {
	case *rsa.PublicKey:
		fits = s.key == r.Key.Algorithm
		if fits && s.pss {
			ok = s.verifyPSS(key, digest, r.signature)
		} else if fits {
			ok = rsa.VerifyPKCS1v15(key, s.hash, digest, r.signature) == nil
		}
	case *ecdsa.PublicKey:
		fits = s.key == r.Key.Algorithm
		ok = fits && ecdsa.VerifyASN1(key, digest, r.signature)
	case ed25519.PublicKey:
		fits = s.key == r.Key.Algorithm
		ok = fits && ed25519.Verify(key, r.info, r.signature)
	}
	if !fits {
		return &Error{Kind: BadAlgorithm, Detail: "the signature algorithm is not one of the " + r.Key.Algorithm + " key in the request"}
	}
	if !ok {
		return &Error{Kind: BadSignature, Detail: "its signature does not verify with the key in it; sign the request again with the matching private key"}
	}
	return nil
}

// verifyPSS holds the salt to lengths that software makes: at least the hash
// (RFC 8017, Section 9.1, note 4), at most what fits.
func (s scheme) verifyPSS(key *rsa.PublicKey, digest, signature []byte) bool {
	if s.salt < s.hash.Size() || s.salt > key.Size()-s.hash.Size()-2 {
		return false
	}
	return rsa.VerifyPSS(key, s.hash, digest, signature, &rsa.PSSOptions{SaltLength: s.salt, Hash: s.hash}) == nil
}

// schemeOf knows the object identifiers that are accepted.
func schemeOf(oid string) (s scheme, ok bool) {
	switch oid {
	case "1.2.840.113549.1.1.11": // RFC 8017, Appendix A.2.4
		return scheme{key: keys.RSA, hash: crypto.SHA256}, true
	case "1.2.840.113549.1.1.12":
		return scheme{key: keys.RSA, hash: crypto.SHA384}, true
	case "1.2.840.113549.1.1.13":
		return scheme{key: keys.RSA, hash: crypto.SHA512}, true
	case "1.2.840.113549.1.1.10": // RFC 8017, Appendix A.2.3
		return scheme{key: keys.RSA, pss: true}, true
	case "1.2.840.10045.4.3.2": // RFC 5758, Section 3.2
		return scheme{key: keys.ECDSA, hash: crypto.SHA256}, true
	case "1.2.840.10045.4.3.3":
		return scheme{key: keys.ECDSA, hash: crypto.SHA384}, true
	case "1.2.840.10045.4.3.4":
		return scheme{key: keys.ECDSA, hash: crypto.SHA512}, true
	case "1.3.101.112": // RFC 8410, Section 3
		return scheme{key: keys.Ed25519}, true
	}
	return scheme{}, false
}

// brokenHash names the hash of algorithms whose hash no longer proves anything.
func brokenHash(oid string) string {
	switch oid {
	case "1.2.840.113549.1.1.2":
		return "MD2"
	case "1.2.840.113549.1.1.4":
		return "MD5"
	case "1.2.840.113549.1.1.5", "1.3.14.3.2.29", "1.2.840.10045.4.1", "1.2.840.10040.4.3":
		return "SHA-1"
	}
	return ""
}

func badAlgorithm(detail string) error {
	return &Error{Kind: BadAlgorithm, Detail: detail + "; sign it with SHA-256"}
}

// parseScheme reads the content of an AlgorithmIdentifier.
func parseScheme(algorithm cryptobyte.String) (scheme, error) {
	var oid string
	if !readOID(&algorithm, &oid) {
		return scheme{}, malformed("the signature algorithm is not DER")
	}
	if hash := brokenHash(oid); hash != "" {
		return scheme{}, badAlgorithm("it is signed with " + hash + ", which is broken")
	}
	s, ok := schemeOf(oid)
	switch {
	case !ok:
		return scheme{}, badAlgorithm("its signature algorithm " + oid + " is not accepted")
	case s.pss:
		return parsePSS(algorithm)
	case s.key == keys.RSA:
		// RFC 4055, Section 5: NULL, and absent must be accepted too.
		ok = algorithm.Empty() || bytes.Equal(algorithm, []byte{5, 0})
	default:
		// RFC 5758, Section 3.2 and RFC 8410, Section 3: absent.
		ok = algorithm.Empty()
	}
	if !ok {
		return scheme{}, malformed("the signature algorithm has parameters that it cannot have")
	}
	return s, nil
}

// oidMGF1 is id-mgf1 (RFC 8017, Appendix A.2.1).
const oidMGF1 = "1.2.840.113549.1.1.8"

// parsePSS reads RSASSA-PSS-params (RFC 4055, Section 3.1). The defaults are
// SHA-1, so hash and mask function must be there, and name the same hash; the
// trailer field is the default and therefore absent.
func parsePSS(params cryptobyte.String) (scheme, error) {
	bad := badAlgorithm("its PSS parameters are not a SHA-2 hash with MGF1 over the same hash")
	var seq, hash, mask, mgf cryptobyte.String
	salt := 20
	if !params.ReadASN1(&seq, asn1.SEQUENCE) || !params.Empty() ||
		!seq.ReadASN1(&hash, asn1.Tag(0).ContextSpecific().Constructed()) ||
		!seq.ReadASN1(&mask, asn1.Tag(1).ContextSpecific().Constructed()) ||
		!seq.ReadOptionalASN1Integer(&salt, asn1.Tag(2).ContextSpecific().Constructed(), 20) ||
		!seq.Empty() {
		return scheme{}, bad
	}
	var oid string
	if !mask.ReadASN1(&mgf, asn1.SEQUENCE) || !mask.Empty() || !readOID(&mgf, &oid) || oid != oidMGF1 {
		return scheme{}, bad
	}
	outer, ok1 := readHash(hash)
	inner, ok2 := readHash(mgf)
	if !ok1 || !ok2 || outer != inner {
		return scheme{}, bad
	}
	return scheme{key: keys.RSA, hash: outer, pss: true, salt: salt}, nil
}

// readHash reads one AlgorithmIdentifier of a SHA-2 hash (RFC 4055, Section 2.1:
// parameters NULL or absent).
func readHash(s cryptobyte.String) (crypto.Hash, bool) {
	var seq cryptobyte.String
	var oid string
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !s.Empty() || !readOID(&seq, &oid) ||
		!seq.Empty() && !bytes.Equal(seq, []byte{5, 0}) {
		return 0, false
	}
	switch oid {
	case "2.16.840.1.101.3.4.2.1":
		return crypto.SHA256, true
	case "2.16.840.1.101.3.4.2.2":
		return crypto.SHA384, true
	case "2.16.840.1.101.3.4.2.3":
		return crypto.SHA512, true
	}
	return 0, false
}
