// Package file keeps private keys in files: PKCS#8 (RFC 5958) in PEM, readable
// by their owner only, encrypted if there is a passphrase (PBES2 of RFC 8018,
// with scrypt and AES-256). openssl pkey reads and writes the same files.
package file

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/youmark/pkcs8"
)

// Config says where a key is.
type Config struct {
	// Path is the file with the key. Required.
	Path string `json:"path"`

	// PassphraseFile holds the passphrase, without the end of the line.
	// Required if the key is encrypted, and refused if it is not.
	PassphraseFile string `json:"passphrase_file,omitempty"`
}

const (
	plainType     = "PRIVATE KEY"
	encryptedType = "ENCRYPTED PRIVATE KEY"
	maxFile       = 64 << 10
)

// New reads the key: ECDSA, RSA or Ed25519. It refuses a file that others than
// its owner can read.
func New(c Config) (crypto.Signer, error) {
	if c.Path == "" {
		return nil, errors.New("path is missing; name the file with the private key")
	}
	text, err := readPrivate(c.Path)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	if block == nil || len(bytes.TrimSpace(rest)) != 0 {
		return nil, fmt.Errorf("%s is not one private key in PEM", c.Path)
	}
	passphrase, err := c.passphrase(block.Type)
	if err != nil {
		return nil, err
	}
	defer clear(passphrase)
	key, err := pkcs8.ParsePKCS8PrivateKey(block.Bytes, passphrase)
	if err != nil {
		if passphrase != nil {
			return nil, fmt.Errorf("%s cannot be opened with the passphrase in %s: %w", c.Path, c.PassphraseFile, err)
		}
		return nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	signer, err := supported(key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	return signer, nil
}

// passphrase reads it if the key of this PEM type needs one. A key that should
// be encrypted and is not is an error: somebody put another file there.
func (c Config) passphrase(blockType string) ([]byte, error) {
	switch {
	case blockType == encryptedType && c.PassphraseFile == "":
		return nil, fmt.Errorf("%s is encrypted; name the file with its passphrase in passphrase_file", c.Path)
	case blockType == encryptedType:
		p, err := readPrivate(c.PassphraseFile)
		if err != nil {
			return nil, err
		}
		if p = bytes.TrimRight(p, "\r\n"); len(p) == 0 {
			return nil, fmt.Errorf("%s is empty; it should hold the passphrase of %s", c.PassphraseFile, c.Path)
		}
		return p, nil
	case blockType != plainType:
		return nil, fmt.Errorf("%s holds a %.40q, not a %q; convert it with: openssl pkcs8 -topk8 -in %s", c.Path, blockType, encryptedType, c.Path)
	case c.PassphraseFile != "":
		return nil, fmt.Errorf("%s is not encrypted although passphrase_file is set; encrypt it with: openssl pkcs8 -topk8 -in %s", c.Path, c.Path)
	}
	return nil, nil
}

// readPrivate reads a file that only its owner may read. It looks at the file
// that it opened, not at the path, which may change in between.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read or changed by others (mode %04o); run: chmod 600 %s", path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s is too long for a key", path)
	}
	return text, err
}

func supported(key any) (crypto.Signer, error) {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		switch k.Curve.Params().Name {
		case "P-256", "P-384", "P-521":
			return k, nil
		}
		return nil, fmt.Errorf("keys on the curve %s are not used; make one on P-256", k.Curve.Params().Name)
	case *rsa.PrivateKey:
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, fmt.Errorf("keys of the kind %T are not used; make an ECDSA key on P-256", key)
}
