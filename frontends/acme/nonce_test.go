package acme

import (
	"crypto/rand"
	"encoding/base64"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestACME_A026_NonceOnce(t *testing.T) {
	w := newWorld(t)
	c, other := w.client(), w.client()
	n := w.nonce()
	w.ok("first", w.send("POST", c.kid, joseType, c.jws(c.header(c.byKid(), n, c.kid), "")), 200)
	again := w.send("POST", c.kid, joseType, c.jws(c.header(c.byKid(), n, c.kid), ""))
	w.want("same URL", again, 400, badNonce)
	w.want("another URL", c.sendJWS(c.jws(c.header(c.byKid(), n, w.url("new-order")), anOrder)), 400, badNonce)
	w.want("another account", w.send("POST", other.kid, joseType, other.jws(other.header(other.byKid(), n, other.kid), "")), 400, badNonce)
	fresh := again.header.Get("Replay-Nonce")
	w.ok("fresh", w.send("POST", c.kid, joseType, c.jws(c.header(c.byKid(), fresh, c.kid), "")), 200)

	// A request that fails uses its nonce up too, whatever it fails for.
	for name, fail := range map[string]func(n string) *answer{
		"signature": func(n string) *answer {
			return w.send("POST", c.kid, joseType, other.jws(c.header(c.byKid(), n, c.kid), ""))
		},
		"url": func(n string) *answer {
			return w.send("POST", c.kid, joseType, c.jws(c.header(c.byKid(), n, w.url("x")), ""))
		},
		"algorithm": func(n string) *answer {
			return w.send("POST", c.kid, joseType, c.jws(strings.Replace(c.header(c.byKid(), n, c.kid), "ES256", "none", 1), ""))
		},
		"header": func(n string) *answer {
			return w.send("POST", c.kid, joseType, c.jws(c.header(c.byKid()+","+c.byJWK(), n, c.kid), ""))
		},
		"key": func(n string) *answer {
			return w.send("POST", c.kid, joseType, c.jws(c.header(`"jwk":{"kty":"oct"}`, n, c.kid), ""))
		},
		"kid": func(n string) *answer {
			return w.send("POST", c.kid, joseType, c.jws(c.header(`"kid":"x"`, n, c.kid), ""))
		},
		"payload": func(n string) *answer {
			return w.send("POST", c.kid, joseType, c.jws(c.header(c.byKid(), n, c.kid), "{"))
		},
	} {
		n := w.nonce()
		if a := fail(n); a.status < 400 || a.kind() == badNonce {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		w.want(name, w.send("POST", c.kid, joseType, c.jws(c.header(c.byKid(), n, c.kid), "")), 400, badNonce)
	}
}

func TestACME_A027_BadNonces(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	valid := w.nonce()
	raw, err := base64.RawURLEncoding.DecodeString(valid)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] ^= 1
		a := c.sendJWS(c.jws(c.header(c.byKid(), base64.RawURLEncoding.EncodeToString(raw), w.url("new-order")), anOrder))
		w.want("changed", a, 400, badNonce)
		raw[i] ^= 1
	}
	invented := make([]byte, 48)
	rand.Read(invented)
	for name, n := range map[string]string{"invented": base64.RawURLEncoding.EncodeToString(invented), "short": "abcd", "long": strings.Repeat("a", 4000), "empty": ""} {
		w.want(name, c.sendJWS(c.jws(c.header(c.byKid(), n, w.url("new-order")), anOrder)), 400, badNonce)
	}
	missing := c.sendJWS(c.jws(`{"alg":"ES256",`+c.byKid()+`,"url":"`+w.url("new-order")+`"}`, anOrder))
	w.want("missing", missing, 400, badNonce)
	w.ok("retry", c.sendJWS(c.jws(c.header(c.byKid(), missing.header.Get("Replay-Nonce"), w.url("new-order")), anOrder)), 201)
	w.ok("the untouched one", c.sendJWS(c.jws(c.header(c.byKid(), valid, w.url("new-order")), anOrder)), 201)
}

func TestACME_A031_NoncesDiffer(t *testing.T) {
	now := func() time.Time { return time.Unix(1e9, 0) } // the clock stands still
	seen := map[string]bool{}
	var firsts [48][256]int
	for _, node := range []string{"n1", "n2"} {
		n := NewNonces(make([]byte, 32), node, now, rand.Reader)
		for range 5000 {
			s := n.issue()
			raw, err := base64.RawURLEncoding.DecodeString(s)
			if err != nil || len(raw) < 16 || seen[s] {
				t.Fatalf("%q: %v", s, err)
			}
			seen[s] = true
			for i, b := range raw {
				firsts[i][b]++
			}
		}
	}
	for i := range firsts { // no octet shows node, clock or count
		for b, k := range firsts[i] {
			if k > 120 {
				t.Errorf("octet %d is %#x in %d of 10000", i, b, k)
			}
		}
	}
}

func TestACME_A032_A033_A034_NewNonce(t *testing.T) {
	w := newWorld(t)
	for method, status := range map[string]int{"HEAD": 200, "GET": 204} {
		a := w.ok(method, w.send(method, w.url("new-nonce"), "", ""), status)
		if a.header.Get("Cache-Control") != "no-store" || len(a.body) != 0 || a.header.Get("Link") != `<`+w.base+`/acme/directory>;rel="index"` {
			t.Errorf("%s: %v %q", method, a.header, a.body)
		}
	}
}

func TestACME_XJ010_NonceReplay(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	body := c.jws(c.good(), anOrder)
	var wait sync.WaitGroup
	answers := make([]*answer, 100)
	for i := range answers {
		wait.Go(func() { answers[i] = c.sendJWS(body) })
	}
	wait.Wait()
	made := 0
	for _, a := range answers {
		if a.status == 201 {
			made++
		} else {
			w.want("replay", a, 400, badNonce)
		}
	}
	if n := count(w, &orders); made != 1 || n != 1 {
		t.Errorf("%d successes, %d orders", made, n)
	}
	// After a restart nothing from before is good, used or not.
	used, unused := body, c.jws(c.good(), anOrder)
	w.advance(time.Millisecond)
	w.open()
	w.want("used before the restart", c.sendJWS(used), 400, badNonce)
	w.want("not used before the restart", c.sendJWS(unused), 400, badNonce)
}

// A Frontend that takes another's place knows what that one saw.
func TestNoncesSurviveReload(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	used, unused := c.jws(c.good(), anOrder), c.jws(c.good(), anOrder)
	w.ok("before", c.sendJWS(used), 201)
	w.advance(time.Second)
	w.deps.Nonces = w.f.nonces
	w.open()
	w.want("used", c.sendJWS(used), 400, badNonce)
	w.ok("unused", c.sendJWS(unused), 201)
}

func TestACME_XJ011_NoncesOfOthers(t *testing.T) {
	clock := time.Unix(1e9, 0)
	now := func() time.Time { return clock }
	key := make([]byte, 32)
	a, b := NewNonces(key, "a", now, rand.Reader), NewNonces(key, "b", now, rand.Reader)
	tenant := NewNonces(append(make([]byte, 31), 1), "a", now, rand.Reader)
	n := a.issue()
	if tenant.good(n) {
		t.Error("another tenant took it")
	}
	if !b.good(n) || b.good(n) {
		t.Error("the other node did not take it exactly once")
	}
	// Ten minutes, on every node.
	n, m := a.issue(), a.issue()
	clock = clock.Add(nonceLife - time.Millisecond)
	if !b.good(n) || !a.good(m) {
		t.Error("expired early")
	}
	n, m = a.issue(), b.issue()
	clock = clock.Add(nonceLife)
	if a.good(n) || a.good(m) {
		t.Error("never expires")
	}
	n = b.issue()
	clock = clock.Add(-time.Hour)
	if a.good(n) {
		t.Error("one from the future was taken")
	}
}

// XJ-012: nonces that nobody uses cost nothing; used ones a bit each.
func TestACME_XJ012_NonceFlood(t *testing.T) {
	clock := time.Unix(1e9, 0)
	n := NewNonces(make([]byte, 32), "n", func() time.Time { return clock }, rand.Reader)
	first := n.issue()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n.issued += 10_000_000
	for range 40_000 {
		s := n.issue()
		if n.issued%2 == 0 && (!n.good(s) || n.good(s)) {
			t.Fatal("not exactly once")
		}
	}
	// As many as can be remembered, and more.
	for at := uint64(0); at < 3*maxPages; at++ {
		n.issued = 20_000_000 + at*perPage
		if !n.good(n.issue()) {
			t.Fatal("a fresh one was refused")
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("%d octets are kept", grown)
	}
	if n.good(first) {
		t.Error("one that was forgotten was taken")
	}
	clock = clock.Add(2 * nonceLife)
	n.good(n.issue())
	n.issued += perPage
	n.good(n.issue())
	if k := len(n.windows); k != 1 {
		t.Errorf("%d windows", k)
	}
	if k := len(n.windows[n.id()].pages); k > 2 {
		t.Errorf("%d pages are kept after all of it expired", k)
	}
}

func BenchmarkNonce(b *testing.B) {
	n := NewNonces(make([]byte, 32), "n", time.Now, rand.Reader)
	b.ReportAllocs()
	for b.Loop() {
		if !n.good(n.issue()) {
			b.Fatal("refused")
		}
	}
}

func (n *Nonces) good(nonce string) bool {
	_, good := n.use(nonce)
	return good
}

// id is the window of the node's own nonces.
func (n *Nonces) id() (id [10]byte) {
	copy(id[:], n.node[:])
	put48(id[4:], n.start)
	return id
}
