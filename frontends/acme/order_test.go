package acme

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/engine/names"
)

func TestACME_A061_A068_A069_A071_OrderLife(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	o := c.order("b.example.org", "A.Example.ORG", "b.example.org") // A-063 twice, A-068 folded
	if !strings.HasPrefix(o.location(), w.url("order/")) || o.Status != "pending" || len(o.Authorizations) != 2 || o.Finalize != o.location()+"/finalize" || o.Certificate != "" {
		t.Fatalf("%s", o.body)
	}
	if ids := fmt.Sprint(o.Identifiers); ids != "[{dns b.example.org } {dns a.example.org }]" {
		t.Error(ids)
	}
	if at, err := time.Parse(time.RFC3339, o.Expires); err != nil || !at.After(w.now()) {
		t.Error(o.Expires)
	}
	// through its life the arrays stay as they are, and it becomes
	// ready by itself.
	check := func(a *answer, status string) {
		t.Helper()
		if a.Status != status || !slices.Equal(a.Identifiers, o.Identifiers) || !slices.Equal(a.Authorizations, o.Authorizations) || a.Expires != o.Expires {
			t.Errorf("%s", a.body)
		}
	}
	check(c.read(o.location()), "pending")
	c.prove(o.Authorizations[0])
	check(c.read(o.location()), "pending")
	c.prove(o.Authorizations[1])
	check(c.read(o.location()), "ready")
	check(c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), "a.example.org", "B.example.org"))), "valid")
	check(c.read(o.location()), "valid")
}

func TestACME_A062_Dates(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	for _, dates := range []string{
		`"notBefore":"2026-11-22T00:00:00Z"`, `"notAfter":"2026-11-29T00:00:00Z"`, `"notBefore":"2026-11-30T00:00:00Z","notAfter":"2026-11-29T00:00:00Z"`,
		`"notAfter":"tomorrow"`, `"notAfter":1`, `"notAfter":"2026-11-29"`, `"notAfter":"9999-12-31T23:59:59Z"`,
	} {
		w.want(dates, c.post(w.url("new-order"), strings.TrimSuffix(anOrder, "}")+","+dates+"}"), 400, malformed)
	}
	w.noOrders()
	w.ok("zero time", c.post(w.url("new-order"), strings.TrimSuffix(anOrder, "}")+`,"notBefore":"0001-01-01T00:00:00Z","notAfter":"0001-01-01T00:00:00Z"}`), 201)
}

func TestACME_A063_Identifiers(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprintf("h%d.example.org", i)
	}
	for name, payload := range map[string]string{
		"empty": `{"identifiers":[]}`, "missing": `{}`, "null": `{"identifiers":null}`, "not array": `{"identifiers":{"type":"dns","value":"a.example"}}`, "strings": `{"identifiers":["a.example"]}`,
		"101": orderOf(many...), "no value": `{"identifiers":[{"type":"dns"}]}`, "number": `{"identifiers":[{"type":"dns","value":1}]}`,
		"twice": `{"identifiers":[{"type":"dns","value":"a.example","value":"b.example"}]}`, "POST-as-GET": "",
	} {
		w.want(name, c.post(w.url("new-order"), payload), 400, malformed)
	}
	for _, kind := range []string{"foo", "IP", "DNS", "", "email", "uri"} {
		w.want(kind, c.post(w.url("new-order"), `{"identifiers":[{"type":"`+kind+`","value":"192.0.2.1"}]}`), 400, unsupportedIdentifier)
	}
	w.noOrders()
	w.ok("100", c.post(w.url("new-order"), orderOf(many[:100]...)), 201)
}

func TestACME_A064_Names(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	long := strings.Repeat("a", 63)
	for _, n := range []string{
		"-a.com", "a-.com", "a..b", ".a.com", "a_b.com", "a.com.", strings.Repeat(long+".", 4) + "com", long + "a.com", "*.*.a.com", "a.*.b.com", "*", "*.", "*.com", "a*.b.com",
		"bücher.de", "xn--ü.de", "xn--a.de", "xn--abc-.de", "xn--.de", "ab--c.de", "192.0.2.1", "1.2.3.4", "::1", "[::1]", "a.com:80", "http://a.com", "a b.com", "a.com\x00", "a.com\r\n", "", "a.123",
		"a@b.com", "a/b.com", "\u202ea.com",
	} {
		a := c.post(w.url("new-order"), orderOf(n))
		w.want(quote(n), a, 400, malformed)
		if strings.ContainsAny(a.Detail, "\x00\r\n\u202e") {
			t.Errorf("%q shows control characters", a.Detail)
		}
	}
	w.noOrders()
	w.ok("a good A-label", c.post(w.url("new-order"), orderOf("xn--bcher-kva.de")), 201)
}

func TestACME_A037_Subproblems(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.config["default"] = Endpoint{Profiles: []string{"web"}, Names: patterns(t, "*.example.org")}
	})
	c := w.client()
	a := c.post(w.url("new-order"), orderOf("a..b", "ok.example.org", "other.example", "x_y.org"))
	w.want("three bad", a, 400, compound)
	if _, top := a.raw["identifier"]; top || len(a.Subproblems) != 3 {
		t.Fatalf("%s", a.body)
	}
	for i, want := range []string{malformed + " a..b", rejectedIdentifier + " other.example", malformed + " x_y.org"} {
		s := &a.Subproblems[i]
		if got := s.kind() + " " + s.Identifier.Value; got != want || s.Detail == "" || s.Identifier.Type != "dns" {
			t.Errorf("%s, want %s", got, want)
		}
	}
	a = c.post(w.url("new-order"), orderOf("a.example", "b.example"))
	w.want("of one type", a, 403, rejectedIdentifier)
	a = c.post(w.url("new-order"), orderOf("a.example"))
	w.want("one", a, 403, rejectedIdentifier)
	if _, ok := a.raw["subproblems"]; ok || !strings.Contains(a.Detail, "a.example") {
		t.Errorf("%s", a.body)
	}
}

func patterns(t testing.TB, list ...string) []names.Pattern {
	t.Helper()
	var out []names.Pattern
	for _, s := range list {
		p, err := names.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func TestACME_A065_A066_A067_Wildcards(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	o := c.order("*.example.org", "example.org") // one authorization each
	if len(o.Authorizations) != 2 || o.Authorizations[0] == o.Authorizations[1] {
		t.Fatalf("%s", o.body)
	}
	star, plain := c.read(o.Authorizations[0]), c.read(o.Authorizations[1])
	if star.Identifier.Value != "example.org" || string(star.raw["wildcard"]) != "true" || len(star.Challenges) != 1 || star.Challenges[0].Type != "dns-01" {
		t.Errorf("%s", star.body)
	}
	if plain.Identifier.Value != "example.org" || len(plain.Challenges) != standardTypes {
		t.Errorf("%s", plain.body)
	}
	if _, ok := plain.raw["wildcard"]; ok {
		t.Errorf("A-066: %s", plain.body)
	}
	c.prove(o.Authorizations[1])
	if a := c.read(o.location()); a.Status != "pending" {
		t.Errorf("one authorization stood for both: %s", a.body)
	}
	w.want("http-01 of a wildcard", c.post(strings.Replace(star.Challenges[0].URL, "dns-01", "http-01", 1), "{}"), 404, malformed)
}

func TestACME_A072_Expired(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	o, url := c.ready("www.example.org")
	pending := c.order("two.example.org")
	w.advance(orderLife - time.Second)
	if a := c.read(url); a.Status != "ready" {
		t.Errorf("%s", a.body)
	}
	w.advance(time.Second)
	w.want("finalize", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), "www.example.org"))), 403, orderNotReady)
	for _, u := range []string{url, pending.location()} {
		if a := w.ok("order", c.read(u), 200); a.Status != "invalid" || a.Error == nil {
			t.Errorf("%s", a.body)
		}
	}
	authz := c.read(pending.Authorizations[0])
	if authz.Status != "invalid" {
		t.Errorf("%s", authz.body)
	}
	ch := c.prepare(authz, "http-01")
	if a := w.ok("challenge", c.post(ch.URL, "{}"), 200); a.Status != "pending" || len(w.site.requests()) != 1 {
		t.Errorf("an expired authorization was validated: %s", a.body)
	}
	w.advance(authzLife)
	if a := c.read(o.Authorizations[0]); a.Status != "expired" {
		t.Errorf("%s", a.body)
	}
	if w.engine.issued() != 0 {
		t.Error("issued")
	}
}

func TestProfiles(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config["default"] = Endpoint{Profiles: []string{"web", "short"}} })
	c := w.client()
	w.want("unknown", c.post(w.url("new-order"), strings.TrimSuffix(anOrder, "}")+`,"profile":"other"}`), 400, invalidProfile)
	w.want("empty", c.post(w.url("new-order"), strings.TrimSuffix(anOrder, "}")+`,"profile":""}`), 400, invalidProfile)
	o := w.ok("known", c.post(w.url("new-order"), strings.TrimSuffix(anOrder, "}")+`,"profile":"short"}`), 201)
	c.prove(o.Authorizations[0])
	w.ok("finalize", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), "www.example.org"))), 200)
	if s := w.engine.submissions(); s[0].Profile != "short" {
		t.Errorf("submitted for %s", s[0].Profile)
	}
}

func TestACME_A087_DeactivateAuthorization(t *testing.T) {
	w := newWorld(t)
	c, stranger := w.client(), w.client()
	o, url := c.ready("www.example.org")
	authz := o.Authorizations[0]
	w.want("stranger", stranger.post(authz, `{"status":"deactivated"}`), 403, unauthorized)
	for _, payload := range []string{`{"status":"valid"}`, `{"status":""}`, `{"status":1}`, `[]`} {
		w.want(payload, c.post(authz, payload), 400, malformed)
	}
	if a := w.ok("deactivate", c.post(authz, `{"status":"deactivated"}`), 200); a.Status != "deactivated" {
		t.Errorf("%s", a.body)
	}
	w.want("again", c.post(authz, `{"status":"deactivated"}`), 400, malformed)
	if a := c.read(url); a.Status != "invalid" {
		t.Errorf("%s", a.body)
	}
	w.want("finalize", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), "www.example.org"))), 403, orderNotReady)
	// XJ-025: nothing of it is used for the next order.
	if next := c.order("www.example.org"); next.Status != "pending" || next.Authorizations[0] == authz {
		t.Errorf("%s", next.body)
	}
	// A pending one can be given up too, and then cannot be validated.
	o = c.order("www.example.org")
	ch := c.prepare(c.read(o.Authorizations[0]), "http-01")
	w.ok("pending", c.post(o.Authorizations[0], `{"status":"deactivated"}`), 200)
	if a := c.post(ch.URL, "{}"); a.Status == "valid" {
		t.Errorf("%s", a.body)
	}
	if a := c.read(o.Authorizations[0]); a.Status != "deactivated" {
		t.Errorf("%s", a.body)
	}
}
