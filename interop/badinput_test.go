package interop

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
)

// A body is something that no endpoint wants.
type body struct {
	name, contentType string
	data              []byte
}

// badBodies are sent to every endpoint.
func badBodies() []body {
	deep := strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000)
	jws := `{"protected":"eyJhbGciOiJub25lIn0","payload":"e30","signature":""}`
	return []body{
		{"empty", "application/json", nil},
		{"empty JOSE", "application/jose+json", nil},
		{"no type", "", []byte(`{}`)},
		{"wrong type", "text/html", []byte(`<p>hello</p>`)},
		{"form", "application/x-www-form-urlencoded", []byte("a=b&c=%zz")},
		{"malformed JSON", "application/json", []byte(`{"csr":`)},
		{"malformed JOSE", "application/jose+json", []byte(`{"protected":`)},
		{"JSON null", "application/json", []byte(`null`)},
		{"JOSE null", "application/jose+json", []byte(`null`)},
		{"JSON array", "application/json", []byte(`[1,2,3]`)},
		{"JOSE array", "application/jose+json", []byte(`[]`)},
		{"JSON of wrong types", "application/json", []byte(`{"csr":[],"profile":{},"reason":"x","id":1.5e400}`)},
		{"JSON deep", "application/json", []byte(deep)},
		{"JOSE deep", "application/jose+json", []byte(deep)},
		{"JOSE without algorithm", "application/jose+json", []byte(jws)},
		{"JOSE of wrong types", "application/jose+json", []byte(`{"protected":1,"payload":{},"signature":[]}`)},
		{"bad UTF-8", "application/json", []byte("{\"csr\":\"\xff\xfe\x00\"}")},
		{"binary as PKCS#10", "application/pkcs10", bytes.Repeat([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, 50)},
		{"binary as OCSP", "application/ocsp-request", bytes.Repeat([]byte{0x30, 0x80}, 200)},
		{"PEM nonsense", "application/x-pem-file", []byte("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n")},
		{"oversized JSON", "application/json", append([]byte(`{"csr":"`), bytes.Repeat([]byte("A"), 4<<20)...)},
		{"oversized JOSE", "application/jose+json", append([]byte(`{"protected":"`), bytes.Repeat([]byte("A"), 4<<20)...)},
		{"oversized binary", "application/octet-stream", make([]byte, 4<<20)},
	}
}

// An answer is what came back.
type answer struct {
	status      int
	contentType string
	body        []byte
}

// send sends one request. A server that closes the connection while it is being
// sent too much has answered too: then the answer is 413.
func send(t *testing.T, cl *http.Client, method, url, contentType string, data []byte) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(data))
	must(t, err)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := cl.Do(req)
	if err != nil && len(data) > 256<<10 && ctx.Err() == nil {
		return answer{status: http.StatusRequestEntityTooLarge}
	}
	if err != nil {
		t.Fatalf("%s %s, %d bytes of %s: %v", method, url, len(data), contentType, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	must(t, err)
	return answer{resp.StatusCode, resp.Header.Get("Content-Type"), b}
}

// A problem is an error document (RFC 9457).
type problem struct {
	Type   string `json:"type"`
	Detail string `json:"detail"`
	Status int    `json:"status"`
}

// wantProblem checks that a refusal is an error document of the protocol.
func wantProblem(prefix string) func(answer) error {
	return func(a answer) error {
		if a.contentType == "" && a.body == nil {
			return nil // closed early
		}
		var p problem
		if !strings.HasPrefix(a.contentType, "application/problem+json") {
			return fmt.Errorf("%d with Content-Type %q: %.200s", a.status, a.contentType, a.body)
		}
		if err := json.Unmarshal(a.body, &p); err != nil || !strings.HasPrefix(p.Type, prefix) || p.Detail == "" {
			return fmt.Errorf("%d with problem %.200s", a.status, a.body)
		}
		return nil
	}
}

// anyAnswer is for protocols without an error document of their own.
func anyAnswer(answer) error { return nil }

var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"}

// Every endpoint, every method, every body that nobody wants, without any
// authentication: the protocol's own error, never a 5xx, never a panic.
func TestBadInput(t *testing.T) {
	t.Parallel()
	c := startCA(t)
	anyone := keepAlive(c.client())
	dir, err := (&acme.Client{DirectoryURL: c.directory(), HTTPClient: anyone}).Discover(t.Context())
	must(t, err)

	acmeURLs := []string{c.directory(), c.directory("nobody"), dir.NonceURL, dir.RegURL, dir.OrderURL, dir.RevokeURL}
	if dir.KeyChangeURL != "" {
		acmeURLs = append(acmeURLs, dir.KeyChangeURL)
	}
	for _, path := range []string{"account/x", "order/x", "authz/x", "chall/x", "cert/x", "order/x/finalize", "finalize/x", "..%2f..%2fadmin", "%00", "nothing/here"} {
		acmeURLs = append(acmeURLs, strings.TrimSuffix(c.directory(), "directory")+path)
	}
	under := func(base string, paths ...string) []string {
		var urls []string
		for _, p := range paths {
			urls = append(urls, base+p)
		}
		return urls
	}
	sweeps := []struct {
		name  string
		urls  []string
		check func(answer) error
	}{
		{"acme", acmeURLs, wantProblem("urn:ietf:params:acme:error:")},
		{"native", under("https://"+c.HTTPS, nativePaths(t)...), wantProblem("urn:chancery:problem:")},
		{"admin", under("https://"+c.Admin, nativePaths(t)...), wantProblem("urn:chancery:problem:")},
		{"status", under("http://"+c.HTTP, "/crl/", "/crl/00.crl", "/crl/../../x", "/aia/zz.crt", "/ocsp", "/ocsp/", "/ocsp/AAAA", "/ocsp/%2F%2F", "/healthz", "/readyz"), anyAnswer},
		{"nowhere", append(under("https://"+c.HTTPS, "/", "/x", "//", "/%2e%2e/", "/.well-known/est/simpleenroll", "/metrics", "/console/"),
			under("https://"+c.Admin, "/", "/x", "/metrics", "/console/")...), anyAnswer},
	}
	founder := keepAlive(c.client(c.founder()))
	for _, sw := range sweeps {
		t.Run(sw.name, func(t *testing.T) { sweep(t, anyone, sw.urls, sw.check) })
		if sw.name == "native" || sw.name == "admin" {
			t.Run(sw.name+" authenticated", func(t *testing.T) { sweep(t, founder, sw.urls, sw.check) })
		}
	}

	t.Run("headers", func(t *testing.T) {
		for _, url := range []string{c.directory(), "http://" + c.HTTP + "/ocsp", "https://" + c.Admin + "/healthz"} {
			req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
			must(t, err)
			req.Header.Set("X-Long", strings.Repeat("a", 64<<10))
			resp, err := anyone.Do(req)
			if err != nil {
				continue // cut off: also an answer
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%s with 64 KiB of headers: %s", url, resp.Status)
			}
		}
	})
	t.Run("signed", func(t *testing.T) { c.badSignedInput(t, dir) })

	// And it is as well as before.
	csr, _ := c.newCSR("still.there.test")
	c.verify(c.cli("submit", csr), "still.there.test")
}

// keepAlive makes a client use its connections again, as most do. To those that
// do not, a server that answers before it has read everything can only close.
func keepAlive(cl *http.Client) *http.Client {
	cl.Transport.(*http.Transport).DisableKeepAlives = false
	return cl
}

// sweep sends every bad body to every URL.
func sweep(t *testing.T, cl *http.Client, urls []string, check func(answer) error) {
	bodies := badBodies()
	for _, url := range urls {
		for _, m := range methods {
			for _, b := range bodies {
				if m != "POST" && m != "PUT" && b.name != "empty" {
					continue
				}
				a := send(t, cl, m, url, b.contentType, b.data)
				if a.status >= 500 || a.status < 200 {
					t.Errorf("%s %s with %s: %d %.200s", m, url, b.name, a.status, a.body)
				}
				if a.status < 400 || m == "HEAD" {
					continue
				}
				if err := check(a); err != nil {
					t.Errorf("%s %s with %s: %v", m, url, b.name, err)
				}
			}
		}
	}
}

// nativePaths are the addresses of the native API, read from its table of
// routes, so that a new one is swept too.
func nativePaths(t *testing.T) []string {
	t.Helper()
	row := regexp.MustCompile(`\{"[A-Z]+", "(/[^"]*)",`)
	variable := regexp.MustCompile(`\{[a-z]+\}`)
	var paths []string
	for _, m := range row.FindAllStringSubmatch(read(t, "../frontends/native/routes.go"), -1) {
		for _, value := range []string{"x", "00", "ffffffffffffffffffffffffffffffffffffffffffffffff", "main"} {
			p := "/api/v1" + variable.ReplaceAllString(m[1], value)
			if !slices.Contains(paths, p) {
				paths = append(paths, p)
			}
		}
	}
	if len(paths) < 20 {
		t.Fatalf("found only %q in the table of routes", paths)
	}
	return append(paths, "/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v1/requests/%2e%2e", "/api/v1//requests")
}

// badSignedInput sends payloads that make no sense, rightly signed by an
// account that exists.
func (c *ca) badSignedInput(t *testing.T, dir acme.Directory) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	client := &acme.Client{Key: key, DirectoryURL: c.directory(), HTTPClient: c.client()}
	account, err := client.Register(t.Context(), &acme.Account{}, acme.AcceptTOS)
	must(t, err)
	order, err := client.AuthorizeOrder(t.Context(), acme.DomainIDs("bad.input.test"))
	must(t, err)
	authz, err := client.GetAuthorization(t.Context(), order.AuthzURLs[0])
	must(t, err)

	payloads := []string{
		"", "null", "[]", "1", `"x"`, "{", `{"identifiers":null}`, `{"identifiers":[]}`, `{"identifiers":[{}]}`,
		`{"identifiers":[{"type":"dns","value":"127.0.0.1"}]}`, `{"identifiers":[{"type":"dns","value":""}]}`,
		`{"identifiers":[{"type":"dns","value":"` + strings.Repeat("a", 300) + `.test"}]}`,
		`{"identifiers":[{"type":"dns","value":"a..b"}]}`, `{"identifiers":[{"type":"dns","value":"*.*.test"}]}`,
		`{"identifiers":[{"type":"dns","value":"\u0000.test"}]}`, `{"identifiers":[{"type":"nonsense","value":"x"}]}`,
		`{"identifiers":[` + strings.TrimSuffix(strings.Repeat(`{"type":"dns","value":"a.test"},`, 1000), ",") + `]}`,
		`{"csr":""}`, `{"csr":"AAAA"}`, `{"csr":"!!!"}`, `{"csr":5}`, `{"certificate":"AAAA"}`, `{"certificate":"","reason":99}`,
		`{"certificate":"AAAA","reason":-1}`, `{"contact":["mailto:"]}`, `{"contact":"x"}`, `{"contact":["tel:+1"]}`, `{"status":"nonsense"}`,
		`{"a":1,"a":2}`, `{"onlyReturnExisting":"yes"}`,
	}
	check := wantProblem("urn:ietf:params:acme:error:")
	urls := []string{dir.RegURL, dir.OrderURL, dir.RevokeURL, account.URI, order.URI, order.FinalizeURL, order.AuthzURLs[0], order.URI + "x", account.URI + "x"}
	for _, ch := range authz.Challenges {
		urls = append(urls, ch.URI+"x")
	}
	for _, url := range urls {
		for _, p := range payloads {
			nonce, err := freshNonce(c.client(), dir.NonceURL)
			must(t, err)
			a := send(t, c.client(), "POST", url, "application/jose+json", signJWS(t, key, account.URI, nonce, url, p))
			if a.status >= 500 || a.status < 200 {
				t.Errorf("%s with %.80s: %d %.200s", url, p, a.status, a.body)
			}
			if a.status >= 400 {
				if err := check(a); err != nil {
					t.Errorf("%s with %.80s: %v", url, p, err)
				}
			}
		}
	}
}

func freshNonce(cl *http.Client, url string) (string, error) {
	resp, err := cl.Head(url)
	if err != nil {
		return "", err
	}
	_ = resp.Body.Close()
	if n := resp.Header.Get("Replay-Nonce"); n != "" {
		return n, nil
	}
	return "", errors.New("newNonce gave no nonce")
}

// signJWS makes the flattened JWS of RFC 8555 with an account's URL.
func signJWS(t *testing.T, key *ecdsa.PrivateKey, kid, nonce, url, payload string) []byte {
	t.Helper()
	b64 := base64.RawURLEncoding
	head, err := json.Marshal(map[string]string{"alg": "ES256", "kid": kid, "nonce": nonce, "url": url})
	must(t, err)
	protected, body := b64.EncodeToString(head), b64.EncodeToString([]byte(payload))
	digest := sha256.Sum256([]byte(protected + "." + body))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	must(t, err)
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	jws, err := json.Marshal(map[string]string{"protected": protected, "payload": body, "signature": b64.EncodeToString(sig)})
	must(t, err)
	return jws
}
