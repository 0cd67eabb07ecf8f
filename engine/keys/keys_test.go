package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"testing"
)

// der writes one element with definite length.
func der(tag byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	switch n := len(body); {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, body...)
	case n < 0x100:
		return append([]byte{tag, 0x81, byte(n)}, body...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, body...)
	}
}

func integer(n *big.Int) []byte {
	b := n.Bytes()
	if len(b) == 0 || b[0] >= 0x80 {
		b = append([]byte{0}, b...)
	}
	return der(2, b)
}

// spki builds a SubjectPublicKeyInfo from the parts of its algorithm and the
// octets of its BIT STRING.
func spki(oid string, params, bits []byte) []byte {
	return der(0x30, der(0x30, der(6, []byte(oid)), params), der(3, []byte{0}, bits))
}

func rsaSPKI(n *big.Int, e int64) []byte {
	return spki(oidRSA, []byte{5, 0}, der(0x30, integer(n), integer(big.NewInt(e))))
}

func ecSPKI(curve string, point []byte) []byte { return spki(oidEC, der(6, []byte(curve)), point) }

// odd is a number of the given size that is no product of small primes.
func odd(bits int) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return n.Add(n, big.NewInt(0x10001))
}

func newKey(t testing.TB, algorithm string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch algorithm {
	case "P-256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "P-384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "P-521":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "Ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "RSA 2048":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "RSA 3072":
		key, err = rsa.GenerateKey(rand.Reader, 3072)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var algorithms = []string{"P-256", "P-384", "P-521", "Ed25519", "RSA 2048"}

func TestParse(t *testing.T) {
	for _, algorithm := range algorithms {
		key := newKey(t, algorithm).Public()
		p, err := FromKey(key)
		if err != nil {
			t.Fatalf("%s: %v", algorithm, err)
		}
		if p.String() != algorithm || !p.Key.(interface{ Equal(crypto.PublicKey) bool }).Equal(key) {
			t.Errorf("%s: gave %v", algorithm, p)
		}
		if err := p.Allowed(Rules{}); err != nil {
			t.Error(err)
		}
		if err := p.Weak(); err != nil {
			t.Error(err)
		}
		want, _ := x509.MarshalPKIXPublicKey(key)
		if p.Hash() != sha256.Sum256(want) {
			t.Errorf("%s: the hash is not over the encoding", algorithm)
		}
	}
	if _, err := FromKey("nonsense"); err == nil {
		t.Error("a string is no key")
	}
}

// TestKeyID: RFC 7093, Section 2, method 1, for the generator of P-256 as key;
// the value is what sha256sum prints for the 65 octets of the point, cut to 160
// bits.
func TestKeyID(t *testing.T) {
	curve := elliptic.P256().Params()
	point := bytes.Join([][]byte{{4}, curve.Gx.FillBytes(make([]byte, 32)), curve.Gy.FillBytes(make([]byte, 32))}, nil)
	p, err := Parse(ecSPKI(oidP256, point))
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(p.KeyID()); got != "698bea63dc44a344663ff1429aea10842df27b6b" {
		t.Errorf("gave %s", got)
	}
	if byHand := (&Public{SPKI: p.SPKI}); !bytes.Equal(byHand.KeyID(), p.KeyID()) || (&Public{}).KeyID() != nil {
		t.Error("a Public written by hand")
	}
}

func TestXK_012_Curves(t *testing.T) {
	params := elliptic.P256().Params()
	x, y := params.Gx.FillBytes(make([]byte, 32)), params.Gy.FillBytes(make([]byte, 32))
	g := bytes.Join([][]byte{{4}, x, y}, nil)
	off := bytes.Clone(g)
	off[64] ^= 1
	if _, err := Parse(ecSPKI(oidP256, g)); err != nil {
		t.Fatal(err)
	}
	above := bytes.Join([][]byte{{4}, params.P.FillBytes(make([]byte, 32)), y}, nil)
	for what, in := range map[string][]byte{
		"P-224":               ecSPKI("\x2b\x81\x04\x00\x21", g[:57]),
		"secp256k1":           ecSPKI("\x2b\x81\x04\x00\x0a", g),
		"brainpool":           ecSPKI("\x2b\x24\x03\x03\x02\x08\x01\x01\x07", g),
		"explicit parameters": spki(oidEC, der(0x30, []byte{2, 1, 1}), g),
		"no parameters":       spki(oidEC, nil, g),
		"NULL parameters":     spki(oidEC, []byte{5, 0}, g),
		"two parameters":      spki(oidEC, append(der(6, []byte(oidP256)), 5, 0), g),
		"infinity":            ecSPKI(oidP256, []byte{0}),
		"no point":            ecSPKI(oidP256, nil),
		"off the curve":       ecSPKI(oidP256, off),
		"zero point":          ecSPKI(oidP256, append([]byte{4}, make([]byte, 64)...)),
		"x above p":           ecSPKI(oidP256, above),
		"compressed":          ecSPKI(oidP256, append([]byte{2 + y[31]&1}, x...)),
		"hybrid":              ecSPKI(oidP256, append([]byte{6 + y[31]&1}, g[1:]...)),
		"short":               ecSPKI(oidP256, g[:64]),
		"long":                ecSPKI(oidP256, append(bytes.Clone(g), 0)),
		"of another curve":    ecSPKI(oidP384, g),
		"X25519":              spki("\x2b\x65\x6e", nil, make([]byte, 32)),
		"Ed448":               spki("\x2b\x65\x71", nil, make([]byte, 57)),
	} {
		var refused *ParseError
		if p, err := Parse(in); !errors.As(err, &refused) {
			t.Errorf("%s: gave %v, %v", what, p, err)
		}
	}
}

func TestXK_012_Ed25519(t *testing.T) {
	good := newKey(t, "Ed25519").Public().(ed25519.PublicKey)
	for what, in := range map[string][]byte{
		"31 octets":  spki(oidEd25519, nil, good[:31]),
		"33 octets":  spki(oidEd25519, nil, append(bytes.Clone(good), 0)),
		"parameters": spki(oidEd25519, []byte{5, 0}, good),
	} {
		if p, err := Parse(in); err == nil {
			t.Errorf("%s: gave %v", what, p)
		}
	}
	// The eight points of small order, their non-canonical spellings, and each
	// with the other sign bit (RFC 8032, Section 5.1.3).
	for _, text := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		key, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, sign := range []byte{0, 0x80} {
			key[31] = key[31]&0x7f | sign
			if p, err := Parse(spki(oidEd25519, nil, key)); err == nil {
				t.Errorf("%x gave %v", key, p)
			}
		}
	}
	// About half of all y belong to no point. The library is the judge.
	refused := 0
	for i := range 200 {
		key := sha256.Sum256([]byte{byte(i)})
		key[31] &= 0x7f
		_, err := Parse(spki(oidEd25519, nil, key[:]))
		if err != nil {
			refused++
		}
		if ed25519Decodes(key[:]) != (err == nil) {
			t.Errorf("%x: gave %v", key, err)
		}
	}
	if refused < 60 || refused > 140 {
		t.Errorf("%d of 200 refused", refused)
	}
}

// ed25519Decodes computes the root that RFC 8032, Section 5.1.3 asks for.
func ed25519Decodes(key []byte) bool {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	le := bytes.Clone(key)
	for i, j := 0, 31; i < j; i, j = i+1, j-1 {
		le[i], le[j] = le[j], le[i]
	}
	y2 := new(big.Int).SetBytes(le)
	y2.Mul(y2, y2).Mod(y2, p)
	d := new(big.Int).ModInverse(big.NewInt(121666), p)
	d.Mul(d, big.NewInt(-121665)).Mod(d, p)
	v := new(big.Int).Mul(d, y2)
	v.Add(v, big.NewInt(1)).ModInverse(v, p)
	x2 := new(big.Int).Sub(y2, big.NewInt(1))
	x2.Mul(x2, v).Mod(x2, p)
	return new(big.Int).ModSqrt(x2, p) != nil
}

func TestXK_013_OtherAlgorithms(t *testing.T) {
	for what, oid := range map[string]string{
		"ML-DSA-65": "\x60\x86\x48\x01\x65\x03\x04\x03\x12",
		"DSA":       "\x2a\x86\x48\xce\x38\x04\x01",
		"RSA-PSS":   "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a",
		"unknown":   "\x2a\x03",
	} {
		var refused *ParseError
		if p, err := Parse(spki(oid, nil, []byte{1, 2, 3})); !errors.As(err, &refused) {
			t.Errorf("%s: gave %v, %v", what, p, err)
		}
	}
}

func TestXK_009_StrictDER(t *testing.T) {
	n := odd(2048)
	good := rsaSPKI(n, 65537)
	if _, err := Parse(good); err != nil {
		t.Fatal(err)
	}
	negative := n.Bytes() // the top bit is set
	e := []byte{2, 3, 1, 0, 1}
	key := func(parts ...[]byte) []byte { return spki(oidRSA, []byte{5, 0}, der(0x30, parts...)) }
	huge := new(big.Int).Lsh(big.NewInt(1), maxModulus)
	for what, in := range map[string][]byte{
		"nothing":            {},
		"trailing":           append(bytes.Clone(good), 0),
		"cut":                good[:100],
		"indefinite":         append(append([]byte{0x30, 0x80}, good[4:]...), 0, 0),
		"no NULL":            spki(oidRSA, nil, der(0x30, integer(n), e)),
		"NULL with content":  spki(oidRSA, []byte{5, 1, 0}, der(0x30, integer(n), e)),
		"negative modulus":   key(der(2, negative), e),
		"zero modulus":       key(der(2, []byte{0}), e),
		"empty modulus":      key(der(2), e),
		"modulus not least":  key(der(2, []byte{0, 0}, negative), e),
		"negative exponent":  key(integer(n), der(2, []byte{0xff})),
		"exponent not least": key(integer(n), der(2, []byte{0, 1, 0, 1})),
		"huge exponent":      key(integer(n), integer(odd(32))),
		"exponent of 2^64":   key(integer(n), integer(odd(65))),
		"three integers":     key(integer(n), e, e),
		"one integer":        key(integer(n)),
		"trailing in key":    spki(oidRSA, []byte{5, 0}, append(der(0x30, integer(n), e), 0)),
		"unused bits":        der(0x30, der(0x30, der(6, []byte(oidRSA)), []byte{5, 0}), der(3, []byte{1}, der(0x30, integer(n), e))),
		"empty BIT STRING":   der(0x30, der(0x30, der(6, []byte(oidRSA)), []byte{5, 0}), der(3)),
		"three elements":     der(0x30, good[4:], []byte{5, 0}),
		"modulus of 15":      rsaSPKI(big.NewInt(15), 65537),
		"modulus too large":  rsaSPKI(huge, 65537),
		"modulus far large":  rsaSPKI(new(big.Int).Lsh(huge, 1<<15), 65537),
	} {
		var refused *ParseError
		if p, err := Parse(in); !errors.As(err, &refused) {
			t.Errorf("%s: gave %v, %v", what, p, err)
		}
	}
}

func TestXK_010_Rules(t *testing.T) {
	for bits, ok := range map[int]bool{1024: false, 2047: false, 2048: true, 2049: false, 2056: true, 4096: true, 4097: false, 4104: false, 8192: false} {
		p, err := Parse(rsaSPKI(odd(bits), 65537))
		if err != nil {
			t.Fatal(err)
		}
		var refused *RuleError
		err = p.Allowed(Rules{})
		if p.Bits != bits || ok != (err == nil) || !ok && !errors.As(err, &refused) {
			t.Errorf("%d bits gave %v, %v", bits, p, err)
		}
	}
	p256, _ := FromKey(newKey(t, "P-256").Public())
	p384, _ := FromKey(newKey(t, "P-384").Public())
	edwards, _ := FromKey(newKey(t, "Ed25519").Public())
	rsa2048, _ := Parse(rsaSPKI(odd(2048), 65537))
	for _, row := range []struct {
		rules string
		ok    [4]bool // P-256, P-384, Ed25519, RSA 2048
	}{
		{`{}`, [4]bool{true, true, true, true}},
		{`{"curves":["P-384"]}`, [4]bool{false, true, false, true}},
		{`{"curves":[],"ed25519":true}`, [4]bool{false, false, true, true}},
		{`{"rsa_min":3072,"ed25519":true}`, [4]bool{true, true, true, false}},
		{`{"rsa_max":-1}`, [4]bool{true, true, false, false}},
	} {
		var rules Rules
		if err := json.Unmarshal([]byte(row.rules), &rules); err != nil {
			t.Fatal(err)
		}
		if err := rules.Check(); err != nil {
			t.Errorf("%s: %v", row.rules, err)
		}
		for i, p := range []*Public{p256, p384, edwards, rsa2048} {
			if err := p.Allowed(rules); row.ok[i] != (err == nil) {
				t.Errorf("%s: %s gave %v", row.rules, p, err)
			}
		}
	}
	for _, rules := range []Rules{{Curves: []string{"P-224"}}, {RSAMin: 1024}, {RSAMin: 4096, RSAMax: 2048}, {RSAMax: 16384}, {RSAMax: -1, Curves: []string{}}} {
		if rules.Check() == nil {
			t.Errorf("%+v passes", rules)
		}
	}
}
