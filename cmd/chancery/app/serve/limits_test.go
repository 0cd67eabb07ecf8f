package serve

import (
	"crypto/sha256"
	"errors"
	"slices"
	"testing"
	"time"

	"chancery/cmd/chancery/app/node"
	"chancery/engine"
	"chancery/engine/limit"
	"chancery/frontends/acme"
	"chancery/frontends/native"
	"chancery/store"
)

// What is asked for over the API is done where the frontends count, and audited.
func TestLimitsForPeople(t *testing.T) {
	n, _ := newNode(t, func(o *node.Options) { o.Tables = acme.Schemas() })
	l := &limits{n, new(limit.Set)}
	ask := limit.Ask{Key: limit.Key{Limit: "orders_per_name", Endpoint: "acme/default", Of: "www.example.org"}, Rate: limit.Rate{Count: 1, Per: time.Hour}}
	l.set.Take(n.Now(), ask)
	l.set.Take(n.Now(), ask)
	got, err := l.Limited(t.Context())
	if err != nil || len(got.Held) != 1 || got.Held[0].Of != "www.example.org" || got.Held[0].Times != 1 || got.Paused == nil {
		t.Errorf("%+v %v", got, err)
	}
	officer := engine.Actor{Person: "bob", Roles: []engine.Role{engine.Officer}}
	if _, err := l.Resume(t.Context(), engine.Actor{Person: "carol", Roles: []engine.Role{engine.Auditor}}, "www.example.org"); !errors.Is(err, engine.ErrForbidden) {
		t.Errorf("an auditor: %v", err)
	}
	if _, err := l.Resume(t.Context(), officer, "www.example.org"); !errors.Is(err, native.ErrNothingPaused) {
		t.Errorf("nothing: %v", err)
	}
	if _, err := l.Resume(t.Context(), officer, "a b"); !errors.Is(err, native.ErrNotResumable) {
		t.Errorf("neither: %v", err)
	}

	// A row as frontends/acme writes it.
	type failing struct {
		Account string `json:"a"`
		Name    string `json:"n"`
		Times   int    `json:"t"`
		Paused  int64  `json:"p"`
	}
	h := sha256.Sum256([]byte("0abc\x00www.example.org"))
	rows := store.Table[failing]{Name: "acme_failing", Version: 1, Key: func(f *failing) string { return f.Account + "/" + string(h[:8]) }}
	if err := n.DB.Update(t.Context(), func(tx store.Tx) error {
		return rows.Insert(tx, &failing{"0abc", "www.example.org", 200, n.Now().Unix()})
	}); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Limited(t.Context()); err != nil || len(got.Paused) != 1 || got.Paused[0].Failures != 200 || got.Paused[0].Account != "0abc" {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := l.Resume(t.Context(), officer, "www.example.org"); err != nil || got != 1 {
		t.Errorf("%d %v", got, err)
	}
	if got, err := l.Limited(t.Context()); err != nil || len(got.Paused) != 0 {
		t.Errorf("%+v %v", got, err)
	}
	// What was done in the same millisecond, such as the start, has no order.
	acts, _, err := n.Engine.Audit(t.Context(), "", 100)
	acts = slices.DeleteFunc(acts, func(a *engine.AuditEntry) bool { return a.Act != "resume" })
	if err != nil || len(acts) != 1 || acts[0].Who != "bob" || acts[0].Object != "www.example.org" {
		t.Errorf("%+v %v", acts, err)
	}
}
