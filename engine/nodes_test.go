package engine

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"chancery/store"
)

// otherNode says that another node lives, with these CA keys.
func (w *world) otherNode(name string, keys ...string) *Node {
	w.t.Helper()
	n := &Node{ID: store.NewID(w.now(), w.Rand), Name: name, Keys: keys, Started: w.now(), Beat: w.now()}
	if err := w.db.Update(context.Background(), func(tx store.Tx) error { return nodes.Put(tx, n, n) }); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (w *world) nodeNames() []string {
	w.t.Helper()
	all, err := w.Nodes(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, n := range all {
		names = append(names, n.Name)
	}
	return names
}

func TestNodesAreShownAndFade(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	if err := w.Say(ctx, Node{Name: "n1", Started: w.now()}); err != nil {
		t.Fatal(err)
	}
	dead := w.otherNode("n2")
	w.advanceClock(time.Minute)
	if dead.Live(w.now()) {
		t.Error("a node that is silent for a minute is said to live")
	}
	if got := w.nodeNames(); !slices.Equal(got, []string{"n1", "n2"}) {
		t.Errorf("a node that died a minute ago is not shown: %v", got)
	}
	w.otherNode("n2") // started again
	if got := w.nodeNames(); !slices.Equal(got, []string{"n1", "n2"}) {
		t.Errorf("what died is shown beside its successor: %v", got)
	}
	w.otherNode("n2") // two that live have one name
	if got := w.nodeNames(); len(got) != 3 {
		t.Errorf("two living nodes of one name are not shown: %v", got)
	}
	w.advanceClock(25 * time.Hour)
	if err := w.Say(ctx, Node{Name: "n1", Started: w.now()}); err != nil {
		t.Fatal(err)
	}
	w.forgetNodes(ctx)
	if got := w.nodeNames(); !slices.Equal(got, []string{"n1"}) {
		t.Errorf("after a day: %v", got)
	}
	if err := w.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	if got := w.nodeNames(); len(got) != 0 {
		t.Errorf("a node that left in order is shown: %v", got)
	}
}

// A node without the CA key decides and hands over; the node with it signs at
// once. When no node has it, the request is recorded and goes on later.
func TestNodeWithoutTheKeyHandsOver(t *testing.T) {
	w := newWorld(t)
	is := w.current["main"]
	key := is.Key
	is.Key = nil

	_, err := w.Submit(t.Context(), w.submission("1", newKey(t), "a.test"))
	if !errors.Is(err, ErrNoSigner) || !errors.Is(err, ErrUndecided) {
		t.Fatalf("nobody can sign: %v", err)
	}
	w.otherNode("n2", is.keyID)
	d, err := w.Submit(t.Context(), w.submission("2", newKey(t), "b.test"))
	if p, ok := d.(Pended); !ok || p.RetryAfter != handedRetry {
		t.Fatalf("handed over: %#v %v", d, err)
	}
	p := &resumer{after: map[State]string{}, states: []State{Issuing}}
	p.pass(t.Context(), w.Engine, staleAfter)
	id := d.(Pended).RequestID
	if r, err := w.Request(t.Context(), id); err != nil || r.State != Issuing {
		t.Fatalf("without a key: %v %v", r.State, err)
	}

	// The other node, on the same records, signs while a client waits here.
	waits := make(chan Disposition, 1)
	go func() {
		d, _ := w.Retrieve(context.Background(), id, "key:tester")
		waits <- d
	}()
	conf := w.conf
	conf.Issuers = slices.Clone(conf.Issuers)
	conf.Issuers[0].Key = key
	other, err := New(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Adopt(w.setup); err != nil {
		t.Fatal(err)
	}
	p.pass(t.Context(), other, staleAfter) // not stale, but handed over
	if r, err := w.Request(t.Context(), id); err != nil || r.State != StateIssued {
		t.Errorf("handed over and not signed: %v %v", r.State, err)
	}
	if d, ok := (<-waits).(Issued); !ok {
		t.Errorf("who waited got %#v", d)
	}
	is.Key = key
	w.advanceClock(staleAfter)
	(&resumer{after: map[State]string{}, states: []State{Received}}).pass(t.Context(), w.Engine, staleAfter)
	all, _, err := w.Requests(t.Context(), RequestFilter{State: Received})
	if err != nil || len(all) != 0 {
		t.Errorf("what was recorded did not go on: %v %v", all, err)
	}
}

func TestJoin(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	mine := Join{Name: "n2", Public: []byte("key"), Made: w.now(), Expires: w.now().Add(JoinLife)}
	if err := AskToJoin(ctx, w.db, mine); err != nil {
		t.Fatal(err)
	}
	seal := func(j *Join) ([]byte, error) { return append([]byte("for "), j.Public...), nil }
	print := mine.Fingerprint()
	for _, one := range []struct {
		who         Actor
		name, print string
		want        error
	}{
		{officer("olga"), "n2", print, ErrForbidden},
		{admin, "n3", print, ErrNoJoin},
		{admin, "n2", "aaaa-bbbb-cccc-dddd", ErrFingerprint},
		{admin, "n2", "", ErrFingerprint},
	} {
		if err := w.ApproveJoin(ctx, one.who, one.name, one.print, seal); !errors.Is(err, one.want) {
			t.Errorf("%s %s: %v, want %v", one.name, one.print, err, one.want)
		}
	}
	swapped := mine
	swapped.Public = []byte("another")
	if swapped.Fingerprint() == print {
		t.Error("two keys have one fingerprint")
	}
	if err := AskToJoin(ctx, w.db, swapped); err != nil {
		t.Fatal(err)
	}
	if err := w.ApproveJoin(ctx, admin, "n2", print, seal); !errors.Is(err, ErrFingerprint) {
		t.Errorf("a key that was swapped: %v", err)
	}
	if _, err := JoinAnswer(ctx, w.db, mine); !errors.Is(err, ErrNoJoin) {
		t.Errorf("the row is another machine's: %v", err)
	}
	if err := AskToJoin(ctx, w.db, mine); err != nil {
		t.Fatal(err)
	}
	w.advanceClock(time.Second) // after the policy, as the audit tells it
	if err := w.ApproveJoin(ctx, admin, "n2", "  "+print[:4]+print[5:], seal); err != nil {
		t.Fatal(err)
	}
	if err := w.ApproveJoin(ctx, admin, "n2", print, seal); !errors.Is(err, ErrNoJoin) {
		t.Errorf("approved twice: %v", err)
	}
	j, err := JoinAnswer(ctx, w.db, mine)
	if err != nil || string(j.Answer) != "for key" {
		t.Errorf("%+v %v", j, err)
	}
	list, _, err := w.Audit(ctx, "", 10)
	if err != nil || !slices.ContainsFunc(list, func(a *AuditEntry) bool { return a.Act == "approve-node" && a.Object == "n2" && a.Detail == print }) {
		t.Errorf("not audited: %+v %v", list, err)
	}
	w.advanceClock(JoinLife + time.Second)
	w.forgetNodes(ctx)
	if _, err := JoinAnswer(ctx, w.db, mine); !errors.Is(err, ErrNoJoin) {
		t.Errorf("an answer outlived its hour: %v", err)
	}
}

func TestIssuersAreRecordedOnce(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	if err := RecordIssuers(ctx, w.db, w.conf.Issuers); err != nil {
		t.Fatal(err)
	}
	if err := RecordIssuers(ctx, w.db, w.conf.Issuers); err != nil {
		t.Errorf("again: %v", err)
	}
	var other *OtherCAError
	if err := RecordIssuers(ctx, w.db, []Issuer{newCA(t, "Another", w.now())}); !errors.As(err, &other) || other.Authority != "main" {
		t.Errorf("a second CA for main: %v", err)
	}
	all, err := RecordedIssuers(ctx, w.db)
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	for _, i := range all {
		same := slices.ContainsFunc(w.conf.Issuers, func(o Issuer) bool { return o.Authority == i.Authority && o.Chain[0].Equal(i.Chain[0]) })
		if !same || i.Key != nil {
			t.Errorf("%+v", i)
		}
	}
}

// Another node put a policy in force that this one does not use yet: a change
// made here would undo it unseen.
func TestPolicyOfAnotherNodeIsNotUndone(t *testing.T) {
	w := newWorld(t)
	other, err := New(t.Context(), w.conf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Adopt(w.setup); err != nil {
		t.Fatal(err)
	}
	change := func(name string) Setup {
		s := w.setup
		s.Policy = testPolicy()
		s.Policy.Profiles[name] = s.Policy.Profiles["web"]
		return s
	}
	theirs, err := other.Use(t.Context(), change("theirs"), "other")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Use(t.Context(), change("ours"), "test"); !errors.Is(err, ErrPolicyMoved) {
		t.Errorf("undone: %v", err)
	}
	if _, version, _ := w.PolicyDocument(); version == theirs {
		t.Error("a refused policy is in use")
	}
	if v, err := w.ActiveVersion(t.Context()); err != nil || v != theirs {
		t.Errorf("active is %s, not %s: %v", v, theirs, err)
	}
	if v, err := w.Adopt(change("theirs")); err != nil || v != theirs {
		t.Errorf("adopted %s: %v", v, err)
	}
	if _, err := w.Use(t.Context(), change("ours"), "test"); err != nil {
		t.Errorf("after catching up: %v", err)
	}
}

// A list is stale by what it lacks and not by the clock of the node that revoked.
func TestRevocationByASlowClockIsListed(t *testing.T) {
	w := newWorld(t)
	d, _ := w.issue(w.submission("1", newKey(t), "a.test"))
	is := w.current["main"]
	if err := w.refreshCRL(t.Context(), is, store.Lease{}); err != nil {
		t.Fatal(err)
	}
	first, _ := w.CRL(t.Context(), is.keyID)
	w.advanceClock(-time.Hour) // of the node that revokes
	if err := w.Revoke(t.Context(), Revocation{ID: d.ID, By: "test"}); err != nil {
		t.Fatal(err)
	}
	w.advanceClock(time.Hour)
	for range 2 {
		if err := w.refreshCRL(t.Context(), is, store.Lease{}); err != nil {
			t.Fatal(err)
		}
	}
	second, err := w.CRL(t.Context(), is.keyID)
	if err != nil || second.Number == first.Number {
		t.Fatalf("not listed: %v", err)
	}
	if n, _ := nextNumber(first.ThisUpdate, first.Number); second.Number != n.String() {
		t.Errorf("two lists for one revocation: %s after %s", second.Number, first.Number)
	}
}

// A program of another version would write the document in force in other words.
// It keeps its version, or every node would take it for another one for ever, and
// no change would be accepted.
func TestPolicyKeepsTheVersionThatItHasInTheStore(t *testing.T) {
	w := newWorld(t)
	const version = "of-another-program"
	doc, _, err := w.PolicyDocument()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.db.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(policies.Put(tx, version, doc), putSetting(tx, "policy", version))
	}); err != nil {
		t.Fatal(err)
	}
	s := w.setup
	s.Version = version
	if v, err := w.Adopt(s); err != nil || v != version {
		t.Errorf("adopted %q: %v", v, err)
	}
	if _, v, err := w.PolicyDocument(); err != nil || v != version {
		t.Errorf("in use is %q: %v", v, err)
	}
	s = w.setup
	s.Policy = testPolicy()
	s.Policy.Profiles["more"] = s.Policy.Profiles["web"]
	if _, err := w.Use(t.Context(), s, "test"); err != nil {
		t.Errorf("a change: %v", err)
	}
}

// A store that does not answer is no fault of the document: whether it is in force
// now is not known.
func TestPolicyThatTheStoreDoesNotTakeIsUndecided(t *testing.T) {
	w := newWorld(t)
	s := w.setup
	s.Policy = testPolicy()
	s.Policy.Profiles["more"] = s.Policy.Profiles["web"]
	w.db.Close()
	if _, err := w.Use(t.Context(), s, "test"); !errors.Is(err, ErrUndecided) || !errors.Is(err, store.ErrClosed) {
		t.Errorf("%v", err)
	}
}
