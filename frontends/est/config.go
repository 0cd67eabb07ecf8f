package est

import (
	"context"
	"crypto/x509"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"chancery/engine"
	"chancery/engine/limit"
	"chancery/frontends/internal/clientcert"
	"chancery/frontends/internal/endpoints"
)

// Config is the part of the policy document under frontends.est: endpoints by
// name. The one named default is served at /.well-known/est, any other at
// /.well-known/est/NAME: its name is the label of RFC 7030, Section 3.2.2.
type Config map[string]Endpoint

// An Endpoint is one EST service with its rules.
type Endpoint struct {
	// Profile that certificates are of, and with it the CA. Required.
	Profile string `json:"profile"`

	// Authenticate says how clients do: password (a grant), certificate, both
	// (the two of them), or any, which is the default: a password, or else a
	// certificate. A renewal always needs the certificate that it renews.
	Authenticate string `json:"authenticate,omitempty"`

	// Linking is required, or empty: then only those requests are held to the
	// connection that hold a challengePassword (RFC 7030, Section 3.5).
	Linking string `json:"linking,omitempty"`

	// CSRAttributes is the form in which clients are told what to ask for: list,
	// the default, which all of them know, or template, which adds that of RFC
	// 9908, Section 3.4.
	CSRAttributes string `json:"csr_attributes,omitempty"`

	// ServerKeys lets clients have their keys made by the server (RFC 7030,
	// Section 4.4): for devices that have no good randomness of their own.
	ServerKeys bool `json:"server_keys,omitempty"`

	// Manufacturers are roots in PEM whose devices may introduce themselves by the
	// certificates that they were made with (IDevID). That says who they are, and
	// warrants no name.
	Manufacturers []string `json:"manufacturers,omitempty"`

	// Proxy says which proxies may pass on the certificates of their clients.
	// Requests that come by one cannot be tied to the client's connection.
	Proxy *Proxy `json:"proxy,omitempty"`

	// Wrap breaks the base64 of answers into lines for every client, not only for
	// those that are known to need it.
	Wrap bool `json:"wrap,omitempty"`
}

// What Authenticate, Linking and CSRAttributes may hold.
const (
	anyOne      = "any"
	password    = "password"
	certificate = "certificate"
	both        = "both"

	required = "required"
	template = "template"
)

// ParseConfig reads endpoints strictly: an unknown or repeated member is an error.
func ParseConfig(doc map[string]stdjson.RawMessage) (Config, error) {
	return endpoints.Parse[Endpoint]("est", doc)
}

// Requests is what this package needs of the engine to get certificates.
type Requests interface {
	Submit(context.Context, engine.Submission) (engine.Disposition, error)
	Status(context.Context, engine.Key) (engine.Disposition, error)
}

// Authorities is what this package needs of the engine to show its CAs.
type Authorities interface {
	Authorities(context.Context) ([]engine.AuthorityInfo, error)
	Alternates(keyID string) [][][]byte
}

// Grants is what this package needs of the engine to know a password, and what a
// known key may have.
type Grants interface {
	CheckGrant(ctx context.Context, s engine.Source, endpoint, secret string) (*engine.Grant, error)
	HeldGrants(ctx context.Context, s engine.Source, endpoint string, p engine.Principal) ([]*engine.Grant, error)
}

// Deps is what a Frontend works with. All fields are required unless they say
// otherwise.
type Deps struct {
	Requests    Requests
	Authorities Authorities
	Grants      Grants
	Records     clientcert.Records
	Anchors     *x509.CertPool            // roots of the CAs that enroll clients
	Profiles    map[string]engine.Profile // of the policy in use, each with its authority
	Now         func() time.Time
	Rand        io.Reader // safe for concurrent use, must not fail
	Log         *slog.Logger
	Limits      *limit.Set // of all frontends of the process; nil: its own

	// Note adds a field to the request's line in the log. May be nil.
	Note func(ctx context.Context, key string, value any)
}

func (d *Deps) check() error {
	if d.Requests == nil || d.Authorities == nil || d.Grants == nil || d.Records == nil || d.Anchors == nil || d.Now == nil || d.Rand == nil || d.Log == nil {
		return errors.New("est: a dependency is missing")
	}
	if d.Limits == nil {
		d.Limits = new(limit.Set)
	}
	if d.Note == nil {
		d.Note = func(context.Context, string, any) {}
	}
	return nil
}

func (e *Endpoint) check(name string, d *Deps) error {
	if name == "" || len(name) > 63 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || operations[name] != nil {
		// RFC 7030, Section 3.2.2: a label must not be the name of an operation.
		return errors.New("the name of an endpoint is part of its address: use lower-case letters, digits and hyphens, and not the name of an operation of EST")
	}
	if e.Authenticate == "" {
		e.Authenticate = anyOne
	}
	profile, ok := d.Profiles[e.Profile]
	switch {
	case e.Profile == "":
		return errors.New("profile: say which profile certificates are of")
	case !ok:
		return fmt.Errorf("profile: there is no profile %q; there are %s", e.Profile, strings.Join(slices.Sorted(maps.Keys(d.Profiles)), ", "))
	case !slices.Contains(profile.Frontends, engine.EST):
		return fmt.Errorf("profile: profile %q cannot be asked for by EST; add est to its frontends", e.Profile)
	case !slices.Contains([]string{anyOne, password, certificate, both}, e.Authenticate):
		return fmt.Errorf("authenticate is any, password, certificate or both, not %q", e.Authenticate)
	case e.Linking != "" && e.Linking != required:
		return fmt.Errorf("linking is required, or left out, not %q", e.Linking)
	case len(e.Manufacturers) > 0 && e.Authenticate == password:
		return errors.New("manufacturers: no certificates are taken with authenticate: password")
	case e.Proxy != nil && e.Linking == required:
		return errors.New("linking: what comes by a proxy cannot be tied to the client's connection; use another endpoint")
	case e.Proxy != nil && e.Proxy.check() != nil:
		return e.Proxy.check()
	case e.CSRAttributes != "" && e.CSRAttributes != "list" && e.CSRAttributes != template:
		return fmt.Errorf("csr_attributes is list or template, not %q", e.CSRAttributes)
	}
	return nil
}
