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

var testNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const (
	goodToken  = "token-that-is-good-for-enrolling"
	adminToken = "token-of-a-person-with-a-role----"
	requestID  = "0123456789abcdefghijklmnop"
)

// fake is an engine that remembers what it was asked and answers what the test
// says. Only what the frontend relies on is imitated.
type fake struct {
	mu        sync.Mutex
	submitted []engine.Submission
	answer    engine.Disposition
	err       error
	rows      map[[32]byte]*engine.Certificate // by hash of the certificate
	ders      map[string][]byte                // by CertID
	roles     map[[32]byte][]engine.Role
	revoked   []engine.Revocation
	freezes   []engine.Freeze
	calls     []string
	issuers   map[string]*x509.Certificate
	grants    []*engine.Grant
	made      engine.Grant
	profiles  map[string]engine.Profile
	filters   []any
	next      string
	owner     engine.Principal // of requestID
}

func (f *fake) called(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, name)
	return f.err
}

func (f *fake) Submit(_ context.Context, s engine.Submission) (engine.Disposition, error) {
	err := f.called("Submit")
	f.submitted = append(f.submitted, s)
	return f.answer, err
}

func (f *fake) Retrieve(_ context.Context, id string, p engine.Principal) (engine.Disposition, error) {
	if err := f.called("Retrieve"); err != nil {
		return nil, err
	}
	if p != f.owner {
		return nil, engine.ErrNoRequest
	}
	return f.answer, nil
}

func (f *fake) Approve(_ context.Context, a engine.Actor, id, digest, note string) (engine.Disposition, error) {
	return f.answer, f.called("Approve " + a.Person + " " + id + " " + digest + " " + note)
}

func (f *fake) Deny(_ context.Context, a engine.Actor, id, detail string) (engine.Disposition, error) {
	return f.answer, f.called("Deny " + a.Person + " " + id + " " + detail)
}

func (f *fake) Request(_ context.Context, id string) (*engine.Request, error) {
	return &engine.Request{ID: id, State: engine.Pending, Requester: f.owner}, f.called("Request")
}

func (f *fake) Explain(_ context.Context, id string) (*engine.Explanation, error) {
	r, err := f.Request(context.Background(), id)
	return &engine.Explanation{Request: r}, err
}

func (f *fake) Requests(_ context.Context, filter engine.RequestFilter) ([]*engine.Request, string, error) {
	f.filters = append(f.filters, filter)
	return []*engine.Request{{ID: requestID, State: engine.Pending}}, f.next, f.called("Requests")
}

func (f *fake) Certificates(_ context.Context, filter engine.CertificateFilter) ([]*engine.Certificate, string, error) {
	f.filters = append(f.filters, filter)
	return nil, f.next, f.called("Certificates")
}

func (f *fake) Certificate(_ context.Context, id engine.CertID) (*engine.Certificate, []byte, error) {
	for _, row := range f.rows {
		if row.CertID == id {
			return row, f.ders[id.String()], f.called("Certificate")
		}
	}
	return nil, nil, engine.ErrNoCertificate
}

func (f *fake) BySerial(_ context.Context, serial string) ([]*engine.Certificate, error) {
	var all []*engine.Certificate
	for _, row := range f.rows {
		if row.Serial == serial {
			all = append(all, row)
		}
	}
	if all == nil {
		return nil, engine.ErrNoCertificate
	}
	return all, f.called("BySerial")
}

func (f *fake) Revoke(_ context.Context, r engine.Revocation) error {
	f.revoked = append(f.revoked, r)
	return f.called("Revoke")
}

func (f *fake) Identify(_ context.Context, der []byte) (*engine.Certificate, error) {
	row, ok := f.rows[sha256.Sum256(der)]
	if !ok {
		return nil, engine.ErrNoCertificate
	}
	return row, nil
}

func (f *fake) Authenticate(_ context.Context, c engine.Credential) (engine.Actor, error) {
	if c.Token == adminToken {
		return engine.Actor{Person: "token person", Principal: "grant:p", Roles: engine.Roles}, nil
	}
	if c.Token != "" {
		return engine.Actor{}, engine.ErrForbidden
	}
	roles, ok := f.roles[c.SPKIHash]
	if !ok {
		return engine.Actor{}, engine.ErrForbidden
	}
	return engine.Actor{Person: "alice", Principal: engine.Principal("key:" + hex.EncodeToString(c.SPKIHash[:])), Roles: roles}, nil
}

func (f *fake) CheckGrant(_ context.Context, s engine.Source, endpoint, secret string) (*engine.Grant, error) {
	if s != engine.Native || endpoint != "default" || secret != goodToken {
		return nil, engine.ErrNoGrant
	}
	return &engine.Grant{ID: "g1", Protocol: engine.Native}, nil
}

func (f *fake) HeldGrants(_ context.Context, _ engine.Source, _ string, p engine.Principal) ([]*engine.Grant, error) {
	var held []*engine.Grant
	for _, g := range f.grants {
		if g.Holder == p {
			held = append(held, g)
		}
	}
	return held, nil
}

func (f *fake) Authorities(context.Context) ([]engine.AuthorityInfo, error) {
	var all []engine.AuthorityInfo
	for id, c := range f.issuers {
		if c.Subject.CommonName == "Issuing" {
			all = append(all, engine.AuthorityInfo{Name: "main", KeyID: id, Chain: []*x509.Certificate{c, f.issuers[hex.EncodeToString(c.AuthorityKeyId)]}})
		}
	}
	return all, f.called("Authorities")
}

func (f *fake) Issuer(keyID string) (*x509.Certificate, error) {
	if c, ok := f.issuers[keyID]; ok {
		return c, nil
	}
	return nil, engine.ErrNoCertificate
}

func (f *fake) Profiles() map[string]engine.Profile { return f.profiles }

func (f *fake) CreateGrant(_ context.Context, a engine.Actor, g engine.Grant) (*engine.Grant, string, error) {
	g.ID, g.Owner, g.SecretMAC = "new", a.Person, "MAC-CANARY"
	f.made = g
	return &g, "the-secret", f.called("CreateGrant")
}

func (f *fake) Grants(_ context.Context, after string, limit int) ([]*engine.Grant, string, error) {
	return []*engine.Grant{{ID: "g1", SecretMAC: "MAC-CANARY"}}, f.next, f.called(fmt.Sprintf("Grants %q %d", after, limit))
}

func (f *fake) RevokeGrant(_ context.Context, _ engine.Actor, id string) error {
	return f.called("RevokeGrant " + id)
}

func (f *fake) Freeze(_ context.Context, _ engine.Actor, scope, reason string) error {
	return f.called("Freeze " + scope)
}

func (f *fake) Thaw(_ context.Context, _ engine.Actor, scope string) error {
	return f.called("Thaw " + scope)
}

func (f *fake) Freezes(context.Context) ([]engine.Freeze, error) {
	return f.freezes, f.called("Freezes")
}

func (f *fake) Health(context.Context) (*engine.Health, error) {
	return &engine.Health{Policy: "v1", Founder: &engine.Founder{Expires: testNow}, FounderNow: true}, f.called("Health")
}

func (f *fake) ReplayDeliveries(_ context.Context, _ engine.Actor, exit string) (int, error) {
	return 3, f.called("ReplayDeliveries " + exit)
}

func (f *fake) PolicyDocument() ([]byte, string, error) {
	return []byte(`{"profiles":{}}`), "v1", f.called("PolicyDocument")
}

func (f *fake) Audit(context.Context, string, int) ([]*engine.AuditEntry, string, error) {
	return []*engine.AuditEntry{{ID: "a", Who: "alice"}}, f.next, f.called("Audit")
}

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
