package interop

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

const pkcs10 = "Content-Type: application/pkcs10"

func (c *ca) estGrant(pattern string, more ...string) grant {
	c.t.Helper()
	var g grant
	c.cliJSON(&g, append([]string{"grant", "create", "--protocol", "est", "--profile", "device", "--name", pattern}, more...)...)
	return g
}

func (c *ca) est(path string) string { return "https://" + c.HTTPS + "/.well-known/est/" + path }

// estCSR makes a key and a request with openssl; the request is base64 in lines,
// as openssl writes it.
func (c *ca) estCSR(name, cn string) (key, body string) {
	c.t.Helper()
	key = filepath.Join(c.dir, name+".key")
	c.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
	return key, c.estRequest(name, key, cn)
}

func (c *ca) estRequest(name, key, cn string) (body string) {
	c.t.Helper()
	body = filepath.Join(c.dir, name+".b64")
	c.openssl("req", "-new", "-key", key, "-subj", "/CN="+cn, "-outform", "DER", "-out", body+".der")
	c.openssl("base64", "-in", body+".der", "-out", body)
	return body
}

func (c *ca) openssl(args ...string) string {
	c.t.Helper()
	out, errs, code := execute(c.t, c.dir, nil, "openssl", args...)
	if code != 0 {
		c.t.Fatalf("openssl %v: %s%s", args, out, errs)
	}
	return out
}

// estCertificates has openssl read an answer.
func (c *ca) estCertificates(name, answer string) []*x509.Certificate {
	c.t.Helper()
	p7 := filepath.Join(c.dir, name+".p7")
	der, err := base64.StdEncoding.DecodeString(answer)
	must(c.t, err)
	write(c.t, p7, string(der))
	return certsOf(c.t, c.openssl("pkcs7", "-inform", "DER", "-in", p7, "-print_certs"))
}

// TestCurlEST does each operation by hand, with curl and openssl, as docs/est.md
// says it.
func TestCurlEST(t *testing.T) {
	t.Parallel()
	c := startCA(t)
	g := c.estGrant("dev.example.org")
	for _, version := range []string{"1.2", "1.3"} {
		tlsv := []string{"--tlsv" + version, "--tls-max", version}
		curl := func(args ...string) (string, int) { return c.curl(append(tlsv, args...)...) }
		out, code := curl(c.est("cacerts"))
		if code != 0 {
			t.Fatalf("cacerts: %s", out)
		}
		if cas := c.estCertificates("cas", out); len(cas) != 2 || !cas[0].IsCA || !cas[1].IsCA {
			t.Errorf("%d CA certificates", len(cas))
		}
		key, body := c.estCSR("dev"+version, "dev.example.org")
		out, code = curl("-u", g.ID+":"+g.Secret, "-H", pkcs10, "--data-binary", "@"+body, c.est("simpleenroll"))
		if code != 0 {
			t.Fatalf("simpleenroll: %s", out)
		}
		leaf := c.estCertificates("leaf", out)
		if len(leaf) != 1 || leaf[0].Subject.CommonName != "dev.example.org" {
			t.Fatalf("%d %v", len(leaf), leaf[0].Subject)
		}
		cert := key + ".crt"
		write(t, cert, pemOf(leaf[0]))
		c.openssl("verify", "-CAfile", c.roots(), "-untrusted", c.estChain(), cert)
		next := c.estRequest("same"+version, key, "dev.example.org")
		out, code = curl("--cert", cert, "--key", key, "-H", pkcs10, "--data-binary", "@"+next, c.est("simplereenroll"))
		if code != 0 {
			t.Fatalf("simplereenroll with the same key: %s", out)
		}
		key2, next := c.estCSR("next"+version, "dev.example.org")
		out, code = curl("--cert", cert, "--key", key, "-H", pkcs10, "--data-binary", "@"+next, c.est("simplereenroll"))
		if code != 0 {
			t.Fatalf("simplereenroll with a new key: %s", out)
		}
		leaf2 := c.estCertificates("leaf2", out)[0]
		pair := c.estPair(key2, leaf2)
		resp, err := c.client(pair).Get(c.est("cacerts"))
		must(t, err)
		resp.Body.Close()
		// What was revoked, is a stranger's, or comes with a wrong password is refused.
		c.cli("revoke", "--reason", "superseded", serialOf(leaf[0]))
		_, again := c.estCSR("again"+version, "dev.example.org")
		for what, args := range map[string][]string{
			"revoked":        {"--cert", cert, "--key", key, c.est("simplereenroll")},
			"wrong password": {"-u", g.ID + ":" + g.Secret + "x", c.est("simpleenroll")},
			"nobody":         {c.est("simpleenroll")},
			"other name":     {"-u", g.ID + ":" + g.Secret, "-H", pkcs10, "--data-binary", "@" + c.estRequest("evil", key2, "evil.example.org"), c.est("simpleenroll")},
		} {
			if !strings.Contains(strings.Join(args, " "), pkcs10) {
				args = append([]string{"-H", pkcs10, "--data-binary", "@" + again}, args...)
			}
			if out, code := curl(args...); code == 0 {
				t.Errorf("%s: %s", what, out)
			}
		}
	}
}

// TestCurlESTAttributesAndServerKeys asks what to ask for, and for a key that the
// server makes, which openssl then uses.
func TestCurlESTAttributesAndServerKeys(t *testing.T) {
	t.Parallel()
	c := startCA(t)
	g := c.estGrant("dev.example.org")
	for _, version := range []string{"1.2", "1.3"} {
		tlsv := []string{"--tlsv" + version, "--tls-max", version}
		der, err := base64.StdEncoding.DecodeString(mustCurl(t, c, append(tlsv, c.est("csrattrs"))...))
		must(t, err)
		file := filepath.Join(c.dir, "attrs.der")
		write(t, file, string(der))
		if out := c.openssl("asn1parse", "-inform", "DER", "-in", file); !strings.Contains(out, "Extension Request") || !strings.Contains(out, "Extended Key Usage") {
			t.Error(out)
		}
		_, body := c.estCSR("dev"+version, "dev.example.org")
		out := mustCurl(t, c, append(tlsv, "-i", "-u", g.ID+":"+g.Secret, "-H", pkcs10, "--data-binary", "@"+body, "--http1.1", c.est("serverkeygen"))...)
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(out)), nil)
		must(t, err)
		_, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
		must(t, err)
		parts := multipart.NewReader(resp.Body, params["boundary"])
		var texts []string
		for range 2 {
			part, err := parts.NextPart()
			must(t, err)
			text, err := io.ReadAll(part)
			must(t, err)
			texts = append(texts, string(text))
		}
		der, err = base64.StdEncoding.DecodeString(texts[0])
		must(t, err)
		key := filepath.Join(c.dir, "made"+version+".key")
		write(t, key+".der", string(der))
		c.openssl("pkcs8", "-inform", "DER", "-in", key+".der", "-nocrypt", "-out", key)
		leaf := c.estCertificates("made", texts[1])[0]
		cert := key + ".crt"
		write(t, cert, pemOf(leaf))
		_, next := c.estCSR("next"+version, "dev.example.org")
		mustCurl(t, c, append(tlsv, "--cert", cert, "--key", key, "-H", pkcs10, "--data-binary", "@"+next, c.est("simplereenroll"))...)
	}
}

func (c *ca) estChain() string {
	c.t.Helper()
	out, code := c.curl(c.est("cacerts"))
	if code != 0 {
		c.t.Fatal(out)
	}
	file := filepath.Join(c.dir, "est-chain.pem")
	write(c.t, file, pemOf(c.estCertificates("chain", out)...))
	return file
}

func (c *ca) estPair(key string, cert *x509.Certificate) tls.Certificate {
	c.t.Helper()
	pair, err := tls.X509KeyPair(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), []byte(read(c.t, key)))
	must(c.t, err)
	return pair
}

// TestCurlESTPending has an officer approve what a device waits for.
func TestCurlESTPending(t *testing.T) {
	t.Parallel()
	c := newCA(t)
	c.init()
	c.editPolicy(func(doc map[string]any) { child(doc, "profiles", "device")["approval"] = "manual" })
	c.start()
	g := c.estGrant("dev.example.org")
	_, body := c.estCSR("dev", "dev.example.org")
	args := []string{"-i", "-u", g.ID + ":" + g.Secret, "-H", pkcs10, "--data-binary", "@" + body, c.est("simpleenroll")}
	out, code := c.curl(args...)
	if code != 0 || !strings.Contains(out, " 202") || !strings.Contains(strings.ToLower(out), "retry-after:") {
		t.Fatalf("%d %s", code, out)
	}
	c.cli("approve", c.waitPending())
	out, code = c.curl(args[1:]...)
	if code != 0 {
		t.Fatal(out)
	}
	if leaf := c.estCertificates("leaf", out)[0]; leaf.Subject.CommonName != "dev.example.org" {
		t.Error(leaf.Subject)
	}
}

// TestStrongSwanEST drives pki of strongSwan.
func TestStrongSwanEST(t *testing.T) {
	t.Parallel()
	c := startCA(t)
	g := c.estGrant("dev.example.org")
	pki := func(args ...string) string {
		t.Helper()
		out, errs, code := execute(t, c.dir, nil, "pki", args...)
		if code != 0 {
			t.Fatalf("pki %v: %d %s%s", args, code, out, errs)
		}
		return out
	}
	url := "https://" + c.HTTPS
	roots := certsOf(t, read(t, c.roots()))
	var anchors []string
	for i, r := range roots {
		file := filepath.Join(c.dir, fmt.Sprintf("root%d.crt", i))
		write(t, file, pemOf(r))
		anchors = append(anchors, "--cacert", file)
	}
	pki(append([]string{"--estca", "--url", url, "--caout", filepath.Join(c.dir, "ca.crt"), "--outform", "pem", "--force"}, anchors...)...)
	key := filepath.Join(c.dir, "k.pem")
	c.openssl("genrsa", "-traditional", "-out", key, "2048")
	csr := filepath.Join(c.dir, "r.csr")
	write(t, csr, pki("--req", "--in", key, "--type", "rsa", "--dn", "CN=dev.example.org", "--san", "dev.example.org", "--outform", "pem"))
	for i, x := range c.estCertificates("strongswan", mustCurl(t, c, c.est("cacerts"))) {
		file := filepath.Join(c.dir, fmt.Sprintf("ca%d.crt", i))
		write(t, file, pemOf(x))
		anchors = append(anchors, "--cacert", file)
	}
	cert := filepath.Join(c.dir, "c.pem")
	write(t, cert, pki(append([]string{"--est", "--url", url, "--in", csr, "--userpass", g.ID + ":" + g.Secret, "--outform", "pem"}, anchors...)...))
	if x := certsOf(t, read(t, cert))[0]; x.Subject.CommonName != "dev.example.org" {
		t.Fatal(x.Subject)
	}
	next := certsOf(t, pki(append([]string{"--est", "--url", url, "--in", csr, "--cert", cert, "--key", key, "--outform", "pem"}, anchors...)...))[0]
	if next.Subject.CommonName != "dev.example.org" || next.SerialNumber.Cmp(certsOf(t, read(t, cert))[0].SerialNumber) == 0 {
		t.Errorf("%v %v", next.Subject, next.SerialNumber)
	}
}

func mustCurl(t *testing.T, c *ca, args ...string) string {
	t.Helper()
	out, code := c.curl(args...)
	if code != 0 {
		t.Fatal(out)
	}
	return out
}
