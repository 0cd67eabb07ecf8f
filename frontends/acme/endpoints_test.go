package acme

import (
	"encoding/json"
	"strings"
	"testing"

	"chancery/engine"
)

// Several directories, each with its own profiles, challenges, grants and names:
// nothing of one is good at another.
func TestEndpointsAreSeparate(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.config["default"] = Endpoint{Profiles: []string{"web"}}
		w.config["inner"] = Endpoint{Profiles: []string{"short", "web"}, Challenges: []engine.Method{engine.DNS01}, Names: patternsOf(t, "*.corp.test"), PreAuthorize: true}
		w.config["bound"] = Endpoint{Profiles: []string{"web"}, RequireGrant: true}
	})
	at := func(name, resource string) string { return w.base + "/acme/" + name + "/" + resource }
	c := w.client()
	inner := &client{w: w, key: c.key, alg: c.alg}
	inner.kid = w.ok("the same key elsewhere", inner.postKey(at("inner", "new-account"), `{}`), 201).location()
	if !strings.HasPrefix(inner.kid, at("inner", "account/")) {
		t.Error(inner.kid)
	}
	w.want("bound", c.postKey(at("bound", "new-account"), `{}`), 403, externalAccountRequired)

	// An account of one is none of another, by either's address.
	w.want("kid of another endpoint", c.post(at("inner", "new-order"), orderOf("a.corp.test")), 400, malformed)
	foreign := *c
	foreign.kid = at("inner", "account/") + idOf(c.kid)
	w.want("id of another endpoint", foreign.post(at("inner", "new-order"), orderOf("a.corp.test")), 400, accountDoesNotExist)

	// Names, profiles and challenges are the endpoint's.
	w.want("name", inner.post(at("inner", "new-order"), orderOf("a.other.test")), 403, rejectedIdentifier)
	o := w.ok("order", inner.post(at("inner", "new-order"), orderOf("a.corp.test")), 201)
	if o.text("profile") != "short" {
		t.Errorf("%s", o.body)
	}
	authz := w.ok("authz", inner.read(o.Authorizations[0]), 200)
	if len(authz.Challenges) != 1 || authz.pick("dns-01") == nil {
		t.Errorf("%s", authz.body)
	}
	w.want("a challenge that is not offered", inner.post(strings.Replace(authz.Challenges[0].URL, "dns-01", "http-01", 1), "{}"), 404, malformed)
	w.want("profile", c.post(w.url("new-order"), strings.TrimSuffix(anOrder, "}")+`,"profile":"short"}`), 400, invalidProfile)
	w.want("newAuthz", c.post(w.url("new-authz"), identifierOf("a.example.org")), 404, malformed)
	w.want("an order by another endpoint's address", inner.read(strings.Replace(o.location(), "/inner/", "/default/", 1)), 400, malformed)

	for name, want := range map[string]string{"default": `{"web":"web"}`, "inner": `{"short":"short","web":"web"}`} {
		var meta struct{ Profiles json.RawMessage }
		a := w.get(at(name, "directory"))
		if err := json.Unmarshal(a.raw["meta"], &meta); err != nil || string(meta.Profiles) != want {
			t.Errorf("%s: %s", name, a.body)
		}
	}
}

func TestEndpointSettings(t *testing.T) {
	for says, change := range map[string]func(*Endpoint){
		`there is no challenge "http-02"`: func(e *Endpoint) { e.Challenges = []engine.Method{"http-02"} },
		"listed twice":                    func(e *Endpoint) { e.Challenges = []engine.Method{engine.DNS01, engine.DNS01} },
		"no terms_of_service":             func(e *Endpoint) { e.InsistOnTerms = true },
		"only the DNS speaks":             func(e *Endpoint) { e.Subdomains, e.Challenges = true, []engine.Method{engine.HTTP01} },
		"require_grant":                   func(e *Endpoint) { e.Open = false }, // nothing keeps strangers away
	} {
		e := Endpoint{Profiles: []string{"web"}, Open: true}
		change(&e)
		if err := e.check("x", &Deps{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
	if err := (Endpoint{Profiles: []string{"web"}, RequireGrant: true}).check("x", &Deps{}); err != nil {
		t.Errorf("a grant keeps strangers away: %v", err)
	}
}
