package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"chancery/cmd/chancery/app/node"
	"chancery/engine"
	"chancery/engine/limit"
	"chancery/frontends/native"
	"chancery/store"
)

// A Frontend is a protocol that the server can speak. A program of its own adds
// some to those that are built in.
type Frontend struct {
	// Source is its name under frontends in the policy document.
	Source engine.Source

	// Endpoint is the zero value of one endpoint's settings there.
	Endpoint any

	// Tables are those of its records.
	Tables []store.Schema

	// New makes it for the endpoints of a policy document, by name. It is called
	// again when the policy changes, and must not change anything itself.
	New func(w World, endpoints map[string]json.RawMessage) (Mounts, error)
}

// A World is what frontends are made from.
type World struct {
	Node     *node.Node
	Engine   *engine.Pinned            // decides by Policy
	Policy   engine.Policy             // about to be in use
	Profiles map[string]engine.Profile // of Policy, with Chancery's own
	HTTPS    string                    // address that clients call, such as https://ca.example.org:8443
	Loopback bool                      // every listener is on loopback
	OwnNames []string                  // host names and addresses of this server
	NonceKey []byte                    // shared by all nodes
	Apply    func(ctx context.Context, a engine.Actor, doc []byte) (version string, changes []string, err error)
	Applying sync.Locker // held by whoever compares the version in use and then calls Apply
	Exposure func() []string
	Nodes    native.Nodes
	Limits   *limit.Set     // of all frontends
	Proxies  []netip.Prefix // whose word on a client's address is taken
	Backup   func(ctx context.Context, a engine.Actor) (io.ReadCloser, int64, error)
}

// Mounts are what a frontend answers. A key that ends in a slash is the beginning
// of a path, another one a whole path.
type Mounts struct {
	HTTPS, HTTP, Admin map[string]http.Handler

	// Run does what the frontend does beside answering, until its context is
	// done. It may be nil.
	Run func(ctx context.Context) error

	// Open says, one sentence each, what anybody can have who reaches the server.
	Open []string
}

// routes sends requests by the beginning of their path as it was sent. Unlike
// http.ServeMux it neither cleans paths nor redirects: each protocol knows its
// own addresses.
type routes struct {
	prefixes []string // longest first
	handlers map[string]http.Handler
}

func newRoutes() *routes { return &routes{handlers: map[string]http.Handler{}} }

func (t *routes) add(mounts map[string]http.Handler) error {
	for p, h := range mounts {
		if _, taken := t.handlers[p]; taken || !strings.HasPrefix(p, "/") {
			return fmt.Errorf("two frontends want the address %s", p)
		}
		t.handlers[p] = h
	}
	t.prefixes = slices.SortedFunc(maps.Keys(t.handlers), func(a, b string) int { return len(b) - len(a) })
	return nil
}

// ServeHTTP finds the handler.
func (t *routes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, p := range t.prefixes {
		// What ends in a slash is everything below, and itself without it; anything
		// else is one address.
		below := strings.HasSuffix(p, "/")
		if r.URL.Path == strings.TrimSuffix(p, "/") || below && strings.HasPrefix(r.URL.Path, p) {
			t.handlers[p].ServeHTTP(w, r)
			return
		}
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write([]byte(`{"type":"about:blank","title":"Not Found","status":404,"detail":"There is nothing at this address."}` + "\n"))
}

// A generation is everything that answers under one policy.
type generation struct {
	https, http, admin http.Handler
	run                []func(context.Context) error
	engine             *engine.Pinned
	open               []string
}

// enter makes g answer from now on. The policy that it was made for is in use.
func (s *Server) enter(g *generation) {
	g.engine.Hold()
	s.current.Store(g)
}

// generate makes the frontends for a policy. Nothing of it is in use yet.
func (s *Server) generate(p engine.Policy) (*generation, error) {
	w := s.world
	w.Policy, w.Engine = p, s.node.Engine.Pin()
	var err error
	if w.Profiles, err = p.EffectiveProfiles(); err != nil {
		return nil, err
	}
	g := &generation{engine: w.Engine}
	https, plain, admin := newRoutes(), newRoutes(), newRoutes()
	var errs []error
	for _, f := range s.frontends {
		m, err := f.New(w, p.Frontends[f.Source])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, https.add(m.HTTPS), plain.add(m.HTTP), admin.add(m.Admin))
		if m.Run != nil {
			g.run = append(g.run, m.Run)
		}
		g.open = append(g.open, m.Open...)
	}
	errs = append(errs, admin.add(map[string]http.Handler{"/metrics": s.metrics}))
	for _, t := range []*routes{https, plain, admin} {
		errs = append(errs, t.add(map[string]http.Handler{"/healthz": http.HandlerFunc(healthz), "/readyz": http.HandlerFunc(s.readyz)}))
	}
	// CRLs and OCSP are asked first: no router may touch their addresses.
	g.https, g.http, g.admin = s.status.Before(https), s.status.Before(plain), admin
	return g, errors.Join(errs...)
}
