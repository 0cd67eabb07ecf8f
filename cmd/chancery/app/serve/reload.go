package serve

import (
	"context"
	"fmt"

	"chancery/cmd/chancery/app/config"
	"chancery/cmd/chancery/app/datadir"
	"chancery/engine"
)

// Reload reads policy.yaml again and decides with it from now on. On an error
// everything stays as it was.
func (s *Server) Reload(ctx context.Context, by string) (version string, changes []string, err error) {
	p, err := config.LoadPolicy(s.node.Dir.Policy(), s.node.Open)
	if err != nil {
		return "", nil, err
	}
	return s.use(ctx, p, by)
}

// Apply is Reload with a document that an administrator sent; it then takes the
// place of policy.yaml, so that it is in force after the next start too. Without
// one, it is Reload.
func (s *Server) Apply(ctx context.Context, a engine.Actor, doc []byte) (version string, changes []string, err error) {
	if err := a.Require(engine.Admin); err != nil {
		return "", nil, err
	}
	if len(doc) == 0 {
		return s.Reload(ctx, a.Person)
	}
	p, err := config.ParsePolicy("policy", doc, s.node.Open)
	if err != nil {
		return "", nil, err
	}
	if version, changes, err = s.use(ctx, p, a.Person); err != nil {
		return "", nil, err
	}
	return version, changes, datadir.Write(s.node.Dir.Policy(), doc, 0o600)
}

// use makes modules and frontends for a policy, and when all of them could be
// made, swaps them in.
func (s *Server) use(ctx context.Context, p engine.Policy, by string) (version string, changes []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if changes, err = s.node.Engine.Changes(&p); err != nil {
		return "", nil, err
	}
	g, err := s.generate(p)
	if err != nil {
		return "", nil, err
	}
	if version, err = s.node.Use(ctx, p, by); err != nil {
		return "", nil, err
	}
	s.current.Store(g)
	s.workers.start(s.base, append(g.run, s.node.Engine.Run))
	s.node.Log.InfoContext(ctx, "policy", "version", version, "by", by, "changes", fmt.Sprint(changes))
	for _, warning := range g.open {
		s.node.Log.WarnContext(ctx, warning)
	}
	return version, changes, nil
}

// exposure is what people should know about who can enroll from where.
func (s *Server) exposure() []string {
	if g := s.current.Load(); g != nil {
		return g.open
	}
	return nil
}
