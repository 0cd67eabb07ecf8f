package engine

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// seal encrypts a secret that every node must be able to use, for one place in
// the store: put elsewhere, it does not open.
func (e *Engine) seal(table, key string, secret []byte) ([]byte, error) {
	aead, err := e.sealer()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(secret)+aead.Overhead())
	if _, err := io.ReadFull(e.Rand, nonce); err != nil {
		return nil, errors.New("no randomness for sealing a secret")
	}
	return aead.Seal(nonce, nonce, secret, place(table, key)), nil
}

// unseal is the reverse of seal.
func (e *Engine) unseal(table, key string, sealed []byte) ([]byte, error) {
	aead, err := e.sealer()
	if err != nil {
		return nil, err
	}
	if len(sealed) < aead.NonceSize() {
		return nil, fmt.Errorf("the sealed secret of %s %s is damaged", table, key)
	}
	nonce, body := sealed[:aead.NonceSize()], sealed[aead.NonceSize():]
	secret, err := aead.Open(nil, nonce, body, place(table, key))
	if err != nil {
		return nil, fmt.Errorf("the sealed secret of %s %s does not open: it is damaged, or was sealed with another seal.key", table, key)
	}
	return secret, nil
}

func (e *Engine) sealer() (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, e.MACKey, nil, "chancery seal", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func place(table, key string) []byte { return []byte(table + "\x00" + key) }
