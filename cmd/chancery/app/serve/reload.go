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
	return s.use(ctx, by, nil)
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
	return s.use(ctx, a.Person, doc)
}

// hangUp is what SIGHUP asks for: to read policy.yaml again. Where several nodes
// share the store that file decides nothing, and what is wrong with it is said.
func (s *Server) hangUp(ctx context.Context) {
	if s.node.Shared() {
		s.node.Log.WarnContext(ctx, "SIGHUP changes no policy where several nodes share the store: use chancery apply")
		s.member.compare(ctx)
		return
	}
	if _, _, err := s.Reload(ctx, "SIGHUP"); err != nil {
		s.node.Log.ErrorContext(ctx, "the policy was not changed", "err", err)
	}
}

// takeOver makes modules and frontends for the policy in force, which another
// node put there, and swaps them in. On an error everything stays as it was.
func (s *Server) takeOver(ctx context.Context) error {
	s.applying.Lock() // nobody may be between comparing the version in use and applying
	defer s.applying.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	p, version, err := s.node.InForce(ctx)
	if err != nil || p == nil {
		return err
	}
	g, err := s.generate(*p)
	if err != nil {
		return err
	}
	if err := s.node.Adopt(*p, version); err != nil {
		return err
	}
	s.begin(ctx, g, version, "another node")
	return nil
}

// begin lets a generation take the place of the one before.
func (s *Server) begin(ctx context.Context, g *generation, version, by string, changes ...string) {
	s.enter(g)
	s.workers.start(s.base, append(g.run, s.node.Engine.Run))
	s.node.Log.InfoContext(ctx, "policy", "version", version, "by", by, "changes", fmt.Sprint(changes))
	for _, warning := range g.open {
		s.node.Log.WarnContext(ctx, warning)
	}
}

// use makes modules and frontends for a policy, and when all of them could be
// made, swaps them in. Requests under way end with the frontends and the policy
// that they began with. The policy is the document, which then becomes
// policy.yaml, or without one what that file says. All of it is one step: of
// changes that overlap, the one in force is the one in the file.
func (s *Server) use(ctx context.Context, by string, doc []byte) (version string, changes []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.policy(doc)
	if err != nil {
		return "", nil, err
	}
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
	s.begin(ctx, g, version, by, changes...)
	if doc != nil {
		err = datadir.Write(s.node.Dir.Policy(), doc, 0o600)
	}
	switch {
	case err == nil:
	case s.node.Shared(): // the records decide, not the file
		s.node.Log.WarnContext(ctx, "the policy is in force; policy.yaml could not be written", "err", err)
	default:
		return "", nil, fmt.Errorf("the policy is in force, but not after the next start: %w", err)
	}
	return version, changes, nil
}

// policy reads a document, or without one policy.yaml.
func (s *Server) policy(doc []byte) (engine.Policy, error) {
	if doc == nil {
		return config.LoadPolicy(s.node.Dir.Policy(), s.node.Open)
	}
	return config.ParsePolicy("policy", doc, s.node.Open)
}

// exposure is what people should know about who can enroll from where.
func (s *Server) exposure() []string {
	if g := s.current.Load(); g != nil {
		return g.open
	}
	return nil
}
