package acme

import (
	"context"
	"crypto"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"chancery/engine"
	"chancery/engine/limit"
	"chancery/engine/names"
	"chancery/frontends/internal/endpoints"
	"chancery/store"
)

// Config is the part of the policy document under frontends.acme: endpoints by
// name. The one named default is also served at /acme/directory.
type Config map[string]Endpoint

// An Endpoint is one ACME directory with its rules.
type Endpoint struct {
	// Profiles that orders may ask for. The first is for those that ask for
	// none. Required.
	Profiles []string `json:"profiles"`

	// Names that may be ordered: patterns such as "*.corp.example". Empty: on
	// loopback any, otherwise see Open. Only a pattern here admits localhost,
	// names of one label, the server's own names and wildcards when others than
	// this machine can reach the server.
	Names []names.Pattern `json:"names,omitempty"`

	// Open says that anybody who reaches the server may have a certificate for
	// any ordinary name that they prove to control. Required, unless Names are
	// given, a grant is required, or the server listens on loopback only.
	Open bool `json:"open,omitempty"`

	// RequireGrant lets only those make an account who hold an ACME grant: they
	// bind the account to it (RFC 8555, Section 7.3.4), and it can have what the
	// grant lists.
	RequireGrant bool `json:"require_grant,omitempty"`

	// Challenges that are offered; empty: http-01, dns-01 and tls-alpn-01. Others
	// are dns-account-01 and dns-persist-01, which follow drafts. The last has no
	// token, which some clients stumble over; offer it where they do not.
	Challenges []engine.Method `json:"challenges,omitempty"`

	// PreAuthorize offers authorizations without an order (RFC 8555, Section
	// 7.4.1). The orders of the account use them until they expire.
	PreAuthorize bool `json:"pre_authorize,omitempty"`

	// Subdomains lets control of the DNS of a domain speak for the names below
	// it, if the client asks for that (RFC 9444).
	Subdomains bool `json:"subdomains,omitempty"`

	// TermsOfService is the address of terms that a new account must agree to.
	TermsOfService string `json:"terms_of_service,omitempty"`

	// InsistOnTerms has accounts that agreed to other terms agree to these before
	// they order anything more.
	InsistOnTerms bool `json:"insist_on_terms,omitempty"`

	// Limits hold clients back that do too much.
	Limits Limits `json:"limits,omitzero"`

	// Website is the address of a page about this CA, for people.
	Website string `json:"website,omitempty"`
}

// ParseConfig reads endpoints strictly: an unknown or repeated member is an error.
func ParseConfig(doc map[string]stdjson.RawMessage) (Config, error) {
	return endpoints.Parse[Endpoint]("acme", doc)
}

// Requests is what this package needs of the engine to get certificates.
type Requests interface {
	Submit(context.Context, engine.Submission) (engine.Disposition, error)
	Status(context.Context, engine.Key) (engine.Disposition, error)
	Peek(context.Context, engine.Key) (engine.Disposition, error)
	Retrieve(ctx context.Context, id string, p engine.Principal) (engine.Disposition, error)
}

// Certificates is what this package needs of the engine to revoke certificates
// and to say when to renew them.
type Certificates interface {
	Identify(ctx context.Context, der []byte) (*engine.Certificate, error)
	Revoke(context.Context, engine.Revocation) error
	Alternates(keyID string) [][][]byte
	Renewals
}

// Renewals is what this package needs of the engine to say when to renew.
type Renewals interface {
	Certificate(context.Context, engine.CertID) (*engine.Certificate, []byte, error)
	Renewal(context.Context, engine.CertID) (*engine.Renewal, error)
	Replaced(context.Context, engine.CertID) (bool, error)
}

// Grants is what this package needs of the engine to bind accounts to grants.
type Grants interface {
	CheckMAC(ctx context.Context, s engine.Source, endpoint, id string, hash crypto.Hash, input, mac []byte) (*engine.Grant, error)
	BindGrant(tx store.Tx, id string) error
	Grant(ctx context.Context, id string) (*engine.Grant, error)
}

// Deps is what a Frontend works with. All fields are required unless they say
// otherwise.
type Deps struct {
	DB           store.DB // opened with Schemas
	Requests     Requests
	Certificates Certificates
	Grants       Grants
	Profiles     map[string]engine.Profile // of the policy in use; nil: endpoints' profiles are not checked
	Now          func() time.Time
	Rand         io.Reader // safe for concurrent use, must not fail
	Log          *slog.Logger
	NonceKey     []byte         // 32 octets that every node shares
	Limits       *limit.Set     // of all frontends of the process; nil: its own
	Proxies      []netip.Prefix // whose word on a client's address is taken
	Records      Records        // nil: unused accounts are kept
	Nonces       *Nonces        // of the Frontend whose place this one takes; nil: new ones
	Node         string         // name of this node
	BaseURL      string         // such as https://ca.example.org:8443; clients find the server there
	Loopback     bool           // every listener is on loopback
	OwnNames     []string
	Identities   []string // names of this CA in CAA records and in those for dns-persist-01

	// Retention is how long ended orders and authorizations are kept; 0 is 30 days.
	Retention time.Duration

	Validation Validation
}

// Validation is how the server sees the network when it validates.
type Validation struct {
	// HTTPPort is asked in place of port 80, TLSPort in place of 443; 0 is these.
	HTTPPort, TLSPort int

	// Resolvers are DNS servers as host:port; none: the system's.
	Resolvers []string

	// Networks are the only ones to which http-01 connects; none: private and
	// public networks, and loopback if Deps.Loopback.
	Networks []netip.Prefix

	// Dial connects; nil is the system's.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

const defaultRetention = 30 * 24 * time.Hour

func (d *Deps) check() error {
	switch {
	case d.DB == nil, d.Requests == nil, d.Certificates == nil, d.Grants == nil, d.Now == nil, d.Rand == nil, d.Log == nil:
		return errors.New("acme: a dependency is missing")
	case len(d.NonceKey) != 32:
		return errors.New("acme: the nonce key is not 32 octets")
	case d.Node == "":
		return errors.New("acme: the node has no name")
	}
	u, err := url.Parse(d.BaseURL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil || strings.HasSuffix(d.BaseURL, "#") {
		return fmt.Errorf("acme: the base address %q is not of the form https://host:port", d.BaseURL) // RFC 8555, Section 6.1
	}
	if d.Retention == 0 {
		d.Retention = defaultRetention
	}
	return nil
}

// check refuses what contradicts itself or would let strangers in by default.
func (c Config) check(d *Deps) error {
	for _, name := range slices.Sorted(maps.Keys(c)) {
		if err := c[name].check(name, d); err != nil {
			return fmt.Errorf("frontends.acme.%s: %w", name, err)
		}
	}
	return nil
}

func (e Endpoint) check(name string, d *Deps) error {
	if !validEndpointName(name) {
		return errors.New("the name of an endpoint is part of its address: use lower-case letters, digits and hyphens, and not the word directory")
	}
	if len(e.Profiles) == 0 {
		return errors.New("profiles: name at least one profile; the first is for orders that ask for none")
	}
	for _, p := range e.Profiles {
		profile, ok := d.Profiles[p]
		switch {
		case d.Profiles == nil:
		case !ok:
			return fmt.Errorf("profiles: there is no profile %q; there are %s", p, strings.Join(slices.Sorted(maps.Keys(d.Profiles)), ", "))
		case !slices.Contains(profile.Frontends, engine.ACME):
			return fmt.Errorf("profiles: profile %q cannot be asked for by ACME; add acme to its frontends", p)
		}
	}
	if !d.Loopback && len(e.Names) == 0 && !e.Open && !e.RequireGrant {
		return errors.New("the server can be reached from other machines, and anybody there could enroll any name that they control: " +
			`list the names to admit (names: ["*.corp.example"]), or let in only holders of a grant (require_grant: true), or say "open: true" if that is what you want, or listen on loopback only`)
	}
	for i, m := range e.Challenges {
		if !slices.Contains(challengeTypes, m) {
			return fmt.Errorf("challenges: there is no challenge %q; there are %v", m, challengeTypes)
		}
		if slices.Contains(e.Challenges[:i], m) {
			return fmt.Errorf("challenges: %s is listed twice", m)
		}
	}
	if slices.Contains(e.Challenges, engine.DNSPersist01) && len(d.Identities) == 0 {
		return errors.New("challenges: records for dns-persist-01 name the CA: say by which names they mean this one, in caa_identities")
	}
	if err := e.Limits.check(); err != nil {
		return err
	}
	if e.InsistOnTerms && e.TermsOfService == "" {
		return errors.New("insist_on_terms: there are no terms_of_service to insist on")
	}
	if e.Subdomains && !e.offersDNS() {
		return errors.New("subdomains: only the DNS speaks for all names below a domain; add dns-01 to challenges")
	}
	for what, s := range map[string]string{"terms_of_service": e.TermsOfService, "website": e.Website} {
		if u, err := url.Parse(s); s != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "") {
			return fmt.Errorf("%s: %q is not an http or https address", what, s)
		}
	}
	return nil
}

func validEndpointName(s string) bool {
	if s == "" || len(s) > 63 || s == "directory" {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" && s[0] != '-'
}
