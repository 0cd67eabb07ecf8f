package keys

import (
	"fmt"
	"slices"
	"strings"
)

// Rules say which keys a profile permits. The zero Rules are DefaultRules. In
// Rules that are not zero, a zero RSAMin or RSAMax and nil Curves still mean the
// default, but Ed25519 is taken as written: false refuses it.
type Rules struct {
	RSAMin  int      `json:"rsa_min,omitempty"` // bits; 0 means 2048
	RSAMax  int      `json:"rsa_max,omitempty"` // bits; 0 means 4096, negative means no RSA
	Curves  []string `json:"curves,omitempty"`  // nil means all three, an empty list none
	Ed25519 bool     `json:"ed25519"`
}

// DefaultRules are RSA from 2048 to 4096 bits, P-256, P-384, P-521 and Ed25519.
// A decoder that fills Rules should start from them.
func DefaultRules() Rules {
	return Rules{RSAMin: 2048, RSAMax: 4096, Curves: []string{"P-256", "P-384", "P-521"}, Ed25519: true}
}

// filled replaces what is unset by its default.
func (r Rules) filled() Rules {
	d := DefaultRules()
	if r.RSAMin == 0 && r.RSAMax == 0 && r.Curves == nil && !r.Ed25519 {
		return d
	}
	if r.RSAMin == 0 {
		r.RSAMin = d.RSAMin
	}
	if r.RSAMax == 0 {
		r.RSAMax = d.RSAMax
	}
	if r.Curves == nil {
		r.Curves = d.Curves
	}
	return r
}

// Check refuses rules that contradict themselves or admit nothing, so that a
// configuration fails when it is read and not when a client comes.
func (r Rules) Check() error {
	f := r.filled()
	for _, c := range f.Curves {
		if !slices.Contains(DefaultRules().Curves, c) {
			return fmt.Errorf("key rules: unknown curve %q; known are P-256, P-384, P-521", c)
		}
	}
	switch {
	case f.RSAMax < 0:
		if len(f.Curves) == 0 && !f.Ed25519 {
			return fmt.Errorf("key rules: no key is allowed; allow RSA, a curve or ed25519")
		}
	case f.RSAMin > f.RSAMax:
		return fmt.Errorf("key rules: rsa_min %d is above rsa_max %d", f.RSAMin, f.RSAMax)
	case f.RSAMin < 2048:
		return fmt.Errorf("key rules: rsa_min %d is below 2048, which is no longer safe", f.RSAMin)
	case f.RSAMax > maxModulus:
		return fmt.Errorf("key rules: rsa_max %d is above %d, the largest that is read", f.RSAMax, maxModulus)
	}
	return nil
}

// Allowed says whether r permits the key. The error is a *RuleError.
func (p *Public) Allowed(r Rules) error {
	r = r.filled()
	ok := false
	switch p.Algorithm {
	case RSA:
		// A size that is no multiple of 8 gains nothing and confuses devices.
		ok = p.Bits >= r.RSAMin && p.Bits <= r.RSAMax && p.Bits%8 == 0
	case ECDSA:
		ok = slices.Contains(r.Curves, p.Curve)
	case Ed25519:
		ok = r.Ed25519
	}
	if !ok {
		return &RuleError{Got: p.String(), Want: r.describe()}
	}
	return nil
}

// describe lists what is permitted, for people.
func (r Rules) describe() string {
	var out []string
	if r.RSAMax > 0 {
		out = append(out, fmt.Sprintf("RSA of %d to %d bits (a multiple of 8)", r.RSAMin, r.RSAMax))
	}
	out = append(out, r.Curves...)
	if r.Ed25519 {
		out = append(out, "Ed25519")
	}
	return strings.Join(out, ", ")
}
