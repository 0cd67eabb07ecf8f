package serve

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chancery/cmd/chancery/app/datadir"
	"chancery/cmd/chancery/app/node"
	"chancery/engine/names"
	"chancery/store/storetest/backends"
)

func TestMain(m *testing.M) { os.Exit(backends.Run(m)) }

// newNode is a CA without listeners, and its clock is ahead by what is stored
// in the second result.
func newNode(t *testing.T, more ...func(*node.Options)) (*node.Node, *atomic.Int64) {
	t.Helper()
	ahead := new(atomic.Int64)
	o := node.Options{
		Dir: datadir.Dir(filepath.Join(t.TempDir(), "data")), Rand: rand.Reader, Stderr: t.Output(), Say: t.Logf,
		Now:   func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		Fatal: func(err error) { t.Error(err) },
	}
	for _, f := range more {
		f(&o)
	}
	if err := o.Dir.Make(); err != nil {
		t.Fatal(err)
	}
	write(t, o.Dir.Settings(), backends.New(t).Settings())
	n, err := node.Prepare(t.Context(), o, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context(), "http://127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n, ahead
}

func TestOwnCertificate(t *testing.T) {
	n, ahead := newNode(t)
	const day = 24 * time.Hour
	own := ownNames(n)
	open := func() string {
		t.Helper()
		o := &ownTLS{node: n, names: own}
		if err := o.open(t.Context()); err != nil {
			t.Fatal(err)
		}
		return o.have.Load().Leaf.SerialNumber.String()
	}
	first := open()
	ahead.Store(int64(18 * day))
	if open() != first {
		t.Error("a certificate with more than a third of its life left was replaced")
	}
	ahead.Store(int64(21 * day))
	second := open()
	if second == first {
		t.Error("a certificate with less than a third of its life left was kept")
	}
	ahead.Store(int64(22 * day))
	own = own[:1]
	third := open()
	if third == second {
		t.Error("a certificate with other names was kept")
	}
	if err := os.WriteFile(n.Dir.TLS(), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if open() == third {
		t.Error("nonsense was a certificate")
	}
}

// A CA for a domain certifies no other address than loopback, and a server that
// has one starts nevertheless.
func TestOwnNamesOutsideTheDomain(t *testing.T) {
	n, _ := newNode(t, func(o *node.Options) { o.Domain = "corp.example" })
	n.Settings.Listen.HTTPS, n.Settings.Listen.Admin = "10.0.0.5:8443", "[2001:db8::5]:8444"
	n.Settings.PublicURL.HTTPS = "https://ca.corp.example"
	own := ownNames(n)
	var out strings.Builder
	n.Log = slog.New(slog.NewTextHandler(&out, nil))
	o := &ownTLS{node: n, names: certifiable(n, own)}
	if err := o.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := o.have.Load().Leaf
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "ca.corp.example"} {
		if err := c.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	for _, outside := range []string{"10.0.0.5", "2001:db8::5"} {
		if c.VerifyHostname(outside) == nil || !strings.Contains(out.String(), "ip:"+outside) {
			t.Errorf("%s is in the certificate, or the log does not say that it is not:\n%s", outside, &out)
		}
		if !slices.ContainsFunc(own, func(n names.Name) bool { return n.Value == outside }) {
			t.Errorf("%s is the server's own all the same", outside)
		}
	}
}

// The renewal looks at the clock at least every hour, so that a machine that was
// suspended is not late.
func TestRenewalWhileRunning(t *testing.T) {
	n, ahead := newNode(t)
	o := &ownTLS{node: n, names: ownNames(n)}
	if err := o.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := o.have.Load().Leaf
	ahead.Store(int64(21 * 24 * time.Hour))
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		o.run(t.Context())
	}()
	for end := time.Now().Add(10 * time.Second); o.have.Load().Leaf.Equal(before); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not renewed")
		}
	}
	t.Cleanup(func() { <-stopped }) // t.Context is done by then
}

func TestRoutesNeitherCleanNorRedirect(t *testing.T) {
	answer := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(name + " " + r.URL.Path)) })
	}
	table := newRoutes()
	if err := table.add(map[string]http.Handler{"/acme/": answer("acme"), "/acme/inner/": answer("inner"), "/healthz": answer("health")}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/acme/x": "acme /acme/x", "/acme": "acme /acme", "/acme//x/../y": "acme /acme//x/../y", "/acme/inner/z": "inner /acme/inner/z",
		"/healthz": "health /healthz", "/healthzz": "", "/healthz/x": "", "/": "", "/x": "", "//acme/x": "",
	} {
		w := httptest.NewRecorder()
		table.ServeHTTP(w, &http.Request{Method: "GET", URL: &url.URL{Path: path}})
		if want == "" && w.Code != 404 || want != "" && w.Body.String() != want {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if err := table.add(map[string]http.Handler{"/acme/": answer("other")}); err == nil {
		t.Error("two frontends share an address")
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"/plain/path-1.2": "/plain/path-1.2", "/a b/it's": `'/a b/it'\''s'`} {
		if got := quote(in); got != want {
			t.Errorf("%s became %s", in, got)
		}
	}
}
