package serve

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/cmd/chancery/app/config"
	"chancery/cmd/chancery/app/datadir"
	"chancery/cmd/chancery/app/node"
	"chancery/engine"
	"chancery/store/postgres/pgtest"
)

// newMember is a server on a shared database that does not answer yet. The first
// makes the CA; the others get its seal as join brings it.
func newMember(t *testing.T, name, dsn string, first *Server) *Server {
	t.Helper()
	n, _ := newNode(t, func(o *node.Options) {
		o.File = filepath.Join(t.TempDir(), "conf.yaml")
		write(t, o.File, "node: "+name+"\nstore: {postgres: {dsn: '"+dsn+"'}}\n")
		for _, f := range Builtin() {
			o.Tables = append(o.Tables, f.Tables...)
		}
		if first == nil {
			return
		}
		seal, err := os.ReadFile(first.node.Dir.Seal())
		if err == nil {
			err = errors.Join(o.Dir.Make(), os.WriteFile(o.Dir.Seal(), seal, 0o600), o.Dir.WriteMarker(datadir.Initialized{}))
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if err := n.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	return quietServer(t, n)
}

func (s *Server) inUse(t *testing.T) string {
	t.Helper()
	_, version, err := s.node.Engine.PolicyDocument()
	if err != nil {
		t.Fatal(err)
	}
	return version
}

func TestPolicyGoesFromNodeToNode(t *testing.T) {
	dsn := pgtest.DSN(t)
	a := newMember(t, "n1", dsn, nil)
	b := newMember(t, "n2", dsn, a)
	admin := engine.Actor{Person: "ada", Roles: []engine.Role{engine.Admin}}
	text, err := os.ReadFile(a.node.Dir.Policy())
	if err != nil {
		t.Fatal(err)
	}
	old := b.inUse(t)
	if a.inUse(t) != old {
		t.Fatal("the nodes begin with different policies")
	}

	// What b cannot use: a secret that is not on this machine.
	write(t, a.node.Dir.Path("hook.secret"), "0123456789abcdef0123456789abcdef")
	hooked := strings.Replace(string(text), "  - file: {path: issued}\n", "  - file: {path: issued}\n  - webhook: {url: 'http://127.0.0.1:1/', secret_file: hook.secret}\n", 1)
	first, _, err := a.Apply(t.Context(), admin, []byte(hooked))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.member.follow(t.Context(), true); err == nil {
		t.Fatal("a policy without its secret is used")
	}
	problems := strings.Join(b.member.self().Problems, "; ")
	if b.inUse(t) != old || !strings.Contains(problems, "cannot use policy version "+first) || !strings.Contains(problems, "hook.secret") {
		t.Errorf("in use %s, problems %s", b.inUse(t), problems)
	}
	// Whoever asks b to change what b does not use is refused.
	if _, _, err := b.Apply(t.Context(), admin, text); !errors.Is(err, engine.ErrPolicyMoved) {
		t.Errorf("applied over what this node does not use: %v", err)
	}
	if err := b.member.follow(t.Context(), false); err != nil {
		t.Errorf("tried again at once: %v", err)
	}
	write(t, b.node.Dir.Path("hook.secret"), "0123456789abcdef0123456789abcdef")
	if err := b.member.follow(t.Context(), true); err != nil || b.inUse(t) != first {
		t.Errorf("with the secret: %v", err)
	}
	if p := strings.Join(b.member.self().Problems, "; "); strings.Contains(p, "cannot use") {
		t.Errorf("still a problem: %s", p)
	}
	write(t, a.node.Dir.Policy(), strings.Replace(hooked, "validity: 7d", "validity: 6d", 1))
	a.hangUp(t.Context())
	if a.inUse(t) != first {
		t.Error("SIGHUP changed a shared policy")
	}
	// And from b to a.
	second, _, err := b.Apply(t.Context(), admin, text)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.member.follow(t.Context(), true); err != nil || a.inUse(t) != second {
		t.Errorf("a follows: %v", err)
	}
	a.member.compare(t.Context())
	if p := strings.Join(a.member.self().Problems, "; "); !strings.Contains(p, "policy.yaml is not the policy in force") {
		t.Errorf("the file is not reported: %s", p)
	}
	// The records decide: that the file cannot be written is no failure.
	file := b.node.Dir.Policy()
	if err := errors.Join(os.Remove(file), os.MkdirAll(filepath.Join(file, "in the way"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if v, _, err := b.Apply(t.Context(), admin, []byte(hooked)); err != nil || v != first {
		t.Errorf("without the file: version %s, %v", v, err)
	}
}

func TestTwoNodesOfOneName(t *testing.T) {
	dsn := pgtest.DSN(t)
	a := newMember(t, "same", dsn, nil)
	b := newMember(t, "same", dsn, a)
	b.member.started = b.member.started.Add(-time.Minute) // long ago
	for _, s := range []*Server{a, b} {
		s.member.say(t.Context())
	}
	b.member.say(t.Context())
	if !b.member.told {
		t.Error("two nodes of one name, and nobody said so")
	}
	all, err := b.member.Nodes(t.Context())
	if err != nil || len(all) != 2 {
		t.Errorf("%v %v", all, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.member.run(ctx) // ends, and leaves
	if all, err = b.member.Nodes(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("after one ended: %v %v", all, err)
	}
}

// A node without the CA key has its own certificate signed by another.
func TestOwnCertificateFromAnotherNode(t *testing.T) {
	dsn := pgtest.DSN(t)
	a := newMember(t, "n1", dsn, nil)
	b := newMember(t, "n2", dsn, a)
	if keys := b.node.Engine.SignsWith(); len(keys) > 0 {
		t.Fatalf("n2 has keys: %v", keys)
	}
	if why := b.unready(t.Context()); len(why) == 0 || !strings.Contains(why[0], "no node that runs has the key") {
		t.Errorf("ready without anybody to sign: %v", why)
	}
	a.member.say(t.Context())
	a.workers.start(a.base, []func(context.Context) error{a.node.Engine.Run})
	if err := b.tls.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	end := time.After(20 * time.Second)
	for len(b.unready(t.Context())) > 0 {
		select {
		case <-end:
			t.Fatalf("not ready: %v", b.unready(t.Context()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// newTestServer is a server with listeners of its own that does nothing yet.
func newTestServer(t *testing.T, n *node.Node) (*Server, *listeners) {
	t.Helper()
	l, err := listen(config.Listen{HTTPS: "127.0.0.1:0", HTTP: "127.0.0.1:0", Admin: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	n.HTTPS = "https://" + l.https.Addr().String()
	s, err := newServer(n, Builtin(), l)
	if err != nil {
		t.Fatal(err)
	}
	return s, l
}

// quietServer is a server that does not answer, but has what its workers need.
func quietServer(t *testing.T, n *node.Node) *Server {
	t.Helper()
	s, _ := newTestServer(t, n)
	var stop context.CancelFunc
	s.base, stop = context.WithCancel(context.Background())
	t.Cleanup(func() {
		stop()
		s.workers.end()
	})
	return s
}
