package keys

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"testing"
)

func FuzzParse(f *testing.F) {
	for _, algorithm := range algorithms {
		p, err := FromKey(newKey(f, algorithm).Public())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p.SPKI)
	}
	f.Add(rsaSPKI(odd(512), 3))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := Parse(in)
		if err != nil {
			return
		}
		if !bytes.Equal(p.SPKI, in) {
			t.Fatal("the encoding changed")
		}
		p.Weak()
		p.Allowed(Rules{})
		// What we read, the standard library reads as the same key, and writes
		// in the same octets: no key has a second encoding.
		theirs, err := x509.ParsePKIXPublicKey(in)
		if err != nil {
			t.Fatal(err)
		}
		if !p.Key.(interface{ Equal(crypto.PublicKey) bool }).Equal(theirs) {
			t.Fatal("another key")
		}
		back, err := FromKey(theirs)
		if err != nil || !bytes.Equal(back.SPKI, in) {
			t.Fatalf("%x became %x, %v", in, back.SPKI, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, algorithm := range algorithms {
		p, err := FromKey(newKey(b, algorithm).Public())
		if err != nil {
			b.Fatal(err)
		}
		b.Run(algorithm, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(p.SPKI); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWeak(b *testing.B) {
	for _, algorithm := range []string{"P-256", "RSA 2048", "RSA 3072"} {
		p, err := FromKey(newKey(b, algorithm).Public())
		if err != nil {
			b.Fatal(err)
		}
		b.Run(algorithm, func(b *testing.B) {
			for b.Loop() {
				if err := p.Weak(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWeakParts shows where the time for RSA goes.
func BenchmarkWeakParts(b *testing.B) {
	n := newKey(b, "RSA 2048").Public().(*rsa.PublicKey).N
	b.Run("factors", func(b *testing.B) {
		for b.Loop() {
			smallFactor(n)
		}
	})
	b.Run("roca", func(b *testing.B) {
		for b.Loop() {
			roca(n)
		}
	})
	b.Run("fermat", func(b *testing.B) {
		for b.Loop() {
			closePrimes(n)
		}
	})
	b.Run("prime", func(b *testing.B) {
		for b.Loop() {
			probablyPrime(n)
		}
	})
}
