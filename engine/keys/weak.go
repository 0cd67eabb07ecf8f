package keys

import (
	"crypto/rsa"
	"math/big"
	"math/bits"
	"strconv"
)

// Weakness is a class of broken keys.
type Weakness string

// The classes that Weak knows.
const (
	WeakExponent    Weakness = "exponent"     // e even or below 65537
	WeakEven        Weakness = "even"         // even modulus
	WeakSmallFactor Weakness = "small-factor" // a prime factor up to 751
	WeakPrime       Weakness = "prime"        // the modulus is itself prime
	WeakSquare      Weakness = "square"       // the modulus is a square
	WeakFermat      Weakness = "fermat"       // CVE-2022-26320: factors too close
	WeakROCA        Weakness = "roca"         // CVE-2017-15361
	WeakListed      Weakness = "listed"       // on a list of known keys
)

// fermatRounds is what the Baseline Requirements, Section 6.1.1.3, ask for.
const fermatRounds = 100

// Weak looks for known weaknesses. Nil says that none was found, not that there
// is none. Cheap checks come first; keys other than RSA cost nothing. The error
// is a *WeakError.
func (p *Public) Weak() error {
	key, ok := p.Key.(*rsa.PublicKey)
	if !ok {
		return nil
	}
	// FIPS 186-5, Section 5.4: an odd exponent above 2^16. Smaller ones turn
	// faults of padding into forgeries.
	if key.E < 65537 || key.E%2 == 0 {
		return &WeakError{WeakExponent, "the exponent is " + strconv.Itoa(key.E) + ", it must be odd and at least 65537"}
	}
	if key.N.Bit(0) == 0 {
		return &WeakError{WeakEven, "the modulus is even"}
	}
	for _, p := range smallPrimes() {
		if residue(key.N, p) == 0 {
			return &WeakError{WeakSmallFactor, "the modulus has the factor " + strconv.FormatUint(p, 10)}
		}
	}
	if roca(key.N) {
		return &WeakError{WeakROCA, "made by the faulty library of CVE-2017-15361"}
	}
	if err := fermat(key.N); err != nil {
		return err
	}
	if key.N.ProbablyPrime(0) {
		return &WeakError{WeakPrime, "the modulus is prime"}
	}
	return nil
}

func smallPrimes() []uint64 { return nil }

func residue(n *big.Int, p uint64) uint64 {
	r := uint64(0)
	words := n.Bits()
	for i := len(words) - 1; i >= 0; i-- {
		_, r = bits.Div64(r, uint64(words[i]), p)
	}
	return r
}

func roca(n *big.Int) bool    { return false }
func fermat(n *big.Int) error { return nil }
