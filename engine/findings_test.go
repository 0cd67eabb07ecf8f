package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"chancery/engine/names"
	"chancery/store"
)

// Each test here is something that a review found.

func TestApprovalDuringFreezeIsActedOnLater(t *testing.T) {
	w := newWorld(t)
	s := w.submission("1", newKey(t), "a.test")
	s.Profile = "manual"
	id := w.pend(s).RequestID
	if err := w.Freeze(t.Context(), admin, "all", "x"); err != nil {
		t.Fatal(err)
	}
	var f *FrozenError
	if _, err := w.Approve(t.Context(), officer("olga"), id, "", ""); !errors.As(err, &f) {
		t.Fatalf("Approve = %v", err)
	}
	if err := w.Thaw(t.Context(), admin, "all"); err != nil {
		t.Fatal(err)
	}
	d, err := w.Approve(t.Context(), officer("olga"), id, "", "")
	if _, ok := d.(Issued); err != nil || !ok {
		t.Errorf("the same officer once more = %#v, %v", d, err)
	}
}

func TestRunActsOnVotes(t *testing.T) {
	w := newWorld(t)
	s := w.submission("1", newKey(t), "a.test")
	s.Profile = "manual"
	id := w.pend(s).RequestID
	if err := w.Freeze(t.Context(), admin, "all", "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Approve(t.Context(), officer("olga"), id, "", ""); err == nil {
		t.Fatal("issued while frozen")
	}
	if err := w.Thaw(t.Context(), admin, "all"); err != nil {
		t.Fatal(err)
	}
	w.advanceClock(staleAfter) // before that, another node may be at it
	w.runUntil("it is issued", func() bool {
		r, err := w.Request(context.Background(), id)
		return err == nil && r.State == StateIssued
	})
}

// An approval after a long wait is fresh, however old the request is.
func TestLateApprovalIsNotAbandoned(t *testing.T) {
	w := newWorld(t)
	s := w.submission("1", newKey(t), "a.test")
	s.Profile = "manual"
	s.Proofs = nil
	id := w.pend(s).RequestID
	w.advanceClock(time.Hour)
	key := w.current["main"].Key
	w.current["main"].Key = nil // this node cannot sign just now, but another can
	w.otherNode("n2", w.current["main"].keyID)
	if _, err := w.Approve(t.Context(), officer("olga"), id, "", ""); err != nil {
		t.Fatal(err)
	}
	w.current["main"].Key = key
	(&resumer{after: map[State]string{}, states: []State{Issuing, Pending, Received}}).pass(t.Context(), w.Engine, 0)
	if r, _ := w.Request(t.Context(), id); r.State != StateIssued {
		t.Errorf("state %s", r.State)
	}
}

func TestGrantIsHeldToItsProfilesAndUses(t *testing.T) {
	w := newWorld(t)
	p := w.setup.Policy.Profiles["web"]
	p.Names.Assigned = patterns(t, "*.free.test") // nobody needs the grant for these names
	w.setup.Policy.Profiles["web"], w.setup.Policy.Profiles["other"] = p, p
	w.use()
	g, _, err := w.CreateGrant(t.Context(), admin, Grant{Protocol: Native, Profiles: []string{"web"}, Names: patterns(t, "only.test"), Uses: 1})
	if err != nil {
		t.Fatal(err)
	}
	by := func(id, profile string) Submission {
		s := w.submission(id, newKey(t), "a.free.test").as(Principal("grant:"+g.ID), id)
		s.Profile, s.Proofs = profile, []Proof{{Method: ByGrant, Ref: g.ID, At: w.now()}}
		return s
	}
	w.denied(by("1", "other"), NotAuthorized)
	w.issue(by("2", "web"))
	w.denied(by("3", "web"), NotAuthorized)
	if err := w.Freeze(t.Context(), admin, "grant:"+g.ID, "x"); err != nil {
		t.Fatal(err)
	}
}

func TestDenialLeavesNoReservation(t *testing.T) {
	w := newWorld(t)
	make := func(name string, uses int) *Grant {
		g, _, err := w.CreateGrant(t.Context(), admin, Grant{Protocol: Native, Names: patterns(t, name), Uses: uses})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	one, two := make("a.test", 5), make("b.test", 1)
	// The second is used up in the moment between policy and commit.
	if err := w.update(t.Context(), func(tx store.Tx) error {
		_, err := grants.Change(tx, two.ID, func(g *Grant) error { g.Reserved = 1; return nil })
		return err
	}); err != nil {
		t.Fatal(err)
	}
	s := w.submission("1", newKey(t), "a.test", "b.test")
	s.Proofs = []Proof{{Method: ByGrant, Ref: one.ID, At: w.now()}, {Method: ByGrant, Ref: two.ID, At: w.now()}}
	w.denied(s, NotAuthorized)
	all, _, err := w.Grants(t.Context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range all {
		if g.ID == one.ID && g.Reserved != 0 {
			t.Errorf("the first grant has %d reservations of a denied request", g.Reserved)
		}
	}
}

func TestLongNamesAreFound(t *testing.T) {
	w := newWorld(t)
	p := w.setup.Policy.Profiles["web"]
	p.Names.Allow, p.Names.Assigned = patterns(t, "uri:*"), patterns(t, "uri:*")
	w.setup.Policy.Profiles["web"] = p
	w.setup.Shapers[0].Run = func(run Shaper) Shaper {
		return func(ctx context.Context, r *Request, d *Draft) (Verdict, error) {
			v, err := run(ctx, r, d)
			u, perr := names.Parse(names.URI, "spiffe://td.test/"+strings.Repeat("x", 1500))
			d.Names = []names.Name{u}
			return v, errors.Join(err, perr)
		}
	}(w.setup.Shapers[0].Run)
	w.use()
	w.issue(w.submission("1", newKey(t), "a.test"))
	found, _, err := w.Certificates(t.Context(), CertificateFilter{Name: "spiffe://td.test/" + strings.Repeat("x", 1500)})
	if err != nil || len(found) != 1 {
		t.Errorf("%d found, %v", len(found), err)
	}
}

func TestPeekSpendsNothing(t *testing.T) {
	w := newWorld(t)
	s := w.submission("1", newKey(t), "a.test")
	s.Profile, s.KeyPerRun = "manual", true
	id := w.pend(s).RequestID
	if _, err := w.Approve(t.Context(), officer("olga"), id, "", ""); err != nil {
		t.Fatal(err)
	}
	for _, peek := range []func() (Disposition, error){
		func() (Disposition, error) { return w.Peek(t.Context(), s.Key) },
		func() (Disposition, error) { return w.PeekRequest(t.Context(), id) },
	} {
		if d, err := peek(); err != nil || countCertificates(t, w) != 0 {
			t.Errorf("%#v, %v", d, err)
		}
	}
	if _, ok := w.statusOf(s).(Issued); !ok {
		t.Error("the client that polls was not served")
	}
}

func TestManyStuckRequestsDoNotBlockOthers(t *testing.T) {
	w := newWorld(t)
	good := w.setup.Shapers[0].Run
	stuck := true
	w.setup.Shapers[0].Run = func(ctx context.Context, r *Request, d *Draft) (Verdict, error) {
		if stuck || r.Asked.Names[0].Value == "stuck.test" {
			return Verdict{}, errBoom
		}
		return good(ctx, r, d)
	}
	w.use()
	key := newKey(t)
	base := w.submission("0", key, "stuck.test")
	for i := range batchSize + 10 {
		w.advanceClock(time.Millisecond)
		if _, err := w.Submit(t.Context(), base.as("key:tester", fmt.Sprint(i))); err == nil {
			t.Fatal("decided")
		}
	}
	last := w.submission("last", key, "a.test")
	if _, err := w.Submit(t.Context(), last); err == nil {
		t.Fatal("decided")
	}
	stuck = false
	p := &resumer{after: map[State]string{}, states: []State{Issuing, Pending, Received}}
	for range 2 {
		p.pass(t.Context(), w.Engine, 0)
	}
	if _, ok := w.statusOf(last).(Issued); !ok {
		t.Error("it still waits behind requests that cannot go on")
	}
}

func TestOneCredentialIsOnePerson(t *testing.T) {
	w := newWorld(t)
	key := strings.Repeat("ab", 32)
	for name, roles := range map[string]map[string]Person{
		"twice":      {"a": {Key: key, Roles: []Role{Officer}}, "b": {Key: key, Roles: []Role{Admin}}},
		"upper case": {"a": {Key: strings.ToUpper(key), Roles: []Role{Officer}}},
	} {
		w.setup.Policy.Roles = roles
		if _, err := w.Use(t.Context(), w.setup, "t"); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDeliveriesOfAnExitThatIsGoneAreParked(t *testing.T) {
	w := newWorld(t)
	w.issue(w.submission("1", newKey(t), "a.test"))
	w.setup.Exits = []Outlet{{"renamed", w.exit}}
	w.use()
	w.runUntil("it is parked", func() bool {
		h, err := w.Health(context.Background())
		return err == nil && h.Parked == 1 && h.Waiting == 0
	})
	w.setup.Exits = []Outlet{{"log", w.exit}}
	w.use()
	if n, err := w.ReplayDeliveries(t.Context(), Actor{Person: "o", Roles: []Role{Operator}}, "log"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	w.runUntil("it is told", func() bool { return sameKinds(w.exit.kinds(), "issued") })
}
