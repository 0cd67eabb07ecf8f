package interop

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// vetted is an installation with an ACME endpoint "vetted" whose profile wants
// an officer to look first.
func vetted(t *testing.T) *ca {
	t.Helper()
	c := newCA(t)
	c.init()
	c.editPolicy(func(doc map[string]any) {
		child(doc, "profiles")["vetted"] = map[string]any{
			"authority": "main", "frontends": []string{"acme", "native"}, "validity": "30d",
			"eku": []string{"serverAuth"}, "approval": "manual",
		}
		child(doc, "frontends", "acme")["vetted"] = map[string]any{"profiles": []string{"vetted"}}
		child(doc, "frontends", "native", "default")["profiles"] = []string{"service", "vetted"}
	})
	c.start()
	return c
}

// A pendingRequest is what "chancery pending --json" says of one.
type pendingRequest struct {
	ID string `json:"id"`
}

func (c *ca) pending() []pendingRequest {
	c.t.Helper()
	var list []pendingRequest
	c.cliJSON(&list, "pending")
	return list
}

// waitPending waits until a request waits that is none of the known ones, and
// returns its id.
func (c *ca) waitPending(known ...string) string {
	c.t.Helper()
	var id string
	eventually(c.t, 60*time.Second, func() error {
		for _, r := range c.pending() {
			if !slices.Contains(known, r.ID) {
				id = r.ID
				return nil
			}
		}
		return errors.New("no other request waits")
	})
	return id
}

// approval: manual, and certbot: its order waits, the officer approves, and
// the next run of the same client gets the certificate.
func TestCertbotApproved(t *testing.T) {
	t.Parallel()
	c := vetted(t)
	b := newCertbot(c, c.directory("vetted"))
	args := b.standalone("t1", "www.vetted.test")

	first := b.start(args...)
	id := c.waitPending()
	first.kill() // a person stops it; left alone it gives up after 90 s

	if out := c.cli("explain", id); !strings.Contains(out, "www.vetted.test") {
		t.Errorf("explain does not say what waits:\n%s", out)
	}
	c.cli("approve", id)

	b.run(args...)
	chain := b.fullchain("t1")
	c.verify(chain, "www.vetted.test")
	c.checkGood(chain)
	if n := len(c.pending()); n != 0 {
		t.Errorf("%d requests still wait", n)
	}
}

// An approval is for one client: the same name asked for by another account
// waits again.
func TestCertbotApprovalIsNotForAnother(t *testing.T) {
	t.Parallel()
	c := vetted(t)
	b := newCertbot(c, c.directory("vetted"))
	args := b.standalone("t1", "www.vetted.test")
	run := b.start(args...)
	id := c.waitPending()
	run.kill()
	c.cli("approve", id)

	other := newCertbot(c, c.directory("vetted"))
	run = other.start(args...)
	c.waitPending(id)
	run.kill()
}

// chancery deny: certbot shows what the officer wrote. This certbot drops the
// error of an order that became invalid from its last line, so it is asked to
// show what the server says.
func TestCertbotDenied(t *testing.T) {
	t.Parallel()
	c := vetted(t)
	b := newCertbot(c, c.directory("vetted"))
	run := b.start(append(b.standalone("t1", "shop.vetted.test"), "-vv")...)
	const why = "ask the web team for a name under intranet first"
	c.cli("deny", c.waitPending(), "--reason", why)
	out, err := run.wait(60 * time.Second)
	if err == nil {
		t.Fatalf("certbot was content:\n%s", out)
	}
	if !strings.Contains(strings.Join(strings.Fields(out), " "), why) {
		t.Errorf("certbot does not show the reason:\n%s", out)
	}
}
