package acme

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"chancery/engine"
)

func identifierOf(value string, members ...string) string {
	return `{"identifier":{"type":"dns","value":` + quote(value) + strings.Join(members, "") + `}}`
}

const forAllBelow = `,"subdomainAuthAllowed":true`

// preWorld is a world that offers authorizations without an order.
func preWorld(t *testing.T) *world {
	return newWorld(t, func(w *world) {
		w.config["default"] = Endpoint{Profiles: []string{"web"}, PreAuthorize: true, Subdomains: true}
	})
}

// preAuthorize makes an authorization without an order valid.
func (c *client) preAuthorize(payload string) *answer {
	c.w.t.Helper()
	a := c.w.ok("newAuthz", c.post(c.w.url("new-authz"), payload), 201)
	c.prove(a.location())
	return a
}

func TestACME_A088_PreAuthorization(t *testing.T) {
	w := preWorld(t)
	if a := w.get(w.base + "/acme/directory"); a.text("newAuthz") != w.url("new-authz") {
		t.Errorf("%s", a.body)
	}
	c := w.client()
	a := w.ok("newAuthz", c.post(w.url("new-authz"), identifierOf("www.example.org")), 201)
	if a.Status != "pending" || !strings.HasPrefix(a.location(), w.url("authz/")) || a.Identifier.Value != "www.example.org" || a.has("subdomainAuthAllowed") || a.has("wildcard") {
		t.Fatalf("%s", a.body)
	}
	if o := c.order("www.example.org"); o.Status != "pending" || o.Authorizations[0] == a.location() {
		t.Errorf("a pending one is used: %s", o.body)
	}
	c.prove(a.location())
	for range 2 { // by any number of orders
		o := c.order("www.example.org")
		if o.Status != "ready" || len(o.Authorizations) != 1 || o.Authorizations[0] != a.location() {
			t.Fatalf("%s", o.body)
		}
		w.ok("finalize", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), "www.example.org"))), 200)
	}
	url := w.url("new-authz")
	w.want("wildcard", c.post(url, identifierOf("*.example.org")), 400, malformed)
	w.want("bad name", c.post(url, identifierOf("a_b.example.org")), 400, malformed)
	w.want("other type", c.post(url, `{"identifier":{"type":"email","value":"a@example.org"}}`), 400, unsupportedIdentifier)
	w.want("nothing", c.post(url, `{}`), 400, unsupportedIdentifier)
	w.want("POST-as-GET", c.read(url), 400, malformed)
	w.want("GET", w.get(url), 405, malformed)
	// Purging the orders leaves what other orders may use.
	w.advance(orderLife + time.Hour)
	w.f.deps.Retention = time.Minute
	if err := w.f.purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := c.order("www.example.org"); o.Status != "ready" {
		t.Errorf("%s", o.body)
	}
}

// a server that does not offer it has no such address.
func TestACME_A039_NoPreAuthorization(t *testing.T) {
	w := newWorld(t)
	if a := w.get(w.base + "/acme/directory"); a.has("newAuthz") {
		t.Errorf("%s", a.body)
	}
	w.want("newAuthz", w.client().post(w.url("new-authz"), identifierOf("www.example.org")), 404, malformed)
}

func TestACME_A088_UnwillingNames(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.config["default"] = Endpoint{Profiles: []string{"web"}, PreAuthorize: true, Names: patternsOf(t, "*.corp.test")}
	})
	c := w.client()
	w.want("outside", c.post(w.url("new-authz"), identifierOf("www.example.org")), 403, rejectedIdentifier)
	w.ok("inside", c.post(w.url("new-authz"), identifierOf("www.corp.test")), 201)
}

func TestPreAuthorizationsAreBounded(t *testing.T) {
	w := preWorld(t)
	c := w.client()
	for range maxPreAuthorized {
		w.ok("newAuthz", c.post(w.url("new-authz"), identifierOf("www.example.org")), 201)
	}
	a := c.post(w.url("new-authz"), identifierOf("www.example.org"))
	w.want("one more", a, 429, rateLimited)
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	w.ok("another account", w.client().post(w.url("new-authz"), identifierOf("www.example.org")), 201)
	w.advance(orderLife)
	w.ok("once they expired", c.post(w.url("new-authz"), identifierOf("www.example.org")), 201)
}

// XJ-025: what an order may use of what the account has.
func TestACME_XJ025_AuthorizationReuse(t *testing.T) {
	w := preWorld(t)
	c, other := w.client(), w.client()
	valid := func(payload string) *answer { return c.preAuthorize(payload) }
	reused := func(c *client, host string) bool {
		t.Helper()
		return c.order(host).Status == "ready"
	}
	a := valid(identifierOf("a.example.org"))
	if !reused(c, "a.example.org") || reused(other, "a.example.org") {
		t.Error("own, and not another's")
	}
	for _, host := range []string{"b.example.org", "*.a.example.org", "x.a.example.org", "example.org"} {
		if reused(c, host) {
			t.Errorf("a.example.org speaks for %s", host)
		}
	}
	// Of an order: for that order alone.
	c.ready("once.example.org")
	if reused(c, "once.example.org") {
		t.Error("the authorization of an order was used for another")
	}
	w.ok("deactivate", c.post(a.location(), `{"status":"deactivated"}`), 200)
	if reused(c, "a.example.org") {
		t.Error("deactivated")
	}
	// By a challenge that is no longer offered.
	valid(identifierOf("m.example.org"))
	rules := func(e Endpoint) {
		w.deps.Nonces, w.config["default"] = w.f.nonces, e
		w.open()
	}
	rules(Endpoint{Profiles: []string{"web"}, PreAuthorize: true, Challenges: []engine.Method{engine.DNS01}})
	if reused(c, "m.example.org") {
		t.Error("proved by a challenge that is not offered")
	}
	rules(Endpoint{Profiles: []string{"web"}})
	rules(Endpoint{Profiles: []string{"web"}, PreAuthorize: true})
	if !reused(c, "m.example.org") {
		t.Error("it should be good again")
	}
	w.advance(authzLife - 30*time.Minute)
	if reused(c, "m.example.org") {
		t.Error("about to expire")
	}
	w.advance(time.Hour)
	if reused(c, "m.example.org") {
		t.Error("expired")
	}
}

// an order that rests on an authorization does not outlive it.
func TestACME_A087_DeactivatedUnderAnOrder(t *testing.T) {
	w := preWorld(t)
	c := w.client()
	a := c.preAuthorize(identifierOf("a.example.org"))
	o := c.order("a.example.org")
	w.ok("deactivate", c.post(a.location(), `{"status":"deactivated"}`), 200)
	w.want("finalize", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), "a.example.org"))), 403, orderNotReady)
	if got := c.read(o.location()); got.Status != "invalid" {
		t.Errorf("%s", got.body)
	}
}

func TestACME_T039_SubdomainAuthorization(t *testing.T) {
	w := preWorld(t)
	var meta struct{ SubdomainAuthAllowed bool }
	a := w.get(w.base + "/acme/directory")
	if json.Unmarshal(a.raw["meta"], &meta); !meta.SubdomainAuthAllowed {
		t.Errorf("%s", a.body)
	}
	c := w.client()
	a = w.ok("newAuthz", c.post(w.url("new-authz"), identifierOf("example.org", forAllBelow)), 201)
	if string(a.raw["subdomainAuthAllowed"]) != "true" || strings.Contains(string(a.raw["identifier"]), "subdomain") {
		t.Errorf("%s", a.body)
	}
	if len(a.Challenges) == 0 || a.pick("http-01") != nil { // T-042: by the DNS alone
		t.Errorf("%s", a.body)
	}
	if plain := w.ok("newAuthz", c.post(w.url("new-authz"), identifierOf("example.org")), 201); plain.has("subdomainAuthAllowed") {
		t.Errorf("%s", plain.body)
	}
	for _, tt := range []struct{ value, kind string }{{"org", rejectedIdentifier}, {"co.uk", rejectedIdentifier}, {"corp", rejectedIdentifier}} {
		w.want(tt.value, c.post(w.url("new-authz"), identifierOf(tt.value, forAllBelow)), 403, tt.kind)
	}
	c.prove(a.location())
	// RFC 9444, Section 5: from then on names below are ready at once.
	for _, host := range []string{"sub1.example.org", "a.b.example.org", "*.example.org", "*.sub.example.org", "example.org"} {
		o := c.order(host)
		if o.Status != "ready" || o.Authorizations[0] != a.location() {
			t.Errorf("%s: %s", host, o.body)
		}
	}
	for _, host := range []string{"ample.org", "xexample.org", "example.org.test"} {
		if o := c.order(host); o.Status != "pending" {
			t.Errorf("%s: %s", host, o.body)
		}
	}

	// Where the policy does not have it, the flag is not echoed.
	w = newWorld(t, func(w *world) { w.config["default"] = Endpoint{Profiles: []string{"web"}, PreAuthorize: true} })
	if a := w.ok("newAuthz", w.client().post(w.url("new-authz"), identifierOf("example.org", forAllBelow)), 201); a.has("subdomainAuthAllowed") || a.pick("http-01") == nil {
		t.Errorf("%s", a.body)
	}
}

func orderBelow(ancestor string, hosts ...string) string {
	var ids []string
	for _, h := range hosts {
		ids = append(ids, `{"type":"dns","value":`+quote(h)+`,"ancestorDomain":`+quote(ancestor)+`}`)
	}
	return `{"identifiers":[` + strings.Join(ids, ",") + `]}`
}

func TestACME_T040_T042_OrdersBelowAnAncestor(t *testing.T) {
	w := newRealWorld(t, func(e *Endpoint) { e.Subdomains = true })
	c := w.client()
	hosts := []string{"foo.bar.example.org", "*.example.org", "b.example.org"}
	o := w.ok("newOrder", c.post(w.url("new-order"), orderBelow("Example.org", hosts...)), 201)
	if len(o.Identifiers) != 3 || len(o.Authorizations) != 1 || o.Identifiers[0] != (identifier{"dns", "foo.bar.example.org", "example.org"}) {
		t.Fatalf("%s", o.body)
	}
	a := w.ok("authz", c.read(o.Authorizations[0]), 200)
	if a.Identifier.Value != "example.org" || string(a.raw["subdomainAuthAllowed"]) != "true" || a.pick("http-01") != nil {
		t.Fatalf("%s", a.body)
	}
	c.prove(o.Authorizations[0])
	for name, asked := range map[string][]string{"the ancestor": {"example.org"}, "more": append([]string{"example.org"}, hosts...), "fewer": hosts[1:]} {
		w.want(name, c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), asked...))), 400, badCSR)
	}
	if done := w.ok("finalize", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), hosts...))), 200); done.Status != "valid" {
		t.Errorf("%s", done.body)
	}
	// That authorization was for this order.
	if o := c.order("b.example.org"); o.Status != "pending" {
		t.Errorf("%s", o.body)
	}
}

func TestACME_T041_BadAncestors(t *testing.T) {
	w := preWorld(t)
	c := w.client()
	for ancestor, kind := range map[string]string{
		"ample.org": malformed, "other.test": malformed, "www.example.org": malformed, "x.www.example.org": malformed, "*.example.org": malformed, "a_b.org": malformed,
		".org": malformed, "192.0.2.1": malformed, "org": rejectedIdentifier,
	} {
		status := 400
		if kind == rejectedIdentifier {
			status = 403
		}
		w.want(ancestor, c.post(w.url("new-order"), orderBelow(ancestor, "www.example.org")), status, kind)
	}
	w.want("of a suffix", c.post(w.url("new-order"), orderBelow("co.uk", "www.example.co.uk")), 403, rejectedIdentifier)
	w.want("of an address", c.post(w.url("new-order"), `{"identifiers":[{"type":"ip","value":"192.0.2.1","ancestorDomain":"example.org"}]}`), 400, malformed)

	// Where subdomains are not offered, the name itself is to be proved.
	w = newWorld(t)
	o := w.ok("newOrder", w.client().post(w.url("new-order"), orderBelow("example.org", "www.example.org")), 201)
	if a := w.get(o.Authorizations[0]); a.status != 405 || o.Identifiers[0].Ancestor != "" {
		t.Errorf("%s", o.body)
	}
}
