package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"

	"chancery/engine/keys"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxModulus bounds an RSA key before any arithmetic with it, in octets: what a
// signature costs to verify grows with its square. maxExponent bounds what its
// other factor is.
const (
	maxModulus  = 8192 / 8
	maxExponent = 1<<31 - 1
)

// A Key is a public key out of a JWK. Treat it as read-only.
type Key struct {
	Public crypto.PublicKey // *ecdsa.PublicKey, *rsa.PublicKey or ed25519.PublicKey

	canonical []byte
	thumb     [sha256.Size]byte
}

// Canonical is the JWK with only the members of its thumbprint, in their order
// (RFC 7638, Section 3.2). ParseKey reads it back. Do not change it.
func (k *Key) Canonical() []byte { return k.canonical }

// Thumbprint is the SHA-256 of the canonical form (RFC 7638).
func (k *Key) Thumbprint() [sha256.Size]byte { return k.thumb }

// Text is the thumbprint in base64url, the second half of a key authorization
// (RFC 8555, Section 8.1).
func (k *Key) Text() string { return base64.RawURLEncoding.EncodeToString(k.thumb[:]) }

// jwk has the public members. Others (use, alg, kid …) say nothing that counts
// here.
type jwk struct {
	Kty text `json:"kty"`
	Crv text `json:"crv"`
	X   text `json:"x"`
	Y   text `json:"y"`
	N   text `json:"n"`
	E   text `json:"e"`
}

// private has the members of RFC 7518, Section 6 that nobody may send.
type private struct {
	D   jsontext.Value `json:"d"`
	P   jsontext.Value `json:"p"`
	Q   jsontext.Value `json:"q"`
	DP  jsontext.Value `json:"dp"`
	DQ  jsontext.Value `json:"dq"`
	QI  jsontext.Value `json:"qi"`
	Oth jsontext.Value `json:"oth"`
	K   jsontext.Value `json:"k"`
}

// ParseKey reads a JWK (RFC 7517; RFC 7518, Section 6; RFC 8037, Section 2).
// The error is an *Error and never shows any of the key.
func ParseKey(doc []byte) (*Key, error) {
	var in struct {
		jwk
		private
	}
	if err := json.Unmarshal(doc, &in); err != nil {
		return nil, malformed("jwk is not a JSON Web Key: an object with kty and the members of that type, each once")
	}
	for _, member := range []jsontext.Value{in.D, in.P, in.Q, in.DP, in.DQ, in.QI, in.Oth, in.K} {
		if member != nil {
			return nil, malformed("jwk holds a private key: send the public members only, and consider that key disclosed")
		}
	}
	switch in.Kty.s {
	case "EC":
		return in.ec()
	case "RSA":
		return in.rsa()
	case "OKP":
		return in.okp()
	}
	return nil, badKey("key type " + shorten(in.Kty.s) + " is not accepted; use EC, OKP or RSA")
}

func badKey(reason string) error { return &Error{BadKey, "account key: " + reason} }

// ec: RFC 7518, Section 6.2.1: coordinates have the full length of the field.
func (in *jwk) ec() (*Key, error) {
	var curve elliptic.Curve
	size := 0
	switch in.Crv.s {
	case "P-256":
		curve, size = elliptic.P256(), 32
	case "P-384":
		curve, size = elliptic.P384(), 48
	case "P-521":
		curve, size = elliptic.P521(), 66
	default:
		return nil, badKey("curve " + shorten(in.Crv.s) + " is not accepted; use P-256, P-384 or P-521")
	}
	x, err := coordinate("x", in.X, size)
	if err != nil {
		return nil, err
	}
	y, err := coordinate("y", in.Y, size)
	if err != nil {
		return nil, err
	}
	point := append(append(append(make([]byte, 0, 1+2*size), 4), x...), y...)
	pub, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, badKey("the point is not on " + in.Crv.s)
	}
	return newKey(pub, `{"crv":"`+in.Crv.s+`","kty":"EC","x":"`+in.X.s+`","y":"`+in.Y.s+`"}`), nil
}

func coordinate(name string, t text, size int) ([]byte, error) {
	b, err := Decode(name+" of jwk", t.s)
	if err != nil {
		return nil, err
	}
	if len(b) != size {
		return nil, badKey(name + " has not the length that the curve demands")
	}
	return b, nil
}

// rsa: RFC 7518, Section 6.3.1. Leading zero octets, which some encoders leave
// in, are no part of the number and so not of the thumbprint (RFC 7638, Section
// 7 with RFC 7518, Section 2, Base64urlUInt).
func (in *jwk) rsa() (*Key, error) {
	n, err := Decode("n of jwk", in.N.s)
	if err != nil {
		return nil, err
	}
	e, err := Decode("e of jwk", in.E.s)
	if err != nil {
		return nil, err
	}
	n, e = bytes.TrimLeft(n, "\x00"), bytes.TrimLeft(e, "\x00")
	if len(n) > maxModulus {
		return nil, badKey("an RSA modulus above 8192 bits; use 2048 to 4096, or P-256")
	}
	exponent := 0
	for _, c := range e {
		if exponent = exponent<<8 | int(c); exponent > maxExponent {
			return nil, badKey("an RSA exponent above 2^31-1; use 65537")
		}
	}
	if len(n) == 0 || exponent == 0 {
		return nil, badKey("n or e is missing or zero")
	}
	pub := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: exponent}
	b64 := base64.RawURLEncoding
	return newKey(pub, `{"e":"`+b64.EncodeToString(e)+`","kty":"RSA","n":"`+b64.EncodeToString(n)+`"}`), nil
}

// okp: RFC 8037, Section 2.
func (in *jwk) okp() (*Key, error) {
	if in.Crv.s != "Ed25519" {
		return nil, badKey("curve " + shorten(in.Crv.s) + " is not accepted; use Ed25519")
	}
	x, err := coordinate("x", in.X, ed25519.PublicKeySize)
	if err != nil {
		return nil, err
	}
	return newKey(ed25519.PublicKey(x), `{"crv":"Ed25519","kty":"OKP","x":"`+in.X.s+`"}`), nil
}

func newKey(pub crypto.PublicKey, canonical string) *Key {
	k := &Key{Public: pub, canonical: []byte(canonical)}
	k.thumb = sha256.Sum256(k.canonical)
	return k
}

// FromPublic makes the Key of a public key, such as a certificate's, so that
// thumbprints can be compared.
func FromPublic(pub crypto.PublicKey) (*Key, error) {
	b64 := base64.RawURLEncoding
	switch p := pub.(type) {
	case *ecdsa.PublicKey:
		point, err := p.Bytes()
		if err != nil {
			return nil, badKey(err.Error())
		}
		half := len(point) / 2
		return newKey(p, `{"crv":"`+p.Curve.Params().Name+`","kty":"EC","x":"`+b64.EncodeToString(point[1:1+half])+`","y":"`+b64.EncodeToString(point[1+half:])+`"}`), nil
	case *rsa.PublicKey:
		e := big.NewInt(int64(p.E)).Bytes()
		return newKey(p, `{"e":"`+b64.EncodeToString(e)+`","kty":"RSA","n":"`+b64.EncodeToString(p.N.Bytes())+`"}`), nil
	case ed25519.PublicKey:
		return newKey(p, `{"crv":"Ed25519","kty":"OKP","x":"`+b64.EncodeToString(p)+`"}`), nil
	}
	return nil, badKey("not an ECDSA, RSA or Ed25519 key")
}

// Check refuses keys that are too small, too large to be worth verifying with,
// or publicly known to be broken. ParseKey does not, because keys that are
// already on record need no second look.
func (k *Key) Check() error {
	p, err := keys.FromKey(k.Public)
	if err == nil {
		err = p.Allowed(keys.DefaultRules())
	}
	if err == nil {
		err = p.Weak()
	}
	if err != nil {
		return badKey(err.Error())
	}
	return nil
}
