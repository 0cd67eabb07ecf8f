package native

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/engine"
	"chancery/engine/names"
)

// pki is a CA key with its certificate.
type pki struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var serials = new(serialCounter)

type serialCounter struct {
	mu sync.Mutex
	n  int64
}

func (s *serialCounter) next() *big.Int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return big.NewInt(0xABC000 + s.n)
}

func newCA(t testing.TB, name string, parent *pki) *pki {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &pki{t: t, key: key}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, SerialNumber: serials.next(), IsCA: true, BasicConstraintsValid: true,
		NotBefore: testNow.AddDate(-1, 0, 0), NotAfter: testNow.AddDate(5, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	if parent == nil {
		parent = &pki{cert: template, key: key}
	}
	p.cert = p.sign(parent, template, key)
	return p
}

func (p *pki) sign(parent *pki, template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	p.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, key.Public(), parent.key)
	if err != nil {
		p.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// leaf makes a client certificate; edit changes it before it is signed.
func (p *pki) leaf(edit func(*x509.Certificate)) *x509.Certificate {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "leaf"}, SerialNumber: serials.next(), DNSNames: []string{"a.example.org"},
		NotBefore: testNow.Add(-time.Hour), NotAfter: testNow.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if edit != nil {
		edit(template)
	}
	return p.sign(p, template, key)
}

// A bench is a frontend on a fake engine with two hierarchies.
type bench struct {
	t                   testing.TB
	engine              *fake
	front               *Frontend
	enroll, admin       http.Handler
	management, issuing *pki
	root                *pki
	notes               map[string]any
	now                 time.Time
	applied             []byte
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{t: t, now: testNow, notes: map[string]any{}}
	b.management, b.root = newCA(t, "Management", nil), newCA(t, "Root", nil)
	b.issuing = newCA(t, "Issuing", b.root)
	b.engine = &fake{
		rows: map[[32]byte]*engine.Certificate{}, ders: map[string][]byte{}, roles: map[[32]byte][]engine.Role{},
		issuers: map[string]*x509.Certificate{}, answer: engine.Pended{RequestID: requestID, RetryAfter: 5 * time.Second},
		profiles: map[string]engine.Profile{
			"service": {Frontends: []engine.Source{engine.Native}, ExtKeyUsage: []string{"serverAuth"}, Validity: engine.Duration(24 * time.Hour)},
			"trial":   {Frontends: []engine.Source{engine.ACME}},
		},
		owner: "grant:g1",
	}
	for _, p := range []*pki{b.root, b.issuing} {
		b.engine.issuers[hex.EncodeToString(p.cert.SubjectKeyId)] = p.cert
	}
	management, roots := x509.NewCertPool(), x509.NewCertPool()
	management.AddCert(b.management.cert)
	roots.AddCert(b.root.cert)
	var err error
	b.front, err = New(Config{Name: "default", Profiles: []string{"service"}}, Deps{
		Engine: b.engine, Now: func() time.Time { return b.now }, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
		Note:            func(_ context.Context, key string, v any) { b.notes[key] = v },
		ManagementRoots: management, EnrollmentRoots: roots,
		Apply: func(_ context.Context, _ engine.Actor, doc []byte) (string, []string, error) {
			b.applied = doc
			if strings.Contains(string(doc), "broken") {
				return "", nil, fmt.Errorf("policy.yaml:3:5: profiles.a.valdity: unknown key; did you mean validity?")
			}
			return "v2", []string{"one thing"}, nil
		},
		Exposure: func() []string { return []string{"anybody can"} },
	})
	if err != nil {
		t.Fatal(err)
	}
	b.enroll, b.admin = b.front.Enrollment(), b.front.Admin()
	return b
}

// store records a certificate as the engine would have when it signed it.
func (b *bench) store(issuer *pki, c *x509.Certificate) *engine.Certificate {
	spki := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	row := &engine.Certificate{
		CertID: engine.NewCertID(issuer.cert.SubjectKeyId, c.SerialNumber.Bytes()), Status: engine.Good,
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, SPKI: hex.EncodeToString(spki[:]), Profile: "service", Authority: "main",
		Names: []names.Name{{Type: names.DNS, Value: "a.example.org"}}, Requester: "grant:g1",
	}
	b.engine.rows[sha256.Sum256(c.Raw)] = row
	b.engine.ders[row.CertID.String()] = c.Raw
	return row
}

// person makes a management certificate that holds roles.
func (b *bench) person(roles ...engine.Role) *x509.Certificate {
	c := b.management.leaf(nil)
	b.store(b.management, c)
	b.engine.roles[sha256.Sum256(c.RawSubjectPublicKeyInfo)] = roles
	return c
}

// An ask is a request to make.
type ask struct {
	method, target string
	body           string
	mediaType      string // default: application/json when there is a body
	token          string
	cert           *x509.Certificate
	header         [][2]string
	actor          *engine.Actor
}

func (b *bench) do(h http.Handler, a ask) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequest(a.method, "/", strings.NewReader(a.body))
	r.RequestURI = a.target
	r.URL = mustURL(b.t, a.target)
	if a.body != "" && a.mediaType == "" {
		a.mediaType = "application/json"
	}
	if a.body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	if a.mediaType != "" {
		r.Header.Set("Content-Type", a.mediaType)
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	for _, h := range a.header {
		r.Header.Add(h[0], h[1])
	}
	r.TLS = &tls.ConnectionState{}
	if a.cert != nil {
		r.TLS.PeerCertificates = []*x509.Certificate{a.cert}
	}
	if a.actor != nil {
		r = r.WithContext(WithActor(r.Context(), *a.actor))
	}
	w := httptest.NewRecorder()
	w.Header().Set("X-Request-Id", "req-1")
	h.ServeHTTP(w, r)
	return w
}

// problemOf reads a problem document and checks what all of them have.
func problemOf(t testing.TB, w *httptest.ResponseRecorder) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%d: not a problem: %s", w.Code, w.Body)
	}
	if w.Header().Get("Content-Type") != "application/problem+json" || p.Status != w.Code || p.Title == "" || p.Detail == "" ||
		p.Type != "urn:chancery:problem:"+p.Reason || p.RequestID != "req-1" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("problem is incomplete: %v %s", w.Header(), w.Body)
	}
	return p
}

func hasCall(f *fake, prefix string) bool {
	return slices.ContainsFunc(f.calls, func(s string) bool { return strings.HasPrefix(s, prefix) })
}
