package acme

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A change is the message inside a keyChange, also a wrong one.
type change struct {
	header, account, old string // empty: the right ones
	by                   *client
}

// innerChange makes the message with which the key of next asks for c's account.
func (c *client) innerChange(next *client, ch change) string {
	if ch.header == "" {
		ch.header = `{"alg":"ES256",` + next.byJWK() + `,"url":` + quote(c.w.url("key-change")) + `}`
	}
	if ch.account == "" {
		ch.account = c.kid
	}
	if ch.old == "" {
		ch.old = c.jwk()
	}
	if ch.by == nil {
		ch.by = next
	}
	return ch.by.jws(ch.header, `{"account":`+quote(ch.account)+`,"oldKey":`+ch.old+`}`)
}

func (c *client) keyChange(next *client) *answer {
	c.w.t.Helper()
	return c.post(c.w.url("key-change"), c.innerChange(next, change{}))
}

// become has the client use another key.
func (c *client) become(next *client) *client {
	return &client{w: c.w, key: next.key, alg: next.alg, kid: c.kid}
}

func TestACME_A056_KeyChange(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	der := c.issue(leafKey(t), "x.example.org")[0]
	pending := c.order("a.example.org")
	ready, _ := c.ready("b.example.org")
	next := newClient(w)
	if a := w.ok("keyChange", c.keyChange(next), 200); a.Status != "valid" {
		t.Errorf("%s", a.body)
	}
	w.want("old key", c.read(c.kid), 400, malformed)
	w.want("old key at newAccount", c.postKey(w.url("new-account"), `{"onlyReturnExisting":true}`), 400, accountDoesNotExist)
	n := c.become(next)
	if a := w.ok("lookup", n.postKey(w.url("new-account"), `{"onlyReturnExisting":true}`), 200); a.location() != c.kid {
		t.Error(a.location())
	}
	n.prove(pending.Authorizations[0])
	for host, o := range map[string]*answer{"a.example.org": pending, "b.example.org": ready} {
		w.ok(host, n.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))), 200)
	}
	w.ok("revoke", n.post(w.url("revoke-cert"), revocation(der, "")), 200)
	// The old key is nobody's now: it may begin anew, or come back.
	w.ok("back", n.keyChange(c), 200)
	w.ok("read", c.read(c.kid), 200)
}

func TestACME_A057_XJ016_BadKeyChanges(t *testing.T) {
	w := newWorld(t)
	c, other := w.client(), w.client()
	next := newClient(w)
	url := w.url("key-change")
	small, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := small.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	weak := `{"crv":"P-224","kty":"EC","x":"` + b64.EncodeToString(point[1:29]) + `","y":"` + b64.EncodeToString(point[29:]) + `"}`
	replay := c.innerChange(next, change{})
	for name, tt := range map[string]struct{ payload, kind string }{
		"no jwk":          {c.innerChange(next, change{header: `{"alg":"ES256","url":` + quote(url) + `}`}), malformed},
		"kid":             {c.innerChange(next, change{header: `{"alg":"ES256","kid":` + quote(c.kid) + `,"url":` + quote(url) + `}`}), malformed},
		"jwk and kid":     {c.innerChange(next, change{header: `{"alg":"ES256",` + next.byJWK() + `,"kid":` + quote(c.kid) + `,"url":` + quote(url) + `}`}), malformed},
		"bad signature":   {c.innerChange(next, change{by: c}), malformed},
		"another account": {c.innerChange(next, change{account: other.kid}), malformed},
		"no account":      {next.jws(`{"alg":"ES256",`+next.byJWK()+`,"url":`+quote(url)+`}`, `{"oldKey":`+c.jwk()+`}`), malformed},
		"another old key": {c.innerChange(next, change{old: other.jwk()}), malformed},
		"new key as old":  {c.innerChange(next, change{old: next.jwk()}), malformed},
		"no old key":      {next.jws(`{"alg":"ES256",`+next.byJWK()+`,"url":`+quote(url)+`}`, `{"account":`+quote(c.kid)+`}`), malformed},
		"another url":     {c.innerChange(next, change{header: `{"alg":"ES256",` + next.byJWK() + `,"url":` + quote(w.url("new-order")) + `}`}), malformed},
		"no url":          {c.innerChange(next, change{header: `{"alg":"ES256",` + next.byJWK() + `}`}), malformed},
		"nonce":           {c.innerChange(next, change{header: `{"alg":"ES256",` + next.byJWK() + `,"nonce":"` + w.nonce() + `","url":` + quote(url) + `}`}), malformed},
		"none":            {c.innerChange(next, change{header: `{"alg":"none",` + next.byJWK() + `,"url":` + quote(url) + `}`}), badSignatureAlgorithm},
		"HS256":           {c.innerChange(next, change{header: `{"alg":"HS256",` + next.byJWK() + `,"url":` + quote(url) + `}`}), badSignatureAlgorithm},
		"weak key":        {c.innerChange(next, change{header: `{"alg":"ES256","jwk":` + weak + `,"url":` + quote(url) + `}`}), badPublicKey},
		"object":          {`{"account":` + quote(c.kid) + `,"oldKey":` + c.jwk() + `}`, malformed},
		"POST-as-GET":     {"", malformed},
		"compact":         {quote("a.b.c"), malformed},
	} {
		w.want(name, c.post(url, tt.payload), 400, tt.kind)
		if a := c.read(c.kid); a.status != 200 {
			t.Fatalf("%s: the old key is no longer good: %s", name, a.body)
		}
	}
	// An inner message of somebody else's, or one that was used, moves nothing.
	w.want("of another account", other.post(url, replay), 400, malformed)
	w.want("signed by jwk", c.postKey(url, replay), 400, malformed)
	w.ok("once", c.post(url, replay), 200)
	n := c.become(next)
	w.want("replayed", n.post(url, replay), 400, malformed)
	w.ok("deactivate", n.post(c.kid, `{"status":"deactivated"}`), 200)
	w.want("deactivated", n.post(url, n.innerChange(newClient(w), change{})), 401, unauthorized)
}

func TestACME_A058_KeyChangeToATakenKey(t *testing.T) {
	w := newWorld(t)
	c, other, gone := w.client(), w.client(), w.client()
	w.ok("deactivate", gone.post(gone.kid, `{"status":"deactivated"}`), 200)
	for name, holder := range map[string]*client{"another's": other, "own": c, "a deactivated account's": gone} {
		a := c.keyChange(holder)
		w.want(name, a, 409, malformed)
		if a.location() != holder.kid {
			t.Errorf("%s: Location %q", name, a.location())
		}
	}
	// Many accounts want one key at the same time: one gets it.
	next := newClient(w)
	var wait sync.WaitGroup
	answers := make([]*answer, 12)
	for i := range answers {
		one := w.client()
		wait.Go(func() { answers[i] = one.keyChange(next) })
	}
	wait.Wait()
	won := ""
	for _, a := range answers {
		if a.status == 200 {
			if won != "" {
				t.Error("two accounts have one key")
			}
			won = w.ok("whose", next.postKey(w.url("new-account"), `{"onlyReturnExisting":true}`), 200).location()
		}
	}
	for _, a := range answers {
		if a.status != 200 && (a.status != 409 || a.location() != won) {
			t.Errorf("%d %s %s", a.status, a.location(), a.body)
		}
	}
}

// XJ-017: of changes in flight one wins, and the old key is refused from then on.
func TestACME_XJ017_KeyChangeRace(t *testing.T) {
	w := newWorld(t)
	for range 20 {
		c := w.client()
		var wait sync.WaitGroup
		var won atomic.Int32
		var winner atomic.Pointer[client]
		for range 8 {
			next := newClient(w)
			wait.Go(func() {
				if c.keyChange(next).status == 200 {
					won.Add(1)
					winner.Store(next)
				}
			})
			wait.Go(func() { c.post(w.url("new-order"), anOrder) })
		}
		wait.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d changes succeeded", won.Load())
		}
		w.want("old key", c.post(w.url("new-order"), anOrder), 400, malformed)
		w.ok("new key", c.become(winner.Load()).read(c.kid), 200)
	}
}

// XJ-018: RFC 8555, Section 8.3: what is compared is built with the key that the
// challenge was accepted with, whatever the account's key is by then.
func TestACME_XJ018_ChallengeAcrossKeyChange(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	next := newClient(w)
	before := c.order("a.example.org")
	after := c.order("b.example.org")

	// Accepted with the old key, not yet there; changed; then it is there.
	authz := w.ok("authz", c.read(before.Authorizations[0]), 200)
	if a := w.ok("challenge", c.post(authz.pick("http-01").URL, "{}"), 200); a.Status != "processing" {
		t.Fatalf("%s", a.body)
	}
	c.prepare(authz, "http-01")
	w.ok("keyChange", c.keyChange(next), 200)
	n := c.become(next)
	w.advance(retryAfterFail)
	w.settle()
	if a := n.read(before.Authorizations[0]); a.Status != "valid" {
		t.Errorf("the value of the old key: %s", a.body)
	}

	// Accepted with the new key: the old one's value is wrong.
	authz = w.ok("authz", n.read(after.Authorizations[0]), 200)
	c.prepare(authz, "http-01")
	if a := n.post(authz.pick("http-01").URL, "{}"); a.Status == "valid" {
		t.Errorf("the value of the old key after the change: %s", a.body)
	}
	n.prepare(authz, "http-01")
	w.advance(retryAfterFail)
	w.settle()
	if a := n.read(after.Authorizations[0]); a.Status != "valid" {
		t.Errorf("the value of the new key: %s", a.body)
	}
}

// XJ-019: RFC 8555, Section 11.1: no account's key in a certificate, also not one
// of an account that has gone.
func TestACME_XJ019_AccountKeysAreNotCertified(t *testing.T) {
	w := newWorld(t)
	c, other, gone := w.client(), w.client(), w.client()
	w.ok("deactivate", gone.post(gone.kid, `{"status":"deactivated"}`), 200)
	o, url := c.ready(host)
	for i, k := range []*client{c, other, gone} {
		w.want(fmt.Sprint(i), c.post(o.Finalize, csrPayload(csrOf(t, k.key, host))), 400, badCSR)
	}
	if a := c.read(url); a.Status != "ready" || w.engine.issued() != 0 {
		t.Errorf("%s", a.body)
	}
	if strings.Contains(string(c.read(url).body), "key") {
		t.Error("the order shows a key")
	}
}
