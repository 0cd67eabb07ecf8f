package engine

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"chancery/engine/names"
)

func (w *world) pend(s Submission) Pended {
	w.t.Helper()
	d := w.submit(s)
	p, ok := d.(Pended)
	if !ok {
		w.t.Fatalf("Submit = %#v, want Pended", d)
	}
	return p
}

func TestApprovalIssues(t *testing.T) {
	w := newWorld(t)
	s := w.submission("1", newKey(t), "a.test")
	s.Profile, s.Proofs = "manual", nil // nobody proved it: the officer warrants it
	p := w.pend(s)
	w.advanceClock(time.Minute)
	d, err := w.Approve(t.Context(), officer("olga"), p.RequestID, "", "known host")
	if err != nil {
		t.Fatal(err)
	}
	i, ok := d.(Issued)
	if !ok {
		t.Fatalf("Approve = %#v", d)
	}
	x, err := w.Explain(t.Context(), i.RequestID)
	if err != nil || len(x.Warrants) != 1 || x.Warrants[0].By != "vote olga" {
		t.Errorf("Explain: %+v, %v", x, err)
	}
	if _, err := w.Approve(t.Context(), officer("otto"), p.RequestID, "", ""); !errors.Is(err, ErrNotPending) {
		t.Errorf("second approval = %v", err)
	}
	w.runUntil("exits hear of both", func() bool { return sameKinds(w.exit.kinds(), "issued", "pending") })
}

func TestWhoMayApprove(t *testing.T) {
	w := newWorld(t)
	o := officer("olga")
	s := w.submission("1", newKey(t), "a.test").as(o.Principal, "1")
	s.Profile = "manual"
	id := w.pend(s).RequestID
	for name, a := range map[string]Actor{"the requester": o, "an auditor": {Person: "x", Roles: []Role{Auditor}}, "an admin": admin, "nobody": {}} {
		if _, err := w.Approve(t.Context(), a, id, "", ""); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v, want ErrForbidden", name, err)
		}
		if name != "the requester" {
			if _, err := w.Deny(t.Context(), a, id, ""); !errors.Is(err, ErrForbidden) {
				t.Errorf("deny by %s: %v, want ErrForbidden", name, err)
			}
		}
	}
	if _, err := w.Approve(t.Context(), officer("otto"), id, "another digest", ""); !errors.Is(err, ErrNotPending) {
		t.Errorf("a vote for what was not seen: %v", err)
	}
}

// A renewal that waits ends when the certificate that proved it is revoked.
func TestRenewalOfWhatWasRevokedIsRefused(t *testing.T) {
	w := newWorld(t)
	old, _ := w.issue(w.submission("1", newKey(t), "a.test"))
	s := w.submission("2", newKey(t), "a.test")
	s.Profile, s.Replaces = "manual", old.ID
	s.Proofs = []Proof{{Method: OldCert, Principal: s.Requester, Names: dns(t, "a.test"), Ref: old.ID.String(), At: w.clock}}
	id := w.pend(s).RequestID
	if err := w.Revoke(t.Context(), Revocation{ID: old.ID, Reason: 4}); err != nil {
		t.Fatal(err)
	}
	d, err := w.Approve(t.Context(), officer("otto"), id, "", "")
	if den, ok := d.(Denied); err != nil || !ok || den.Reason != NotAuthorized {
		t.Errorf("Approve = %#v, %v", d, err)
	}
}

func TestApprovalIsNoBypass(t *testing.T) {
	w := newWorld(t)
	s := w.submission("1", newKey(t), "a.test")
	s.Profile = "manual"
	id := w.pend(s).RequestID
	w.setup.Judges = []Step[Judge]{{Name: "strict", Run: func(context.Context, *Request, Rendered) (Verdict, error) { return Deny(BadKey, "no"), nil }}}
	w.use()
	d, err := w.Approve(t.Context(), officer("olga"), id, "", "")
	if den, ok := d.(Denied); err != nil || !ok || den.Reason != BadKey {
		t.Errorf("Approve = %#v, %v: policy did not run again", d, err)
	}
}

// Found in an earlier prototype: a vote given while one step pended let the
// request pass another step that nobody had looked at.
func TestOneStepsVoteDoesNotSatisfyAnother(t *testing.T) {
	w := newWorld(t)
	second := false
	w.setup.Judges = []Step[Judge]{{Name: "second", Run: func(context.Context, *Request, Rendered) (Verdict, error) {
		if second {
			return PendForOne("look again"), nil
		}
		return Pass(), nil
	}}}
	w.use()
	s := w.submission("1", newKey(t), "a.test")
	s.Profile = "manual"
	id := w.pend(s).RequestID
	second = true
	d, err := w.Approve(t.Context(), officer("olga"), id, "", "")
	if _, ok := d.(Pended); err != nil || !ok {
		t.Fatalf("Approve = %#v, %v, want still pended", d, err)
	}
	r, err := w.Request(t.Context(), id)
	if err != nil || len(r.Pends) != 1 || r.Pends[0].Step != "second" {
		t.Errorf("waits for %+v, %v", r.Pends, err)
	}
	d, err = w.Approve(t.Context(), officer("otto"), id, "", "")
	if _, ok := d.(Issued); err != nil || !ok {
		t.Errorf("Approve = %#v, %v", d, err)
	}
}

func TestChangedProfilePendsAgain(t *testing.T) {
	w := newWorld(t)
	s := w.submission("1", newKey(t), "a.test")
	s.Profile = "manual"
	id := w.pend(s).RequestID
	before, _ := w.Request(t.Context(), id)
	p := w.setup.Policy.Profiles["manual"]
	p.ExtKeyUsage = []string{"serverAuth", "clientAuth"}
	w.setup.Policy.Profiles["manual"] = p
	w.use()
	d, err := w.Approve(t.Context(), officer("olga"), id, before.Digest, "")
	if _, ok := d.(Pended); err != nil || !ok {
		t.Fatalf("the vote was for another certificate: %#v, %v", d, err)
	}
	after, _ := w.Request(t.Context(), id)
	if after.Digest == before.Digest {
		t.Error("D is the same for another certificate")
	}
}

func TestDenySaysWhy(t *testing.T) {
	w := newWorld(t)
	s := w.submission("1", newKey(t), "a.test")
	s.Profile = "manual"
	id := w.pend(s).RequestID
	if _, err := w.Deny(t.Context(), officer("olga"), id, "not our host"); err != nil {
		t.Fatal(err)
	}
	d, err := w.Status(t.Context(), s.Key)
	if den, ok := d.(Denied); err != nil || !ok || den.Reason != Rejected || den.Detail != "not our host" {
		t.Errorf("Status = %#v, %v", d, err)
	}
}

// RFC 8555 clients make a new key for each run, and stop waiting long before an
// officer looks. The next run gets the certificate; only once.
func TestKeyPerRunIsServedByTheNextRun(t *testing.T) {
	w := newWorld(t)
	run := func(id string) Submission {
		s := w.submission(id, newKey(t), "a.test").as("account:1", id)
		s.Source, s.Profile, s.KeyPerRun = ACME, "manual", true
		s.Key = NewKey(ACME, "default", "", s.Requester, id)
		return s
	}
	first := run("order1")
	id := w.pend(first).RequestID
	if _, err := w.Approve(t.Context(), officer("olga"), id, "", ""); err != nil {
		t.Fatal(err)
	}
	if n := countCertificates(t, w); n != 0 {
		t.Fatalf("approval alone signed %d certificates", n)
	}
	other := run("x")
	other.Body = csrFor(t, newKey(t), "b.test")
	other.Proofs[0].Names = dns(t, "b.test")
	w.pend(other) // other names: the approval is not for these

	w.advanceClock(time.Hour)
	second := run("order2")
	w.issue(second)
	if d := w.statusOf(first); d.(Denied).Reason != Superseded {
		t.Errorf("the older request is %#v", d)
	}
	w.advanceClock(time.Second)
	w.pend(run("order3")) // the right was spent
}

func (w *world) statusOf(s Submission) Disposition {
	w.t.Helper()
	d, err := w.Status(context.Background(), s.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func TestKeyPerRunPollGetsIt(t *testing.T) {
	w := newWorld(t)
	s := w.submission("1", newKey(t), "a.test")
	s.Profile, s.KeyPerRun = "manual", true
	id := w.pend(s).RequestID
	if _, err := w.Approve(t.Context(), officer("olga"), id, "", ""); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.statusOf(s).(Issued); !ok {
		t.Error("the order that still polls was not served")
	}
}

func TestVotesEnd(t *testing.T) {
	w := newWorld(t)
	s := w.submission("1", newKey(t), "a.test")
	s.Profile, s.KeyPerRun = "manual", true
	s.Proofs[0].Expires = time.Time{}
	id := w.pend(s).RequestID
	if _, err := w.Approve(t.Context(), officer("olga"), id, "", ""); err != nil {
		t.Fatal(err)
	}
	w.advanceClock(8 * 24 * time.Hour)
	if _, ok := w.statusOf(s).(Pended); !ok {
		t.Error("an approval of eight days ago still signs")
	}
}

func patterns(t *testing.T, list ...string) []names.Pattern {
	var all []names.Pattern
	for _, s := range list {
		p, err := names.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func TestGrants(t *testing.T) {
	w := newWorld(t)
	g, secret, err := w.CreateGrant(t.Context(), admin, Grant{Protocol: Native, Profiles: []string{"web"}, Names: patterns(t, "*.corp.test"), Uses: 2})
	if err != nil {
		t.Fatal(err)
	}
	found, err := w.CheckGrant(t.Context(), Native, "default", secret)
	if err != nil || found.ID != g.ID {
		t.Fatalf("CheckGrant = %v, %v", found, err)
	}
	for name, check := range map[string]func() error{
		"wrong secret":   func() error { _, err := w.CheckGrant(t.Context(), Native, "default", secret[1:]+"A"); return err },
		"wrong protocol": func() error { _, err := w.CheckGrant(t.Context(), SCEP, "default", secret); return err },
	} {
		if err := check(); !errors.Is(err, ErrNoGrant) {
			t.Errorf("%s: %v", name, err)
		}
	}
	by := func(id string, list ...string) Submission {
		s := w.submission(id, newKey(t), list...)
		s.Proofs = []Proof{{Method: ByGrant, Ref: g.ID, At: w.now()}}
		return s
	}
	w.denied(by("0", "other.test"), NameNotAllowed)
	w.issue(by("1", "a.corp.test"))
	w.issue(by("2", "b.corp.test", "c.corp.test"))
	w.denied(by("3", "d.corp.test"), NameNotAllowed) // used up
	if _, err := w.CheckGrant(t.Context(), Native, "default", secret); err != nil {
		t.Errorf("who used it up cannot fetch what it was used for: %v", err)
	}
	all, _, err := w.Grants(t.Context(), "", 0)
	if err != nil || len(all) != 1 || all[0].Spent != 2 || all[0].Reserved != 0 || all[0].Denials != 1 {
		t.Errorf("%+v, %v", all[0], err)
	}
}

func TestFreeze(t *testing.T) {
	w := newWorld(t)
	issued, _ := w.issue(w.submission("0", newKey(t), "a.test"))
	for _, scope := range []string{"all", "authority:main", "profile:web"} {
		if err := w.Freeze(t.Context(), admin, scope, "we moved house"); err != nil {
			t.Fatal(err)
		}
		s := w.submission(scope, newKey(t), "a.test")
		_, err := w.Submit(t.Context(), s)
		var f *FrozenError
		if !errors.As(err, &f) || f.Scope != scope || f.Reason != "we moved house" {
			t.Errorf("%s: %v", scope, err)
		}
		if err := w.Thaw(t.Context(), admin, scope); err != nil {
			t.Fatal(err)
		}
		w.issue(s)
	}
	if err := w.Freeze(t.Context(), admin, "all", "x"); err != nil {
		t.Fatal(err)
	}
	if err := w.Revoke(t.Context(), Revocation{ID: issued.ID, Reason: 1}); err != nil {
		t.Errorf("revocation does not stay alive: %v", err)
	}
	if err := w.Freeze(t.Context(), officer("o"), "profile:none", "x"); !errors.Is(err, ErrBadInput) {
		t.Errorf("unknown profile: %v", err)
	}
}

func TestPeople(t *testing.T) {
	w := newWorld(t)
	key := [32]byte{1}
	if err := w.MakeFounder(t.Context(), key, w.now().Add(30*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if a, err := w.Authenticate(t.Context(), Credential{SPKIHash: key}); err != nil || !a.Is(Admin) || !a.Is(Officer) {
		t.Errorf("founder: %+v, %v", a, err)
	}
	if _, err := w.Authenticate(t.Context(), Credential{SPKIHash: [32]byte{2}}); !errors.Is(err, ErrForbidden) {
		t.Errorf("a stranger: %v", err)
	}
	w.setup.Policy.Roles = map[string]Person{
		"ada":  {Key: "0300000000000000000000000000000000000000000000000000000000000000", Roles: []Role{Admin}},
		"olga": {Key: "0400000000000000000000000000000000000000000000000000000000000000", Roles: []Role{Officer}},
	}
	w.use()
	if a, err := w.Authenticate(t.Context(), Credential{SPKIHash: [32]byte{4}}); err != nil || !slices.Equal(a.Roles, []Role{Officer}) || a.Person != "olga" {
		t.Errorf("olga: %+v, %v", a, err)
	}
	if _, err := w.Authenticate(t.Context(), Credential{SPKIHash: key}); !errors.Is(err, ErrForbidden) {
		t.Errorf("the founder after separation: %v", err)
	}
	w.setup.Policy.Roles["mix"] = Person{Key: "05", Roles: []Role{Admin, Officer}}
	if _, err := w.Use(t.Context(), w.setup, "t"); err == nil {
		t.Error("one person as admin and officer was accepted")
	}
}
