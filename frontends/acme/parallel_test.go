package acme

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestPurge(t *testing.T) {
	w := newWorld(t, func(w *world) { w.deps.Retention = 24 * time.Hour })
	c := w.client()
	for range 3 {
		c.order("a.example.org")
		c.ready("b.example.org")
	}
	step := func(d time.Duration, wantOrders, wantAuthzs int) {
		t.Helper()
		w.advance(d)
		if err := w.f.purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if o, a := count(w, &orders), count(w, &authzs); o != wantOrders || a != wantAuthzs {
			t.Errorf("%d orders, %d authorizations, want %d and %d", o, a, wantOrders, wantAuthzs)
		}
	}
	step(0, 6, 6)
	step(orderLife+24*time.Hour, 6, 6)
	step(time.Second, 0, 6)
	step(authzLife-orderLife, 0, 0)
	w.ok("the account stays", c.read(c.kid), 200)
}

// Orders that were decided go after the retention, the waiting ones and the
// certificates stay.
func TestPurgeOfDecidedOrders(t *testing.T) {
	w := newWorld(t, func(w *world) { w.deps.Retention = time.Hour })
	c := w.client()
	c.issue(leafKey(t), "a.example.org")
	c.ready("b.example.org")
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 2}, {time.Hour + time.Second, 1}} {
		w.advance(step.after)
		if err := w.f.purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if o, a := count(w, &orders), count(w, &authzs); o != step.want || a != step.want {
			t.Errorf("after %s: %d orders, %d authorizations, want %d", step.after, o, a, step.want)
		}
	}
}

// An approval is for the client to use: looking what can go uses none.
func TestPurgeSpendsNoApproval(t *testing.T) {
	w := newRealWorld(t)
	w.f.deps.Retention = time.Hour
	c := w.client()
	url, id := c.pend()
	if _, err := w.Approve(t.Context(), officer, id, "", ""); err != nil {
		t.Fatal(err)
	}
	w.advance(2 * time.Hour)
	if err := w.f.purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.issued(); n != 0 {
		t.Errorf("%d certificates", n)
	}
	if a := c.read(url); a.Status != "valid" {
		t.Errorf("%s", a.body)
	}
}

func TestACME_OneAccountParallel(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	var wait sync.WaitGroup
	for i := range 64 {
		name := fmt.Sprintf("h%d.example.org", i)
		key := leafKey(t)
		wait.Go(func() {
			o := c.post(w.url("new-order"), orderOf(name))
			if o.status != 201 {
				t.Errorf("newOrder: %d %s", o.status, o.body)
				return
			}
			ch := c.prepare(c.read(o.Authorizations[0]), "http-01")
			if a := c.post(ch.URL, "{}"); a.Status != "valid" {
				t.Errorf("challenge: %d %s", a.status, a.body)
				return
			}
			a := c.post(o.Finalize, csrPayload(csrOf(t, key, name)))
			if a.Status != "valid" {
				t.Errorf("finalize: %d %s", a.status, a.body)
				return
			}
			if a = c.read(a.Certificate); a.status != 200 {
				t.Errorf("certificate: %d %s", a.status, a.body)
			}
		})
	}
	wait.Wait()
	if n := w.engine.issued(); n != 64 {
		t.Errorf("%d certificates", n)
	}
}

// newOrder is one commit, and so is a challenge that ends while its POST waits.
func TestCommits(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	updates := func(what string, want uint64, fn func()) {
		t.Helper()
		before := w.db.Updates()
		fn()
		if after := w.db.Updates(); after-before != want {
			t.Errorf("%s: %d updates, want %d", what, after-before, want)
		}
	}
	var o, authz *answer
	updates("newOrder", 1, func() { o = c.order(host) })
	updates("read", 0, func() { authz = c.read(o.Authorizations[0]); c.read(o.location()); w.nonce() })
	ch := c.prepare(authz, "http-01")
	updates("challenge", 1, func() { c.post(ch.URL, "{}") })
	updates("finalize", 1, func() { c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))) })
	updates("poll", 0, func() { o = c.read(o.location()); c.read(o.Certificate) })
}
