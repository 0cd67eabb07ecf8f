package keys

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
)

func prime(t testing.TB, bits int) *big.Int {
	t.Helper()
	p, err := rand.Prime(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// nextPrime is the first prime from n on.
func nextPrime(n *big.Int) *big.Int {
	p := new(big.Int).SetBit(n, 0, 1)
	for !p.ProbablyPrime(0) {
		p.Add(p, big.NewInt(2))
	}
	return p
}

// rocaPrime makes a prime of the shape that the faulty generator made:
// k·M + (65537^a mod M), M the product of the primes up to 167.
func rocaPrime(t testing.TB, bits int) *big.Int {
	t.Helper()
	m := big.NewInt(2)
	for p := uint(3); p <= 167; p += 2 {
		if isSmallPrime(p) {
			m.Mul(m, new(big.Int).SetUint64(uint64(p)))
		}
	}
	a, err := rand.Int(rand.Reader, m)
	if err != nil {
		t.Fatal(err)
	}
	n := new(big.Int).Exp(big.NewInt(65537), a, m)
	k, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits-m.BitLen()-2)))
	if err != nil {
		t.Fatal(err)
	}
	// Both top bits, so that a product of two has full length.
	k.SetBit(k, bits-m.BitLen()-1, 1).SetBit(k, bits-m.BitLen()-2, 1)
	for n.Add(n, k.Mul(k, m)); !n.ProbablyPrime(0); {
		n.Add(n, m)
	}
	return n
}

func times(a, b *big.Int) *big.Int { return new(big.Int).Mul(a, b) }

func weakness(t *testing.T, n *big.Int, e int64) Weakness {
	t.Helper()
	p, err := Parse(rsaSPKI(n, e))
	if err != nil {
		t.Fatal(err)
	}
	err = p.Weak()
	if err == nil {
		return ""
	}
	var weak *WeakError
	if !errors.As(err, &weak) {
		t.Fatalf("gave %T", err)
	}
	return weak.Kind
}

func TestXK_010_WeakModuliAndExponents(t *testing.T) {
	p, q := prime(t, 512), prime(t, 512)
	n := times(p, q)
	for e, want := range map[int64]Weakness{1: WeakExponent, 2: WeakExponent, 3: WeakExponent, 17: WeakExponent,
		65535: WeakExponent, 65536: WeakExponent, 65538: WeakExponent, 65537: "", 1<<31 - 1: ""} {
		if got := weakness(t, n, e); got != want {
			t.Errorf("exponent %d is %q, not %q", e, got, want)
		}
	}
	if got := weakness(t, new(big.Int).Lsh(n, 1), 65537); got != WeakEven {
		t.Errorf("even modulus is %q", got)
	}
	for f := uint(3); f <= 757; f += 2 {
		if !isSmallPrime(f) {
			continue
		}
		want := WeakSmallFactor
		if f > largestSmallPrime {
			want = ""
		}
		if got := weakness(t, times(n, big.NewInt(int64(f))), 65537); got != want {
			t.Errorf("factor %d is %q, not %q", f, got, want)
		}
	}
	if got := weakness(t, prime(t, 1024), 65537); got != WeakPrime {
		t.Errorf("a prime is %q", got)
	}
	if got := weakness(t, times(p, p), 65537); got != WeakSquare {
		t.Errorf("a square is %q", got)
	}
}

func TestXK_011_ROCA(t *testing.T) {
	for _, bits := range []int{512, 768, 1024} {
		n := times(rocaPrime(t, bits), rocaPrime(t, bits))
		if got := weakness(t, n, 65537); got != WeakROCA {
			t.Errorf("%d bits: %q", n.BitLen(), got)
		}
	}
	// One honest factor is enough to lose the fingerprint.
	if got := weakness(t, times(rocaPrime(t, 512), prime(t, 512)), 65537); got != "" {
		t.Errorf("half is %q", got)
	}
	// The test must be able to say no at each of the larger primes, else it
	// would say nothing: most subgroups are proper.
	proper := 0
	for p := uint(3); p <= 167; p += 2 {
		for r := uint(1); isSmallPrime(p) && r < p; r++ {
			if !powerOf65537(r, p) {
				proper++
				break
			}
		}
	}
	if proper < 15 {
		t.Errorf("only %d proper subgroups", proper)
	}
}

func TestXK_011_Fermat(t *testing.T) {
	p := prime(t, 1024)
	// Neighbours, and primes that share their upper half and more.
	for _, gap := range []uint{1, 64, 256, 512} {
		from := new(big.Int).Add(p, new(big.Int).Lsh(big.NewInt(1), gap))
		if got := weakness(t, times(p, nextPrime(from)), 65537); got != WeakFermat {
			t.Errorf("a gap of 2^%d is %q", gap, got)
		}
	}
	// a - √n = (p-q)²/8√n: with a gap of 2^516 about 2^5 rounds, 2^525 2^23.
	from := new(big.Int).Add(p, new(big.Int).Lsh(big.NewInt(1), 525))
	if got := weakness(t, times(p, nextPrime(from)), 65537); got != "" {
		t.Errorf("a gap of 2^525 is %q", got)
	}
}

func TestIsSquare(t *testing.T) {
	for i := range 3000 {
		n := big.NewInt(int64(i))
		root := new(big.Int).Sqrt(n)
		if want := times(root, root).Cmp(n) == 0; isSquare(n) != want {
			t.Errorf("%d: %v", i, !want)
		}
	}
	p := prime(t, 600)
	if !isSquare(times(p, p)) || isSquare(new(big.Int).Add(times(p, p), big.NewInt(2))) {
		t.Error("long numbers")
	}
}

func TestHonestKeysPass(t *testing.T) {
	for range 3 {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		p, err := FromKey(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Weak(); err != nil {
			t.Error(err)
		}
	}
}

func TestXK_011_Blocklist(t *testing.T) {
	listed, _ := Parse(rsaSPKI(odd(2048), 65537))
	other, _ := Parse(rsaSPKI(odd(2056), 65537))
	curve, _ := FromKey(newKey(t, "P-256").Public())
	byHash, _ := FromKey(newKey(t, "P-256").Public())
	modulus := strings.ToUpper(odd(2048).Text(16))
	print := sha1.Sum(fmt.Appendf(nil, "Modulus=%s\n", modulus))
	sum := byHash.Hash()
	b, err := ReadBlocklist(strings.NewReader("# a comment\n\n00006aa0ce2cd60e6660\n" +
		hex.EncodeToString(print[10:]) + "\nffff6aa0ce2cd60e6660 # and one\n" + hex.EncodeToString(sum[:]) + "\n"))
	if err != nil || b.Len() != 4 {
		t.Fatalf("gave %v, %v", b, err)
	}
	var weak *WeakError
	for _, p := range []*Public{listed, byHash} {
		if err := b.Check(p); !errors.As(err, &weak) || weak.Kind != WeakListed {
			t.Errorf("%s: gave %v", p, err)
		}
	}
	for _, p := range []*Public{other, curve} {
		if err := b.Check(p); err != nil {
			t.Errorf("%s: gave %v", p, err)
		}
	}
	var none *Blocklist
	if none.Check(listed) != nil || none.Len() != 0 {
		t.Error("no list must list nothing")
	}
	for _, in := range []string{"zz", "00006aa0ce2cd60e66", "00006aa0ce2cd60e6660 x", strings.Repeat("a", 70000)} {
		if _, err := ReadBlocklist(strings.NewReader(in)); err == nil {
			t.Errorf("%.40q passes", in)
		}
	}
}
