package webhook

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const (
	minSecret = 16
	maxFile   = 1 << 20
)

// readSecret reads the shared secret. No error holds any of it.
func readSecret(path, dir string) ([]byte, error) {
	if path == "" {
		return nil, errors.New("secret_file is missing; make one with: openssl rand -hex 32 > webhook.secret && chmod 600 webhook.secret")
	}
	text, err := readFile(path, dir)
	if err != nil {
		return nil, fmt.Errorf("secret_file: %w", err)
	}
	secret := bytes.TrimRight(text, "\r\n")
	if len(secret) < minSecret {
		return nil, fmt.Errorf("secret_file: %s holds %d octets, at least %d are needed; make one with: openssl rand -hex 32", path, len(secret), minSecret)
	}
	return secret, nil
}

// readRoots reads trust anchors. Nil stands for those of the operating system.
func readRoots(path, dir string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	text, err := readFile(path, dir)
	if err != nil {
		return nil, fmt.Errorf("roots_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("roots_file: %s holds no certificate in PEM", path)
	}
	return pool, nil
}

// readFile reads a file whose path is relative to the server's data.
func readFile(path, dir string) ([]byte, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}
