package datadir

import (
	"crypto/hpke"
	"encoding/base64"
	"errors"
	"fmt"
)

// The shared secret goes to a new node through the store, encrypted to a key that
// the new node made (HPKE, RFC 9180, base mode). The store and its backups may be
// read in many years, so the key exchange also withstands a quantum computer.
var (
	wrapKEM  = hpke.MLKEM768X25519()
	wrapKDF  = hpke.HKDFSHA256()
	wrapAEAD = hpke.AES256GCM()
)

// A JoinKey is the key pair of a machine that wants to become a node. It lives
// as long as the machine waits.
type JoinKey struct{ private hpke.PrivateKey }

// NewJoinKey makes a key pair.
func NewJoinKey() (JoinKey, error) {
	k, err := wrapKEM.GenerateKey()
	return JoinKey{k}, err
}

// Public is what others encrypt to.
func (k JoinKey) Public() []byte { return k.private.PublicKey().Bytes() }

// wrapInfo binds what is encrypted to its use and to the name of the node.
func wrapInfo(name string) []byte { return []byte("chancery node join\x00" + name) }

// Wrap encrypts the secret for the node of a name, to its public key.
func (s *Seal) Wrap(name string, public []byte) ([]byte, error) {
	pub, err := wrapKEM.NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("the new node's key: %w", err)
	}
	return hpke.Seal(pub, wrapKDF, wrapAEAD, wrapInfo(name), s.secret)
}

// Unwrap decrypts what Wrap made for the node of this name.
func (k JoinKey) Unwrap(name string, sealed []byte) (*Seal, error) {
	secret, err := hpke.Open(k.private, wrapKDF, wrapAEAD, wrapInfo(name), sealed)
	if err != nil || len(secret) != sealSize {
		return nil, errors.New("the answer is not for this machine")
	}
	return &Seal{secret}, nil
}

// WriteSeal writes the secret where there is none yet.
func (d Dir) WriteSeal(s *Seal) error {
	there, err := Exists(d.Seal())
	if err == nil && there {
		err = fmt.Errorf("%s is there already", d.Seal())
	}
	if err != nil {
		return err
	}
	return Write(d.Seal(), []byte(base64.StdEncoding.EncodeToString(s.secret)+"\n"), 0o600)
}
