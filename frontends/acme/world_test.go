package acme

import (
	"context"
	"crypto/rand"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/engine/dns/dnstest"
	"chancery/store"
	"chancery/store/storetest/backends"
)

func TestMain(m *testing.M) { os.Exit(backends.Run(m)) }

// A world is the real handler over TLS on a real store, with a network that the
// test writes, a clock that it moves, and an engine that it can make say what it
// wants.
type world struct {
	t      testing.TB
	place  backends.Place
	schema []store.Schema
	db     backends.DB
	config Config
	deps   Deps
	f      *Frontend
	front  func() *Frontend // that answers; f unless the test says otherwise
	https  *httptest.Server
	base   string
	dns    *dnstest.Server
	site   *site
	engine *fakeEngine
	start  func(store.DB) // a real engine

	mu    sync.Mutex
	clock time.Time
	seen  map[string]bool // nonces
	types map[string]bool // of problems
}

func newWorld(t testing.TB, change ...func(*world)) *world {
	t.Helper()
	w := &world{
		t: t, place: backends.New(t), schema: append(Schemas(), store.Schemas()...), dns: dnstest.Start(t), site: newSite(t),
		clock: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), seen: map[string]bool{}, types: map[string]bool{},
		config: Config{"default": {Profiles: []string{"web"}}},
	}
	w.dns.A("*", "127.0.0.1")
	w.front = func() *Frontend { return w.f }
	w.https = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.front().ServeHTTP(rw, r) }))
	w.https.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.base = "https://" + w.https.Listener.Addr().String()
	w.engine = newFakeEngine(t, w)
	w.deps = Deps{
		Requests: w.engine, Certificates: w.engine, Grants: w.engine, Now: w.now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
		NonceKey: make([]byte, 32), Node: "n1", BaseURL: w.base, Loopback: true,
		Validation: Validation{HTTPPort: w.site.port, Resolvers: []string{w.dns.Addr}},
	}
	for _, fn := range change {
		fn(w)
	}
	w.open()
	w.https.StartTLS()
	t.Cleanup(func() {
		w.https.Close()
		w.close()
	})
	return w
}

// open opens store and frontend, again if they were open.
func (w *world) open() {
	w.t.Helper()
	if w.db != nil {
		w.close()
	}
	db, err := w.place.Open(nil, w.schema...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.db, w.deps.DB = db, db
	if w.start != nil {
		w.start(db)
	}
	if w.f, err = New(w.config, w.deps); err != nil {
		w.t.Fatal(err)
	}
	w.f.after = never // answers to challenges wait for the validation
}

func (w *world) close() {
	w.f.stop()
	w.f.tasks.close()
	w.db.Close()
}

func never(time.Duration) <-chan time.Time { return nil }

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

// settle makes attempts that are due and waits for all that are under way.
func (w *world) settle() {
	w.t.Helper()
	if err := w.f.sweep(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	w.f.tasks.group.Wait()
}

// A site is the applicant's web server.
type site struct {
	port int
	mu   sync.Mutex
	body map[string]http.HandlerFunc // by path
	got  []*http.Request
}

func newSite(t testing.TB) *site {
	s := &site{body: map[string]http.HandlerFunc{}}
	srv := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(srv.Close)
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.port, _ = strconv.Atoi(port)
	return s
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.got = append(s.got, r)
	fn := s.body[r.URL.Path]
	s.mu.Unlock()
	if fn == nil {
		http.NotFound(w, r)
		return
	}
	fn(w, r)
}

func (s *site) set(path string, fn http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body[path] = fn
}

func (s *site) put(token, body string) {
	s.set("/.well-known/acme-challenge/"+token, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) })
}

func (s *site) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.got...)
}

// registered are the error types of RFC 8555, Section 9.7.4, and later ones.
const registered = " accountDoesNotExist alreadyReplaced alreadyRevoked badCSR badNonce badPublicKey badRevocationReason badSignatureAlgorithm caa compound connection dns externalAccountRequired incorrectResponse invalidContact invalidProfile malformed orderNotReady rateLimited rejectedIdentifier serverInternal tls unauthorized unsupportedContact unsupportedIdentifier userActionRequired "

// tail is what the catalogue wants of every answer.
func (w *world) tail(method, url string, a *answer) {
	w.t.Helper()
	what := method + " " + url + ": " + strconv.Itoa(a.status)
	nonce := a.header.Get("Replay-Nonce")
	w.mu.Lock()
	if nonce == "" || strings.Trim(nonce, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" || w.seen[nonce] {
		w.t.Errorf("%s: Replay-Nonce %q", what, nonce)
	}
	w.seen[nonce] = true
	w.mu.Unlock()
	if index := strings.Join(a.header.Values("Link"), ","); !strings.Contains(index, `directory>;rel="index"`) && !strings.HasSuffix(url, "/directory") {
		w.t.Errorf("%s: no index link: %q", what, index)
	}
	if a.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "Replay-Nonce") {
		w.t.Errorf("%s: CORS headers %v", what, a.header)
	}
	if a.status >= 500 && a.status != 503 {
		w.t.Errorf("%s: %s", what, a.body)
	}
	if s := a.header.Get("Retry-After"); s != "" {
		if n, err := strconv.Atoi(s); err != nil || n < 1 {
			w.t.Errorf("%s: Retry-After %q is no number of seconds", what, s)
		}
	}
	if a.status < 400 {
		return
	}
	if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
		w.t.Errorf("%s: Content-Type %q: %s", what, ct, a.body)
	}
	kind := a.kind()
	if !strings.Contains(registered, " "+kind+" ") {
		w.t.Errorf("%s: type %q is not registered: %s", what, kind, a.body)
	}
	if a.Detail == "" {
		w.t.Errorf("%s: no detail", what)
	}
	w.mu.Lock()
	w.types[kind] = true
	w.mu.Unlock()
}

// do sends a request and checks what must be true of every answer.
func (w *world) do(r *http.Request) *answer {
	w.t.Helper()
	resp, err := w.https.Client().Transport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	a := newAnswer(resp, body)
	w.tail(r.Method, r.URL.Path, a)
	return a
}

func (w *world) send(method, url, contentType, body string) *answer {
	w.t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return w.do(r)
}

func (w *world) get(url string) *answer {
	w.t.Helper()
	return w.send("GET", url, "", "")
}

func (w *world) url(resource string) string { return w.base + "/acme/default/" + resource }

func (w *world) nonce() string {
	w.t.Helper()
	return w.send("HEAD", w.url("new-nonce"), "", "").header.Get("Replay-Nonce")
}

// row reads a row as it is in the store.
func row[T any](w *world, t *store.Table[T], id string) *T {
	w.t.Helper()
	var v *T
	if err := w.db.View(context.Background(), func(tx store.Tx) (err error) {
		v, err = t.Get(tx, id)
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return v
}

// count counts the rows of a table.
func count[T any](w *world, t *store.Table[T]) int {
	w.t.Helper()
	n := 0
	if err := w.db.View(context.Background(), func(tx store.Tx) error {
		n = 0
		for _, err := range t.All(tx, "", "") {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// want fails the test unless the answer is a problem of the type.
func (w *world) want(what string, a *answer, status int, kind string) {
	w.t.Helper()
	if a.status != status || a.kind() != kind {
		w.t.Errorf("%s: %d %s, want %d %s: %s", what, a.status, a.kind(), status, kind, a.body)
	}
}

func (w *world) ok(what string, a *answer, status int) *answer {
	w.t.Helper()
	if a.status != status {
		w.t.Fatalf("%s: %d, want %d: %s", what, a.status, status, a.body)
	}
	return a
}
