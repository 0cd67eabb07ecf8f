package acme

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"chancery/engine"
	"chancery/engine/limit"
	"chancery/frontends/acme/internal/validate"
	"chancery/store"
)

const (
	orderLife = 7 * 24 * time.Hour  // of an order and its pending authorizations
	authzLife = 30 * 24 * time.Hour // of an authorization, from its validation on

	// inlineWait is how long the answer to a challenge waits for the validation:
	// one that ends meanwhile costs one commit less, and the client one poll.
	inlineWait = 300 * time.Millisecond
)

// A Frontend is the ACME server: an http.Handler for /acme/.
type Frontend struct {
	deps      Deps
	endpoints map[string]*endpoint
	nonces    *Nonces
	keys      *keyCache
	accounts  store.Cache[account] // read for every message
	validator *validate.Validator
	after     func(time.Duration) <-chan time.Time

	base  context.Context // of everything that outlives a request
	stop  context.CancelFunc
	tasks tasks
	doing attempts

	limits *limit.Set

	shared bool // by several processes: the store

	sweepFrom string // where the next sweep goes on looking; empty: at the beginning
}

// An endpoint is a configured Endpoint with its addresses.
type endpoint struct {
	Endpoint
	name      string
	base      string // address that its resources are below, without a slash at its end
	index     string // address of its directory
	directory []byte
	admits    admission

	identities []string // of this CA in the DNS
	limits     Limits   // none of them missing
}

// New checks the configuration and makes the frontend. Run must be called for
// challenges that take long, and to let validations end in order.
func New(c Config, d Deps) (*Frontend, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	if err := c.check(&d); err != nil {
		return nil, err
	}
	v, err := newValidator(d.Validation, d.Loopback, d.Rand)
	if err != nil {
		return nil, err
	}
	f := &Frontend{
		deps: d, endpoints: map[string]*endpoint{}, validator: v, after: time.After,
		nonces: d.Nonces, shared: !sole(d.DB),
		keys: newKeyCache(), limits: d.Limits,
	}
	if f.limits == nil {
		f.limits = new(limit.Set)
	}
	if f.nonces == nil {
		f.nonces = NewNonces(d.NonceKey, d.Node, d.Now, d.Rand)
	}
	f.base, f.stop = context.WithCancel(context.Background())
	for name, e := range c {
		if f.endpoints[name], err = newEndpoint(name, e, &d); err != nil {
			return nil, err
		}
		if e.Open && !d.Loopback {
			d.Log.Warn("anybody who reaches this ACME endpoint can enroll any name they control, as its open: true says", "endpoint", name)
		}
	}
	return f, nil
}

// sole reports whether this process alone has the store.
func sole(db store.DB) bool {
	s, ok := db.(interface{ Sole() bool })
	return ok && s.Sole()
}

func newEndpoint(name string, e Endpoint, d *Deps) (*endpoint, error) {
	p := &endpoint{Endpoint: e, name: name, base: d.BaseURL + root + name}
	p.index = p.base + "/directory"
	if name == "default" {
		p.index = d.BaseURL + root + "directory"
	}
	p.admits = newAdmission(e, d)
	p.identities = d.Identities
	p.limits = e.Limits.withDefaults()
	// RFC 8555, Section 7.1.1. What is not served is not named.
	type meta struct {
		TermsOfService  string            `json:"termsOfService,omitempty"`
		Website         string            `json:"website,omitempty"`
		AccountRequired bool              `json:"externalAccountRequired,omitempty"`
		Subdomains      bool              `json:"subdomainAuthAllowed,omitempty"` // RFC 9444, Section 4.4
		CAA             []string          `json:"caaIdentities,omitempty"`
		Issuers         []string          `json:"issuerDomainNames,omitempty"` // draft-ietf-acme-dns-persist, Section 3.2
		HashPrefix      string            `json:"accountHashPrefix,omitempty"` // Section 4.1
		Profiles        map[string]string `json:"profiles"`                    // draft-ietf-acme-profiles, Section 3
	}
	doc := struct {
		NewNonce   string `json:"newNonce"`
		NewAccount string `json:"newAccount"`
		NewOrder   string `json:"newOrder"`
		NewAuthz   string `json:"newAuthz,omitempty"`
		RevokeCert string `json:"revokeCert"`
		KeyChange  string `json:"keyChange"`
		Renewal    string `json:"renewalInfo"` // RFC 9773, Section 3
		Meta       meta   `json:"meta"`
	}{
		NewNonce: p.base + "/new-nonce", NewAccount: p.base + "/new-account", NewOrder: p.base + "/new-order",
		RevokeCert: p.base + "/revoke-cert", KeyChange: p.base + "/key-change", Renewal: p.base + "/renewal-info",
		Meta: meta{TermsOfService: e.TermsOfService, Website: e.Website, AccountRequired: e.RequireGrant, Subdomains: e.Subdomains, Profiles: descriptions(e, d)},
	}
	if e.checksCAA(d) {
		doc.Meta.CAA = d.Identities
	}
	if slices.Contains(e.offered(), engine.DNSPersist01) {
		doc.Meta.Issuers, doc.Meta.HashPrefix = d.Identities, p.hashPrefix()
	}
	if e.PreAuthorize {
		doc.NewAuthz = p.base + "/new-authz"
	}
	var err error
	p.directory, err = json.Marshal(doc)
	return p, err
}

// descriptions tell people what the profiles of an endpoint are for.
func descriptions(e Endpoint, d *Deps) map[string]string {
	all := map[string]string{}
	for _, name := range e.Profiles {
		if all[name] = d.Profiles[name].Description; all[name] == "" {
			all[name] = name
		}
	}
	return all
}

func (p *endpoint) accountURL(id string) string { return AccountURL(p.base, id) }
func (p *endpoint) orderURL(id string) string   { return p.base + "/order/" + id }
func (p *endpoint) authzURL(id string) string   { return p.base + "/authz/" + id }
func (p *endpoint) ordersURL(id string) string  { return p.base + "/orders/" + id }

// tasks are goroutines that outlive the request that began them. Whoever calls
// wait owns them.
type tasks struct {
	mu     sync.Mutex
	closed bool
	group  sync.WaitGroup
}

// start runs fn unless the tasks are closed.
func (t *tasks) start(fn func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.group.Go(fn)
	return true
}

// close lets no more begin and waits for those that run.
func (t *tasks) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.group.Wait()
}
