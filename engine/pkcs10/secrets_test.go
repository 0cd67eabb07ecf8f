package pkcs10

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const canary = "s3cret-canary"

func TestSecretsStayInside(t *testing.T) {
	r, err := Parse(recorded(t)["rsa-challenge"])
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Log(context.Background(), slog.LevelInfo, "x", "p", r, "v", *r, "in", []any{r}, "any", struct{ R *Request }{r})
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&log, verb+verb+verb+verb, r, *r, []*Request{r}, struct{ R Request }{*r})
	}
	for _, v := range []any{r, *r, map[string]any{"r": r}} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		log.Write(text)
	}
	for _, form := range []string{canary, base64.StdEncoding.EncodeToString([]byte(canary))[:12], fmt.Sprintf("%x", canary), fmt.Sprint([]byte(canary))[1:20]} {
		if strings.Contains(strings.ToLower(log.String()), strings.ToLower(form)) {
			t.Errorf("%q shows in %s", form, log.String())
		}
	}
	if !strings.Contains(log.String(), "challengePassword true") || !strings.Contains(log.String(), `"challenge_password":true`) {
		t.Error("that there is a challengePassword must show")
	}
}

func TestWithoutSecrets(t *testing.T) {
	all := recorded(t)
	r, err := Parse(all["rsa-challenge"])
	if err != nil {
		t.Fatal(err)
	}
	cut := r.WithoutSecrets()
	if bytes.Contains(cut, []byte(canary)) || bytes.Contains(cut, []byte(rawChallengePassword)) {
		t.Fatal("the challengePassword is still there")
	}
	again, err := Parse(cut)
	if err != nil {
		t.Fatal(err)
	}
	if again.ChallengePassword != "" || again.Subject.String() != r.Subject.String() || len(again.Names) != len(r.Names) ||
		len(again.Extensions) != len(r.Extensions) || len(again.Attributes) != len(r.Attributes) || !bytes.Equal(again.Key.SPKI, r.Key.SPKI) {
		t.Errorf("became %v", again)
	}
	if kindOf(again.CheckSignature()) != BadSignature {
		t.Error("the signature must not verify any more")
	}
	if !bytes.Equal(again.WithoutSecrets(), cut) {
		t.Error("cutting twice changes something")
	}
	if _, err := x509.ParseCertificateRequest(cut); err != nil {
		t.Error(err)
	}
	if r, _ = Parse(all["ec-names"]); !bytes.Equal(r.WithoutSecrets(), all["ec-names"]) {
		t.Error("a request without secrets must stay as it is")
	}
}

func block(kind string, raw []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}))
}

func TestPEM(t *testing.T) {
	raw := recorded(t)["ec-names"]
	good := block("CERTIFICATE REQUEST", raw)
	for what, in := range map[string]string{
		"DER": string(raw), "PEM": good, "old label": block("NEW CERTIFICATE REQUEST", raw),
		"white space around": "\r\n \t" + good + "\n\n", "CRLF": strings.ReplaceAll(good, "\n", "\r\n"),
	} {
		if got, err := ParsePEMOrDER([]byte(in)); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%s: gave %x, %v", what, got, err)
		}
	}
	headers := strings.Replace(good, "-----\n", "-----\nA: b\n\n", 1)
	for what, in := range map[string]string{
		"nothing": "", "white space": "\n", "text": "hello", "bare base64": base64.StdEncoding.EncodeToString(raw),
		"text before": "hello\n" + good, "text after": good + "hello", "two blocks": good + good, "other label": block("X", raw),
		"certificate": block("CERTIFICATE", raw), "headers": headers, "cut": good[:200], "byte order mark": "\ufeff" + good,
		"broken base64": strings.Replace(good, "A", "*", 1), "broken before good": good[:200] + "\n" + good,
		"labels differ": strings.Replace(good, "END CERTIFICATE REQUEST", "END CERTIFICATE", 1),
	} {
		if got, err := ParsePEMOrDER([]byte(in)); kindOf(err) != Malformed {
			t.Errorf("%s: gave %x, %v", what, got, err)
		}
	}
	if _, err := ParsePEMOrDER(bytes.Repeat([]byte("a"), 1<<20)); kindOf(err) != TooLarge {
		t.Errorf("1 MiB: gave %v", err)
	}
	many := strings.Repeat("-----BEGIN A-----\n-----END A-----\n", 600)
	if _, err := ParsePEMOrDER([]byte(many)); kindOf(err) != Malformed {
		t.Errorf("many blocks: gave %v", err)
	}
}

func TestXP_005_PrivateKeys(t *testing.T) {
	q := newTemplate(t)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(q.key)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(q.key)
	if err != nil {
		t.Fatal(err)
	}
	encrypted := der(0x30, der(0x30, der(6, []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d")), der(0x30)), der(4, make([]byte, 64)))
	request := block("CERTIFICATE REQUEST", q.build(t))
	junk := make([]byte, 40)
	rand.Read(junk)
	for what, in := range map[string]string{
		"PKCS #8": block("PRIVATE KEY", pkcs8), "PKCS #1": block("RSA PRIVATE KEY", junk), "SEC 1": block("EC PRIVATE KEY", sec1),
		"encrypted": block("ENCRYPTED PRIVATE KEY", encrypted), "OpenSSH": block("OPENSSH PRIVATE KEY", junk),
		"after a request": request + block("PRIVATE KEY", pkcs8), "before a request": block("PRIVATE KEY", pkcs8) + request,
		"PKCS #8 DER": string(pkcs8), "SEC 1 DER": string(sec1), "encrypted DER": string(encrypted),
		"under another label": block("CERTIFICATE REQUEST", pkcs8), "damaged": block("PRIVATE KEY", pkcs8)[:100],
	} {
		got, err := ParsePEMOrDER([]byte(in))
		if kindOf(err) != PrivateKey || got != nil {
			t.Errorf("%s: gave %x, %v", what, got, err)
			continue
		}
		if !strings.Contains(err.Error(), "private key") {
			t.Errorf("%s: the message does not say so: %v", what, err)
		}
		for i := 0; i+8 <= len(in); i += 8 {
			if part := in[i : i+8]; !strings.Contains("-----BEGIN CERTIFICATE REQUEST RSA EC ENCRYPTED OPENSSH PRIVATE KEY-----END", part) && strings.Contains(err.Error(), part) {
				t.Errorf("%s: the message repeats %q", what, part)
			}
		}
	}
	var e *Error
	if _, err := Parse(pkcs8); !errors.As(err, &e) {
		t.Errorf("gave %v", err)
	}
}
