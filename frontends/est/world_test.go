package est_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.mozilla.org/pkcs7"

	"chancery/engine"
	"chancery/engine/names"
	"chancery/frontends/est"
	"chancery/frontends/internal/testca"
	"chancery/modules/policy/keys"
	"chancery/modules/policy/profile"
	"chancery/store"
	"chancery/store/storetest/backends"
)

func TestMain(m *testing.M) { os.Exit(backends.Run(m)) }

var person = engine.Actor{Person: "olga", Principal: "key:01", Roles: []engine.Role{engine.Officer, engine.Admin}, Via: "test"}

// A world is the frontend on the real engine and a real store, behind real TLS.
type world struct {
	t       testing.TB
	engine  *engine.Engine
	db      backends.DB
	now     time.Time
	setup   engine.Setup
	issuers map[string]engine.Issuer
	config  est.Config
	deps    est.Deps
	server  *httptest.Server
	log     bytes.Buffer
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newWorld(t testing.TB, change ...func(*world)) *world {
	t.Helper()
	w := &world{t: t, now: time.Now(), issuers: map[string]engine.Issuer{}}
	db, err := backends.New(t).Open(slog.New(slog.DiscardHandler), engine.Schemas()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w.db = db
	var issuers []engine.Issuer
	for _, a := range []string{"main", "second", engine.ManagementAuthority} {
		w.issuers[a] = testca.New(t, a, w.now, 5)
		issuers = append(issuers, w.issuers[a])
	}
	w.engine, err = engine.New(context.Background(), engine.Config{
		DB: db, Log: slog.New(slog.DiscardHandler), Now: w.clock, Rand: rand.Reader, Node: "n1", StatusURL: "http://pki.test", MACKey: make([]byte, 32), Issuers: issuers,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.setup.Policy = policy()
	w.config = est.Config{"default": {Profile: "device"}, "manual": {Profile: "manual"}, "other": {Profile: "other"},
		"second": {Profile: "second"}, "linked": {Profile: "device", Linking: "required"}, "certs": {Profile: "device", Authenticate: "certificate"},
		"both": {Profile: "device", Authenticate: "both"}, "san": {Profile: "san"}, "wrap": {Profile: "device", Wrap: true},
		"keys": {Profile: "device", ServerKeys: true}, "manualkeys": {Profile: "manual", ServerKeys: true}, "publickeys": {Profile: "public", ServerKeys: true}}
	for _, fn := range change {
		fn(w)
	}
	w.use()
	anchors := x509.NewCertPool()
	anchors.AddCert(w.issuers["main"].Chain[0])
	anchors.AddCert(w.issuers["second"].Chain[0])
	w.deps = est.Deps{Requests: w.engine, Authorities: w.engine, Grants: w.engine, Records: w.engine, Anchors: anchors,
		Profiles: w.engine.Profiles(), Now: w.clock, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(&w.log, nil))}
	w.restart()
	return w
}

// restart serves w.config.
func (w *world) restart() {
	t := w.t
	t.Helper()
	front, err := est.New(w.config, w.deps)
	if err != nil {
		t.Fatal(err)
	}
	w.server = httptest.NewUnstartedServer(front)
	w.server.EnableHTTP2 = true
	w.server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
}

func policy() engine.Policy {
	device := engine.Profile{Frontends: []engine.Source{engine.EST}, Authority: "main", Validity: engine.Duration(90 * 24 * time.Hour),
		ExtKeyUsage: []string{"clientAuth", "serverAuth"}, Subject: engine.SubjectRules{CN: "asked", Fixed: "O=Example"}}
	manual, other, second, san, server, native := device, device, device, device, device, device
	manual.Approval, second.Authority, san.Subject.CN = "manual", "second", "san"
	server.ExtKeyUsage = []string{"serverAuth"}
	public := device
	public.Public = true
	native.Frontends = []engine.Source{engine.Native}
	return engine.Policy{
		Authorities: map[string]engine.Authority{"main": {}, "second": {}},
		Profiles: map[string]engine.Profile{"device": device, "manual": manual, "other": other, "second": second, "san": san,
			"server": server, "native": native, "public": public},
		CAAIdentities: []string{"ca.example.org"},
		Decide:        engine.Decide{Shape: []engine.Module{{Name: "profile"}}},
	}
}

func (w *world) clock() time.Time { return w.now }

func (w *world) use() {
	w.t.Helper()
	all, err := w.setup.Policy.EffectiveProfiles()
	if err != nil {
		w.t.Fatal(err)
	}
	shape, err := profile.New(profile.Config{}, engine.Deps{Now: w.clock, Profiles: all})
	if err != nil {
		w.t.Fatal(err)
	}
	w.setup.Shapers = []engine.Step[engine.Shaper]{{Name: "profile", Run: shape}}
	judge, err := keys.New(keys.Config{}, engine.Deps{Now: w.clock, Profiles: all, Facts: w.engine})
	if err != nil {
		w.t.Fatal(err)
	}
	w.setup.Judges = []engine.Step[engine.Judge]{{Name: "keys", Run: judge}}
	if _, err := w.engine.Use(context.Background(), w.setup, "test"); err != nil {
		w.t.Fatal(err)
	}
}

// A login is a user with a password: the id of a grant and its secret.
type login struct{ user, password string }

func (w *world) grant(g engine.Grant, patterns ...string) login {
	w.t.Helper()
	g.Protocol = engine.EST
	for _, text := range patterns {
		p, err := names.ParsePattern(text)
		if err != nil {
			w.t.Fatal(err)
		}
		g.Names = append(g.Names, p)
	}
	made, secret, err := w.engine.CreateGrant(context.Background(), person, g)
	if err != nil {
		w.t.Fatal(err)
	}
	return login{made.ID, secret}
}

// A client speaks EST over one connection.
type client struct {
	w     *world
	http  *http.Client
	login *login
}

// client makes one. Options are a login, a *tls.Certificate, or a func(*tls.Config).
func (w *world) client(options ...any) *client {
	w.t.Helper()
	c := &client{w: w}
	roots := x509.NewCertPool()
	roots.AddCert(w.server.Certificate())
	config := &tls.Config{RootCAs: roots}
	for _, o := range options {
		switch o := o.(type) {
		case login:
			c.login = &o
		case *tls.Certificate:
			config.Certificates = []tls.Certificate{*o}
		case func(*tls.Config):
			o(config)
		}
	}
	tr := &http.Transport{TLSClientConfig: config, MaxConnsPerHost: 1}
	w.t.Cleanup(tr.CloseIdleConnections)
	c.http = &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c
}

type answer struct {
	*http.Response
	body string
}

// do sends a request; header holds names and values in turn.
func (c *client) do(method, path, body string, header ...string) *answer {
	c.w.t.Helper()
	r, err := http.NewRequest(method, c.w.server.URL+path, strings.NewReader(body))
	if err != nil {
		c.w.t.Fatal(err)
	}
	if body == "" {
		r.Body = http.NoBody
	}
	if c.login != nil {
		r.SetBasicAuth(c.login.user, c.login.password)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := c.http.Do(r)
	if err != nil {
		c.w.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.w.t.Fatal(err)
	}
	return &answer{resp, string(b)}
}

func (c *client) get(path string) *answer { return c.do("GET", "/.well-known/est/"+path, "") }

// post sends a request in DER as RFC 7030 wants it.
func (c *client) post(path string, csr []byte) *answer {
	c.w.t.Helper()
	return c.do("POST", "/.well-known/est/"+path, base64.StdEncoding.EncodeToString(csr), "Content-Type", "application/pkcs10")
}

// want checks the status, and for an error that a text explains it.
func (a *answer) want(t testing.TB, status int) *answer {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("%s: %d, not %d: %s", a.Request.URL.Path, a.StatusCode, status, a.body)
	}
	if status >= 400 && (!strings.HasPrefix(a.Header.Get("Content-Type"), "text/plain") || len(a.body) < 10) {
		t.Errorf("%d is not explained: %v %q", status, a.Header, a.body)
	}
	return a
}

// certs reads a certs-only answer.
func (a *answer) certs(t testing.TB) []*x509.Certificate {
	t.Helper()
	a.want(t, 200)
	if ct := a.Header.Get("Content-Type"); ct != "application/pkcs7-mime; smime-type=certs-only" {
		t.Errorf("Content-Type %q", ct)
	}
	der, err := base64.StdEncoding.DecodeString(a.body)
	if err != nil {
		t.Fatalf("not base64: %v", err)
	}
	p7, err := pkcs7.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return p7.Certificates
}

// A want is what a request asks for.
type want struct {
	cn, challenge string
	dns           []string
	subject       *pkix.Name
	extra         []pkix.Extension
}

func (w *world) csr(key crypto.Signer, q want) []byte {
	w.t.Helper()
	tmpl := &x509.CertificateRequest{Subject: pkix.Name{CommonName: q.cn}, DNSNames: q.dns, ExtraExtensions: q.extra}
	if q.subject != nil {
		tmpl.Subject = *q.subject
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, tmpl, key)
	if err != nil {
		w.t.Fatal(err)
	}
	if q.challenge != "" {
		der = withAttribute(w.t, der, key, oidChallenge, q.challenge)
	}
	return der
}

// enrolled makes a device with a certificate of the endpoint.
func (w *world) enrolled(label string, dns ...string) *tls.Certificate {
	w.t.Helper()
	key := newKey(w.t)
	c := w.client(w.grant(engine.Grant{}, dns...))
	certs := c.post(label+"simpleenroll", w.csr(key, want{cn: dns[0], dns: dns})).certs(w.t)
	return &tls.Certificate{Certificate: [][]byte{certs[0].Raw}, PrivateKey: key, Leaf: certs[0]}
}

// issued counts the certificates that there are.
func (w *world) issued() int {
	w.t.Helper()
	all, _, err := w.engine.Certificates(context.Background(), engine.CertificateFilter{Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	return len(all)
}

// everything is all that is in the records, as it is stored.
func (w *world) everything(t testing.TB) []byte {
	t.Helper()
	var all []byte
	err := w.db.Plain().View(t.Context(), func(tx store.Tx) error {
		for _, schema := range engine.Schemas() {
			for pair, err := range tx.Scan(schema.Name, "", "") {
				if err != nil {
					return err
				}
				all = append(append(all, pair.Key...), pair.Doc...)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
