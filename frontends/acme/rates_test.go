package acme

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/engine"
	"chancery/engine/limit"
	"chancery/store"
)

// limitedTo is a world whose endpoint has these limits.
func limitedTo(t testing.TB, l Limits, change ...func(*world)) *world {
	t.Helper()
	return newWorld(t, append([]func(*world){func(w *world) {
		w.config["default"] = Endpoint{Profiles: []string{"web"}, PreAuthorize: true, Limits: l}
	}}, change...)...)
}

// refused fails the test unless the answer is the limit's, with when to come
// again.
func (w *world) refused(what string, a *answer, name string, wait time.Duration) {
	w.t.Helper()
	w.want(what, a, 429, rateLimited)
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	if got := time.Duration(seconds) * time.Second; err != nil || got < wait || got > wait+2*time.Second {
		w.t.Errorf("%s: Retry-After %q, want %s", what, a.header.Get("Retry-After"), wait)
	}
	if !strings.Contains(a.Detail, name) {
		w.t.Errorf("%s: the limit is not told: %s", what, a.body)
	}
}

func per(n int, d time.Duration) limit.Rate { return limit.Rate{Count: n, Per: d} }

// A-035, RFC 8555, Section 6.6: the type, which limit, and when. What was used up
// comes back with time, also over a restart.
func TestACME_A035_OrdersPerAccount(t *testing.T) {
	w := limitedTo(t, Limits{OrdersPerAccount: per(6, time.Hour)})
	c, other := w.client(), w.client()
	for i := range 5 {
		c.order(fmt.Sprintf("h%d.example.org", i))
	}
	w.ok("newAuthz counts too", c.post(w.url("new-authz"), identifierOf(host)), 201)
	w.refused("order", c.post(w.url("new-order"), anOrder), ordersPerAccount, 10*time.Minute)
	w.refused("newAuthz", c.post(w.url("new-authz"), identifierOf(host)), ordersPerAccount, 10*time.Minute)
	if a := c.post(w.url("new-order"), anOrder); !strings.Contains(a.Detail, "6/1h") || !strings.Contains(a.Detail, "2026-11-22T12:10:01Z") {
		t.Errorf("%s", a.body)
	}
	other.order(host)
	w.advance(10 * time.Minute)
	c.order(host)
	w.open()
	c.order(host) // the authorization without an order is not on record for this
	w.refused("after a restart", c.post(w.url("new-order"), anOrder), ordersPerAccount, 10*time.Minute)
	w.advance(time.Hour)
	for range 6 {
		c.order(host)
	}
	w.refused("later", c.post(w.url("new-order"), anOrder), ordersPerAccount, 10*time.Minute)
}

// XJ-031: neither spelling nor another account makes another name of one; what is
// refused leaves nothing behind.
func TestACME_XJ031_OrdersPerName(t *testing.T) {
	w := limitedTo(t, Limits{OrdersPerName: per(4, time.Hour), OrdersPerDomain: per(9, time.Hour)}, func(w *world) {
		w.config["other"] = Endpoint{Profiles: []string{"web"}, Limits: w.config["default"].Limits}
	})
	c, other := w.client(), w.client()
	for _, name := range []string{"www.example.org", "WWW.example.org", "www.EXAMPLE.org", "Www.Example.Org"} {
		c.order(name)
	}
	orders, rows := count(w, &orders), count(w, &authzs)
	for what, a := range map[string]*answer{
		"again": c.post(w.url("new-order"), orderOf("www.example.org")), "in capitals": c.post(w.url("new-order"), orderOf("WWW.EXAMPLE.ORG")),
		"by another account": other.post(w.url("new-order"), orderOf("www.example.org")),
		"among others":       other.post(w.url("new-order"), orderOf("a.example.org", "www.example.org", "b.example.org")),
	} {
		w.refused(what, a, ordersPerName, 15*time.Minute)
	}
	if n, m := countOrders(w), count(w, &authzs); n != orders || m != rows {
		t.Errorf("%d orders and %d authorizations, not %d and %d", n, m, orders, rows)
	}
	elsewhere := newClient(w)
	base := strings.Replace(w.url(""), "/default/", "/other/", 1)
	elsewhere.kid = w.ok("register", elsewhere.postKey(base+"new-account", "{}"), 201).location()
	w.ok("at another endpoint", elsewhere.post(base+"new-order", orderOf("www.example.org")), 201)
	c.order("*.example.org") // is another name
	w.open()
	w.refused("after a restart", other.post(w.url("new-order"), orderOf("www.example.org")), ordersPerName, 15*time.Minute)
	w.ok("at another endpoint, after it", elsewhere.post(base+"new-order", orderOf("www.example.org")), 201)
	for i := range 9 {
		c.order(fmt.Sprintf("h%d.example.org", i))
	}
	w.refused("below one domain", c.post(w.url("new-order"), orderOf("deep.down.example.org")), ordersPerDomain, 400*time.Second)
	c.order("www.example.net")
	w.ok("an address", c.post(w.url("new-order"), `{"identifiers":[{"type":"ip","value":"192.0.2.1"}]}`), 201)
}

func countOrders(w *world) int { return count(w, &orders) }

// from sends a message with what a proxy, or somebody who claims to be one, says
// of its origin.
func (c *client) from(url, payload, forwarded string) *answer {
	id := c.byKid()
	if c.kid == "" {
		id = c.byJWK()
	}
	r := newRequest(c.w.t, "POST", url, c.jws(c.header(id, c.w.nonce(), url), payload))
	r.Header.Set("Content-Type", joseType)
	r.Header.Set("X-Forwarded-For", forwarded)
	return c.w.do(r)
}

// XJ-031: of X-Forwarded-For only a configured proxy's word counts, and of IPv6
// all addresses of a network are one.
func TestACME_XJ031_Addresses(t *testing.T) {
	l := Limits{RequestsPerAddress: per(20, time.Minute), AccountsPerAddress: per(3, time.Hour)}
	w := limitedTo(t, l, func(w *world) { w.deps.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	register := func(forwarded string) *answer { return newClient(w).from(w.url("new-account"), "{}", forwarded) }
	for i, from := range []string{"192.0.2.1", "::ffff:192.0.2.1", "203.0.113.9, 192.0.2.1"} {
		w.ok(fmt.Sprint(i), register(from), 201)
	}
	w.refused("v4", register("198.51.100.1, 192.0.2.1"), accountsPerAddress, 20*time.Minute)
	for i := range 3 {
		w.ok("v6", register(fmt.Sprintf("2001:db8:0:1::%x", i+1)), 201)
	}
	w.refused("v6", register("2001:db8:0:1:ffff:ffff::1"), accountsPerAddress, 20*time.Minute)
	w.ok("the next network", register("2001:db8:0:2::1"), 201)
	for range 5 {
		w.ok("this machine", register("127.0.0.1"), 201)
	}
	for range 20 {
		r := newRequest(t, "GET", w.base+"/acme/directory", "")
		r.Header.Set("X-Forwarded-For", "192.0.2.77")
		w.ok("directory", w.do(r), 200)
	}
	r := newRequest(t, "GET", w.base+"/acme/directory", "")
	r.Header.Set("X-Forwarded-For", "192.0.2.77")
	w.refused("directory", w.do(r), requestsPerAddress, 3*time.Second)

	// Without a configured proxy the header is a claim like any other.
	w = limitedTo(t, l)
	for range 30 {
		w.ok("claim", newClient(w).from(w.url("new-account"), "{}", "192.0.2.77"), 201)
	}
}

// fail has an order of the name fail for good, and returns the last answer of its
// challenge.
func (c *client) fail(name string) *answer {
	c.w.t.Helper()
	ch := c.read(c.order(name).Authorizations[0]).pick("http-01")
	c.w.ok("respond", c.post(ch.URL, "{}"), 200)
	for range maxTries {
		c.w.advance(retryAfterFail)
		c.w.settle()
	}
	a := c.read(ch.URL)
	if a.Status != "invalid" {
		c.w.t.Fatalf("%s: %s", name, a.body)
	}
	return a
}

// fail takes failTime, of which failWait comes after the failure.
const (
	failTime = maxTries * retryAfterFail
	failWait = retryAfterFail
)

// XJ-031: a loop of validations that fail is slowed down for the name, then
// paused, until somebody resumes it; another name and another account go on.
func TestACME_XJ031_FailedValidationLoop(t *testing.T) {
	w := limitedTo(t, Limits{FailuresPerName: per(2, time.Hour), PauseAfter: 4})
	c, other := w.client(), w.client()
	c.fail(host)
	c.fail(host)
	w.refused("in a row", c.post(w.url("new-order"), anOrder), failuresPerName, 30*time.Minute-failWait-failTime)
	w.refused("without an order", c.post(w.url("new-authz"), identifierOf(host)), failuresPerName, 30*time.Minute-failWait-failTime)
	w.open()
	w.refused("after a restart", c.post(w.url("new-order"), anOrder), failuresPerName, 30*time.Minute-failWait-failTime)
	c.order("other.example.org")
	other.order(host)
	if all := w.f.limits.Refused(w.now()); len(all) != 1 || all[0].Key.Limit != failuresPerName || all[0].Key.Of != idOf(c.kid)+" "+host {
		t.Errorf("%+v", all)
	}
	w.advance(time.Hour)
	c.fail(host)
	if all, err := Pauses(t.Context(), w.db); err != nil || len(all) != 0 {
		t.Errorf("%+v %v", all, err)
	}
	c.fail(host)
	told := func() {
		t.Helper()
		w.advance(48 * time.Hour) // time does not end it
		a := c.post(w.url("new-order"), orderOf("other.example.org", host))
		w.refused("paused", a, "chancery acme resume "+idOf(c.kid), pausedWait)
		if !strings.Contains(a.Detail, host+" has failed 4 times in a row") || !strings.Contains(a.Detail, pauseAfter) {
			t.Errorf("%s", a.body)
		}
	}
	told()
	w.open()
	told()
	other.order(host)
	all, err := Pauses(t.Context(), w.db)
	if err != nil || len(all) != 1 || all[0].Name != host || all[0].Account != idOf(c.kid) || all[0].Failures != 4 || all[0].Endpoint != "default" || all[0].Since.IsZero() {
		t.Errorf("%+v %v", all, err)
	}
	if all := w.f.limits.Refused(w.now()); len(all) != 0 {
		t.Errorf("who is paused is shown as limited: %+v", all)
	}
	if n := w.f.limits.Counts()[limit.Count{Limit: pauseAfter, Endpoint: "acme/default"}]; n != 1 {
		t.Errorf("counted %d times", n)
	}
	resume := func(what string) (n int) {
		t.Helper()
		n, err := Resume(t.Context(), w.db, w.f.limits, what, func(store.Tx) error { return nil })
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return n
	}
	for _, what := range []string{"nobody.example.org", idOf(other.kid), "", "a b"} {
		if _, err := Resume(t.Context(), w.db, w.f.limits, what, nil); err == nil {
			t.Errorf("%q was resumed", what)
		}
	}
	told()
	if n := resume(strings.ToUpper(host)); n != 1 {
		t.Errorf("%d", n)
	}
	c.order(host)
	for range 4 {
		w.advance(time.Hour)
		c.fail(host)
	}
	told()
	if n := resume(c.kid); n != 1 {
		t.Errorf("%d", n)
	}
	c.ready(host)
}

// Only failures one after the other count: who succeeds in between, by an order
// that was made before, begins anew.
func TestSuccessEndsTheFailures(t *testing.T) {
	w := limitedTo(t, Limits{PauseAfter: 3})
	c := w.client()
	before := c.order(host)
	c.fail(host)
	c.fail(host)
	w.advance(time.Minute)
	c.ready(host)
	w.advance(time.Minute)
	c.fail(host)
	c.fail(host)
	w.advance(time.Minute)
	c.order(host)
	c.fail(host)
	w.want("paused", c.post(w.url("new-order"), anOrder), 429, rateLimited)
	c.prove(before.Authorizations[0])
	c.order(host)
}

// Failures of an account for names that are always new are slowed down too, also
// the orders that it has already; each node knows of the others'.
func TestACME_XJ031_FailuresPerAccount(t *testing.T) {
	w := limitedTo(t, Limits{FailuresPerAccount: per(3, time.Hour)})
	c, other := w.client(), w.client()
	waiting := c.order("waiting.example.org")
	for i := range 3 {
		c.fail(fmt.Sprintf("h%d.example.org", i))
	}
	w.refused("another name", c.post(w.url("new-order"), orderOf("h9.example.org")), failuresPerAccount, 20*time.Minute-failWait-2*failTime)
	ch := c.read(waiting.Authorizations[0]).pick("http-01")
	w.refused("an order made before", c.post(ch.URL, "{}"), failuresPerAccount, 20*time.Minute-failWait-2*failTime)
	if a := c.read(ch.URL); a.Status != "pending" {
		t.Errorf("%s", a.body)
	}
	other.fail("h0.example.org")
	w.open()
	w.refused("after a restart", c.post(w.url("new-order"), orderOf("h9.example.org")), failuresPerAccount, 20*time.Minute-failWait-3*failTime)
	w.advance(20 * time.Minute)
	c.prove(waiting.Authorizations[0])
	c.order("h9.example.org")
}

// XP: several nodes hold a client to one limit, as soon as they look again.
func TestACME_XJ031_NodesShareLimits(t *testing.T) {
	w := limitedTo(t, Limits{OrdersPerAccount: per(6, time.Hour), OrdersPerName: per(5, time.Hour)})
	w.deps.DB, w.deps.Nonces = several{w.db}, nil
	nodes := make([]*Frontend, 2)
	for i := range nodes {
		d := w.deps
		d.Node = strconv.Itoa(i)
		f, err := New(w.config, d)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			f.stop()
			f.tasks.close()
		})
		nodes[i] = f
	}
	to := func(i int) { w.front = func() *Frontend { return nodes[i] } }
	to(0)
	c := w.client()
	c.order(host)
	to(1)
	for range 4 {
		c.order(host)
	}
	w.want("the name, here", c.post(w.url("new-order"), anOrder), 429, rateLimited)
	to(0)
	w.advance(refill)
	w.want("the name, there", c.post(w.url("new-order"), anOrder), 429, rateLimited)
	c.order("two.example.org")
	w.want("the account", c.post(w.url("new-order"), orderOf("three.example.org")), 429, rateLimited)
}

// Limits cost no commit and hold back no order that they do not refuse, however
// many come at once.
func TestLimitsInParallel(t *testing.T) {
	w := limitedTo(t, Limits{OrdersPerAccount: per(30, time.Hour)})
	c := w.client()
	updates := w.db.Updates()
	var wait sync.WaitGroup
	var mu sync.Mutex
	status := map[int]int{}
	for i := range 8 {
		wait.Go(func() {
			for k := range 5 {
				a := c.post(w.url("new-order"), orderOf(fmt.Sprintf("h%d-%d.example.org", i, k)))
				mu.Lock()
				status[a.status]++
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	if status[201] != 30 || status[429] != 10 || w.db.Updates()-updates != 30 {
		t.Errorf("%v, %d commits", status, w.db.Updates()-updates)
	}
}

func TestACME_OpenOrdersConfigured(t *testing.T) {
	w := limitedTo(t, Limits{OpenOrders: 2})
	c := w.client()
	c.order(host)
	o, _ := c.ready("two.example.org")
	w.refused("third", c.post(w.url("new-order"), anOrder), openOrders, openOrdersWait)
	w.ok("finalize", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), "two.example.org"))), 200)
	c.order(host)
}

// Accounts that strangers made and never used go; who ordered once stays, and so
// does who is bound to a grant or gone.
func TestUnusedAccountsArePurged(t *testing.T) {
	w := newRealWorld(t, func(e *Endpoint) { e.Limits.UnusedAccounts = engine.Duration(48 * time.Hour) })
	w.f.deps.Records = w.Engine
	unused, used, gone := w.client(), w.client(), w.client()
	used.issue(leafKey(t), host)
	w.ok("deactivate", gone.post(gone.kid, `{"status":"deactivated"}`), 200)
	bound := account{ID: w.id(), Endpoint: "default", Key: json.RawMessage(`{"x":"bound"}`), Grant: "g", Created: w.now().Unix()}
	insert(w.world, &accounts, &bound)
	left := func() (n int) { return count(w.world, &accounts) }
	w.advance(48*time.Hour - time.Second)
	young := w.client()
	purge := func() {
		t.Helper()
		if err := w.f.purgeUnused(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	purge()
	if left() != 5 {
		t.Fatalf("%d accounts, too early", left())
	}
	w.advance(orderLife + authzLife + 2*defaultRetention)
	if err := w.f.purge(t.Context()); err != nil { // the orders are gone, the request stays
		t.Fatal(err)
	}
	fresh := w.client()
	purge()
	if left() != 4 {
		t.Errorf("%d accounts are left", left())
	}
	for _, c := range []*client{unused, young} {
		w.want("unused", c.read(c.kid), 400, accountDoesNotExist)
		w.ok("again", c.postKey(w.url("new-account"), "{}"), 201)
	}
	fresh.order(host)
	w.ok("used", used.read(used.kid), 200)
	w.want("gone", gone.postKey(w.url("new-account"), "{}"), 401, unauthorized)
}

func TestFailuresArePurged(t *testing.T) {
	w := limitedTo(t, Limits{PauseAfter: 2, FailuresPerName: limit.Rate{Count: -1}})
	c := w.client()
	c.fail("one.example.org")
	c.fail("two.example.org")
	c.fail("two.example.org")
	w.advance(defaultRetention - time.Hour)
	c.fail("three.example.org")
	for _, want := range []int{3, 2} {
		if err := w.f.purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := count(w, &failings); n != want {
			t.Errorf("%d rows, want %d", n, want)
		}
		w.advance(2 * time.Hour)
	}
}

func TestLimitsAreParsedStrictly(t *testing.T) {
	for doc, want := range map[string]string{
		`{"profiles":["web"],"limits":{"orders_per_acount":"5/1h"}}`:      "orders_per_acount",
		`{"profiles":["web"],"limits":{"orders_per_account":5}}`:          "",
		`{"profiles":["web"],"limits":{"orders_per_account":"5"}}`:        "such as 600/1h",
		`{"profiles":["web"],"limits":{"orders_per_account":"0/1h"}}`:     "such as 600/1h",
		`{"profiles":["web"],"limits":{"pause_after":-1}}`:                "pause_after",
		`{"profiles":["web"],"limits":{"open_orders":1000001}}`:           "open_orders",
		`{"profiles":["web"],"limits":{"unused_accounts":"12h"}}`:         "unused_accounts",
		`{"profiles":["web"],"limits":{"unused_accounts":"a while"}}`:     "duration",
		`{"profiles":["web"],"limits":{"open_orders":1,"open_orders":2}}`: "",
	} {
		c, err := ParseConfig(map[string]json.RawMessage{"default": json.RawMessage(doc)})
		if err == nil {
			err = c.check(&Deps{Loopback: true})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", doc, err)
		}
	}
	c, err := ParseConfig(map[string]json.RawMessage{"default": json.RawMessage(
		`{"profiles":["web"],"limits":{"requests_per_address":"none","orders_per_name":"5/1d","pause_after":7,"unused_accounts":"1y"}}`)})
	if err != nil {
		t.Fatal(err)
	}
	l := c["default"].Limits.withDefaults()
	if l.RequestsPerAddress.Bounds() || l.OrdersPerName != per(5, 24*time.Hour) || l.PauseAfter != 7 || l.OpenOrders != maxOpenOrders || !l.FailuresPerName.Bounds() {
		t.Errorf("%+v", l)
	}
	for _, r := range []limit.Rate{(Limits{}).withDefaults().AccountsPerAddress, (Limits{}).withDefaults().OrdersPerAccount, (Limits{}).withDefaults().FailuresPerAccount} {
		if !r.Bounds() {
			t.Error("a default does not bound")
		}
	}
}

// XN-027: many orders for names of one victim: their number is bounded, whatever
// the victim answers.
func TestACME_FailingTargetIsLeftAlone(t *testing.T) {
	w := limitedTo(t, Limits{FailuresPerAccount: per(2, time.Hour)})
	w.site.set("/", func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "no") })
	c := w.client()
	for i := range 2 {
		c.fail(fmt.Sprintf("v%d.example.org", i))
	}
	seen := len(w.site.requests())
	for i := range 20 {
		w.want("refused", c.post(w.url("new-order"), orderOf(fmt.Sprintf("w%d.example.org", i))), 429, rateLimited)
	}
	if n := len(w.site.requests()); n != seen || seen != 2*maxTries {
		t.Errorf("%d connections, then %d", seen, n)
	}
}
