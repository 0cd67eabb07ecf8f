package est_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"chancery/engine"
	"chancery/frontends/est"
)

func TestEST_E001_Operations(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	c.get("cacerts").want(t, 200)
	for _, op := range []string{"simpleenroll", "simplereenroll"} {
		if a := c.get(op).want(t, 405); a.Header.Get("Allow") != "POST" {
			t.Errorf("%s: Allow %q", op, a.Header.Get("Allow"))
		}
		if a := c.post(op, []byte("x")); a.StatusCode != 401 && a.StatusCode != 403 {
			t.Errorf("%s: %d", op, a.StatusCode)
		}
	}
	if a := c.post("cacerts", []byte("x")).want(t, 405); a.Header.Get("Allow") != "GET" {
		t.Error(a.Header)
	}
	for _, op := range []string{"", "enroll", "cacerts/", "/cacerts", "default/default/cacerts", "CACERTS", "simpleenroll/x"} {
		c.get(op).want(t, 404)
	}
}

func TestEST_E002_Labels(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	plain, main, second := c.get("cacerts").certs(t), c.get("default/cacerts").certs(t), c.get("second/cacerts").certs(t)
	if !plain[0].Equal(main[0]) || plain[0].Equal(second[0]) || !second[0].Equal(w.issuers["second"].Chain[0]) {
		t.Error("a label does not select its CA")
	}
	c.get("nobody/cacerts").want(t, 404)
	for _, name := range []string{"cacerts", "csrattrs", "fullcmc", "a/b", "", "A", "..", strings.Repeat("x", 64)} {
		if _, err := est.New(est.Config{name: {Profile: "device"}}, w.deps); err == nil {
			t.Errorf("label %q was taken", name)
		}
	}
	for name, e := range map[string]est.Endpoint{
		"no profile": {}, "unknown profile": {Profile: "x"}, "profile of others": {Profile: "native"},
		"authenticate": {Profile: "device", Authenticate: "digest"}, "linking": {Profile: "device", Linking: "maybe"},
	} {
		if _, err := est.New(est.Config{"default": e}, w.deps); err == nil || !strings.HasPrefix(err.Error(), "frontends.est.default: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEST_XE006_HostileLabels(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{
		"..%2f..%2fetc/cacerts", "%00/cacerts", "default%2fcacerts", "%64efault/cacerts", "../est/cacerts", "./cacerts", "é/cacerts",
		strings.Repeat("a", 10<<10) + "/cacerts", "simpleenroll/cacerts", "cacerts/cacerts", "second%2e/cacerts", "default;x/cacerts",
	} {
		r := httptest.NewRequest("GET", "https://ca.test/.well-known/est/"+path, nil)
		r.RequestURI = "/.well-known/est/" + path
		rec := httptest.NewRecorder()
		w.server.Config.Handler.ServeHTTP(rec, r)
		if rec.Code != 404 {
			t.Errorf("%.40s: %d", path, rec.Code)
		}
	}
}

func TestEST_E003_E004_CACerts(t *testing.T) {
	w := newWorld(t)
	certs := w.client().get("cacerts").certs(t)
	if len(certs) != 1 || !certs[0].Equal(w.issuers["main"].Chain[0]) { // its root is itself
		t.Errorf("%d certificates", len(certs))
	}
	a := w.client().do("HEAD", "/.well-known/est/cacerts", "")
	if a.StatusCode != 200 || a.body != "" {
		t.Errorf("HEAD: %d %q", a.StatusCode, a.body)
	}
}

func TestEST_E005_AnswersAreBase64(t *testing.T) {
	w := newWorld(t)
	for agent, lines := range map[string]bool{"": false, "curl/8": false, "libest 3.2.0p": true} {
		a := w.client().do("GET", "/.well-known/est/cacerts", "", "User-Agent", agent)
		a.certs(t)
		if strings.Contains(a.body, "-----") || a.Header.Get("Content-Transfer-Encoding") != "base64" {
			t.Errorf("%s: %v %s", agent, a.Header, a.body)
		}
		if has := strings.Count(a.body, "\n") > 1; has != lines {
			t.Errorf("%q: wrapped %v", agent, has)
		}
		for line := range strings.Lines(a.body) {
			if lines && len(line) > 77 {
				t.Errorf("a line of %d", len(line))
			}
		}
	}
	if a := w.client().get("wrap/cacerts"); strings.Count(a.body, "\n") < 2 {
		t.Error("wrap: one line")
	}
}

func TestEST_E006_E007_E008_Bodies(t *testing.T) {
	w := newWorld(t)
	c := w.client(w.grant(engine.Grant{}, "dev.example.org"))
	der := w.csr(newKey(t), want{cn: "dev.example.org"})
	text := base64.StdEncoding.EncodeToString(der)
	var lf, crlf strings.Builder
	for i := 0; i < len(text); i += 64 {
		lf.WriteString(text[i:min(i+64, len(text))] + "\n")
		crlf.WriteString(text[i:min(i+64, len(text))] + "\r\n")
	}
	first := c.post("simpleenroll", der).certs(t)[0]
	for name, body := range map[string]string{"one line": text, "lines": lf.String(), "CRLF": crlf.String(), "newline": text + "\n", "blanks": " \t\n" + text} {
		for _, encoding := range []string{"", "base64", "binary", "8bit"} {
			header := []string{"Content-Type", "application/pkcs10"}
			if encoding != "" {
				header = append(header, "Content-Transfer-Encoding", encoding)
			}
			if got := c.do("POST", "/.well-known/est/simpleenroll", body, header...).certs(t); len(got) != 1 || !got[0].Equal(first) {
				t.Errorf("%s, %s: another certificate", name, encoding)
			}
		}
	}
	for name, body := range map[string]string{
		"DER": string(der), "PEM": "-----BEGIN CERTIFICATE REQUEST-----\n" + lf.String() + "-----END CERTIFICATE REQUEST-----\n",
		"empty": "", "white": " \r\n", "base64url": strings.NewReplacer("+", "-", "/", "_").Replace("+/+/" + text), "padding": text + "=",
		"not all": text[:len(text)-4], "two": text + text, "garbage": "AAAA", "with a NUL": text + "\x00",
	} {
		c.do("POST", "/.well-known/est/simpleenroll", body, "Content-Type", "application/pkcs10").want(t, 400)
		_ = name
	}
	if n := w.issued(); n != 1 {
		t.Errorf("%d certificates", n)
	}
}

func TestEST_E009_ContentType(t *testing.T) {
	w := newWorld(t)
	c := w.client(w.grant(engine.Grant{}, "dev.example.org"))
	text := base64.StdEncoding.EncodeToString(w.csr(newKey(t), want{cn: "dev.example.org"}))
	for ct, status := range map[string]int{
		"application/pkcs10": 200, "application/pkcs10; charset=us-ascii": 200, "Application/PKCS10": 200,
		"": 415, "text/plain": 415, "application/pkcs10x": 415, "application/x-www-form-urlencoded": 415, "application/pkcs7-mime": 415, ";": 415,
	} {
		var header []string
		if ct != "" {
			header = []string{"Content-Type", ct}
		}
		c.do("POST", "/.well-known/est/simpleenroll", text, header...).want(t, status)
	}
	c.do("POST", "/.well-known/est/simpleenroll", text, "Content-Type", "application/pkcs10", "Content-Encoding", "gzip").want(t, 415)
	c.do("POST", "/.well-known/est/simpleenroll", text, "Content-Type", "application/pkcs10", "Content-Type", "application/pkcs10").want(t, 415)
}

func TestEST_E028_NotOffered(t *testing.T) {
	w := newWorld(t)
	c := w.client(w.grant(engine.Grant{}, "dev.example.org"))
	c.post("fullcmc", []byte("x")).want(t, 501)
}

func TestEST_E037_E038_Transport(t *testing.T) {
	w := newWorld(t)
	c := w.client(w.grant(engine.Grant{}, "dev.example.org"))
	text := base64.StdEncoding.EncodeToString(w.csr(newKey(t), want{cn: "dev.example.org"}))
	c.do("POST", "/.well-known/est/simpleenroll", text, "Content-Type", "application/pkcs10", "Expect", "100-continue").want(t, 200)
	r, err := http.NewRequest("POST", w.server.URL+"/.well-known/est/simpleenroll", struct{ *strings.Reader }{strings.NewReader(text)}) // in chunks
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/pkcs10")
	r.SetBasicAuth(c.login.user, c.login.password)
	r.ContentLength = -1
	resp, err := c.http.Do(r)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("chunked: %v %v", resp, err)
	}
	resp.Body.Close()
	large := strings.Repeat("A", 40<<10)
	c.do("POST", "/.well-known/est/simpleenroll", large, "Content-Type", "application/pkcs10").want(t, 413)
	c.do("POST", "/.well-known/est/simpleenroll/", text, "Content-Type", "application/pkcs10").want(t, 404) // no redirect
}

func TestEST_E014_NoPlainHTTP(t *testing.T) {
	w := newWorld(t)
	r := httptest.NewRequest("GET", "/.well-known/est/cacerts", nil)
	rec := httptest.NewRecorder()
	w.server.Config.Handler.ServeHTTP(rec, r)
	if rec.Code != 403 || strings.Contains(fmt.Sprint(rec.Header()), "Basic") {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
}

func TestEST_XE011_OtherHostOnTheSameConnection(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	tr := c.http.Transport.(*http.Transport)
	tr.ForceAttemptHTTP2, tr.TLSClientConfig.ServerName = true, "example.com"
	if a := c.do("GET", "/.well-known/est/cacerts", "", "Host", "example.com:443"); a.StatusCode != 200 || a.ProtoMajor != 2 {
		t.Fatalf("%d %s", a.StatusCode, a.Proto)
	}
	c.do("GET", "/.well-known/est/cacerts", "", "Host", "other.example").want(t, 421)
}

func TestEST_XE020_ForeignPage(t *testing.T) {
	w := newWorld(t)
	device := w.enrolled("", "dev.example.org")
	text := base64.StdEncoding.EncodeToString(w.csr(newKey(t), want{cn: "dev.example.org"}))
	before := w.issued()
	w.client(device).do("POST", "/.well-known/est/simplereenroll", text, "Content-Type", "application/pkcs10", "Sec-Fetch-Site", "cross-site").want(t, 403)
	w.client(device).do("POST", "/.well-known/est/simplereenroll", text, "Content-Type", "application/pkcs10", "Origin", "https://evil.example").want(t, 403)
	if w.issued() != before {
		t.Error("a page of another site got a certificate")
	}
}

func TestSecretsAreNotLogged(t *testing.T) {
	w := newWorld(t)
	l := w.grant(engine.Grant{}, "dev.example.org")
	c := w.client(l)
	c.post("simpleenroll", w.csr(newKey(t), want{cn: "dev.example.org", challenge: "canary-in-challenge"})).want(t, 403)
	c.post("simpleenroll", w.csr(newKey(t), want{cn: "dev.example.org"})).want(t, 200)
	if bytes.Contains(w.log.Bytes(), []byte(l.password)) || bytes.Contains(w.log.Bytes(), []byte("canary")) {
		t.Error(w.log.String())
	}
}
