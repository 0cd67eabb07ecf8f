package acme

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/engine"
	"chancery/store"
)

var nextLink = regexp.MustCompile(`<([^>]*)>;rel="next"`)

// list reads all pages of an account's orders.
func (c *client) list() (all []string, pages int) {
	c.w.t.Helper()
	for url := c.read(c.kid).text("orders"); url != ""; pages++ {
		a := c.w.ok("orders", c.read(url), 200)
		var page []string
		if err := json.Unmarshal(a.raw["orders"], &page); err != nil || len(page) > ordersPage {
			c.w.t.Fatalf("%s: %v", a.body, err)
		}
		all, url = append(all, page...), ""
		if m := nextLink.FindStringSubmatch(strings.Join(a.header.Values("Link"), ",")); m != nil {
			url = m[1]
		}
	}
	return all, pages
}

func TestACME_A060_OrdersList(t *testing.T) {
	w := newWorld(t)
	c, other := w.client(), w.client()
	if all, pages := c.list(); len(all) != 0 || pages != 1 {
		t.Errorf("%v, %d pages", all, pages)
	}
	pending := c.order("a.example.org").location()
	_, ready := c.ready("b.example.org")
	c.issue(leafKey(t), "c.example.org")
	given := c.order("d.example.org")
	w.ok("deactivate", c.post(given.Authorizations[0], `{"status":"deactivated"}`), 200)
	w.engine.decide = func(engine.Submission) (engine.Disposition, error) {
		return engine.Denied{Reason: engine.NotAuthorized, Detail: "no"}, nil
	}
	denied, _ := c.ready("e.example.org")
	c.post(denied.Finalize, csrPayload(csrOf(t, leafKey(t), "e.example.org")))
	other.order("f.example.org")
	all, _ := c.list()
	if len(all) != 3 || !slices.Contains(all, pending) || !slices.Contains(all, ready) || slices.Contains(all, given.location()) {
		t.Errorf("%v", all)
	}
	url := c.read(c.kid).text("orders")
	w.want("another's", other.read(url), 403, unauthorized)
	w.want("payload", c.post(url, "{}"), 400, malformed)
	w.want("GET", w.get(url), 405, malformed)
	for _, cursor := range []string{"/x", "/../x", "/" + strings.Repeat("0", 25), "/" + strings.Repeat("z", 26), "/" + strings.Repeat("0", 26) + "/1"} {
		w.want(cursor, c.read(url+cursor), 404, malformed)
	}
	w.advance(orderLife) // what was not finalized in time came to nothing
	if all, _ := c.list(); len(all) != 1 {
		t.Errorf("%v", all)
	}
}

// A thousand orders come page by page, each once.
func TestACME_A060_OrdersListPages(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	id := idOf(c.kid)
	want := map[string]bool{}
	for range 4 {
		var zs []*authz
		var os []*order
		for i := range 250 {
			z := &authz{ID: store.NewID(w.now(), w.deps.Rand), Account: id, Name: fmt.Sprintf("h%d.example.org", i), Expires: w.now().Add(time.Hour).Unix(), Challenges: []challenge{{Type: engine.HTTP01, Token: "x"}}}
			o := &order{ID: store.NewID(w.now(), w.deps.Rand), Account: id, Names: []string{z.Name}, Authz: []string{z.ID}, Expires: z.Expires}
			want[w.url("order/"+o.ID)] = true
			zs, os = append(zs, z), append(os, o)
		}
		insert(w, &authzs, zs...)
		insert(w, &orders, os...)
	}
	all, pages := c.list()
	for _, url := range all {
		if !want[url] {
			t.Errorf("%s twice, or not an order of the account", url)
		}
		delete(want, url)
	}
	if len(want) != 0 || pages != 10 {
		t.Errorf("%d orders are missing, %d pages", len(want), pages)
	}
}
