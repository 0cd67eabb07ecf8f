package serve

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/cmd/chancery/app/datadir"
	"chancery/cmd/chancery/app/node"
	"chancery/engine"
	"chancery/frontends/native/client"
)

// A running is a server that answers, the founder's client of it, and a receiver
// of its events.
type running struct {
	*Server
	t      *testing.T
	hup    chan os.Signal
	client *client.Client
	policy string // its first document
	log    *record
	hook   *receiver
}

func start(t *testing.T) *running {
	t.Helper()
	r := &running{t: t, hup: make(chan os.Signal), log: new(record), hook: newReceiver(t)}
	n, _ := newNode(t, func(o *node.Options) { o.Stderr = r.log })
	write(t, n.Dir.Path("hook.secret"), "0123456789abcdef0123456789abcdef")
	policy, err := os.ReadFile(n.Dir.Policy())
	if err != nil {
		t.Fatal(err)
	}
	r.policy = strings.Replace(string(policy), "  - file: {path: issued}\n", "  - file: {path: issued}\n  - webhook: {url: '"+r.hook.URL+"', secret_file: hook.secret}\n", 1)
	write(t, n.Dir.Policy(), r.policy)
	s, l := newTestServer(t, n)
	r.Server = s
	if err := r.certificates(t.Context()); err != nil {
		t.Fatal(err)
	}
	g, err := r.generate(n.Policy)
	if err != nil {
		t.Fatal(err)
	}
	r.enter(g)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- r.run(ctx, l, g, r.hup, func(datadir.Addresses) error {
			close(ready)
			return nil
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	<-ready
	r.client = r.founder(l)
	return r
}

// founder is a client with the credential that first start made.
func (r *running) founder(l *listeners) *client.Client {
	r.t.Helper()
	pair, err := tls.LoadX509KeyPair(r.node.Dir.FounderCert(), r.node.Dir.FounderKey())
	if err != nil {
		r.t.Fatal(err)
	}
	text, err := os.ReadFile(r.node.Dir.Roots())
	if err != nil {
		r.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	c, err := client.New(client.Options{
		Server: "https://" + l.https.Addr().String(), Admin: "https://" + l.admin.Addr().String(), Roots: roots, Certificate: &pair,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// document is the first one with another validity for services.
func (r *running) document(days int) string {
	return strings.Replace(r.policy, "validity: 90d", fmt.Sprintf("validity: %dd", days), 1)
}

// put puts a document in force: where one process has the store as SIGHUP does,
// elsewhere as chancery apply does.
func (r *running) put(doc string) (version string, err error) {
	r.t.Helper()
	if r.node.Shared() {
		version, _, err = r.Apply(r.t.Context(), engine.Actor{Person: "test", Roles: []engine.Role{engine.Admin}}, []byte(doc))
		return version, err
	}
	write(r.t, r.node.Dir.Policy(), doc)
	version, _, err = r.Reload(r.t.Context(), "test")
	return version, err
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := datadir.Write(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newCSR(t *testing.T, name string) []byte {
	t.Helper()
	key, err := node.NewKey(&node.Node{Options: node.Options{Rand: rand.Reader}})
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// daysOf is the validity that a certificate was issued with.
func daysOf(t *testing.T, chain string) int {
	t.Helper()
	block, _ := pem.Decode([]byte(chain))
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return int(c.NotAfter.Sub(c.NotBefore).Hours()) / 24
}

// eventually waits for what comes to be within a while.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Errorf("not within 20 s: %s", what)
			return
		case <-tick.C:
		}
	}
}

// A receiver of events notes which requests it was told of, and counts its
// connections.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex
	told map[string]bool
	open map[net.Conn]bool
}

func newReceiver(t *testing.T) *receiver {
	h := &receiver{told: map[string]bool{}, open: map[net.Conn]bool{}}
	h.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var ev engine.Event
		if err := json.NewDecoder(r.Body).Decode(&ev); err != nil {
			t.Error(err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.told[ev.RequestID] = true
	}))
	h.Config.ConnState = func(c net.Conn, s http.ConnState) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.open[c] = true; s == http.StateClosed {
			delete(h.open, c)
		}
	}
	h.Start()
	t.Cleanup(h.Close)
	return h
}

func (h *receiver) connections() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}

func (h *receiver) knows(request string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.told[request]
}

// A record keeps what is logged.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements [io.Writer].
func (l *record) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *record) has(parts ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		all := true
		for _, p := range parts {
			all = all && strings.Contains(line, p)
		}
		if all {
			return true
		}
	}
	return false
}
