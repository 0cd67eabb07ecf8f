package file

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ecKey(t *testing.T, c elliptic.Curve) crypto.Signer {
	return must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(c, rand.Reader))
}

func put(t *testing.T, path, text string, mode fs.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEveryKindOfKeyComesBack(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{
		"P-256": ecKey(t, elliptic.P256()), "P-384": ecKey(t, elliptic.P384()), "P-521": ecKey(t, elliptic.P521()),
		"RSA": must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048)), "Ed25519": ed,
	} {
		for _, passphrase := range []string{"", "correct horse"} {
			dir := t.TempDir()
			c := Config{Path: filepath.Join(dir, "ca.key")}
			if passphrase != "" {
				c.PassphraseFile = put(t, filepath.Join(dir, "pass"), passphrase+"\n", 0o600)
			}
			if err := Write(c.Path, key, []byte(passphrase)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			info := must[os.FileInfo](t)(os.Stat(c.Path))
			if info.Mode().Perm() != 0o600 {
				t.Errorf("mode %04o", info.Mode().Perm())
			}
			if left := must[[]os.DirEntry](t)(os.ReadDir(dir)); len(left) > 2 {
				t.Errorf("left behind: %v", left)
			}
			got, err := New(c)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !got.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Public()) {
				t.Errorf("%s: another key came back", name)
			}
			text := must[[]byte](t)(os.ReadFile(c.Path))
			if want := "-----BEGIN " + map[bool]string{true: encryptedType, false: plainType}[passphrase != ""]; !bytes.HasPrefix(text, []byte(want)) {
				t.Errorf("%s: begins %.40q, want %q", name, text, want)
			}
		}
	}
}

// An encrypted CA key must be openable without Chancery.
func TestOpenSSLReadsIt(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is not installed: make deps installs it")
	}
	path := filepath.Join(t.TempDir(), "k")
	if err := Write(path, ecKey(t, elliptic.P256()), []byte("correct horse")); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(openssl, "pkey", "-in", path, "-noout", "-passin", "pass:correct horse").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestWriteDoesNotOverwrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	first, second := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	if err := Write(path, first, nil); err != nil {
		t.Fatal(err)
	}
	before := must[[]byte](t)(os.ReadFile(path))
	if err := Write(path, second, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v, want fs.ErrExist", err)
	}
	if !bytes.Equal(before, must[[]byte](t)(os.ReadFile(path))) {
		t.Error("the key was overwritten")
	}
	if err := Replace(path, second, nil); err != nil {
		t.Fatal(err)
	}
	if got := must[crypto.Signer](t)(New(Config{Path: path})); !got.Public().(*ecdsa.PublicKey).Equal(second.Public()) {
		t.Error("the key was not replaced")
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	key := ecKey(t, elliptic.P256())
	plain, locked, wide := at("plain"), at("locked"), at("wide")
	for path, passphrase := range map[string]string{plain: "", locked: "sesame", wide: ""} {
		if err := Write(path, key, []byte(passphrase)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(wide, 0o640); err != nil {
		t.Fatal(err)
	}
	good := string(must[[]byte](t)(os.ReadFile(plain)))
	sec1 := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: must[[]byte](t)(x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey)))})
	p224 := pem.EncodeToMemory(&pem.Block{Type: plainType, Bytes: must[[]byte](t)(x509.MarshalPKCS8PrivateKey(ecKey(t, elliptic.P224())))})
	for _, tt := range []struct {
		name   string
		config Config
		says   string
	}{
		{"no path", Config{}, "path is missing"},
		{"no file", Config{Path: at("none")}, "no such file"},
		{"a directory", Config{Path: dir}, "is not a file"},
		{"others may read", Config{Path: wide}, "mode 0640); run: chmod 600 " + wide},
		{"not PEM", Config{Path: put(t, at("text"), "key", 0o600)}, "not one private key in PEM"},
		{"two keys", Config{Path: put(t, at("two"), good+good, 0o600)}, "not one private key in PEM"},
		{"too long", Config{Path: put(t, at("long"), strings.Repeat("x", maxFile+1), 0o600)}, "too long"},
		{"SEC 1", Config{Path: put(t, at("sec1"), string(sec1), 0o600)}, "openssl pkcs8 -topk8"},
		{"P-224", Config{Path: put(t, at("p224"), string(p224), 0o600)}, "make one on P-256"},
		{"no passphrase", Config{Path: locked}, "is encrypted; name the file"},
		{"wrong passphrase", Config{Path: locked, PassphraseFile: put(t, at("wrong"), "Sesame", 0o600)}, "cannot be opened with the passphrase in"},
		{"empty passphrase", Config{Path: locked, PassphraseFile: put(t, at("empty"), "\n", 0o600)}, "is empty"},
		{"passphrase others may read", Config{Path: locked, PassphraseFile: put(t, at("open"), "sesame", 0o644)}, "chmod 600"},
		{"should be encrypted", Config{Path: plain, PassphraseFile: at("wrong")}, "not encrypted although"},
	} {
		if _, err := New(tt.config); err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "esame") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
	if err := Write(at("new"), ecKey(t, elliptic.P224()), nil); err == nil {
		t.Error("a P-224 key was written")
	}
	if err := Write(at("none/new"), key, nil); err == nil {
		t.Error("written into a directory that is not there")
	}
}

// The passphrase must cost an attacker something, and a start not much.
func TestPassphraseTakesTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	start := time.Now()
	if err := Write(path, ecKey(t, elliptic.P256()), []byte("sesame")); err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	t.Logf("%v", took)
	if took < 10*time.Millisecond {
		t.Errorf("only %v", took)
	}
}
