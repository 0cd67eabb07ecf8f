package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/frontends/native/client"
)

// server answers as the real one does, for one request.
func server() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ CSR, Profile string }
		if r.Header.Get("Authorization") != "Bearer the-secret-of-a-grant" || json.NewDecoder(r.Body).Decode(&body) != nil || body.Profile != "service" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(401)
			io.WriteString(w, `{"reason":"unauthorized","detail":"Authenticate.","status":401}`)
			return
		}
		w.WriteHeader(201)
		io.WriteString(w, `{"id":"1","status":"issued","serial":"2a","chain":"-----BEGIN CERTIFICATE-----\n…"}`)
	}))
}

func Example() {
	srv := server() // in life: https://pki.example.org:8443, with its roots.pem in Options.Roots
	defer srv.Close()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"www.example.org"}}, key)
	if err != nil {
		panic(err)
	}
	c, err := client.New(client.Options{Server: srv.URL, Token: "the-secret-of-a-grant"})
	if err != nil {
		panic(err)
	}
	r, err := c.Submit(context.Background(), client.Submission{CSR: csr, Profile: "service"})
	var p *client.Problem
	switch {
	case errors.As(err, &p):
		fmt.Println("refused:", p.Detail)
	case err != nil:
		panic(err)
	case r.Status == client.StatusPending:
		fmt.Println("an officer will look at it:", r.ID)
	default:
		fmt.Println(r.Status, "serial", r.Serial)
	}
	// Output: issued serial 2a
}

func newClient(t *testing.T, h http.HandlerFunc, token string) *client.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := client.New(client.Options{Server: srv.URL, Admin: srv.URL + "/", Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestProblem(t *testing.T) {
	for name, tt := range map[string]struct {
		status      int
		contentType string
		body        string
		want        string
		temporary   bool
	}{
		"problem":  {503, "application/problem+json", `{"reason":"frozen","title":"x","detail":"Issuing is stopped: audit","request_id":"r1"}`, "frozen: Issuing is stopped: audit (request id r1)", true},
		"a proxy":  {502, "text/html", "<html>secret</html>", "the server, or something before it, answered 502 Bad Gateway (request id h1)", false},
		"redirect": {302, "text/html", "", "the server, or something before it, answered 302 Found (request id h1)", false},
		"broken":   {400, "application/problem+json", `{`, "the server, or something before it, answered 400 Bad Request (request id h1)", false},
	} {
		c := newClient(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", tt.contentType)
			w.Header().Set("X-Request-Id", "h1")
			w.Header().Set("Retry-After", "7")
			w.Header().Set("Location", "https://evil.example/")
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.body)
		}, "secret-token")
		_, err := c.Status(context.Background())
		var p *client.Problem
		if !errors.As(err, &p) || p.Error() != tt.want || p.Status != tt.status || p.Temporary() != tt.temporary || p.RetryAfter != 7*time.Second {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNotTheAPI(t *testing.T) {
	c := newClient(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") }, "")
	if _, err := c.Status(context.Background()); err == nil || !strings.Contains(err.Error(), "not the native API") {
		t.Error(err)
	}
}

func TestTokenIsNotSentInTheClear(t *testing.T) {
	for addr, ok := range map[string]bool{
		"http://pki.example.org": false, "http://192.0.2.1:80": false, "https://pki.example.org": true,
		"http://127.0.0.1:8080": true, "http://localhost": true, "http://[::1]:80": true,
	} {
		if _, err := client.New(client.Options{Server: addr, Token: "x"}); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
	for _, addr := range []string{"pki.example.org", "ftp://x", "https://", "https://x?y=z", "://"} {
		if _, err := client.New(client.Options{Admin: addr}); err == nil {
			t.Errorf("%s was taken", addr)
		}
	}
}

func TestPathsAreWords(t *testing.T) {
	c := newClient(t, func(w http.ResponseWriter, r *http.Request) { t.Errorf("called %s", r.RequestURI) }, "")
	ctx := context.Background()
	for _, word := range []string{"", "..", "a/b", "a?b", "a#b", "a b", "%2e", "ä"} {
		if _, err := c.Explain(ctx, word); err == nil {
			t.Errorf("%q was taken", word)
		}
		if err := c.Thaw(ctx, word); err == nil {
			t.Errorf("%q was taken", word)
		}
	}
	if _, err := (&client.Client{}).Status(ctx); err == nil || !strings.Contains(err.Error(), "Options") {
		t.Errorf("without an address: %v", err)
	}
}

func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"policy":"v1"}`) })}
	go srv.Serve(l)
	defer srv.Close()
	c, err := client.New(client.Options{Socket: path})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := c.Status(context.Background()); err != nil || s.Policy != "v1" {
		t.Errorf("%+v %v", s, err)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	c := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"id":"1","status":"pending","retry_after":3600}`)
	}, "")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Wait(ctx, "1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
