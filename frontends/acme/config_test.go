package acme

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"chancery/engine"
)

func TestExposure(t *testing.T) {
	open := func(w *world, e Endpoint, own ...string) {
		e.Profiles = []string{"web"}
		w.config["default"], w.deps.Loopback, w.deps.OwnNames = e, false, own
		// The tests' network is loopback all the same.
		w.deps.Validation.Networks = nil
	}
	bare := newWorld(t)
	open(bare, Endpoint{})
	if _, err := New(bare.config, bare.deps); err == nil || !strings.Contains(err.Error(), "frontends.acme.default") || !strings.Contains(err.Error(), "open: true") {
		t.Errorf("an endpoint open by default: %v", err)
	}
	for _, tt := range []struct {
		name    string
		change  func(*world)
		yes, no string
	}{
		{"loopback", func(*world) {}, "localhost host *.example.org www.example.org", ""},
		{"loopback with names", func(w *world) {
			w.config["default"] = Endpoint{Profiles: []string{"web"}, Names: patterns(t, "*.example.org")}
		}, "www.example.org *.example.org *.sub.example.org", "example.org localhost host other.example"},
		{"names", func(w *world) { open(w, Endpoint{Names: patterns(t, "*.example.org", "localhost", "host")}) },
			"www.example.org *.example.org localhost host", "example.org other.example *.other.example"},
		{"open", func(w *world) { open(w, Endpoint{Open: true}, "CA.example.org") },
			"www.example.org other.example", "localhost a.localhost host *.example.org ca.example.org"},
		{"open with names", func(w *world) {
			open(w, Endpoint{Open: true, Names: patterns(t, "*.corp.example", "ca.example.org")}, "ca.example.org")
		},
			"www.example.org *.corp.example ca.example.org", "*.example.org localhost"},
	} {
		w := newWorld(t, tt.change)
		c := w.client()
		for _, n := range strings.Fields(tt.yes) {
			w.ok(tt.name+" "+n, c.post(w.url("new-order"), orderOf(n)), 201)
		}
		for _, n := range strings.Fields(tt.no) {
			w.want(tt.name+" "+n, c.post(w.url("new-order"), orderOf(n)), 403, rejectedIdentifier)
		}
	}
}

func TestConfig(t *testing.T) {
	for doc, want := range map[string]string{
		`{"profiles":["web"],"profile":"x"}`:                       "known are profiles",
		`{"profiles":"web"}`:                                       "frontends.acme.default",
		`{"profiles":["web"],"names":["*"],"names":["a.example"]}`: "duplicate",
		`{"profiles":["web"],"names":["a..b"]}`:                    "a..b",
		`{}`:                                                       "name at least one profile",
		`{"profiles":["web","none"]}`:                              `no profile "none"; there are device, web`,
		`{"profiles":["device"]}`:                                  "add acme to its frontends",
		`{"profiles":["web"],"website":"ftp://x"}`:                 "website",
		`{"profiles":["web"],"terms_of_service":"terms"}`:          "terms_of_service",
	} {
		w := newWorld(t)
		w.deps.Profiles = map[string]engine.Profile{"web": {Frontends: []engine.Source{engine.ACME}}, "device": {Frontends: []engine.Source{engine.SCEP}}}
		c, err := ParseConfig(map[string]json.RawMessage{"default": json.RawMessage(doc)})
		if err == nil {
			_, err = New(c, w.deps)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", doc, err)
		}
	}
	w := newWorld(t)
	for _, name := range []string{"", "directory", "a/b", "A", "-a", "a b", "ü", strings.Repeat("a", 64)} {
		if _, err := New(Config{name: {Profiles: []string{"web"}}}, w.deps); err == nil {
			t.Errorf("an endpoint called %q", name)
		}
	}
	for _, base := range []string{"", "http://a.example", "https://a.example/", "https://a.example/x", "a.example", "https://a.example?x", "https://u@a.example"} {
		d := w.deps
		d.BaseURL = base
		if _, err := New(w.config, d); err == nil {
			t.Errorf("base address %q", base)
		}
	}
	for name, change := range map[string]func(*Deps){
		"no store": func(d *Deps) { d.DB = nil }, "short key": func(d *Deps) { d.NonceKey = d.NonceKey[1:] }, "no node": func(d *Deps) { d.Node = "" },
		"resolver": func(d *Deps) { d.Validation.Resolvers = []string{"192.0.2.1"} }, "port": func(d *Deps) { d.Validation.HTTPPort = 70000 },
	} {
		d := w.deps
		change(&d)
		if _, err := New(w.config, d); err == nil {
			t.Error(name)
		}
	}
}

// Run makes the attempts that are due and ends in order.
func TestRun(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	o := c.order("www.example.org")
	ch := c.prepare(c.read(o.Authorizations[0]), "http-01")
	if _, err := w.f.accept(t.Context(), spending{}, idOf(o.Authorizations[0]), 0, c.thumb(), false); err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{})
	answer := w.site.body["/.well-known/acme-challenge/"+ch.Token]
	w.site.set("/.well-known/acme-challenge/"+ch.Token, func(rw http.ResponseWriter, r *http.Request) {
		answer(rw, r)
		close(asked)
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.f.Run(ctx) }()
	<-asked
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if w.f.doing.network != 0 || len(w.f.doing.running) != 0 {
		t.Error("an attempt is still under way")
	}
	// The handler goes on serving; what it begins is for others to finish.
	o = c.order("two.example.org")
	ch = c.prepare(c.read(o.Authorizations[0]), "http-01")
	if a := w.ok("respond", c.post(ch.URL, "{}"), 200); a.Status != "processing" {
		t.Errorf("%s", a.body)
	}
}
