package native

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"chancery/engine"
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

	quarantine *engine.Quarantine
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

func (f *fake) PeekRequest(context.Context, string) (engine.Disposition, error) {
	return f.answer, f.called("PeekRequest")
}

func (f *fake) Explain(_ context.Context, id string) (*engine.Explanation, error) {
	r := &engine.Request{ID: id, State: engine.Pending, Requester: f.owner}
	return &engine.Explanation{Request: r}, f.called("Explain")
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

func (f *fake) Quarantine(context.Context) (*engine.Quarantine, error) {
	return f.quarantine, f.called("Quarantine")
}

func (f *fake) Unread(*engine.Quarantine) map[string]string {
	return map[string]string{"ab12": "main"}
}

func (f *fake) Release(_ context.Context, a engine.Actor) error {
	return f.called("Release " + a.Person)
}

func (f *fake) PolicyDocument() ([]byte, string, error) {
	return []byte(`{"profiles":{}}`), "v1", f.called("PolicyDocument")
}

func (f *fake) Audit(context.Context, string, int) ([]*engine.AuditEntry, string, error) {
	return []*engine.AuditEntry{{ID: "a", Who: "alice"}}, f.next, f.called("Audit")
}
