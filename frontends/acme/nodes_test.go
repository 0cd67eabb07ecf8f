package acme

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chancery/engine"
	"chancery/store"
)

// several is a store that other processes have open too, as far as anybody can
// tell.
type several struct{ store.DB }

// Sole is false.
func (several) Sole() bool { return false }

// newNodes is a world of several nodes with one engine. Each message goes to the
// next node.
func newNodes(t testing.TB, n int) (*realWorld, []*Frontend) {
	t.Helper()
	w := newRealWorld(t)
	w.deps.DB = several{w.db}
	all := make([]*Frontend, n)
	for i := range all {
		d := w.deps
		d.Node = string(rune('a' + i))
		f, err := New(w.config, d)
		if err != nil {
			t.Fatal(err)
		}
		f.after = never
		all[i] = f
		t.Cleanup(func() {
			f.stop()
			f.tasks.close()
		})
	}
	var turn atomic.Uint64
	w.front = func() *Frontend { return all[turn.Add(1)%uint64(n)] }
	return w, all
}

// spentNonces counts the rows.
func (w *world) spentNonces() (n int) {
	w.t.Helper()
	if err := w.db.View(w.t.Context(), func(tx store.Tx) error {
		n = 0
		for range spent.All(tx, "", "") {
			n++
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// XJ-010 across nodes: of copies of one message, shown to all nodes at the same
// time, one is taken. The others change nothing.
func TestACME_XJ010_NonceReplayAcrossNodes(t *testing.T) {
	w, _ := newNodes(t, 3)
	c := w.client()
	replay := func(what, body string, url string, status int) {
		t.Helper()
		rows := w.spentNonces()
		var wait sync.WaitGroup
		answers := make([]*answer, 12)
		for i := range answers {
			wait.Go(func() { answers[i] = w.send("POST", url, joseType, body) })
		}
		wait.Wait()
		taken := 0
		for _, a := range answers {
			switch {
			case a.status == status:
				taken++
			case what == "newAccount" && a.status == 200, what == "authorization" && a.kind() == malformed, a.kind() == alreadyRevoked, a.kind() == orderNotReady: // it looked after the one that was taken
			default:
				w.want(what, a, 400, badNonce)
			}
		}
		if taken == 0 || taken > 3 || what == "newOrder" && taken != 1 { // what changes nothing may be answered by each node
			t.Errorf("%s: %d were taken", what, taken)
		}
		if n := w.spentNonces() - rows; n != 1 {
			t.Errorf("%s: %d rows", what, n)
		}
		w.want(what+" once more", w.send("POST", url, joseType, body), 400, badNonce)
	}
	signed := func(url, payload string) (string, string) {
		return c.jws(c.header(c.byKid(), w.nonce(), url), payload), url
	}

	fresh := newClient(w.world)
	url := w.url("new-account")
	replay("newAccount", fresh.jws(fresh.header(fresh.byJWK(), w.nonce(), url), `{}`), url, 201)
	body, url := signed(c.kid, `{"contact":["mailto:a@example.org"]}`)
	replay("account", body, url, 200)
	before := count(w.world, &orders)
	body, url = signed(w.url("new-order"), orderOf("a.example.org"))
	replay("newOrder", body, url, 201)
	if n := count(w.world, &orders) - before; n != 1 {
		t.Errorf("%d orders", n)
	}
	o := c.order("b.example.org")
	body, url = signed(o.Authorizations[0], `{"status":"deactivated"}`)
	replay("authorization", body, url, 200)
	o = c.order(host)
	ch := c.prepare(c.read(o.Authorizations[0]), "http-01")
	body, url = signed(ch.URL, "{}")
	replay("challenge", body, url, 200)
	body, url = signed(o.Finalize, csrPayload(csrOf(t, leafKey(t), host)))
	replay("finalize", body, url, 200)
	if n := w.issued(); n != 1 {
		t.Errorf("%d certificates", n)
	}
	o = c.read(o.location())
	body, url = signed(w.url("revoke-cert"), revocation(pemChain(t, c.read(o.Certificate).body)[0], ""))
	replay("revoke", body, url, 200)
}

// A nonce that another node took for something else is refused as such by each
// kind of message, and nothing comes of the message.
func TestNonceUsedElsewhere(t *testing.T) {
	w, all := newNodes(t, 2)
	c := w.client()
	w.front = func() *Frontend { return all[0] }
	o, _ := c.ready(host)
	open := c.order("b.example.org")
	ch := c.prepare(c.read(open.Authorizations[0]), "http-01")
	der := c.issue(leafKey(t), "c.example.org")[0]
	rows := count(w.world, &orders)
	fresh := newClient(w.world)
	for url, body := range map[string]func(nonce, url string) string{
		w.url("new-account"): func(n, url string) string { return fresh.jws(fresh.header(fresh.byJWK(), n, url), `{}`) },
		c.kid: func(n, url string) string {
			return c.jws(c.header(c.byKid(), n, url), `{"contact":["mailto:b@example.org"]}`)
		},
		w.url("new-order"): func(n, url string) string {
			return c.jws(c.header(c.byKid(), n, url), orderOf("d.example.org"))
		},
		open.Authorizations[0]: func(n, url string) string {
			return c.jws(c.header(c.byKid(), n, url), `{"status":"deactivated"}`)
		},
		ch.URL: func(n, url string) string { return c.jws(c.header(c.byKid(), n, url), "{}") },
		o.Finalize: func(n, url string) string {
			return c.jws(c.header(c.byKid(), n, url), csrPayload(csrOf(t, leafKey(t), host)))
		},
		w.url("revoke-cert"): func(n, url string) string {
			return c.jws(c.header(c.byKid(), n, url), revocation(der, ""))
		},
	} {
		nonce := w.nonce()
		other := newClient(w.world)
		newAccount := w.url("new-account")
		w.front = func() *Frontend { return all[1] }
		w.ok("elsewhere", w.send("POST", newAccount, joseType, other.jws(other.header(other.byJWK(), nonce, newAccount), `{}`)), 201)
		w.front = func() *Frontend { return all[0] }
		w.want(url, w.send("POST", url, joseType, body(nonce, url)), 400, badNonce)
	}
	if n := count(w.world, &orders); n != rows {
		t.Errorf("%d orders, want %d", n, rows)
	}
	if a := c.read(ch.URL); a.Status != "pending" {
		t.Errorf("%s", a.body)
	}
	if row, err := w.Identify(t.Context(), der); err != nil || row.Status != engine.Good {
		t.Errorf("%+v %v", row, err)
	}
}

// Messages that only read leave no row, and the rows of others go when no node
// takes their nonces any more.
func TestSpentNoncesArePurged(t *testing.T) {
	w, all := newNodes(t, 2)
	c := w.client()
	o := c.order(host)
	rows := w.spentNonces()
	if rows != 2 {
		t.Errorf("%d rows of newAccount and newOrder", rows)
	}
	c.read(o.location())
	c.read(o.Authorizations[0])
	c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))) // not ready
	if n := w.spentNonces(); n != rows {
		t.Errorf("%d rows after reading, want %d", n, rows)
	}
	w.advance(nonceLife + 2*nonceSkew - time.Second)
	for range 2 {
		if err := all[0].purgeSpent(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := w.spentNonces(); n != rows {
			t.Errorf("%d rows, want %d", n, rows)
		}
		w.advance(2 * time.Second)
		rows = 0
	}
}
