package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/engine"
	"chancery/engine/names"
)

const secret = "0123456789abcdef0123456789abcdef"

var now = time.Unix(1_780_000_000, 0)

func event() engine.Event {
	return engine.Event{
		ID: "r1.issued", Kind: engine.EventIssued, At: now.UTC(), RequestID: "r1", Source: engine.ACME, Requester: "account:1",
		Issuer: "ab", Serial: "1f", Names: []names.Name{{Type: names.DNS, Value: "www.example.com"}}, DER: []byte("certificate"),
	}
}

// deps have a directory with the secret, and a clock that the test certificates
// of httptest are valid at.
func deps(t *testing.T) engine.Deps {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return engine.Deps{Now: func() time.Time { return now }, Dial: (&net.Dialer{}).DialContext, Dir: dir}
}

// hook makes the exit for a test server over TLS.
func hook(t *testing.T, c Config, h http.HandlerFunc) engine.Exit {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	d := deps(t)
	if err := os.WriteFile(filepath.Join(d.Dir, "roots"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	c.URL, c.SecretFile, c.RootsFile = s.URL+"/hook?token=t0ken", "secret", "roots"
	x, err := New(c, d)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestPostsSigned(t *testing.T) {
	var got *http.Request
	var body []byte
	x := hook(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
	})
	if err := x.Tell(t.Context(), event()); err != nil {
		t.Fatal(err)
	}
	if got.Method != "POST" || got.URL.Path != "/hook" || got.URL.RawQuery != "token=t0ken" {
		t.Errorf("%s %s", got.Method, got.URL)
	}
	h := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(h, "%d.%s", now.Unix(), body)
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Idempotency-Key": "r1.issued",
		"Chancery-Signature": fmt.Sprintf("t=%d,v1=%s", now.Unix(), hex.EncodeToString(h.Sum(nil))),
	} {
		if v := got.Header.Get(name); v != want {
			t.Errorf("%s: %q, want %q", name, v, want)
		}
	}
	var sent struct {
		ID, Kind, Serial, Requester, Certificate string
		Names                                    []names.Name
	}
	if err := json.Unmarshal(body, &sent); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(sent.Certificate))
	if sent.ID != "r1.issued" || sent.Kind != "issued" || sent.Serial != "1f" || len(sent.Names) != 1 || block == nil || string(block.Bytes) != "certificate" {
		t.Errorf("%s", body)
	}
}

func TestWithoutCertificate(t *testing.T) {
	x := hook(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); bytes.Contains(body, []byte("certificate")) {
			t.Errorf("%s", body)
		}
	})
	ev := event()
	ev.Kind, ev.DER = engine.EventDenied, nil
	if err := x.Tell(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
}

// XE: what a receiver answers does not get into logs unseen.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
		says   string // empty: taken
		never  string
	}{
		{200, "ok", "", ""},
		{204, "", "", ""},
		{500, "", "answered 500", ""},
		{503, "try later\r\n\x1b[31mnow", "answered 503: try later   [31mnow", "\x1b"},
		{400, strings.Repeat("x", 300), "answered 400: " + strings.Repeat("x", 200), strings.Repeat("x", 201)},
		{400, strings.Repeat("é", 300), "answered 400", "é"},
		{302, "", "a redirect, which is not followed", ""},
		{307, "", "put the final address into url", ""},
	} {
		x := hook(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://169.254.169.254/")
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.body)
		})
		err := x.Tell(t.Context(), event())
		if tt.says == "" {
			if err != nil {
				t.Errorf("%d: %v", tt.status, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.says) || tt.never != "" && strings.Contains(err.Error(), tt.never) {
			t.Errorf("%d: %v, want %q", tt.status, err, tt.says)
		}
		if err != nil && strings.Contains(err.Error(), "t0ken") {
			t.Errorf("%d: the error shows the query: %v", tt.status, err)
		}
	}
}

func TestLongAnswerIsNotReadToItsEnd(t *testing.T) {
	x := hook(t, Config{Timeout: engine.Duration(5 * time.Second)}, func(w http.ResponseWriter, _ *http.Request) {
		line := bytes.Repeat([]byte("x"), 32<<10)
		for range 4096 { // 128 MiB
			if _, err := w.Write(line); err != nil {
				return
			}
		}
		t.Error("all of the answer was read")
	})
	if err := x.Tell(t.Context(), event()); err != nil {
		t.Error(err)
	}
}

func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	x := hook(t, Config{Timeout: engine.Duration(50 * time.Millisecond)}, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	start := time.Now()
	err := x.Tell(t.Context(), event())
	if err == nil || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	if err != nil && (strings.Contains(err.Error(), "t0ken") || strings.Contains(err.Error(), secret)) {
		t.Errorf("the error shows a secret: %v", err)
	}
}

func TestUnknownCertificateIsRefused(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("posted to a stranger") }))
	defer s.Close()
	s.Config.ErrorLog = nil
	x, err := New(Config{URL: s.URL, SecretFile: "secret"}, deps(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Tell(t.Context(), event()); err == nil {
		t.Error("a server with a certificate of nobody's was told")
	}
}

// fakeConn is a connection to an address that no test can reach.
type fakeConn struct {
	net.Conn
	addr net.Addr
	said *bool
}

func (c fakeConn) RemoteAddr() net.Addr { return c.addr }
func (c fakeConn) Write(b []byte) (int, error) {
	*c.said = true
	return c.Conn.Write(b)
}

func TestGuardsAddresses(t *testing.T) {
	for _, tt := range []struct {
		host, ip string
		private  bool
		says     string // empty: connects
	}{
		{"hook.example", "203.0.113.7", false, ""},
		{"hook.example", "10.1.2.3", false, "set allow_private: true"},
		{"hook.example", "fd00::1", false, "set allow_private: true"},
		{"hook.example", "::ffff:192.168.1.1", false, "set allow_private: true"},
		{"hook.example", "10.1.2.3", true, ""},
		{"hook.example", "127.0.0.1", true, "write localhost into url"},
		{"hook.example", "::1", true, "write localhost into url"},
		{"hook.example", "169.254.169.254", true, "where nothing is posted"},
		{"hook.example", "fe80::1", true, "where nothing is posted"},
		{"hook.example", "0.0.0.0", true, "where nothing is posted"},
		{"localhost", "127.0.0.1", false, ""},
		{"127.0.0.1", "127.0.0.1", false, ""},
	} {
		said := false
		d := deps(t)
		d.Dial = func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			there.Close()
			return fakeConn{here, &net.TCPAddr{IP: net.ParseIP(tt.ip), Port: 443}, &said}, nil
		}
		x, err := New(Config{URL: "https://" + tt.host + "/", SecretFile: "secret", AllowPrivate: tt.private}, d)
		if err != nil {
			t.Fatal(err)
		}
		err = x.Tell(t.Context(), event())
		if err == nil || tt.says != "" && !strings.Contains(err.Error(), tt.says) || said != (tt.says == "") {
			t.Errorf("%+v: %v, said something: %v", tt, err, said)
		}
	}
}

func TestNoProxy(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("https_proxy", "http://127.0.0.1:1")
	var mu sync.Mutex
	var dialed []string
	d := deps(t)
	d.Dial = func(_ context.Context, _, addr string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		dialed = append(dialed, addr)
		return nil, io.ErrUnexpectedEOF
	}
	x, err := New(Config{URL: "https://hook.example/", SecretFile: "secret"}, d)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Tell(t.Context(), event()); err == nil || !slices.Equal(dialed, []string{"hook.example:443"}) {
		t.Errorf("%v, dialed %v", err, dialed)
	}
}

func TestConfig(t *testing.T) {
	d := deps(t)
	put := func(name, text string) string {
		if err := os.WriteFile(filepath.Join(d.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const good = "https://hook.example/"
	for _, tt := range []struct {
		config Config
		says   string // empty: taken
	}{
		{Config{URL: good, SecretFile: "secret"}, ""},
		{Config{URL: good, SecretFile: filepath.Join(d.Dir, "secret")}, ""},
		{Config{URL: "http://127.0.0.1:8000/", SecretFile: "secret"}, ""},
		{Config{URL: "http://[::1]:8000/", SecretFile: "secret"}, ""},
		{Config{URL: "http://localhost/", SecretFile: "secret"}, ""},
		{Config{SecretFile: "secret"}, "url is missing; write it as https://"},
		{Config{URL: "hook.example", SecretFile: "secret"}, "url is not an address"},
		{Config{URL: "http://hook.example/", SecretFile: "secret"}, "in the clear; use https"},
		{Config{URL: "http://localhost.hook.example/", SecretFile: "secret"}, "in the clear; use https"},
		{Config{URL: "ftp://hook.example/", SecretFile: "secret"}, `scheme "ftp"; use https`},
		{Config{URL: "https://ann:sesame@hook.example/", SecretFile: "secret"}, "leave it out"},
		{Config{URL: "https://hook.example/#x", SecretFile: "secret"}, "fragment"},
		{Config{URL: good}, "openssl rand -hex 32"},
		{Config{URL: good, SecretFile: "none"}, "no such file"},
		{Config{URL: good, SecretFile: put("short", "sesame\n")}, "holds 6 octets, at least 16"},
		{Config{URL: good, SecretFile: "secret", RootsFile: put("text", "x")}, "no certificate in PEM"},
		{Config{URL: good, SecretFile: "secret", Events: []engine.EventKind{"isued"}}, `no kind "isued"`},
		{Config{URL: good, SecretFile: "secret", Events: []engine.EventKind{}}, "leave it out for all"},
	} {
		x, err := New(tt.config, d)
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%+v: %v, want %q", tt.config, err, tt.says)
		}
		if err != nil && strings.Contains(err.Error(), "sesame") {
			t.Errorf("the error shows a secret: %v", err)
		}
		if err == nil && !slices.Equal(x.Wants(), engine.EventKinds) {
			t.Errorf("wants %v", x.Wants())
		}
	}
	if _, err := New(Config{URL: good, SecretFile: "secret"}, engine.Deps{Dir: d.Dir}); err == nil {
		t.Error("made without a network")
	}
}
