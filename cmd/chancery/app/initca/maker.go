package initca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"chancery/cmd/chancery/app/datadir"
	"chancery/engine"
	"chancery/engine/names"
	"chancery/modules/signer/file"
)

// How long CAs live. A root outlives several generations of issuing CAs.
const (
	year               = 365 * 24 * time.Hour
	rootLifetime       = 20 * year
	issuingLifetime    = 5 * year
	managementLifetime = 10 * year
)

// A maker makes what is not there. It opens the root's key at most once.
type maker struct {
	Spec
	ids     map[string]string
	top     *x509.Certificate
	topKey  crypto.Signer
	rootErr error
}

// management makes the CA of those who administer. It is a root of its own,
// which no client trusts: a certificate for a server must never be good for
// administration, nor the other way round.
func (m *maker) management() error {
	return m.ca(engine.ManagementAuthority, engine.Authority{}, func(key crypto.Signer) ([]byte, error) {
		subject, err := m.subject("", "Management CA")
		if err != nil {
			return nil, err
		}
		return m.sign(subject, key, managementLifetime, 0, nil, nil, key)
	})
}

// authority makes an issuing CA under the root.
func (m *maker) authority(name string, a engine.Authority) error {
	return m.ca(name, a, func(key crypto.Signer) ([]byte, error) {
		if err := m.openRoot(); err != nil {
			return nil, err
		}
		kind := "Issuing CA"
		if name != "main" {
			kind += " " + name
		}
		subject, err := m.subject(a.Subject, kind)
		if err != nil {
			return nil, err
		}
		lifetime := time.Duration(a.Lifetime)
		if lifetime == 0 {
			lifetime = issuingLifetime
		}
		return m.sign(subject, key, lifetime, 0, a.Domains, m.top, m.topKey)
	})
}

// ca makes key and certificate of a CA, or reads what is there.
func (m *maker) ca(name string, a engine.Authority, sign func(crypto.Signer) ([]byte, error)) error {
	path := m.Dir.CACert(name)
	cert, err := readCert(path)
	if err == nil {
		m.ids[name] = hex.EncodeToString(cert.SubjectKeyId)
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// A key without a certificate is what a crash between the two leaves.
	key, err := file.New(file.Config{Path: m.Dir.CAKey(name)})
	if errors.Is(err, fs.ErrNotExist) {
		if key, err = newKey(a.Key, m.Rand); err == nil {
			err = file.Write(m.Dir.CAKey(name), key, nil)
		}
	}
	if err != nil {
		return err
	}
	der, err := sign(key)
	if err != nil {
		return err
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	m.ids[name] = hex.EncodeToString(cert.SubjectKeyId)
	m.Say("CA %s: %s, until %s", name, cert.Subject, cert.NotAfter.Format(time.DateOnly))
	return datadir.Write(path, PEM(der), 0o644)
}

// openRoot makes or reads the root. Its passphrase lies beside it until the
// administrator moves both away, which chancery root export does.
func (m *maker) openRoot() error {
	if m.topKey != nil || m.rootErr != nil {
		return m.rootErr
	}
	m.rootErr = m.makeRoot()
	return m.rootErr
}

func (m *maker) makeRoot() error {
	cert, err := readCert(m.Dir.CACert(root))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	where := file.Config{Path: m.Dir.CAKey(root), PassphraseFile: m.Dir.RootPass()}
	key, err := file.New(where)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil && cert != nil:
		return fmt.Errorf("the root's key is needed to make a CA under it: put it back as %s, with its passphrase in %s", where.Path, where.PassphraseFile)
	case err != nil:
		if key, err = m.newRootKey(); err != nil {
			return err
		}
	}
	if cert == nil {
		subject, err := m.subject("", "Root CA")
		if err != nil {
			return err
		}
		der, err := m.sign(subject, key, rootLifetime, -1, nil, nil, key)
		if err != nil {
			return err
		}
		if cert, err = x509.ParseCertificate(der); err != nil {
			return err
		}
		m.Say("root: %s, until %s; its key is encrypted, move it away with: chancery root export", cert.Subject, cert.NotAfter.Format(time.DateOnly))
		if err := datadir.Write(m.Dir.CACert(root), PEM(der), 0o644); err != nil {
			return err
		}
	}
	m.top, m.topKey = cert, key
	return nil
}

// newRootKey writes the passphrase before the key: a key that is there can be
// opened.
func (m *maker) newRootKey() (crypto.Signer, error) {
	if there, err := datadir.Exists(m.Dir.CAKey(root)); err != nil {
		return nil, err
	} else if there {
		return nil, fmt.Errorf("%s is there but its passphrase %s is not: restore it", m.Dir.CAKey(root), m.Dir.RootPass())
	}
	secret := make([]byte, 24)
	if _, err := io.ReadFull(m.Rand, secret); err != nil {
		return nil, err
	}
	pass := []byte(base64.RawURLEncoding.EncodeToString(secret))
	if err := datadir.Write(m.Dir.RootPass(), append(pass, '\n'), 0o600); err != nil {
		return nil, err
	}
	key, err := newKey("ecdsa-p384", m.Rand)
	if err != nil {
		return nil, err
	}
	return key, file.Write(m.Dir.CAKey(root), key, pass[:len(pass):len(pass)])
}

// subject is the distinguished name of a new CA. It holds a tag, because a new
// CA key has a new name: chains are then never ambiguous.
func (m *maker) subject(given, kind string) (names.DN, error) {
	if given != "" {
		return names.ParseDNString(given)
	}
	tag := make([]byte, 3)
	if _, err := io.ReadFull(m.Rand, tag); err != nil {
		return nil, err
	}
	label := strings.NewReplacer("\\", "", ",", "", "+", "", "\"", "", ";", "", "<", "", ">", "", "=", "", "#", "").Replace(m.Label)
	if len(label) > 40 {
		label = label[:40] // of 64 characters that a CN may have
	}
	return names.ParseDNString(fmt.Sprintf("CN=%s %s %d-%s", label, kind, m.Now().Year(), hex.EncodeToString(tag)))
}

// roots writes the bundle that clients trust: the one root, which is also above
// what the https listener shows. The management CA is not in it.
func (m *maker) roots() error {
	if there, err := datadir.Exists(m.Dir.Roots()); err != nil || there {
		return err
	}
	top, err := Root(m.Dir)
	if err != nil {
		return err
	}
	return datadir.Write(m.Dir.Roots(), PEM(top.Raw), 0o644)
}

// newKey makes a key of a kind that policy.yaml names.
func newKey(kind string, random io.Reader) (crypto.Signer, error) {
	switch kind {
	case "", "ecdsa-p256":
		return ecdsa.GenerateKey(elliptic.P256(), random)
	case "ecdsa-p384":
		return ecdsa.GenerateKey(elliptic.P384(), random)
	case "rsa-3072":
		return rsa.GenerateKey(random, 3072)
	case "ed25519":
		_, key, err := ed25519.GenerateKey(random)
		return key, err
	}
	return nil, fmt.Errorf("there are no CA keys of the kind %q; write ecdsa-p256, ecdsa-p384, rsa-3072 or ed25519", kind)
}
