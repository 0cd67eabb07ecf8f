package acme

import (
	"crypto"
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/engine"
	"chancery/engine/names"
)

// A held is an ACME grant with its MAC key.
type held struct {
	*engine.Grant
	key []byte
}

// grant makes an ACME grant.
func (rw *realWorld) grant(g engine.Grant) *held {
	rw.t.Helper()
	g.Protocol = engine.ACME
	made, secret, err := rw.CreateGrant(rw.t.Context(), officer, g)
	if err != nil {
		rw.t.Fatal(err)
	}
	key, err := base64.RawURLEncoding.DecodeString(secret)
	if err != nil {
		rw.t.Fatal(err)
	}
	return &held{made, key}
}

func (rw *realWorld) grantRow(id string) *engine.Grant {
	rw.t.Helper()
	g, err := rw.Grant(rw.t.Context(), id)
	if err != nil {
		rw.t.Fatal(err)
	}
	return g
}

func patternsOf(t testing.TB, list ...string) (out []names.Pattern) {
	t.Helper()
	for _, s := range list {
		p, err := names.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// macJWS is a message authenticated by a MAC.
func macJWS(key []byte, header, payload string) string {
	p, q := b64.EncodeToString([]byte(header)), b64.EncodeToString([]byte(payload))
	h := hmac.New(crypto.SHA256.New, key)
	h.Write([]byte(p + "." + q))
	return flat(p, q, b64.EncodeToString(h.Sum(nil)))
}

func (w *world) bindingHeader(kid string) string {
	return `{"alg":"HS256","kid":` + quote(kid) + `,"url":` + quote(w.url("new-account")) + `}`
}

// bindTo makes an account that is bound to a grant.
func (c *client) bindTo(g *held) *answer {
	c.w.t.Helper()
	eab := macJWS(g.key, c.w.bindingHeader(g.ID), c.jwk())
	a := c.postKey(c.w.url("new-account"), `{"externalAccountBinding":`+eab+`}`)
	if a.status == 201 {
		c.kid = a.location()
	}
	return a
}

func (rw *realWorld) bound(g *held) *client {
	rw.t.Helper()
	c := newClient(rw.world)
	rw.ok("bind", c.bindTo(g), 201)
	return c
}

func requireGrant(e *Endpoint) { e.RequireGrant = true }

func TestACME_A052_XJ003_BadBindings(t *testing.T) {
	w := newRealWorld(t, requireGrant)
	g := w.grant(engine.Grant{})
	other := w.grant(engine.Grant{Endpoints: []string{"elsewhere"}})
	c, stranger := newClient(w.world), newClient(w.world)
	header := w.bindingHeader(g.ID)
	url := `"url":` + quote(w.url("new-account"))
	good := macJWS(g.key, header, c.jwk())
	var unknown, wrong *answer
	for name, tt := range map[string]struct {
		binding string
		status  int
		kind    string
	}{
		"wrong key":        {macJWS(make([]byte, 32), header, c.jwk()), 403, unauthorized},
		"empty key":        {macJWS(nil, header, c.jwk()), 403, unauthorized},
		"unknown kid":      {macJWS(g.key, w.bindingHeader(strings.Repeat("0", 26)), c.jwk()), 403, unauthorized},
		"unknown, empty":   {macJWS(nil, w.bindingHeader(strings.Repeat("0", 26)), c.jwk()), 403, unauthorized},
		"unknown, zero":    {macJWS(make([]byte, 32), w.bindingHeader(strings.Repeat("0", 26)), c.jwk()), 403, unauthorized},
		"kid of no form":   {macJWS(g.key, w.bindingHeader("../../x"), c.jwk()), 403, unauthorized},
		"another endpoint": {macJWS(other.key, w.bindingHeader(other.ID), c.jwk()), 403, unauthorized},
		"nonce":            {macJWS(g.key, `{"alg":"HS256","kid":`+quote(g.ID)+`,"nonce":"`+w.nonce()+`",`+url+`}`, c.jwk()), 400, malformed},
		"other url":        {macJWS(g.key, `{"alg":"HS256","kid":`+quote(g.ID)+`,"url":`+quote(w.url("new-order"))+`}`, c.jwk()), 400, malformed},
		"no url":           {macJWS(g.key, `{"alg":"HS256","kid":`+quote(g.ID)+`}`, c.jwk()), 400, malformed},
		"another key":      {macJWS(g.key, header, stranger.jwk()), 400, malformed},
		"no key":           {macJWS(g.key, header, "{}"), 400, malformed},
		"empty payload":    {macJWS(g.key, header, ""), 400, malformed},
		"ES256":            {c.jws(`{"alg":"ES256","kid":`+quote(g.ID)+`,`+url+`}`, c.jwk()), 400, malformed},
		"none":             {macJWS(g.key, `{"alg":"none","kid":`+quote(g.ID)+`,`+url+`}`, c.jwk()), 400, malformed},
		"jwk":              {macJWS(g.key, `{"alg":"HS256","jwk":`+c.jwk()+`,`+url+`}`, c.jwk()), 400, malformed},
		"empty object":     {`{}`, 400, malformed},
		"null":             {`null`, 400, malformed},
		"string":           {`"x"`, 400, malformed},
		"compact":          {quote("a.b.c"), 400, malformed},
		"unprotected":      {strings.TrimSuffix(good, "}") + `,"header":{}}`, 400, malformed},
	} {
		a := c.postKey(w.url("new-account"), `{"externalAccountBinding":`+tt.binding+`}`)
		w.want(name, a, tt.status, tt.kind)
		switch name {
		case "wrong key":
			wrong = a
		case "unknown kid":
			unknown = a
		}
	}
	if string(wrong.body) != string(unknown.body) {
		t.Errorf("a wrong key is told from an unknown grant: %s, %s", wrong.body, unknown.body)
	}
	w.want("no account was made", c.postKey(w.url("new-account"), `{"onlyReturnExisting":true}`), 400, accountDoesNotExist)
	// The key is compared, not its spelling.
	spelled := strings.Replace(c.jwk(), "{", `{ "use":"sig", `, 1)
	w.ok("good", c.postKey(w.url("new-account"), `{"externalAccountBinding":`+macJWS(g.key, header, spelled)+`}`), 201)
}

func TestACME_A053_BindingRequired(t *testing.T) {
	w := newRealWorld(t, requireGrant)
	a := w.get(w.base + "/acme/directory")
	var meta struct{ ExternalAccountRequired bool }
	if json.Unmarshal(a.raw["meta"], &meta); !meta.ExternalAccountRequired {
		t.Errorf("%s", a.body)
	}
	c := newClient(w.world)
	w.want("no binding", c.postKey(w.url("new-account"), `{}`), 403, externalAccountRequired)
	w.want("nothing was made", c.postKey(w.url("new-account"), `{"onlyReturnExisting":true}`), 400, accountDoesNotExist)
	// One that exists needs none to be found.
	g := w.grant(engine.Grant{})
	w.ok("bound", c.bindTo(g), 201)
	w.ok("again", c.postKey(w.url("new-account"), `{}`), 200)
}

func TestACME_A054_BindingReflected(t *testing.T) {
	for name, change := range map[string]func(*Endpoint){"required": requireGrant, "voluntary": func(*Endpoint) {}} {
		t.Run(name, func(t *testing.T) {
			w := newRealWorld(t, change)
			g := w.grant(engine.Grant{})
			c := newClient(w.world)
			eab := macJWS(g.key, w.bindingHeader(g.ID), c.jwk())
			a := w.ok("bind", c.postKey(w.url("new-account"), `{"externalAccountBinding":`+eab+`}`), 201)
			c.kid = a.location()
			for what, a := range map[string]*answer{"made": a, "read": c.read(c.kid), "found": c.postKey(w.url("new-account"), "{}")} {
				if string(a.raw["externalAccountBinding"]) != eab {
					t.Errorf("%s: %s", what, a.body)
				}
			}
			if row(w.world, &accounts, idOf(c.kid)).Grant != g.ID {
				t.Error("the account does not know its grant")
			}
		})
	}
}

func TestACME_A055_BindingOnce(t *testing.T) {
	w := newRealWorld(t, requireGrant)
	once, many := w.grant(engine.Grant{Accounts: 1}), w.grant(engine.Grant{Names: patternsOf(t, "*.corp.test")})
	first := w.bound(once)
	w.want("a second account", newClient(w.world).bindTo(once), 403, unauthorized)
	if first.bindTo(once); w.grantRow(once.ID).Bound != 1 {
		t.Error("an account that exists was counted again")
	}
	for range 2 { // both are held to the same grant
		w.want("outside the grant", w.bound(many).post(w.url("new-order"), orderOf("a.other.test")), 403, rejectedIdentifier)
	}
	// Of many at the same time one gets it.
	race := w.grant(engine.Grant{Accounts: 1})
	var wait sync.WaitGroup
	answers := make([]*answer, 16)
	for i := range answers {
		c := newClient(w.world)
		wait.Go(func() { answers[i] = c.bindTo(race) })
	}
	wait.Wait()
	made := 0
	for _, a := range answers {
		if a.status == 201 {
			made++
		} else {
			w.want("the others", a, 403, unauthorized)
		}
	}
	if made != 1 || w.grantRow(race.ID).Bound != 1 {
		t.Errorf("%d accounts, the grant counts %d", made, w.grantRow(race.ID).Bound)
	}
}

// What an account can have is what its grant lists.
func TestBoundAccountIsHeldToItsGrant(t *testing.T) {
	w := newRealWorld(t, requireGrant)
	c := w.bound(w.grant(engine.Grant{Profiles: []string{"web"}, Names: patternsOf(t, "*.corp.test"), Uses: 1}))
	order := w.url("new-order")
	w.want("another name", c.post(order, orderOf("a.corp.test", "b.other.test")), 403, rejectedIdentifier)
	w.want("another profile", c.post(order, `{"identifiers":[{"type":"dns","value":"a.corp.test"}],"profile":"manual"}`), 400, invalidProfile)
	// Control is proved as by everybody.
	o := c.order("a.corp.test")
	if o.Status != "pending" || string(o.raw["profile"]) != `"web"` {
		t.Errorf("%s", o.body)
	}
	w.want("not proved", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), "a.corp.test"))), 403, orderNotReady)
	second, _ := c.ready("b.corp.test")
	c.issue(leafKey(t), "a.corp.test")
	// Its one use is spent: for an order that was made before, too.
	w.want("used up", c.post(second.Finalize, csrPayload(csrOf(t, leafKey(t), "b.corp.test"))), 403, unauthorized)
	w.want("used up", c.post(order, orderOf("c.corp.test")), 403, unauthorized)
	if n := w.issued(); n != 1 {
		t.Errorf("%d certificates", n)
	}

	// A grant for a profile that comes second: that is what the account gets.
	c = w.bound(w.grant(engine.Grant{Profiles: []string{"manual"}}))
	if o := c.order("a.corp.test"); string(o.raw["profile"]) != `"manual"` {
		t.Errorf("%s", o.body)
	}
}

// Of orders that are ready, a grant lets no more be issued than it has uses.
func TestGrantUsesInParallel(t *testing.T) {
	w := newRealWorld(t, requireGrant)
	g := w.grant(engine.Grant{Uses: 3})
	c := w.bound(g)
	var ready []*answer
	for _, n := range []string{"a", "b", "c", "d", "e", "f"} {
		o, _ := c.ready(n + ".example.org")
		ready = append(ready, o)
	}
	var wait sync.WaitGroup
	for i, o := range ready {
		csr := csrPayload(csrOf(t, leafKey(t), string("abcdef"[i])+".example.org"))
		wait.Go(func() { c.post(o.Finalize, csr) })
	}
	wait.Wait()
	if n, row := w.issued(), w.grantRow(g.ID); n != 3 || row.Spent != 3 || row.Reserved != 0 {
		t.Errorf("%d certificates, %+v", n, row)
	}
}

// Revoking a grant, or its end, stops the account in the middle of whatever it
// does. It can still look, revoke and leave.
func TestEndedGrantStopsTheAccount(t *testing.T) {
	for name, end := range map[string]func(*realWorld, string){
		"revoked": func(w *realWorld, id string) {
			if err := w.RevokeGrant(w.t.Context(), officer, id); err != nil {
				w.t.Fatal(err)
			}
		},
		"expired": func(w *realWorld, _ string) { w.advance(49 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newRealWorld(t, requireGrant, func(e *Endpoint) { e.PreAuthorize = true })
			g := w.grant(engine.Grant{Expires: w.now().Add(48 * time.Hour)})
			c := w.bound(g)
			der := c.issue(leafKey(t), "z.example.org")[0]
			pending := c.order("a.example.org")
			ready, url := c.ready("b.example.org")
			ch := c.prepare(c.read(pending.Authorizations[0]), "http-01")
			end(w, g.ID)
			w.want("newOrder", c.post(w.url("new-order"), orderOf("c.example.org")), 403, unauthorized)
			w.want("newAuthz", c.post(w.url("new-authz"), `{"identifier":{"type":"dns","value":"c.example.org"}}`), 403, unauthorized)
			w.want("challenge", c.post(ch.URL, "{}"), 403, unauthorized)
			w.want("finalize", c.post(ready.Finalize, csrPayload(csrOf(t, leafKey(t), "b.example.org"))), 403, unauthorized)
			w.want("a new account", newClient(w.world).bindTo(g), 403, unauthorized)
			w.ok("order", c.read(url), 200)
			w.ok("revoke", c.post(w.url("revoke-cert"), revocation(der, "")), 200)
			w.ok("leave", c.post(c.kid, `{"status":"deactivated"}`), 200)
			if n := w.issued(); n != 1 {
				t.Errorf("%d certificates", n)
			}
		})
	}
}

// A prevalidated grant vouches for the names that it lists: their authorizations
// are valid from the beginning, without a challenge.
func TestPrevalidatedGrant(t *testing.T) {
	w := newRealWorld(t, requireGrant)
	g := w.grant(engine.Grant{Names: patternsOf(t, "*.corp.test", "10.0.0.0/8", "printer"), Prevalidated: true})
	c := w.bound(g)
	o := w.ok("newOrder", c.post(w.url("new-order"), `{"identifiers":[{"type":"dns","value":"a.corp.test"},{"type":"dns","value":"*.corp.test"},{"type":"ip","value":"10.1.2.3"},{"type":"dns","value":"printer"}]}`), 201)
	if o.Status != "ready" || len(o.Authorizations) != 4 {
		t.Fatalf("%s", o.body)
	}
	for _, url := range o.Authorizations {
		if a := w.ok("authz", c.read(url), 200); a.Status != "valid" || string(a.raw["challenges"]) != "[]" || a.Expires == "" {
			t.Errorf("%s", a.body)
		}
	}
	csr := csrPayload(csrWithIP(t, "10.1.2.3", "a.corp.test", "*.corp.test", "printer"))
	done := w.ok("finalize", c.post(o.Finalize, csr), 200)
	if done.Status != "valid" {
		t.Fatalf("%s", done.body)
	}
	der := pemChain(t, w.ok("certificate", c.read(done.Certificate), 200).body)[0]
	cert, err := w.Identify(t.Context(), der)
	if err != nil {
		t.Fatal(err)
	}
	x, err := w.Explain(t.Context(), cert.Request)
	if err != nil {
		t.Fatal(err)
	}
	for _, wa := range x.Warrants {
		if wa.By != "grant "+g.ID {
			t.Errorf("%s is warranted by %s", wa.Name, wa.By)
		}
	}
	if len(x.Warrants) < 4 {
		t.Errorf("%+v", x.Warrants)
	}
	// Nobody else's authorization comes of it, and nothing outlives the grant.
	o = c.order("b.corp.test")
	if err := w.RevokeGrant(t.Context(), officer, g.ID); err != nil {
		t.Fatal(err)
	}
	w.want("after revocation", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), "b.corp.test"))), 403, unauthorized)
}

// by what a grant vouches for, an account revokes what others have of
// these names, as long as the grant is good.
func TestACME_A099_RevocationByGrant(t *testing.T) {
	w := newRealWorld(t)
	owner := w.client()
	der := owner.issue(leafKey(t), "a.corp.test")[0]
	g := w.grant(engine.Grant{Names: patternsOf(t, "*.corp.test"), Prevalidated: true})
	c, late := w.bound(g), w.bound(g)
	url := w.url("revoke-cert")
	w.want("no authorization yet", c.post(url, revocation(der, "")), 403, unauthorized)
	c.order("a.corp.test")
	late.order("a.corp.test")
	second := owner.issue(leafKey(t), "a.corp.test")[0]
	w.ok("vouched for", c.post(url, revocation(der, "")), 200)
	if err := w.RevokeGrant(t.Context(), officer, g.ID); err != nil {
		t.Fatal(err)
	}
	w.want("the grant ended", late.post(url, revocation(second, "")), 403, unauthorized)
}
