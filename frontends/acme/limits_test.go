package acme

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"chancery/engine"
	"chancery/store"
)

// insert writes rows as they are.
func insert[T any](w *world, t *store.Table[T], rows ...*T) {
	w.t.Helper()
	if err := w.db.Update(w.t.Context(), func(tx store.Tx) error {
		for _, v := range rows {
			if err := t.Insert(tx, v); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) id() string { return store.NewIDFor(w.db, w.now(), w.deps.Rand) }

func TestOpenOrdersAreBounded(t *testing.T) {
	w := newWorld(t)
	c, other := w.client(), w.client()
	o, _ := c.ready(host)
	var some []*order
	for range maxOpenOrders - 2 {
		some = append(some, &order{ID: w.id(), Account: idOf(c.kid), Expires: w.now().Add(time.Hour).Unix()})
	}
	insert(w, &orders, some...)
	c.order(host)
	a := c.post(w.url("new-order"), anOrder)
	w.want("one too many", a, 429, rateLimited)
	if a.header.Get("Retry-After") == "" {
		t.Errorf("%v", a.header)
	}
	other.order(host)
	w.ok("finalize", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))), 200)
	c.order(host)
	w.want("again", c.post(w.url("new-order"), anOrder), 429, rateLimited)
	w.advance(time.Hour)
	c.order(host)
}

// Each denial for its CSR is on record, so an order has no more than some.
func TestDenialsPerOrderAreBounded(t *testing.T) {
	w := newWorld(t)
	w.engine.decide = func(engine.Submission) (engine.Disposition, error) {
		return engine.Denied{Reason: engine.BadKey, Detail: "another key"}, nil
	}
	c := w.client()
	o, url := c.ready(host)
	for i := range maxDenied {
		if a := c.read(url); a.Status != "ready" {
			t.Fatalf("after %d: %s", i, a.body)
		}
		w.want("denied", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))), 400, badCSR)
	}
	if a := c.read(url); a.Status != "invalid" || a.Error.kind() != badCSR {
		t.Errorf("%s", a.body)
	}
	w.engine.decide = nil
	w.want("a good one", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))), 403, orderNotReady)
	if n := len(w.engine.submissions()); n != maxDenied {
		t.Errorf("%d submissions", n)
	}
}

// hold keeps the answer to a challenge until the channel is closed. The other
// channel says that it is asked for.
func (c *client) hold(ch *shown) (asked <-chan struct{}, answer chan<- struct{}) {
	was, is := make(chan struct{}, 100), make(chan struct{})
	c.w.site.set("/.well-known/acme-challenge/"+ch.Token, func(rw http.ResponseWriter, _ *http.Request) {
		was <- struct{}{}
		<-is
		io.WriteString(rw, ch.Token+"."+c.thumb())
	})
	return was, is
}

// However often a client asks, the server connects once.
func TestOneAttemptPerAuthorization(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	z := c.read(c.order(host).Authorizations[0])
	ch := z.pick("http-01")
	asked, answer := c.hold(ch)
	var wait sync.WaitGroup
	wait.Go(func() {
		if a := c.post(ch.URL, "{}"); a.Status != "valid" {
			t.Errorf("first: %s", a.body)
		}
	})
	<-asked
	for range 5 {
		if a := w.ok("meanwhile", c.post(ch.URL, "{}"), 200); a.Status != "processing" || a.header.Get("Retry-After") == "" {
			t.Errorf("%v %s", a.header, a.body)
		}
	}
	w.want("the other challenge", c.post(z.pick("dns-01").URL, "{}"), 400, malformed)
	close(answer)
	wait.Wait()
	for range 20 {
		wait.Go(func() {
			if a := c.post(ch.URL, "{}"); a.Status != "valid" {
				t.Errorf("later: %s", a.body)
			}
		})
	}
	wait.Wait()
	z = c.read(c.order("two.example.org").Authorizations[0])
	ch = c.prepare(z, "http-01")
	for range 20 {
		wait.Go(func() {
			if a := c.post(ch.URL, "{}"); a.Status != "valid" && a.Status != "processing" {
				t.Errorf("parallel: %s", a.body)
			}
		})
	}
	wait.Wait()
	if n := len(w.site.requests()); n != 2 {
		t.Errorf("%d connections for two challenges", n)
	}
	if len(w.f.doing.running) != 0 || len(w.f.doing.of) != 0 || w.f.doing.network != 0 {
		t.Errorf("left over: %+v", &w.f.doing)
	}
}

// An account whose share is used up waits; the others do not.
func TestValidationsPerAccountAreBounded(t *testing.T) {
	w := newWorld(t)
	c, other := w.client(), w.client()
	account := idOf(c.kid)
	for i := range maxOfAccount {
		w.f.doing.begin(&authz{ID: fmt.Sprint(i), Account: account}, engine.HTTP01)
	}
	ch := c.prepare(c.read(c.order(host).Authorizations[0]), "http-01")
	if a := w.ok("respond", c.post(ch.URL, "{}"), 200); a.Status != "processing" {
		t.Errorf("%s", a.body)
	}
	other.ready(host)
	w.settle()
	if a := c.read(ch.URL); a.Status != "processing" {
		t.Errorf("%s", a.body)
	}

	// Nor do those whose turn in the sweep is after all of its rows.
	var rows []*authz
	for i := range sweepLook {
		rows = append(rows, &authz{ID: w.id(), Account: account, Name: host, Expires: w.now().Add(time.Hour).Unix(),
			Challenges: []challenge{{Type: engine.HTTP01, Token: "x", State: processing}}, Due: w.now().UnixMilli() + 1 + int64(i/4)})
	}
	insert(w, &authzs, rows...)
	w.advance(time.Second)
	o := other.order(host)
	late := other.prepare(other.read(o.Authorizations[0]), "http-01")
	if _, err := w.f.accept(t.Context(), spending{}, idOf(o.Authorizations[0]), 0, other.thumb(), false); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.settle()
	if a := other.read(late.URL); a.Status != "valid" {
		t.Errorf("%s", a.body)
	}
	w.f.doing.validated(account)
	w.settle()
	if a := c.read(ch.URL); a.Status != "valid" {
		t.Errorf("%s", a.body)
	}
}
