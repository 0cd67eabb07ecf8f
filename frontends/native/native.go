// Package native is Chancery's own protocol: JSON over HTTP, with problem
// documents (RFC 9457) for errors. It has two faces. [Frontend.Enrollment] is
// for those who want certificates, [Frontend.Admin] for the people who run the
// CA. Both are built from one table of routes each (routes.go), which says who
// may call what; nothing is reachable that has no row there.
package native

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"chancery/engine"
	"chancery/store/scrub"
)

// Config is the endpoint's part of the policy document.
type Config struct {
	// Name is the endpoint's, under frontends.native in the policy document.
	// Grants can be bound to it.
	Name string `json:"-"`

	// Profiles are those that may be asked for here. The first is meant when a
	// request names none. Empty: every profile that lists native, and a request
	// must name one.
	Profiles []string `json:"profiles,omitempty"`
}

// Requests are what the frontend needs of the engine to enroll and decide.
type Requests interface {
	Submit(ctx context.Context, s engine.Submission) (engine.Disposition, error)
	Retrieve(ctx context.Context, id string, p engine.Principal) (engine.Disposition, error)
	Approve(ctx context.Context, a engine.Actor, id, digest, note string) (engine.Disposition, error)
	Deny(ctx context.Context, a engine.Actor, id, detail string) (engine.Disposition, error)
	Explain(ctx context.Context, id string) (*engine.Explanation, error)
	PeekRequest(ctx context.Context, id string) (engine.Disposition, error)
	Requests(ctx context.Context, f engine.RequestFilter) ([]*engine.Request, string, error)
}

// Certificates are what the frontend needs of the engine to find and revoke.
type Certificates interface {
	Certificates(ctx context.Context, f engine.CertificateFilter) ([]*engine.Certificate, string, error)
	Certificate(ctx context.Context, id engine.CertID) (*engine.Certificate, []byte, error)
	BySerial(ctx context.Context, serial string) ([]*engine.Certificate, error)
	Revoke(ctx context.Context, r engine.Revocation) error
}

// Identities are what the frontend needs of the engine to know who calls.
type Identities interface {
	Identify(ctx context.Context, der []byte) (*engine.Certificate, error)
	Authenticate(ctx context.Context, c engine.Credential) (engine.Actor, error)
	CheckGrant(ctx context.Context, s engine.Source, endpoint, secret string) (*engine.Grant, error)
	HeldGrants(ctx context.Context, s engine.Source, endpoint string, p engine.Principal) ([]*engine.Grant, error)
}

// Catalogue is what the frontend needs of the engine to tell what there is.
type Catalogue interface {
	Authorities(ctx context.Context) ([]engine.AuthorityInfo, error)
	Issuer(keyID string) (*x509.Certificate, error)
	Profiles() map[string]engine.Profile
}

// Operations are what the frontend needs of the engine for those who run it.
type Operations interface {
	CreateGrant(ctx context.Context, a engine.Actor, g engine.Grant) (*engine.Grant, string, error)
	Grants(ctx context.Context, after string, limit int) ([]*engine.Grant, string, error)
	RevokeGrant(ctx context.Context, a engine.Actor, id string) error
	Freeze(ctx context.Context, a engine.Actor, scope, reason string) error
	Thaw(ctx context.Context, a engine.Actor, scope string) error
	Freezes(ctx context.Context) ([]engine.Freeze, error)
	Health(ctx context.Context) (*engine.Health, error)
	ReplayDeliveries(ctx context.Context, a engine.Actor, exit string) (int, error)
	PolicyDocument() (doc []byte, version string, err error)
	Audit(ctx context.Context, after string, limit int) ([]*engine.AuditEntry, string, error)
}

// Campaigns are what the frontend needs of the engine to have certificates
// renewed.
type Campaigns interface {
	CreateCampaign(ctx context.Context, a engine.Actor, where string, within time.Duration, reason string) (*engine.Campaign, error)
	EndCampaign(ctx context.Context, a engine.Actor, id string) (*engine.Campaign, error)
	Campaign(ctx context.Context, id string) (*engine.Campaign, error)
	Campaigns(ctx context.Context, after string, limit int) ([]*engine.Campaign, string, error)
	Members(ctx context.Context, id, after string, limit int) (*engine.Members, error)
}

// An Engine is all of it.
type Engine interface {
	Requests
	Campaigns
	Certificates
	Identities
	Catalogue
	Operations
	Restores
}

// Deps are what a Frontend is made of. Those that may be left out say so.
type Deps struct {
	Engine Engine
	Now    func() time.Time
	Rand   io.Reader // must not fail
	Log    *slog.Logger

	// Note adds a field to the request's line in the log. May be nil.
	Note func(ctx context.Context, key string, value any)

	// ManagementRoots are what people's certificates chain to. EnrollmentRoots
	// are what the certificates chain to that our CAs issue, with which clients
	// can authenticate too. A nil pool admits nobody.
	ManagementRoots *x509.CertPool
	EnrollmentRoots *x509.CertPool

	// Apply makes a policy document the one in use. Its errors are shown to the
	// administrator. Nil: this server takes no documents over the API.
	Apply func(ctx context.Context, a engine.Actor, doc []byte) (version string, changes []string, err error)

	// Applying makes the comparison with If-Match and Apply one step on this
	// node. Frontends that take one another's place share it. Nil: one of its own.
	Applying sync.Locker

	// Nodes are the processes that serve the same store. Nil: only this one.
	Nodes Nodes

	// Records says what reading everything stored found last. May be nil.
	Records func(ctx context.Context) (scrub.Report, error)

	// Exposure returns what people should know about who can enroll from where,
	// one sentence each. May be nil.
	Exposure func() []string

	// Backup makes a backup of all records and says how large it is. The caller
	// closes it. Nil: this server makes none.
	Backup func(ctx context.Context, a engine.Actor) (io.ReadCloser, int64, error)

	// Try tries an ACME validation as the CA sees it. Its errors are shown to the
	// administrator. Nil: this server has none.
	Try func(ctx context.Context, t Trial) (*Outcome, error)

	// Limits tells who is held back. May be nil.
	Limits Limits

	// CursorKey keys the cursors of lists. Nodes that share it understand each
	// other's. Nil: a random one, and cursors end with the process.
	CursorKey []byte
}

// A Frontend answers the native API.
type Frontend struct {
	c       Config
	d       Deps
	chains  chainCache
	cursors []byte
	origin  *http.CrossOriginProtection
}

// New makes a Frontend. It opens nothing.
func New(c Config, d Deps) (*Frontend, error) {
	if d.Engine == nil || d.Now == nil || d.Rand == nil || d.Log == nil {
		return nil, errors.New("native: Engine, Now, Rand and Log are required")
	}
	if c.Name == "" {
		return nil, errors.New("native: the endpoint needs a name")
	}
	if d.Note == nil {
		d.Note = func(context.Context, string, any) {}
	}
	if d.Applying == nil {
		d.Applying = new(sync.Mutex)
	}
	f := &Frontend{c: c, d: d, cursors: d.CursorKey, origin: http.NewCrossOriginProtection()}
	if f.cursors == nil {
		f.cursors = make([]byte, 32)
		if _, err := io.ReadFull(d.Rand, f.cursors); err != nil {
			return nil, fmt.Errorf("native: no randomness for the cursor key: %w", err)
		}
	}
	return f, nil
}

// Enrollment is the handler for /api/v1/ on the https listener. It must see the
// request's address as it was sent: strip no prefix, clean no path.
func (f *Frontend) Enrollment() http.Handler { return f.router(f.enrollmentRoutes()) }

// Admin is the handler for /api/v1/ on the admin listener and on the local
// socket, with the same demand.
func (f *Frontend) Admin() http.Handler { return f.router(f.adminRoutes()) }

type actorKey struct{}

// WithActor returns a context whose requests are the actor's. It is for the
// local socket, where the operating system says who calls; nothing that comes
// over a network may set it.
func WithActor(ctx context.Context, a engine.Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}
