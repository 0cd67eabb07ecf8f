package acme

import (
	"fmt"
	"sync"
	"testing"
)

// A certificate for one name is four commits: the order, the challenge, the
// decision with the bytes to be signed, the certificate. With eight clients at
// the same time they hardly ever get in each other's way.
func TestCommitsOfAnIssuance(t *testing.T) {
	w := newRealWorld(t)
	const clients, each, perIssuance = 8, 20, 4
	all := make([]*client, clients)
	for i := range all {
		all[i] = w.client()
	}
	updates := w.db.Updates()
	all[0].issue(leafKey(t), "one.example.org")
	if n := w.db.Updates() - updates; n != perIssuance {
		t.Errorf("%d commits, want %d", n, perIssuance)
	}

	updates = w.db.Updates()
	retries := w.db.Retries()
	var wait sync.WaitGroup
	for i, c := range all {
		wait.Go(func() {
			for k := range each {
				name := fmt.Sprintf("h%d-%d.example.org", i, k)
				o := c.post(w.url("new-order"), orderOf(name))
				ch := c.prepare(c.read(o.Authorizations[0]), "http-01")
				if a := c.post(ch.URL, "{}"); a.Status != "valid" {
					t.Errorf("challenge: %d %s", a.status, a.body)
					return
				}
				if a := c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), name))); a.Status != "valid" {
					t.Errorf("finalize: %d %s", a.status, a.body)
				}
			}
		})
	}
	wait.Wait()
	updates, retries = w.db.Updates()-updates, w.db.Retries()-retries
	if updates != clients*each*perIssuance {
		t.Errorf("%d commits for %d certificates, want %d each", updates, clients*each, perIssuance)
	}
	if retries*20 >= updates {
		t.Errorf("%d of %d commits had to be tried again, want less than 5 %%", retries, updates)
	}
	t.Logf("%d commits, %d tried again", updates, retries)
}
