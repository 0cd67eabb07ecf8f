package keys

import (
	"math"
	"math/big"
	"math/bits"
)

// largestSmallPrime ends the trial division that NIST SP 800-89, Section 5.3.3
// and the Baseline Requirements, Section 6.1.6 ask for.
const largestSmallPrime = 751

// residue is n modulo m, word by word, without allocating.
func residue(n *big.Int, m uint) uint {
	r := uint(0)
	words := n.Bits()
	for i := len(words) - 1; i >= 0; i-- {
		_, r = bits.Div(r, uint(words[i]), m)
	}
	return r
}

// isSmallPrime is trial division for the few numbers below 752.
func isSmallPrime(n uint) bool {
	for d := uint(3); d*d <= n; d += 2 {
		if n%d == 0 {
			return false
		}
	}
	return n > 2 && n%2 == 1
}

// smallFactor gives the least odd prime factor of n up to 751, or 0. Primes are
// gathered into products of one word, so that the long number is divided about
// 20 times and not 131.
func smallFactor(n *big.Int) uint {
	product, first := uint(1), uint(3)
	for p := uint(3); ; p += 2 {
		prime := isSmallPrime(p)
		if p <= largestSmallPrime && (!prime || product <= math.MaxUint/p) {
			if prime {
				product *= p
			}
			continue
		}
		r := residue(n, product)
		for q := first; q < p; q += 2 {
			if isSmallPrime(q) && r%q == 0 && product%q == 0 {
				return q
			}
		}
		if p > largestSmallPrime {
			return 0
		}
		product, first = p, p
	}
}

// roca is the fingerprint test published for CVE-2017-15361 (Nemec and others,
// "The Return of Coppersmith's Attack", CCS 2017, Section 3.2): the faulty
// generator makes primes k·M + (65537^a mod M), with M the product of the first
// primes, so modulo each of them the modulus is a power of 65537. For an honest
// modulus this holds for all of the primes up to 167 about once in 2^27.
func roca(n *big.Int) bool {
	for p := uint(3); p <= 167; p += 2 {
		if isSmallPrime(p) && !powerOf65537(residue(n, p), p) {
			return false
		}
	}
	return true
}

// powerOf65537 says whether r is in the subgroup that 65537 generates modulo p.
func powerOf65537(r, p uint) bool {
	g := 65537 % p
	for x := g; ; x = x * g % p {
		if x == r {
			return true
		}
		if x == 1 {
			return false
		}
	}
}

// fermatRounds is what the Baseline Requirements, Section 6.1.1.3 ask for.
const fermatRounds = 100

// closePrimes tries Fermat's factorisation: n = a² - b² with a just above the
// root of n (CVE-2022-26320). It returns WeakSquare, WeakFermat or "".
func closePrimes(n *big.Int) Weakness {
	a := new(big.Int).Sqrt(n)
	rest := new(big.Int).Mul(a, a)
	if rest.Cmp(n) == 0 {
		return WeakSquare
	}
	one := big.NewInt(1)
	a.Add(a, one)
	rest.Mul(a, a).Sub(rest, n)
	step := new(big.Int).Lsh(a, 1)
	step.Add(step, one)
	for range fermatRounds {
		if isSquare(rest) {
			return WeakFermat
		}
		// (a+1)² - n = a² - n + 2a + 1
		rest.Add(rest, step)
		step.Add(step, big.NewInt(2))
	}
	return ""
}

// isSquare sorts most numbers out by their residues before it takes a root.
func isSquare(n *big.Int) bool {
	words := n.Bits()
	if len(words) == 0 {
		return true
	}
	// A square modulo 64 is one of 12 values.
	const squares64 = 1<<0 | 1<<1 | 1<<4 | 1<<9 | 1<<16 | 1<<17 | 1<<25 | 1<<33 | 1<<36 | 1<<41 | 1<<49 | 1<<57
	if uint64(squares64)>>(uint(words[0])&63)&1 == 0 {
		return false
	}
	for p := uint(3); p <= 37; p += 2 {
		if isSmallPrime(p) && !quadraticResidue(residue(n, p), p) {
			return false
		}
	}
	root := new(big.Int).Sqrt(n)
	return root.Mul(root, root).Cmp(n) == 0
}

// quadraticResidue says whether r is a square modulo the prime p.
func quadraticResidue(r, p uint) bool {
	for x := uint(0); x <= p/2; x++ {
		if x*x%p == r {
			return true
		}
	}
	return false
}
