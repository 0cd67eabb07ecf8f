package native

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/engine"
)

// fakeNodes are nodes that the test made up.
type fakeNodes struct {
	nodes    []*engine.Node
	joins    []*engine.Join
	approved []string
	err      error
}

func (f *fakeNodes) Nodes(context.Context) ([]*engine.Node, error) { return f.nodes, nil }
func (f *fakeNodes) Joins(context.Context) ([]*engine.Join, error) { return f.joins, nil }
func (f *fakeNodes) Approve(_ context.Context, a engine.Actor, name, fingerprint string) (string, error) {
	f.approved = append(f.approved, a.Person+" "+name+" "+fingerprint)
	return "seal-id", f.err
}

func TestWhatIsWrongWithNodes(t *testing.T) {
	now := testNow
	node := func(id, name, policy string, started, beat time.Duration, problems ...string) *engine.Node {
		return &engine.Node{ID: id, Name: name, Policy: policy, Started: now.Add(started), Beat: now.Add(beat), Keys: []string{"k1"}, Problems: problems}
	}
	views := viewNodes([]*engine.Node{
		node("1", "good", "v2", -time.Hour, -time.Second),
		node("2", "old", "v1", -time.Hour, -time.Second, "its own word"),
		node("3", "dead", "v1", -time.Hour, -time.Minute),
		node("4", "ahead", "v2", -time.Hour, time.Minute),
		node("5", "twin", "v2", -time.Minute, -time.Second),
		node("6", "twin", "v2", -time.Hour, -time.Second),
		node("7", "restarted", "v2", -2*time.Second, -time.Second),
		node("8", "restarted", "v2", -time.Hour, -3*time.Second),
	}, []engine.AuthorityInfo{{Name: "main", KeyID: "k1"}, {Name: "other", KeyID: "k2"}}, "v2", now)
	want := []string{"", "its own word; it uses policy version v1", "it has been silent for 1m0s", "its clock is 1m0s ahead", "same name", "same name", "", ""}
	for i, v := range views {
		got := strings.Join(v.Problems, "; ")
		if (want[i] == "") != (got == "") || !strings.Contains(got, want[i]) {
			t.Errorf("%s: %q, want %q", v.Name, got, want[i])
		}
		if v.Live == (v.Name == "dead") || len(v.Signs) != 1 || v.Signs[0] != "main" {
			t.Errorf("%+v", v)
		}
	}
}

func TestApprovingANode(t *testing.T) {
	b := newBench(t)
	nodes := &fakeNodes{joins: []*engine.Join{{Name: "n2", Public: []byte("k")}}}
	admin := b.person(engine.Admin)
	post := func(body string) (int, string) {
		w := b.do(b.admin, ask{method: "POST", target: "/api/v1/nodes/n2/approve", cert: admin, body: body})
		return w.Code, w.Body.String()
	}
	if code, _ := post(`{"fingerprint":"aaaa"}`); code != http.StatusNotFound {
		t.Errorf("without nodes: %d", code)
	}
	b.front.d.Nodes = nodes
	for _, one := range []struct {
		body string
		err  error
		code int
	}{
		{`{}`, nil, http.StatusBadRequest},
		{`{"fingerprint":"` + strings.Repeat("a", 65) + `"}`, nil, http.StatusNotFound},
		{`{"fingerprint":"aaaa-bbbb"}`, engine.ErrFingerprint, http.StatusConflict},
		{`{"fingerprint":"aaaa-bbbb"}`, engine.ErrNoJoin, http.StatusNotFound},
		{`{"fingerprint":"aaaa-bbbb"}`, nil, http.StatusOK},
	} {
		nodes.err = one.err
		if code, text := post(one.body); code != one.code {
			t.Errorf("%s: %d, want %d: %s", one.body, code, one.code, text)
		}
	}
	if len(nodes.approved) != 3 || !strings.HasSuffix(nodes.approved[0], " n2 aaaa-bbbb") {
		t.Errorf("%q", nodes.approved)
	}
	// The list does not tell the fingerprint: who approves reads it on the new
	// machine, or it would prove nothing.
	w := b.do(b.admin, ask{method: "GET", target: "/api/v1/nodes", cert: admin})
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"n2"`) || strings.Contains(w.Body.String(), nodes.joins[0].Fingerprint()) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
