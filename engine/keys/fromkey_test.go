package keys

//lint:file-ignore SA1019 These are keys that no parser would make.

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"
	"testing"
)

// TestA_013_KeysFromParts: protocols that carry keys in parts (JWK) make these.
func TestA_013_KeysFromParts(t *testing.T) {
	for what, key := range map[string]crypto.PublicKey{
		"nil":              nil,
		"off the curve":    &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)},
		"negative":         &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(-1), Y: big.NewInt(1)},
		"p itself":         &ecdsa.PublicKey{Curve: elliptic.P256(), X: elliptic.P256().Params().P, Y: big.NewInt(1)},
		"above p":          &ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int).Lsh(big.NewInt(1), 300), Y: big.NewInt(1)},
		"infinity":         &ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int), Y: new(big.Int)},
		"no point":         &ecdsa.PublicKey{Curve: elliptic.P256()},
		"half a point":     &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1)},
		"no curve":         &ecdsa.PublicKey{X: big.NewInt(1), Y: big.NewInt(1)},
		"P-224":            &ecdsa.PublicKey{Curve: elliptic.P224(), X: elliptic.P224().Params().Gx, Y: elliptic.P224().Params().Gy},
		"no EC key":        (*ecdsa.PublicKey)(nil),
		"no RSA key":       (*rsa.PublicKey)(nil),
		"no modulus":       &rsa.PublicKey{E: 65537},
		"negative modulus": &rsa.PublicKey{N: big.NewInt(-15), E: 65537},
		"no exponent":      &rsa.PublicKey{N: odd(2048)},
		"short Ed25519":    ed25519.PublicKey{1, 2, 3},
		"zero Ed25519":     make(ed25519.PublicKey, 32),
	} {
		if p, err := FromKey(key); err == nil {
			t.Errorf("%s: gave %v", what, p)
		}
	}
	p, err := FromKey(&rsa.PublicKey{N: odd(1024), E: 1})
	if err != nil {
		t.Fatal(err)
	}
	if p.Allowed(Rules{}) == nil || p.Weak() == nil {
		t.Error("RSA 1024 with exponent 1 passes")
	}
}
