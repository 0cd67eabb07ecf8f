// Package keys is the judge of public keys: none that is known to be weak, none
// that belongs to a CA, none that was given up as compromised.
package keys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"chancery/engine"
	"chancery/engine/keys"
)

// Config narrows, for every profile alike, what the profiles admit.
type Config struct {
	// RSAMin is the least size in bits of an RSA key. Optional; default: as the
	// profile says.
	RSAMin int `json:"rsa_min,omitempty"`

	// Curves are the curves that are admitted, of P-256, P-384, P-521. Optional;
	// default: as the profile says. An empty list admits none.
	Curves []string `json:"curves,omitempty"`

	// Blocklists are files of keys that are known to somebody else, such as those
	// that Debian's OpenSSL made in 2006 to 2008 (CVE-2008-0166), in the form of
	// Debian's openssl-blacklist or as SHA-256 of the SubjectPublicKeyInfo, one
	// to a line; a relative path is under the server's data. Optional. None comes
	// with Chancery.
	Blocklists []string `json:"blocklists,omitempty"`
}

// New makes the judge.
func New(c Config, d engine.Deps) (engine.Judge, error) {
	if d.Facts == nil {
		return nil, errors.New("the engine's facts are missing")
	}
	rules := keys.DefaultRules()
	rules.RSAMax = 8192 // the profile says how much is too much
	if c.RSAMin != 0 {
		rules.RSAMin = c.RSAMin
	}
	if c.Curves != nil {
		rules.Curves = c.Curves
	}
	if err := rules.Check(); err != nil {
		return nil, err
	}
	j := judge{rules: rules, facts: d.Facts, strong: &seen{}}
	for _, path := range c.Blocklists {
		l, err := read(path, d.Dir)
		if err != nil {
			return nil, fmt.Errorf("blocklists: %w", err)
		}
		j.lists = append(j.lists, l)
	}
	return j.look, nil
}

func read(path, dir string) (*keys.Blocklist, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l, err := keys.ReadBlocklist(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

type judge struct {
	rules keys.Rules
	facts engine.Facts
	lists []*keys.Blocklist

	strong *seen
}

// seen remembers some thousand keys that were found not to be weak.
type seen struct {
	mu   sync.Mutex
	keys map[[32]byte]struct{}
}

const maxSeen = 4096

func (s *seen) has(hash [32]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.keys[hash]
	return ok
}

func (s *seen) add(hash [32]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil || len(s.keys) >= maxSeen {
		s.keys = map[[32]byte]struct{}{}
	}
	s.keys[hash] = struct{}{}
}

func (j judge) look(ctx context.Context, r *engine.Request, _ engine.Rendered) (engine.Verdict, error) {
	key := r.Asked.Key
	if err := key.Allowed(j.rules); err != nil {
		return engine.Deny(engine.BadKey, "%v", err), nil
	}
	hash := key.Hash()
	if j.facts.CAKey(hash) {
		return engine.Deny(engine.BadKey, "public key: it is the key of a certificate authority; make a new key"), nil
	}
	why, blocked, err := j.facts.KeyBlocked(ctx, hash)
	if err != nil {
		return engine.Verdict{}, fmt.Errorf("asking whether the key is blocked: %w", err)
	}
	if blocked {
		if why == "" {
			why = "it was given up as compromised"
		}
		return engine.Deny(engine.BadKey, "public key: it may not be used again (%s); make a new key", why), nil
	}
	for _, l := range j.lists {
		if err := l.Check(key); err != nil {
			return engine.Deny(engine.BadKey, "%v", err), nil
		}
	}
	// Last, because for RSA it is the dearest; and once, because what was found of
	// a key stays true: devices keep theirs for renewals and ask again.
	if j.strong.has(hash) {
		return engine.Pass(), nil
	}
	if err := key.Weak(); err != nil {
		return engine.Deny(engine.BadKey, "%v", err), nil
	}
	j.strong.add(hash)
	return engine.Pass(), nil
}
