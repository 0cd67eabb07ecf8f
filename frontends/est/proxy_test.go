package est_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"net/url"
	"strings"
	"testing"

	"chancery/frontends/est"
)

func keyHash(c *tls.Certificate) string {
	sum := sha256.Sum256(c.Leaf.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// headers are the forms in which proxies pass a certificate on.
func headers(der []byte) map[string][2]string {
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return map[string][2]string{
		"client-cert": {"Client-Cert", ":" + base64.StdEncoding.EncodeToString(der) + ":"},
		"nginx":       {"X-SSL-Client-Cert", url.PathEscape(text)},
		"envoy":       {"X-Forwarded-Client-Cert", `Hash=00;Cert="` + strings.ReplaceAll(url.QueryEscape(text), "+", "%20") + `";Subject="CN=x"`},
		"alb":         {"X-Amzn-Mtls-Clientcert", url.PathEscape(text)},
	}
}

func TestEST_XE010_ProxyHeaders(t *testing.T) {
	w := newWorld(t)
	device, proxy, revoked := w.enrolled("", "dev.example.org"), w.enrolled("", "proxy.example.org"), w.enrolled("", "dev.example.org")
	old := w.enrolled("", "proxy.example.org")
	for form := range headers(nil) {
		w.config[form] = est.Endpoint{Profile: "device", Proxy: &est.Proxy{Keys: []string{keyHash(proxy), keyHash(old)}, Header: form}}
	}
	w.restart()
	w.revoke(revoked, 4)
	w.revoke(old, 4)
	post := func(c *client, label string, h [2]string) int {
		t.Helper()
		text := base64.StdEncoding.EncodeToString(w.csr(newKey(t), want{cn: "dev.example.org"}))
		return c.do("POST", "/.well-known/est/"+label+"simplereenroll", text, "Content-Type", "application/pkcs10", h[0], h[1]).StatusCode
	}
	other := w.enrolled("", "other.example.org") // a certificate, and no proxy
	for form, h := range headers(device.Certificate[0]) {
		for name, tt := range map[string]struct {
			client *client
			label  string
			h      [2]string
			status int
		}{
			"the proxy":          {w.client(proxy), form + "/", h, 200},
			"nobody":             {w.client(), form + "/", h, 403},
			"somebody":           {w.client(other), form + "/", h, 403},
			"elsewhere":          {w.client(proxy), "", h, 403}, // would be itself, which has another name
			"a revoked proxy":    {w.client(old), form + "/", h, 403},
			"a revoked device":   {w.client(proxy), form + "/", headers(revoked.Certificate[0])[form], 403},
			"no certificate":     {w.client(proxy), form + "/", [2]string{"X-Other", "x"}, 403},
			"no certificate, 2":  {w.client(proxy), form + "/", [2]string{h[0], "garbage"}, 400},
			"another's header":   {w.client(proxy), form + "/", [2]string{"Ssl-Client-Cert", h[1]}, 403},
			"two in one":         {w.client(proxy), form + "/", [2]string{h[0], h[1] + "," + h[1]}, 400},
			"a stranger's words": {w.client(), "", h, 403},
		} {
			if status := post(tt.client, tt.label, tt.h); status != tt.status {
				t.Errorf("%s, %s: %d, not %d", form, name, status, tt.status)
			}
		}
	}
	// The proxy's connection is not the client's: nothing can be tied to it.
	c := w.client(proxy)
	csr := w.csr(newKey(t), want{cn: "dev.example.org", challenge: c.binding("tls-exporter")})
	h := headers(device.Certificate[0])["client-cert"]
	c.do("POST", "/.well-known/est/client-cert/simplereenroll", base64.StdEncoding.EncodeToString(csr), "Content-Type", "application/pkcs10", h[0], h[1]).want(t, 403)
	c.do("POST", "/.well-known/est/client-cert/simplereenroll", "x", h[0], h[1][1:]).want(t, 400) // half a Byte Sequence
	for name, e := range map[string]est.Endpoint{
		"no keys": {Profile: "device", Proxy: &est.Proxy{Header: "nginx"}}, "no header": {Profile: "device", Proxy: &est.Proxy{Keys: []string{keyHash(proxy)}}},
		"bad key": {Profile: "device", Proxy: &est.Proxy{Keys: []string{"x"}, Header: "nginx"}},
		"linking": {Profile: "device", Linking: "required", Proxy: &est.Proxy{Keys: []string{keyHash(proxy)}, Header: "nginx"}},
	} {
		if _, err := est.New(est.Config{"default": e}, w.deps); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
