package scep

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
	"chancery/frontends/internal/endpoints"
)

// Config is the part of the policy document under frontends.scep: endpoints by
// name. The one named default is served at /scep, any other at /scep/NAME.
type Config map[string]Endpoint

// An Endpoint is one SCEP service with its rules.
type Endpoint struct {
	// Profiles that certificates are of; the first is for new ones. A renewal
	// keeps the profile of the certificate, which must be one of them. Required.
	Profiles []string `json:"profiles"`

	// Authorize says what lets a device enroll: grant (the challengePassword is
	// the secret of one), manual (without a challengePassword an officer decides;
	// the first profile must have approval: manual). Required.
	Authorize []string `json:"authorize"`

	// Legacy admits what old devices send: sha1, 3des, des. Replies are in AES and
	// SHA-2 in every case.
	Legacy []string `json:"legacy,omitempty"`

	// RenewAfterExpiry is for how long after its end a certificate still renews
	// itself, with the same key, as for devices that were switched off. Default: not
	// at all.
	RenewAfterExpiry engine.Duration `json:"renew_after_expiry,omitempty"`

	// Identifiers are texts with which clients may name the CA in GetCACert, beside
	// the name of the endpoint; "*" is any. Some devices always send one.
	Identifiers []string `json:"identifiers,omitempty"`
}

// What Authorize and Legacy may hold.
const (
	byGrant  = "grant"
	manually = "manual"

	legacySHA1 = "sha1"
	legacy3DES = "3des"
	legacyDES  = "des"
)

// mostAfter bounds RenewAfterExpiry.
const mostAfter = 365 * 24 * time.Hour

// ParseConfig reads endpoints strictly: an unknown or repeated member is an error.
func ParseConfig(doc map[string]stdjson.RawMessage) (Config, error) {
	return endpoints.Parse[Endpoint]("scep", doc)
}

// Requests is what this package needs of the engine to get certificates.
type Requests interface {
	Submit(context.Context, engine.Submission) (engine.Disposition, error)
	Status(context.Context, engine.Key) (engine.Disposition, error)
}

// Certificates is what this package needs of the engine to show certificates and
// lists, and to know its own.
type Certificates interface {
	Identify(ctx context.Context, der []byte) (*engine.Certificate, error)
	Certificate(ctx context.Context, id engine.CertID) (*engine.Certificate, []byte, error)
	CRL(ctx context.Context, keyID string) (*engine.CRL, error)
	Authorities(context.Context) ([]engine.AuthorityInfo, error)
}

// Grants is what this package needs of the engine to know a challenge.
type Grants interface {
	CheckGrant(ctx context.Context, s engine.Source, endpoint, secret string) (*engine.Grant, error)
}

// People is what this package needs of the engine to let an administrator make
// challenges.
type People interface {
	Authenticate(context.Context, engine.Credential) (engine.Actor, error)
	CreateGrant(ctx context.Context, a engine.Actor, g engine.Grant) (*engine.Grant, string, error)
}

// Deps is what a Frontend works with. All fields are required.
type Deps struct {
	Requests     Requests
	Certificates Certificates
	Grants       Grants
	People       People
	RA           *RA
	Profiles     map[string]engine.Profile // of the policy in use
	Now          func() time.Time
	Rand         io.Reader // safe for concurrent use, must not fail
	Log          *slog.Logger
}

func (d *Deps) check() error {
	if d.Requests == nil || d.Certificates == nil || d.Grants == nil || d.People == nil || d.RA == nil || d.Now == nil || d.Rand == nil || d.Log == nil {
		return errors.New("scep: a dependency is missing")
	}
	return nil
}

func (e *Endpoint) check(name string, d *Deps) error {
	if name == "" || len(name) > 63 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return errors.New("the name of an endpoint is part of its address: use lower-case letters, digits and hyphens")
	}
	if len(e.Profiles) == 0 {
		return errors.New("profiles: name at least one profile; the first is for new certificates")
	}
	for _, p := range e.Profiles {
		profile, ok := d.Profiles[p]
		switch {
		case !ok:
			return fmt.Errorf("profiles: there is no profile %q; there are %s", p, strings.Join(slices.Sorted(maps.Keys(d.Profiles)), ", "))
		case !slices.Contains(profile.Frontends, engine.SCEP):
			return fmt.Errorf("profiles: profile %q cannot be asked for by SCEP; add scep to its frontends", p)
		case profile.Authority != d.RA.d.Authority:
			return fmt.Errorf("profiles: profile %q is of authority %s; SCEP serves those of %s", p, profile.Authority, d.RA.d.Authority)
		}
	}
	if len(e.Authorize) == 0 {
		return errors.New("authorize: anybody who reaches the server could enroll; say what lets a device in: [grant] for challenges from chancery grant create --protocol scep, [manual] for an officer's approval, or both")
	}
	if err := known("authorize", e.Authorize, byGrant, manually); err != nil {
		return err
	}
	if slices.Contains(e.Authorize, manually) && d.Profiles[e.Profiles[0]].Approval != "manual" {
		return fmt.Errorf("authorize: manual needs an officer, and profile %s asks none; set its approval to manual, or leave manual out", e.Profiles[0])
	}
	if e.RenewAfterExpiry < 0 || time.Duration(e.RenewAfterExpiry) > mostAfter {
		return errors.New("renew_after_expiry is at most 365d: a certificate that ended longer ago says little of who has its key")
	}
	return known("legacy", e.Legacy, legacySHA1, legacy3DES, legacyDES)
}

func known(key string, list []string, all ...string) error {
	for i, s := range list {
		if !slices.Contains(all, s) {
			return fmt.Errorf("%s: there is no %q; there are %s", key, s, strings.Join(all, ", "))
		}
		if slices.Contains(list[:i], s) {
			return fmt.Errorf("%s: %s is listed twice", key, s)
		}
	}
	return nil
}

// chain is the chain of the authority that this package serves, its own
// certificate first, the root last.
func (d *Deps) chain(ctx context.Context) ([]*x509.Certificate, error) {
	all, err := d.Certificates.Authorities(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if a.Name == d.RA.d.Authority {
			return a.Chain, nil
		}
	}
	return nil, fmt.Errorf("scep: there is no authority %s", d.RA.d.Authority)
}
