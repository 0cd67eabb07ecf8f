package interop

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/acme"
)

// A client that fails over and over is paused, sees why and for how long, is shown
// to the people who run the CA, and goes on when they say so.
func TestPausedAndResumed(t *testing.T) {
	t.Parallel()
	c := withACME(t, func(e map[string]any) { e["limits"] = map[string]any{"pause_after": 1, "orders_per_name": "4/1d"} })
	ctx := t.Context()
	g := newGoClient(c)
	must(t, g.register(ctx))
	name := "www.paused.test"
	order, err := g.AuthorizeOrder(ctx, acme.DomainIDs(name))
	must(t, err)
	az, err := g.GetAuthorization(ctx, order.AuthzURLs[0])
	must(t, err)
	for _, ch := range az.Challenges {
		if ch.Type == "http-01" { // which nobody answers
			_, err = g.Accept(ctx, ch)
			must(t, err)
		}
	}
	if _, err := g.WaitAuthorization(ctx, order.AuthzURLs[0]); err == nil {
		t.Fatal("it was validated")
	}
	refused := func(want string) {
		t.Helper()
		_, err := g.AuthorizeOrder(ctx, acme.DomainIDs(name))
		var e *acme.Error
		if wait, limited := acme.RateLimit(err); !errors.As(err, &e) || !limited || wait <= 0 || !strings.Contains(e.Detail, want) {
			t.Errorf("%v (wait %s)", err, wait)
		}
	}
	refused("chancery acme resume")
	status := c.cli("status")
	if !strings.Contains(status, "Paused since") || !strings.Contains(status, name) {
		t.Errorf("status:\n%s", status)
	}
	if _, errs, code := c.tryCLI("acme", "resume", "nobody.test"); code == 0 || !strings.Contains(errs, "nothing to resume") {
		t.Errorf("resume of nothing: exit %d\n%s", code, errs)
	}
	if out := c.cli("acme", "resume", name); !strings.Contains(out, "resumed: 1 name") {
		t.Error(out)
	}
	if status := c.cli("status"); strings.Contains(status, "Paused since") {
		t.Errorf("status:\n%s", status)
	}
	for range 3 {
		_, _, err := g.obtain(ctx, name)
		must(t, err)
	}
	refused("orders_per_name (4/1d)")
	if status := c.cli("status"); !strings.Contains(status, "orders_per_name") {
		t.Errorf("status:\n%s", status)
	}
}
