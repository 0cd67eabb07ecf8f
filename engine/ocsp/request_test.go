package ocsp_test

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"chancery/engine/ocsp"
)

// el makes an element, and so also wrong ones.
func el(tag byte, parts ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.Tag(tag), func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(parts, nil)) })
	return b.BytesOrPanic()
}

func octets(v []byte) []byte { return el(0x04, v) }

func oid(content string) []byte { return el(0x06, []byte(content)) }

func nonceExtension(value []byte) []byte {
	return el(0x30, oid("\x2b\x06\x01\x05\x05\x07\x30\x01\x02"), octets(value))
}

func extensions(list ...[]byte) []byte { return el(0xa2, el(0x30, list...)) }

func single(id []byte) []byte { return el(0x30, id) }

// requests makes a request of a run of Request elements, and request one for a
// single CertID.
func requests(run, tail []byte) []byte { return el(0x30, el(0x30, el(0x30, run), tail)) }

func request(id, tail []byte) []byte { return requests(single(id), tail) }

func testID() []byte {
	return el(0x30, el(0x30, oid("\x2b\x0e\x03\x02\x1a"), []byte{5, 0}), octets(make([]byte, 20)), octets(make([]byte, 20)), el(0x02, []byte{5}))
}

func TestParseAccepts(t *testing.T) {
	id := testID()
	list := el(0x30, single(id))
	other := el(0x30, oid("\x2b\x06\x01\x04\x01\x86\x8d\x1f\x01"), octets([]byte("any")))
	preferred := el(0x30, oid("\x2b\x06\x01\x05\x05\x07\x30\x01\x08"), octets([]byte{0x30, 0}))
	signature := el(0xa0, el(0x30, el(0x30, oid("\x2a\x86\x48\xce\x3d\x04\x03\x02")), el(0x03, []byte{0, 1, 2, 3})))
	withCerts := el(0xa0, el(0x30, el(0x30, oid("\x2a\x86\x48\xce\x3d\x04\x03\x02")), el(0x03, []byte{0, 1}), el(0xa0, el(0x30))))
	directory := el(0xa1, el(0xa4, el(0x30)))
	mailbox := el(0xa1, el(0x81, []byte("a@b.example")))
	for what, der := range map[string][]byte{
		"plain":                      el(0x30, el(0x30, list)),
		"requestorName directory":    el(0x30, el(0x30, directory, list)), // O-012
		"requestorName rfc822":       el(0x30, el(0x30, mailbox, list)),
		"signed":                     el(0x30, el(0x30, mailbox, list), signature),
		"signed, with certificates":  el(0x30, el(0x30, list), withCerts),
		"unknown extension":          request(id, extensions(other)), // O-008
		"preferred algorithms":       request(id, extensions(preferred, nonceExtension(octets([]byte{1})))),
		"extension of one":           el(0x30, el(0x30, el(0x30, el(0x30, id, el(0xa0, el(0x30, other)))))),
		"unknown hash":               request(el(0x30, el(0x30, oid("\x60\x86\x48\x01\x65\x03\x04\x02\x03")), octets(make([]byte, 64)), octets(make([]byte, 64)), el(0x02, []byte{5})), nil),
		"negative serial":            request(el(0x30, el(0x30, oid("\x2b\x0e\x03\x02\x1a")), octets(make([]byte, 20)), octets(make([]byte, 20)), el(0x02, []byte{0xff})), nil),
		"serial of 21 octets":        request(el(0x30, el(0x30, oid("\x2b\x0e\x03\x02\x1a")), octets(make([]byte, 20)), octets(make([]byte, 20)), el(0x02, append([]byte{0}, bytes.Repeat([]byte{0xff}, 20)...))), nil),
		"sixteen":                    requests(bytes.Repeat(single(id), 16), nil),
		"critical nonce, understood": request(id, extensions(el(0x30, oid("\x2b\x06\x01\x05\x05\x07\x30\x01\x02"), []byte{1, 1, 0xff}, octets(octets([]byte{1}))))),
	} {
		r, err := ocsp.ParseRequest(der)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		} else if !bytes.Contains(der, r.IDs[0].Raw) || len(r.IDs[0].Serial) == 0 {
			t.Errorf("%s: %+v", what, r)
		}
	}
}

// TestParseRefuses is O-003, O-008, O-015 and XO-002, XO-003.
func TestParseRefuses(t *testing.T) {
	id := testID()
	plain := request(id, nil)
	list := el(0x30, single(id))
	nonce := func(value []byte) []byte { return request(id, extensions(nonceExtension(value))) }
	unknown := oid("\x2b\x06\x01\x04\x01\x86\x8d\x1f\x01")
	withSerial := func(serial ...byte) []byte {
		return request(el(0x30, el(0x30, oid("\x2b\x0e\x03\x02\x1a")), octets(make([]byte, 20)), octets(make([]byte, 20)), el(0x02, serial)), nil)
	}
	for what, der := range map[string][]byte{
		"nothing":               {},
		"garbage":               []byte("GET / HTTP/1.1\r\n\r\n"),
		"two requests":          append(bytes.Clone(plain), plain...),
		"trailing octet":        append(bytes.Clone(plain), 0),
		"no ids":                el(0x30, el(0x30, el(0x30))),
		"seventeen":             requests(bytes.Repeat(single(id), 17), nil),
		"too long":              request(id, extensions(el(0x30, unknown, octets(make([]byte, ocsp.MaxRequest))))),
		"indefinite length":     append(append([]byte{0x30, 0x80}, plain[2:]...), 0, 0),
		"long form":             append([]byte{0x30, 0x81, plain[1]}, plain[2:]...),
		"version 1 written":     el(0x30, el(0x30, el(0xa0, []byte{2, 1, 0}), list)),
		"version 2":             el(0x30, el(0x30, el(0xa0, []byte{2, 1, 1}), list)),
		"requestorName is Name": el(0x30, el(0x30, el(0xa1, el(0x30)), list)),
		"requestorName empty":   el(0x30, el(0x30, el(0xa1), list)),
		"signature is nothing":  el(0x30, el(0x30, list), el(0xa0)),
		"after signature":       el(0x30, el(0x30, list), []byte{5, 0}),
		"after extensions":      request(id, append(extensions(nonceExtension(octets([]byte{1}))), 5, 0)),
		"serial empty":          withSerial(),
		"serial padded":         withSerial(0, 5),
		"serial long":           withSerial(bytes.Repeat([]byte{1}, 33)...),
		"hash short":            request(el(0x30, el(0x30, oid("\x2b\x0e\x03\x02\x1a")), octets(make([]byte, 19)), octets(make([]byte, 20)), el(0x02, []byte{5})), nil),
		"hash parameters":       request(el(0x30, el(0x30, oid("\x2b\x0e\x03\x02\x1a"), []byte{2, 1, 1}), octets(make([]byte, 20)), octets(make([]byte, 20)), el(0x02, []byte{5})), nil),
		"CertID and more":       requests(single(append(bytes.Clone(id), 5, 0)), nil),
		"nonce empty":           nonce(octets(nil)),
		"nonce of 129":          nonce(octets(make([]byte, 129))),
		"nonce bare":            nonce([]byte{1, 2, 3, 4}),
		"nonce INTEGER":         nonce(el(0x02, []byte{1})),
		"nonce and more":        nonce(append(octets([]byte{1}), 0)),
		"nonce twice":           request(id, extensions(nonceExtension(octets([]byte{1})), nonceExtension(octets([]byte{1})))),
		"no extensions":         request(id, extensions()),
		"critical unknown":      request(id, extensions(el(0x30, unknown, []byte{1, 1, 0xff}, octets(nil)))),
		"critical in one":       el(0x30, el(0x30, el(0x30, el(0x30, id, el(0xa0, el(0x30, el(0x30, unknown, []byte{1, 1, 0xff}, octets(nil)))))))),
		"FALSE written":         request(id, extensions(el(0x30, unknown, []byte{1, 1, 0}, octets(nil)))),
		"BOOLEAN 01":            request(id, extensions(el(0x30, unknown, []byte{1, 1, 1}, octets(nil)))),
	} {
		if r, err := ocsp.ParseRequest(der); !errors.Is(err, ocsp.ErrMalformed) {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
	}
}

// TestNoncePublished is the encoding of the extension in RFC 9654, Appendix A
// or Section 2.1: a nonce of 32 octets.
func TestNoncePublished(t *testing.T) {
	want := must(hex.DecodeString("302f06092b060105050730010204220420"))
	got := nonceExtension(octets(make([]byte, 32)))
	if !bytes.HasPrefix(got, want) {
		t.Errorf("%x", got)
	}
}

func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is not installed: make deps installs it")
	}
	ca := newCA()
	leaf := newParty("leaf", p256(), &ca, nil)
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.WriteFile(file("ca"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}), 0o600), os.WriteFile(file("leaf"), leaf.cert.Raw, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, hash := range []string{"-sha1", "-sha256"} {
		run := func(args ...string) string {
			t.Helper()
			out, err := exec.Command(openssl, append([]string{"ocsp", hash, "-issuer", file("ca"), "-cert", file("leaf")}, args...)...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			return string(out)
		}
		run("-reqout", file("request"), "-nonce")
		r, err := ocsp.ParseRequest(must(os.ReadFile(file("request"))))
		if err != nil || len(r.Nonce) == 0 {
			t.Fatalf("%s: %+v, %v", hash, r, err)
		}
		answer := ca.answer(r.IDs[0])
		answer.Nonce = r.Nonce
		if err := os.WriteFile(file("response"), must(ocsp.Sign(answer, ca.key)), 0o600); err != nil {
			t.Fatal(err)
		}
		out := run("-reqin", file("request"), "-respin", file("response"), "-CAfile", file("ca"), "-partial_chain", "-no_nonce", "-no_check_time", "-resp_text", "-validity_period", "999999999")
		for _, want := range []string{"Response verify OK", "leaf: good", "OCSP Nonce", "Responder Id: "} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: openssl does not say %q:\n%s", hash, want, out)
			}
		}
		if strings.Contains(out, "WARNING") || strings.Contains(out, "Nonce Verify error") {
			t.Errorf("%s: openssl complains:\n%s", hash, out)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	id := testID()
	f.Add(request(id, nil))
	f.Add(request(id, extensions(nonceExtension(octets([]byte{1, 2, 3})))))
	f.Add(el(0x30, el(0x30, el(0xa1, el(0x81, []byte("a@b.example"))), el(0x30, single(id))), el(0xa0, el(0x30, el(0x30), el(0x03, []byte{0})))))
	ca := newCA()
	f.Fuzz(func(t *testing.T, der []byte) {
		r, err := ocsp.ParseRequest(der)
		if err != nil {
			if !errors.Is(err, ocsp.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if len(r.IDs) == 0 || len(r.IDs) > ocsp.MaxIDs || r.Nonce != nil && (len(r.Nonce) < 1 || len(r.Nonce) > ocsp.MaxNonce) {
			t.Fatalf("%+v", r)
		}
		for _, id := range r.IDs {
			if !bytes.Contains(der, id.Raw) || !bytes.Contains(id.Raw, id.Serial) {
				t.Fatalf("%+v", id)
			}
		}
		answer := ca.answer(r.IDs[0])
		answer.Nonce = r.Nonce
		if _, err := ocsp.Sign(answer, ca.key); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkParseRequest(b *testing.B) {
	der := request(testID(), extensions(nonceExtension(octets(make([]byte, 32)))))
	b.ReportAllocs()
	for b.Loop() {
		must(ocsp.ParseRequest(der))
	}
}

func BenchmarkSign(b *testing.B) {
	ca := newCA()
	r := ca.answer(ca.id(crypto.SHA1, 5))
	b.ReportAllocs()
	for b.Loop() {
		must(ocsp.Sign(r, ca.key))
	}
}
