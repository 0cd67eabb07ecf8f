package pkcs10

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chancery/engine/names"
)

// der writes one element with definite length.
func der(tag byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	switch n := len(body); {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, body...)
	case n < 0x100:
		return append([]byte{tag, 0x81, byte(n)}, body...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, body...)
	}
}

// Content octets of object identifiers.
var (
	rawExtensionRequest  = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e"
	rawChallengePassword = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x07"
	rawUnstructuredName  = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x02"
	rawMicrosoft         = "\x2b\x06\x01\x04\x01\x82\x37\x02\x01\x0e"
	rawSAN               = "\x55\x1d\x11"
	rawBasicConstraints  = "\x55\x1d\x13"
	ecdsaSHA256          = der(0x30, der(6, []byte("\x2a\x86\x48\xce\x3d\x04\x03\x02")))
)

func attribute(oid string, values ...[]byte) []byte {
	return der(0x30, der(6, []byte(oid)), der(0x31, values...))
}

func extension(oid string, critical bool, value []byte) []byte {
	var flag []byte
	if critical {
		flag = []byte{1, 1, 0xff}
	}
	return der(0x30, der(6, []byte(oid)), flag, der(4, value))
}

func extensionRequest(extensions ...[]byte) []byte {
	return attribute(rawExtensionRequest, der(0x30, extensions...))
}

func sanOf(t testing.TB, hosts ...string) []byte {
	t.Helper()
	var list []names.Name
	for _, h := range hosts {
		list = append(list, names.Name{Type: names.DNS, Value: h})
	}
	ext, err := names.MarshalSAN(list)
	if err != nil {
		t.Fatal(err)
	}
	return extension(rawSAN, false, ext)
}

// template is a request in parts, each of which a test can spoil.
type template struct {
	version, subject, spki, algorithm []byte
	attributes                        [][]byte
	noAttributes                      bool
	key                               *ecdsa.PrivateKey
}

func newTemplate(t testing.TB) *template {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	dn, err := names.ParseDNString("CN=www.example.com")
	if err != nil {
		t.Fatal(err)
	}
	subject, err := dn.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return &template{version: []byte{2, 1, 0}, subject: subject, spki: spki, algorithm: ecdsaSHA256, key: key}
}

func (q *template) info() []byte {
	attributes := der(0xa0, q.attributes...)
	if q.noAttributes {
		attributes = nil
	}
	return der(0x30, q.version, q.subject, q.spki, attributes)
}

// build signs the request with SHA-256 whatever the algorithm says.
func (q *template) build(t testing.TB) []byte {
	t.Helper()
	info := q.info()
	digest := sha256.Sum256(info)
	signature, err := q.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return der(0x30, info, q.algorithm, der(3, []byte{0}, signature))
}

// recorded reads every request of testdata.
func recorded(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.pem")
	if err != nil || len(files) == 0 {
		t.Fatal("no recorded requests", err)
	}
	out := make(map[string][]byte)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := ParsePEMOrDER(text)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out[strings.TrimSuffix(filepath.Base(file), ".pem")] = raw
	}
	return out
}
