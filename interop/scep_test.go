package interop

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// withSCEP starts a CA whose default SCEP endpoint is changed before.
func withSCEP(t *testing.T, change func(doc, endpoint map[string]any)) *ca {
	t.Helper()
	c := newCA(t)
	c.init()
	c.editPolicy(func(doc map[string]any) { change(doc, child(doc, "frontends", "scep", "default")) })
	c.start()
	return c
}

func (c *ca) scepURL(more string) string { return "http://" + c.HTTP + "/scep" + more }

// challenge makes a grant as the documentation says.
func (c *ca) challenge(name string, more ...string) string {
	c.t.Helper()
	var g grant
	c.cliJSON(&g, append([]string{"grant", "create", "--protocol", "scep", "--profile", "device", "--name", name, "--uses", "1"}, more...)...)
	return g.Secret
}

// A swan is strongSwan's pki in a folder of its own, with the certificates of the
// CA from GetCACert.
type swan struct {
	*ca
	dir, url string
}

func newSwan(c *ca, url string) *swan {
	c.t.Helper()
	s := &swan{c, c.t.TempDir(), url}
	if out, errs, code := execute(c.t, s.dir, nil, "pki", "--scepca", "--url", url, "--caout", "ca.crt", "--raout", "ra.crt", "--outform", "pem", "--force"); code != 0 {
		c.t.Fatalf("pki --scepca: %s%s", out, errs)
	}
	return s
}

// enroll asks for a certificate of a name with a new key, which lies in the file
// NAME.key then, and the certificate in NAME.crt.
func (s *swan) enroll(file, name string, more ...string) error {
	if _, errs, code := execute(s.t, s.dir, nil, "openssl", "genrsa", "-out", file+".key", "2048"); code != 0 {
		s.t.Fatal(errs)
	}
	args := []string{"--scep", "--url", s.url, "--in", file + ".key", "--dn", "C=CH, O=o, CN=" + name, "--san", name,
		"--cacert-enc", "ra.crt", "--cacert-sig", "ra.crt", "--cacert", "ca-1.crt", "--cacert", "ca.crt", "--outform", "pem"}
	out, errs, code := execute(s.t, s.dir, nil, "pki", append(args, more...)...)
	if code != 0 {
		return fmt.Errorf("pki --scep: %s%s", out, errs)
	}
	return os.WriteFile(filepath.Join(s.dir, file+".crt"), []byte(out), 0o600)
}

// check has openssl verify the certificate, and returns it.
func (s *swan) check(file, name string) *x509.Certificate {
	s.t.Helper()
	return checkDevice(s.t, s.dir, file+".crt", filepath.Join(s.dir, "ca-1.crt"), s.roots(), name)
}

func checkDevice(t *testing.T, dir, file, issuer, roots, name string) *x509.Certificate {
	t.Helper()
	if out, errs, code := execute(t, dir, nil, "openssl", "verify", "-x509_strict", "-CAfile", roots, "-untrusted", issuer, file); code != 0 {
		t.Fatalf("openssl verify: %s%s", out, errs)
	}
	block, _ := pem.Decode([]byte(read(t, filepath.Join(dir, file))))
	if block == nil {
		t.Fatal("no certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	must(t, cert.VerifyHostname(name))
	return cert
}

// strongSwan: GetCACert, enrollment with AES, renewal without a challenge, wrong
// and used challenges.
func TestStrongSwanSCEP(t *testing.T) {
	t.Parallel()
	c := startCA(t)
	s := newSwan(c, c.scepURL(""))
	challenge := c.challenge("a.test")
	must(t, s.enroll("first", "a.test", "--password", challenge, "--cipher", "aes", "--digest", "sha256"))
	first := s.check("first", "a.test")

	if err := s.enroll("again", "a.test", "--password", challenge); err == nil {
		t.Error("a challenge is good twice")
	}
	if err := s.enroll("wrong", "a.test", "--password", strings.Repeat("0", 64)); err == nil {
		t.Error("any challenge is good")
	}
	if err := s.enroll("other", "b.test", "--password", c.challenge("a.test")); err == nil {
		t.Error("a challenge is good for another name")
	}

	old := []string{"--cert", "first.crt", "--key", "first.key"}
	must(t, s.enroll("renewed", "a.test", old...))
	if renewed := s.check("renewed", "a.test"); renewed.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Error("the renewal is the old certificate")
	}
	if err := s.enroll("stolen", "b.test", old...); err == nil {
		t.Error("a renewal has another name")
	}
	c.cli("revoke", "--reason", "superseded", serialOf(first))
	if err := s.enroll("revoked", "a.test", old...); err == nil {
		t.Error("a revoked certificate is renewed")
	}
}

// strongSwan waits while an officer decides, and polls.
func TestStrongSwanSCEPApproved(t *testing.T) {
	t.Parallel()
	c := withSCEP(t, func(doc, _ map[string]any) {
		child(doc, "profiles")["vetted"] = map[string]any{
			"description": "by approval", "frontends": []string{"scep"}, "validity": "90d", "eku": []string{"clientAuth"},
			"subject": map[string]any{"cn": "asked"}, "approval": "manual",
		}
		child(doc, "frontends", "scep")["vetted"] = map[string]any{"profiles": []string{"vetted"}, "authorize": []string{"manual"}}
	})
	s := newSwan(c, c.scepURL("/vetted"))
	done := make(chan error, 1)
	go func() { done <- s.enroll("dev", "a.test", "--interval", "1", "--maxpolltime", "60") }()
	c.cli("approve", c.waitPending())
	select {
	case err := <-done:
		must(t, err)
	case <-time.After(90 * time.Second):
		t.Fatal("pki does not end")
	}
	s.check("dev", "a.test")
}

// micromdm's scepclient sends DES and SHA-1 whatever it is told: an endpoint
// admits that or refuses it.
func TestSCEPClientLegacy(t *testing.T) {
	t.Parallel()
	c := withSCEP(t, func(_, endpoint map[string]any) { endpoint["legacy"] = []string{"sha1", "des"} })
	s := newSwan(c, c.scepURL(""))
	run := func(dir, url, challenge string, more ...string) error {
		args := []string{"-server-url", url, "-challenge", challenge, "-private-key", "k.pem", "-certificate", "c.pem", "-cn", "m.test", "-keySize", "2048"}
		out, errs, _ := execute(t, dir, nil, "scepclient", append(args, more...)...)
		if _, err := os.Stat(filepath.Join(dir, "c.pem")); err != nil {
			return fmt.Errorf("scepclient: %s%s", out, errs)
		}
		return nil
	}
	dir := t.TempDir()
	must(t, run(dir, c.scepURL(""), c.challenge("m.test")))
	checkDevice(t, dir, "c.pem", filepath.Join(s.dir, "ca-1.crt"), c.roots(), "m.test")
	must(t, run(t.TempDir(), "http://"+c.HTTP+"/certsrv/mscep/mscep.dll", c.challenge("m.test")))
	if err := run(t.TempDir(), c.scepURL(""), "wrong"); err == nil {
		t.Error("a wrong challenge is good")
	}
	if !strings.Contains(c.Log(), `"legacy_cipher":"des"`) || strings.Contains(c.Log(), "SECRET") {
		t.Error("the log does not say who needs DES")
	}

	c.editPolicy(func(doc map[string]any) { delete(child(doc, "frontends", "scep", "default"), "legacy") })
	c.cli("apply")
	block, _ := pem.Decode([]byte(read(t, filepath.Join(s.dir, "ra.crt"))))
	fingerprint := fmt.Sprintf("%x", sha256.Sum256(block.Bytes))
	if err := run(t.TempDir(), c.scepURL(""), c.challenge("m.test"), "-ca-fingerprint", fingerprint); err == nil || !strings.Contains(err.Error(), "badAlg") {
		t.Errorf("DES where it is not admitted: %v", err)
	}
}

// The lines of the greeting, pasted.
func TestGreetingSCEP(t *testing.T) {
	t.Parallel()
	c := startCA(t)
	dir := t.TempDir()
	for _, re := range []string{`(?m)^  (pki --scepca .*)$`, `(?m)^  (openssl genrsa .*pki --scep .*)$`} {
		m := regexp.MustCompile(re).FindStringSubmatch(c.Log())
		if m == nil {
			t.Fatalf("no line %s in\n%s", re, c.Log())
		}
		path := "PATH=" + filepath.Dir(c.binary) + ":" + os.Getenv("PATH")
		if out, errs, code := execute(t, dir, []string{path}, "sh", "-c", m[1]); code != 0 {
			t.Fatalf("%s\n%s%s", m[1], out, errs)
		}
	}
	checkDevice(t, dir, "dev.crt", filepath.Join(dir, "scep-ca-1.crt"), c.roots(), "dev.example.org")
}
