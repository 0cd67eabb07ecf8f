package serve

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"chancery/cmd/chancery/app/datadir"
	"chancery/engine"
)

// A member is this node among those that share the store: it says that it lives
// and what is wrong with it, and takes up the policy that another put in force.
type member struct {
	s       *Server
	started time.Time

	mu     sync.Mutex
	at     datadir.Addresses
	differ string // which file here is not in force
	cannot string // why the policy in force cannot be used here
	failed string // its version
	told   bool   // that another node has our name
	said   string // version of the policy in the last beat; only run and what comes before it look
}

const (
	followEvery = time.Second
	retryPolicy = time.Minute // a policy that could not be used may be one day: a file was missing
	leaveTime   = 2 * time.Second
)

// listens notes where this node is found.
func (m *member) listens(at datadir.Addresses) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = at
}

// run beats and follows until ctx is done, and then takes this node off the list.
func (m *member) run(ctx context.Context) {
	look := time.NewTicker(followEvery)
	defer look.Stop()
	beat, again, compared := m.s.node.Now(), time.Time{}, m.s.node.Now()
	for {
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
			defer cancel()
			if err := m.s.node.Engine.Leave(ctx); err != nil {
				m.s.node.Log.WarnContext(ctx, "this node could not be taken off the list", "err", err)
			}
			return
		case <-look.C:
		}
		now := m.s.node.Now()
		if err := m.follow(ctx, now.After(again)); err != nil {
			again = now.Add(retryPolicy)
		}
		_, used, _ := m.s.node.Engine.PolicyDocument()
		if d := now.Sub(compared); d >= time.Minute || d < 0 || used != m.said {
			compared = now
			m.compare(ctx)
		}
		if d := now.Sub(beat); d >= engine.BeatEvery || d < 0 || used != m.said { // d < 0: the clock was put back
			beat = now
			m.say(ctx)
		}
	}
}

// follow takes up the policy in force if it is another than the one in use here.
// One that could not be used before is tried only again.
func (m *member) follow(ctx context.Context, again bool) error {
	_, used, err := m.s.node.Engine.PolicyDocument()
	if err != nil {
		return nil
	}
	version, err := m.s.node.Engine.ActiveVersion(ctx)
	if err != nil {
		return nil // what keeps the store from answering is said by say
	}
	if version == used {
		m.could(nil, "")
		return nil
	}
	m.mu.Lock()
	skip := m.failed == version && !again
	m.mu.Unlock()
	if skip {
		return nil
	}
	err = m.s.takeOver(ctx)
	m.could(err, version)
	if err != nil && ctx.Err() == nil {
		m.s.node.Log.ErrorContext(ctx, "the policy in force cannot be used on this node, which goes on with the one before", "version", version, "err", err)
	}
	return err
}

func (m *member) could(err error, version string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cannot, m.failed = "", ""; err != nil {
		m.cannot, m.failed = fmt.Sprintf("it cannot use policy version %s: %v", version, err), version
	}
}

// compare looks whether policy.yaml here is the policy in force.
func (m *member) compare(ctx context.Context) {
	_, used, err := m.s.node.Engine.PolicyDocument()
	if err != nil {
		return
	}
	d := m.s.node.Differs(used)
	m.mu.Lock()
	defer m.mu.Unlock()
	if d != "" && d != m.differ {
		m.s.node.Log.WarnContext(ctx, "a file is not in force", "differs", d)
	}
	m.differ = d
}

// say tells the others that this node lives, in one Update for all of it.
func (m *member) say(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, engine.BeatEvery)
	defer cancel()
	self := m.self()
	if err := m.s.node.Engine.Say(ctx, self); err != nil {
		if ctx.Err() == nil || context.Cause(ctx) == context.DeadlineExceeded {
			m.s.node.Log.WarnContext(ctx, "this node could not say that it lives", "err", err)
		}
		return
	}
	m.said = self.Policy
	m.alone(ctx, self)
}

// alone says once when another node has the name of this one: what names nodes in
// records would then be worth nothing.
func (m *member) alone(ctx context.Context, self engine.Node) {
	all, err := m.s.node.Engine.Nodes(ctx)
	if err != nil {
		return
	}
	clash := slices.ContainsFunc(all, func(n *engine.Node) bool {
		return n.Name == self.Name && n.ID != m.s.node.Engine.Process() && n.Beat.Sub(m.started) > engine.BeatEvery
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	if clash && !m.told {
		m.s.node.Log.ErrorContext(ctx, "another node runs under the same name: give each its own (node: in chancery.yaml)", "node", self.Name)
	}
	m.told = clash
}

// self is what this node has to say.
func (m *member) self() engine.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.s.node
	self := engine.Node{
		ID: n.Engine.Process(), Name: n.Settings.Node, Version: n.Version, HTTPS: m.at.HTTPS, HTTP: m.at.HTTP, Admin: m.at.Admin,
		Keys: n.Engine.SignsWith(), Started: m.started, Beat: n.Now().UTC(),
	}
	_, self.Policy, _ = n.Engine.PolicyDocument()
	lonely := ""
	if n.Shared() && n.Settings.PublicURL.HTTP == "" {
		lonely = "public_url.http is not set: what it decides names this node alone as the place of CRLs and OCSP"
	}
	for _, p := range []string{m.differ, m.cannot, lonely} {
		if p != "" {
			self.Problems = append(self.Problems, p)
		}
	}
	return self
}

// Nodes lists the processes that serve the store.
func (m *member) Nodes(ctx context.Context) ([]*engine.Node, error) {
	if !m.s.node.Shared() {
		self := m.self()
		return []*engine.Node{&self}, nil
	}
	return m.s.node.Engine.Nodes(ctx)
}

// Joins lists the machines that wait to become nodes.
func (m *member) Joins(ctx context.Context) ([]*engine.Join, error) {
	return m.s.node.Engine.Joins(ctx)
}

// Approve encrypts the shared key to a machine that waits.
func (m *member) Approve(ctx context.Context, a engine.Actor, name, fingerprint string) (string, error) {
	seal := m.s.node.Seal
	err := m.s.node.Engine.ApproveJoin(ctx, a, name, fingerprint, func(j *engine.Join) ([]byte, error) {
		return seal.Wrap(j.Name, j.Public)
	})
	if err != nil {
		return "", err
	}
	return seal.ID()
}
