package acme

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"sync"
	"testing"
	"time"

	"chancery/engine"
	"chancery/engine/names"
	"chancery/store"
)

// A fakeEngine keeps requests in memory and says what the test tells it to.
type fakeEngine struct {
	t testing.TB
	w *world

	mu        sync.Mutex
	key       *ecdsa.PrivateKey
	ca        *x509.Certificate
	requests  map[engine.Key]*fakeRequest
	certs     map[string]*engine.Certificate
	submitted []engine.Submission
	chains    [][][]byte

	// decide says what becomes of a submission; nil: issued.
	decide func(s engine.Submission) (engine.Disposition, error)
}

type fakeRequest struct {
	id   string
	by   engine.Principal
	body string
	d    engine.Disposition
}

func newFakeEngine(t testing.TB, w *world) *fakeEngine {
	key := leafKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: w.clock.Add(-time.Hour), NotAfter: w.clock.AddDate(5, 0, 0), SubjectKeyId: []byte{1, 2, 3, 4},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &fakeEngine{t: t, w: w, key: key, ca: ca, requests: map[engine.Key]*fakeRequest{}, certs: map[string]*engine.Certificate{}}
}

func (e *fakeEngine) Submit(ctx context.Context, s engine.Submission) (engine.Disposition, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.requests[s.Key]; r != nil {
		denied, isDenied := r.d.(engine.Denied)
		switch {
		case r.body == string(s.Body):
			return r.d, nil
		case !isDenied || denied.Reason == engine.Rejected:
			return nil, engine.ErrConflict
		}
	}
	id := store.NewID(e.w.now(), rand.Reader)
	d, err := engine.Disposition(engine.Issued{}), error(nil)
	if e.decide != nil {
		d, err = e.decide(s)
	}
	if err != nil {
		return nil, err
	}
	if err := e.w.db.Update(ctx, func(tx store.Tx) error { return s.Also(tx, id) }); err != nil {
		return nil, err
	}
	r := &fakeRequest{id: id, by: s.Requester, body: string(s.Body)}
	e.requests[s.Key] = r
	e.submitted = append(e.submitted, s)
	r.d = e.finish(id, s, d)
	return r.d, nil
}

// finish fills in what a disposition says beside its kind.
func (e *fakeEngine) finish(id string, s engine.Submission, d engine.Disposition) engine.Disposition {
	switch d := d.(type) {
	case engine.Issued:
		return e.issue(id, s)
	case engine.Pended:
		d.RequestID = id
		return d
	case engine.Denied:
		d.RequestID = id
		return d
	}
	return d
}

func (e *fakeEngine) issue(id string, s engine.Submission) engine.Issued {
	csr, err := x509.ParseCertificateRequest(s.Body)
	if err != nil {
		e.t.Error(err)
		return engine.Issued{}
	}
	serial := big.NewInt(int64(len(e.certs)) + 100)
	now := e.w.now()
	var all []names.Name
	var hosts []string
	for _, p := range s.Proofs {
		all = append(all, p.Names...)
		hosts = append(hosts, p.Names[0].Value)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, DNSNames: hosts, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 7),
	}, e.ca, csr.PublicKey, e.key)
	if err != nil {
		e.t.Error(err)
		return engine.Issued{}
	}
	spki := sha256.Sum256(csr.RawSubjectPublicKeyInfo)
	row := &engine.Certificate{
		CertID: engine.NewCertID(e.ca.SubjectKeyId, serial.Bytes()), Status: engine.Good, Names: all, NotAfter: now.AddDate(0, 0, 7),
		SPKI: hex.EncodeToString(spki[:]), Requester: s.Requester, Request: id,
	}
	e.certs[string(der)] = row
	return engine.Issued{RequestID: id, ID: row.CertID, Cert: der, Chain: [][]byte{e.ca.Raw}}
}

func (e *fakeEngine) Status(_ context.Context, k engine.Key) (engine.Disposition, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.requests[k]; r != nil {
		return r.d, nil
	}
	return nil, engine.ErrNoRequest
}

func (e *fakeEngine) Peek(ctx context.Context, k engine.Key) (engine.Disposition, error) {
	return e.Status(ctx, k)
}

func (e *fakeEngine) Retrieve(_ context.Context, id string, p engine.Principal) (engine.Disposition, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.requests {
		if r.id == id && r.by == p {
			return r.d, nil
		}
	}
	return nil, engine.ErrNoRequest
}

// become changes the outcome of the only request there is.
func (e *fakeEngine) become(d engine.Disposition) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.requests {
		r.d = e.finish(r.id, e.submitted[len(e.submitted)-1], d)
	}
}

func (e *fakeEngine) Identify(_ context.Context, der []byte) (*engine.Certificate, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if row := e.certs[string(der)]; row != nil {
		c := *row
		return &c, nil
	}
	return nil, engine.ErrNoCertificate
}

func (e *fakeEngine) Revoke(_ context.Context, r engine.Revocation) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, row := range e.certs {
		if row.CertID == r.ID {
			if row.Status == engine.Revoked {
				return engine.ErrAlreadyRevoked
			}
			row.Status, row.Reason, row.RevokedBy = engine.Revoked, r.Reason, r.By
			return nil
		}
	}
	return engine.ErrNoCertificate
}

func (e *fakeEngine) Alternates(string) [][][]byte { return e.chains }

func (e *fakeEngine) CheckMAC(context.Context, engine.Source, string, string, crypto.Hash, []byte, []byte) (*engine.Grant, error) {
	return nil, engine.ErrNoGrant
}

func (e *fakeEngine) BindGrant(store.Tx, string) error { return engine.ErrNoGrant }

func (e *fakeEngine) Grant(context.Context, string) (*engine.Grant, error) {
	return nil, engine.ErrNoGrant
}

func (e *fakeEngine) issued() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.certs)
}

func (e *fakeEngine) submissions() []engine.Submission {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]engine.Submission(nil), e.submitted...)
}

// status is what the certificate's row says.
func (e *fakeEngine) status(der []byte) engine.Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.certs[string(der)].Status
}

// pemChain reads a chain as strictly as the catalogue wants it written.
func pemChain(t testing.TB, body []byte) [][]byte {
	t.Helper()
	var out [][]byte
	var again []byte
	for rest := body; len(rest) > 0; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			t.Fatalf("not PEM: %q", rest)
		}
		out = append(out, b.Bytes)
		again = append(again, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.Bytes})...)
	}
	if !bytes.Equal(again, body) || bytes.Contains(body, []byte("\r")) {
		t.Fatalf("not strict PEM: %q", body)
	}
	return out
}
