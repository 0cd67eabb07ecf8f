package file

import (
	"crypto"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/youmark/pkcs8"
)

// Write makes the file with the key, encrypted if the passphrase is not empty.
// When it returns nil the key is on the disk. It refuses with fs.ErrExist if
// there is a file already: a CA key that is overwritten is gone.
func Write(path string, key crypto.Signer, passphrase []byte) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s: %w; move it away first, a key that is overwritten is gone", path, fs.ErrExist)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return Replace(path, key, passphrase)
}

// Replace is Write for a key that may take the place of another. Whoever reads
// the file meanwhile, or after a crash, finds the one or the other, whole.
func Replace(path string, key crypto.Signer, passphrase []byte) error {
	text, err := encode(key, passphrase)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer clear(text)
	temp, err := writeBeside(path, text)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return syncDir(filepath.Dir(path))
}

func encode(key crypto.Signer, passphrase []byte) ([]byte, error) {
	signer, err := supported(key)
	if err != nil {
		return nil, err
	}
	block := &pem.Block{Type: plainType}
	opts := (*pkcs8.Opts)(nil)
	if len(passphrase) > 0 {
		block.Type = encryptedType
		opts = &pkcs8.Opts{
			Cipher: pkcs8.AES256CBC,
			// About 40 ms and 16 MiB, which a server spends once per key and start.
			KDFOpts: pkcs8.ScryptOpts{SaltSize: 16, CostParameter: 1 << 14, BlockSize: 8, ParallelizationParameter: 1},
		}
	}
	block.Bytes, err = pkcs8.MarshalPrivateKey(signer, passphrase, opts)
	if err != nil {
		return nil, err
	}
	defer clear(block.Bytes)
	return pem.EncodeToMemory(block), nil
}

// writeBeside writes a new file in the directory of path and returns its name.
func writeBeside(path string, text []byte) (name string, err error) {
	var suffix [8]byte
	rand.Read(suffix[:]) // never fails
	name = path + "." + hex.EncodeToString(suffix[:]) + ".tmp"
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(name))
	}
	return name, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
