package keys

import (
	"math/big"
	"slices"
)

// checkEdwards refuses Ed25519 keys that are no point of the curve (RFC 8032,
// Section 5.1.3), have a second encoding, or generate a group of at most 8
// elements, under which one signature verifies for many messages.
//
// Everything here is public, so variable-time arithmetic is fine.
func checkEdwards(key []byte) (reason string) {
	le := slices.Clone(key)
	le[31] &= 0x7f // the sign of x
	slices.Reverse(le)
	y := new(big.Int).SetBytes(le)
	prime := new(big.Int).Lsh(big.NewInt(1), 255)
	prime.Sub(prime, big.NewInt(19))
	if y.Cmp(prime) >= 0 {
		return "the Ed25519 key is not in canonical form"
	}
	y2 := new(big.Int).Mul(y, y)
	y2.Mod(y2, prime)
	if smallOrder(y2, prime) {
		return "the Ed25519 key is a point of small order"
	}
	// x² = (y²-1)/(dy²+1), d = -121665/121666, has a root when the product of
	// numerator and denominator is a square. Both are multiplied by 121666,
	// which leaves their ratio as it is.
	num := new(big.Int).Sub(y2, big.NewInt(1))
	num.Mul(num, big.NewInt(121666))
	den := y2.Mul(y2, big.NewInt(-121665))
	den.Add(den, big.NewInt(121666))
	num.Mul(num, den).Mod(num, prime)
	if big.Jacobi(num, prime) != 1 {
		return "the Ed25519 key is not a point of the curve"
	}
	return ""
}

// smallOrder tells by y² alone: order 1 and 2 have y² = 1, order 4 has y = 0,
// and for order 8 doubling must give y = 0, that is x² + y² = 0, which with the
// curve's equation is d·y⁴ + 2y² - 1 = 0.
func smallOrder(y2, prime *big.Int) bool {
	if y2.Sign() == 0 || y2.Cmp(big.NewInt(1)) == 0 {
		return true
	}
	// 121666·(d·y⁴ + 2y² - 1) = -121665·y⁴ + 243332·y² - 121666
	sum := new(big.Int).Mul(y2, big.NewInt(-121665))
	sum.Add(sum, big.NewInt(243332))
	sum.Mul(sum, y2)
	sum.Sub(sum, big.NewInt(121666))
	return sum.Mod(sum, prime).Sign() == 0
}
