package keys

import (
	"crypto/rsa"
	"math/big"
	"strconv"
)

// Weakness is a class of broken keys.
type Weakness string

// The classes that Weak and Blocklist know.
const (
	WeakExponent    Weakness = "exponent"     // e even or below 65537
	WeakEven        Weakness = "even"         // even modulus
	WeakSmallFactor Weakness = "small-factor" // a prime factor up to 751
	WeakROCA        Weakness = "roca"         // CVE-2017-15361
	WeakSquare      Weakness = "square"       // the modulus is a square
	WeakFermat      Weakness = "fermat"       // CVE-2022-26320: factors too close
	WeakPrime       Weakness = "prime"        // the modulus is itself prime
	WeakListed      Weakness = "listed"       // on a Blocklist, as of CVE-2008-0166
)

// Weak looks for weaknesses that show in the key itself. Nil says that none was
// found, not that there is none: lists of known keys (CVE-2008-0166) are a
// Blocklist, blocked keys the engine's. Cheap checks come first; keys other than
// RSA cost nothing. The error is a *WeakError.
func (p *Public) Weak() error {
	key, ok := p.Key.(*rsa.PublicKey)
	if !ok {
		return nil
	}
	// FIPS 186-5, Appendix A.1.1: an odd exponent above 2^16. Smaller ones turn
	// faults of padding into forgeries.
	if key.E < 65537 || key.E%2 == 0 {
		return &WeakError{WeakExponent, "the exponent is " + strconv.Itoa(key.E) + ", it must be odd and at least 65537"}
	}
	if key.N.Bit(0) == 0 {
		return &WeakError{WeakEven, "the modulus is even"}
	}
	if f := smallFactor(key.N); f != 0 {
		return &WeakError{WeakSmallFactor, "the modulus has the factor " + strconv.FormatUint(uint64(f), 10)}
	}
	if roca(key.N) {
		return &WeakError{WeakROCA, "it has the fingerprint of the faulty generator of CVE-2017-15361"}
	}
	if kind := closePrimes(key.N); kind != "" {
		return &WeakError{kind, "the two factors of the modulus are too close (CVE-2022-26320)"}
	}
	// A prime modulus hides nothing: its totient is known. This one test
	// costs a full exponentiation, more than all others together, so it is
	// last; a key needs judging only once.
	if probablyPrime(key.N) {
		return &WeakError{WeakPrime, "the modulus is prime, not a product of two primes"}
	}
	return nil
}

// probablyPrime is a Fermat test to base 2. A composite that passes it by chance
// is as good as never met, and refusing one would cost its owner a new key.
func probablyPrime(n *big.Int) bool {
	e := new(big.Int).Sub(n, big.NewInt(1))
	return e.Exp(big.NewInt(2), e, n).Cmp(big.NewInt(1)) == 0
}
