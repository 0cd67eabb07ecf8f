package node_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/cmd/chancery/app/backend"
	"chancery/cmd/chancery/app/config"
	"chancery/cmd/chancery/app/datadir"
	"chancery/cmd/chancery/app/join"
	"chancery/cmd/chancery/app/node"
	"chancery/engine"
	"chancery/store/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// A place is a data directory with settings that name a database.
type place struct {
	t *testing.T
	node.Options
	said bytes.Buffer
}

func newPlace(t *testing.T, name, dsn string) *place {
	t.Helper()
	p := &place{t: t}
	p.Options = node.Options{
		Dir: datadir.Dir(filepath.Join(t.TempDir(), "data")), File: filepath.Join(t.TempDir(), "conf.yaml"),
		Rand: rand.Reader, Stderr: &p.said, Now: time.Now, Say: t.Logf,
	}
	p.write(p.File, "node: "+name+"\nstore: {postgres: {dsn: '"+dsn+"'}}\n")
	return p
}

func (p *place) write(path, text string) {
	p.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// try starts a node as serve does.
func (p *place) try() (*node.Node, error) {
	n, err := node.Prepare(p.t.Context(), p.Options, false)
	if err == nil {
		err = n.Start(p.t.Context(), "http://127.0.0.1:1")
	}
	if err == nil {
		err = n.Finish(p.t.Context())
		p.t.Cleanup(func() { _ = n.Close() })
	}
	return n, err
}

func (p *place) start() *node.Node {
	p.t.Helper()
	n, err := p.try()
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// join makes p a node of what n serves.
func (p *place) join(n *node.Node) error {
	set, err := config.LoadNode(p.File, true)
	if err != nil {
		p.t.Fatal(err)
	}
	o := join.Options{Dir: p.Dir, Settings: set, Version: "test", Now: time.Now, Look: 10 * time.Millisecond}
	approve := make(chan error, 1)
	o.Say = func(format string, args ...any) {
		if strings.HasPrefix(format, "fingerprint") {
			err := n.Engine.ApproveJoin(p.t.Context(), engine.Actor{Person: "ada", Roles: []engine.Role{engine.Admin}}, set.Node, args[0].(string),
				func(j *engine.Join) ([]byte, error) { return n.Seal.Wrap(j.Name, j.Public) })
			approve <- err
		}
	}
	if err := o.Check(); err != nil {
		return err
	}
	if err := join.Run(p.t.Context(), o, n.DB); err != nil {
		return err
	}
	return <-approve
}

func TestOneFirstStartWins(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	var all []*place
	for _, name := range []string{"n1", "n2", "n3"} {
		all = append(all, newPlace(t, name, dsn))
	}
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, p := range all {
		wg.Go(func() { _, errs[i] = p.try() })
	}
	wg.Wait()
	winners := 0
	for i, p := range all {
		_, seal := os.Stat(p.Dir.Seal())
		switch {
		case errs[i] == nil:
			winners++
		case !strings.Contains(errs[i].Error(), "chancery node join"):
			t.Errorf("refused without saying what to do: %v", errs[i])
		case seal == nil:
			t.Error("a loser keeps a seal")
		}
	}
	if winners != 1 {
		t.Fatalf("%d first starts made a CA: %v", winners, errs)
	}
}

// What a first start left when it was interrupted is taken up by the same data
// directory, and by no other.
func TestAFirstStartGoesOn(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	p := newPlace(t, "n1", dsn)
	n := p.start()
	if err := os.Remove(p.Dir.Marker()); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := newPlace(t, "n2", dsn).try(); err == nil || !strings.Contains(err.Error(), "chancery node join") {
		t.Errorf("another machine: %v", err)
	}
	again := p.start()
	if there, err := datadir.Exists(p.Dir.Marker()); err != nil || !there {
		t.Error("the first start did not end", err)
	}
	if got := again.Policy.Authorities; len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestJoinedNode(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	a, b := newPlace(t, "n1", dsn), newPlace(t, "n2", dsn)
	first := a.start()
	if err := b.join(first); err != nil {
		t.Fatal(err)
	}
	if err := b.join(first); err == nil || !strings.Contains(err.Error(), "is there") {
		t.Errorf("joined twice: %v", err)
	}
	if rows, err := first.Engine.Joins(t.Context()); err != nil || len(rows) != 0 {
		t.Errorf("rows are left: %v %v", rows, err)
	}
	second := b.start()
	if keys := second.Engine.SignsWith(); len(keys) != 0 {
		t.Errorf("it signs with %v", keys)
	}
	if keys := first.Engine.SignsWith(); len(keys) != 2 {
		t.Errorf("the first node signs with %v", keys)
	}
	x, _ := first.Engine.Authorities(t.Context())
	y, err := second.Engine.Authorities(t.Context())
	if err != nil || len(x) != len(y) {
		t.Fatal(y, err)
	}
	for i := range x {
		if x[i].KeyID != y[i].KeyID || len(x[i].Chain) != len(y[i].Chain) {
			t.Errorf("authority %s is another on the joined node", x[i].Name)
		}
	}
	// A certificate that is not this CA's.
	pem, err := os.ReadFile(b.Dir.CACert("management"))
	if err != nil {
		t.Fatal(err)
	}
	b.write(b.Dir.CACert("main"), string(pem))
	if _, err := b.try(); err == nil || !strings.Contains(err.Error(), "do not belong together") {
		t.Errorf("another CA's certificate: %v", err)
	}
}

func TestWrongSealIsRefused(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "n1", pgtest.DSN(t))
	n := p.start()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(p.Dir.Seal()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Dir.MakeSeal(rand.Reader); err != nil {
		t.Fatal(err)
	}
	if _, err := p.try(); err == nil || !strings.Contains(err.Error(), "is not the key that these records were made with") {
		t.Error(err)
	}
}

// On a shared store policy.yaml decides once. After that what was applied is in
// force, and a file that differs is reported.
func TestOnlyApplyChangesASharedPolicy(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "n1", pgtest.DSN(t))
	n := p.start()
	_, version, _ := n.Engine.PolicyDocument()
	if d := n.Differs(version); d != "" {
		t.Errorf("right after the first start: %s", d)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(p.Dir.Policy())
	if err != nil {
		t.Fatal(err)
	}
	p.write(p.Dir.Policy(), strings.Replace(string(text), "validity: 7d", "validity: 6d", 1))
	again := p.start()
	if _, v, _ := again.Engine.PolicyDocument(); v != version {
		t.Error("a changed file was obeyed")
	}
	if d := again.Differs(version); !strings.Contains(d, "is not the policy in force") || !strings.Contains(p.said.String(), "is not the policy in force") {
		t.Errorf("not reported: %q\n%s", d, &p.said)
	}
	p.write(p.Dir.Policy(), "nonsense: {")
	if d := again.Differs(version); !strings.Contains(d, "has errors") {
		t.Errorf("a broken file: %q", d)
	}
	if err := os.Remove(p.Dir.Policy()); err != nil {
		t.Fatal(err)
	}
	if d := again.Differs(version); d != "" {
		t.Errorf("no file: %q", d)
	}
	// Another version of the document is what every node starts with.
	changed := again.Policy
	changed.Retention.Trails = engine.Duration(48 * time.Hour)
	want, err := again.Use(t.Context(), changed, "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if _, v, _ := p.start().Engine.PolicyDocument(); v != want {
		t.Errorf("started with %s, not %s", v, want)
	}
}

// An answer that was made for another store's records brings nothing here.
func TestJoinRefusesAnotherSeal(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	n := newPlace(t, "n1", dsn).start()
	stranger := datadir.Dir(t.TempDir())
	if _, err := stranger.MakeSeal(rand.Reader); err != nil {
		t.Fatal(err)
	}
	seal := n.Seal
	var err error
	if n.Seal, err = stranger.ReadSeal(); err != nil {
		t.Fatal(err)
	}
	b := newPlace(t, "n2", dsn)
	if err := b.join(n); err == nil || !strings.Contains(err.Error(), "somebody changed the records") {
		t.Errorf("another seal: %v", err)
	}
	if there, _ := datadir.Exists(b.Dir.Seal()); there {
		t.Error("it was written all the same")
	}
	n.Seal = seal
	if err := b.join(n); err != nil {
		t.Errorf("and then the right one: %v", err)
	}
}

func TestWhoCannotJoin(t *testing.T) {
	t.Parallel()
	set := config.Node{Node: "n2", Store: config.Store{Postgres: &config.Postgres{DSN: config.Secret(pgtest.DSN(t))}}}
	db, err := backend.Open(t.Context(), set, "", backend.Options{}, node.Schemas(nil)...)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	o := join.Options{Dir: datadir.Dir(filepath.Join(t.TempDir(), "data")), Settings: set, Now: time.Now, Say: t.Logf}
	if err := join.Run(t.Context(), o, db); err == nil || !strings.Contains(err.Error(), "chancery init") {
		t.Errorf("a store without a CA: %v", err)
	}
	n := newPlace(t, "n1", pgtest.DSN(t)).start()
	if err := n.Engine.Say(t.Context(), engine.Node{Name: "n2", Started: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := join.Run(t.Context(), o, n.DB); err == nil || !strings.Contains(err.Error(), "another name") {
		t.Errorf("the name of a node that runs: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	o.Settings.Node = "n3"
	o.Say = func(string, ...any) { cancel() } // Ctrl-C while it waits
	if err := join.Run(ctx, o, n.DB); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if rows, err := n.Engine.Joins(t.Context()); err != nil || len(rows) != 0 {
		t.Errorf("an interrupted join leaves its row: %v %v", rows, err)
	}
	for _, name := range []string{"a b", "", "-x", "n/1", strings.Repeat("x", 70)} {
		o.Settings.Node = name
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), "no name for a node") {
			t.Errorf("%q: %v", name, err)
		}
	}
	if there, _ := datadir.Exists(string(o.Dir)); there {
		t.Error("a data directory was made")
	}
}
