package keys

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chancery/engine"
	"chancery/engine/keys"
)

// facts are what a test wants the engine to know.
type facts struct {
	ca      [32]byte
	blocked [32]byte
	why     string
	err     error
}

func (f facts) KeyBlocked(_ context.Context, h [32]byte) (string, bool, error) {
	return f.why, h == f.blocked, f.err
}

func (f facts) CAKey(h [32]byte) bool { return h == f.ca }

func newKey(t *testing.T, c elliptic.Curve) *keys.Public {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p, err := keys.FromKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newRSA(t *testing.T) *keys.Public {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p, err := keys.FromKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// close2048 is a key whose primes are neighbours (CVE-2022-26320).
func close2048(t *testing.T) *keys.Public {
	t.Helper()
	p, err := rand.Prime(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	q := new(big.Int).Add(p, big.NewInt(2))
	for !q.ProbablyPrime(10) {
		q.Add(q, big.NewInt(2))
	}
	k, err := keys.FromKey(&rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestJudgesKeys(t *testing.T) {
	p256, p384, rsa2048, weak := newKey(t, elliptic.P256()), newKey(t, elliptic.P384()), newRSA(t), close2048(t)
	for _, tt := range []struct {
		name   string
		config Config
		facts  facts
		key    *keys.Public
		says   string // in the denial; empty: passes
	}{
		{"P-256", Config{}, facts{}, p256, ""},
		{"RSA", Config{}, facts{}, rsa2048, ""},
		{"close primes", Config{}, facts{}, weak, "CVE-2022-26320"},
		{"larger RSA wanted", Config{RSAMin: 3072}, facts{}, rsa2048, "use RSA of 3072"},
		{"larger RSA wanted, and it is none", Config{RSAMin: 3072}, facts{}, p256, ""},
		{"another curve wanted", Config{Curves: []string{"P-384"}}, facts{}, p256, "use RSA of 2048 to 8192 bits (a multiple of 8), P-384"},
		{"the curve wanted", Config{Curves: []string{"P-384"}}, facts{}, p384, ""},
		{"no curve", Config{Curves: []string{}}, facts{}, p384, "P-384 is not allowed"},
		{"XK-015: a CA's key", Config{}, facts{ca: p256.Hash()}, p256, "key of a certificate authority; make a new key"},
		{"XK-014: given up", Config{}, facts{blocked: p256.Hash(), why: "revoked by ann on 2026-01-01"}, p256, "(revoked by ann on 2026-01-01); make a new key"},
		{"XK-014: given up, no why", Config{}, facts{blocked: p256.Hash()}, p256, "given up as compromised"},
		{"another is given up", Config{}, facts{blocked: p384.Hash()}, p256, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j, err := New(tt.config, engine.Deps{Facts: tt.facts})
			if err != nil {
				t.Fatal(err)
			}
			v, err := j(t.Context(), &engine.Request{Asked: &engine.Asked{Key: tt.key}}, engine.Rendered{})
			if err != nil {
				t.Fatal(err)
			}
			reason, detail, denied := v.Denied()
			switch {
			case !denied && tt.says != "":
				t.Errorf("not denied, want %q", tt.says)
			case denied && (tt.says == "" || reason != engine.BadKey || !strings.Contains(detail, tt.says)):
				t.Errorf("denied: %s: %s, want %q", reason, detail, tt.says)
			}
		})
	}
}

func TestUnknownIsNotNo(t *testing.T) {
	j, err := New(Config{}, engine.Deps{Facts: facts{err: errors.New("disk")}})
	if err != nil {
		t.Fatal(err)
	}
	v, err := j(t.Context(), &engine.Request{Asked: &engine.Asked{Key: newKey(t, elliptic.P256())}}, engine.Rendered{})
	if _, _, denied := v.Denied(); err == nil || denied {
		t.Errorf("a store that cannot tell became %+v, %v", v, err)
	}
}

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		config Config
		deps   engine.Deps
		says   string
	}{
		{Config{}, engine.Deps{}, "facts"},
		{Config{RSAMin: 1024}, engine.Deps{Facts: facts{}}, "below 2048"},
		{Config{RSAMin: 9000}, engine.Deps{Facts: facts{}}, "above"},
		{Config{Curves: []string{"p256"}}, engine.Deps{Facts: facts{}}, "known are P-256"},
	} {
		if _, err := New(tt.config, tt.deps); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: %v, want %q", tt.config, err, tt.says)
		}
	}
}

func TestBlocklists(t *testing.T) {
	dir := t.TempDir()
	known, other, modular := newKey(t, elliptic.P256()), newKey(t, elliptic.P256()), newRSA(t)
	hash := known.Hash()
	modulus := sha1.Sum(fmt.Appendf(nil, "Modulus=%X\n", modular.Key.(*rsa.PublicKey).N))
	list := fmt.Sprintf("# as openssl-blacklist, and by SPKI\n%x\n%x\n", modulus[10:], hash)
	if err := os.WriteFile(filepath.Join(dir, "known.txt"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := New(Config{Blocklists: []string{"known.txt"}}, engine.Deps{Facts: facts{}, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[*keys.Public]bool{known: true, modular: true, other: false} {
		v, err := j(t.Context(), &engine.Request{Asked: &engine.Asked{Key: key}}, engine.Rendered{})
		if reason, _, denied := v.Denied(); err != nil || denied != want || denied && reason != engine.BadKey {
			t.Errorf("%s: %+v, %v, want denied %t", key, v, err, want)
		}
	}
	if _, err := New(Config{Blocklists: []string{"none.txt"}}, engine.Deps{Facts: facts{}, Dir: dir}); err == nil {
		t.Error("a list that is not there was accepted")
	}
}
