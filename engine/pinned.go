package engine

import (
	"context"
	"sync/atomic"
)

// A Pinned is the engine for frontends that were made for one policy document.
// What they admitted is decided by that document, also when another comes into
// use in that moment: no request is judged half by one and half by the other.
type Pinned struct {
	*Engine
	held atomic.Pointer[setup]
}

// Pin returns an engine that decides by the policy in use until Hold is called,
// and from then on by the one that was in use at that time.
func (e *Engine) Pin() *Pinned { return &Pinned{Engine: e} }

// Hold keeps to the policy that is in use now.
func (p *Pinned) Hold() { p.held.Store(p.setup.Load()) }

func (p *Pinned) set() *setup {
	if set := p.held.Load(); set != nil {
		return set
	}
	return p.setup.Load()
}

// Submit is Engine.Submit under the policy that is held.
func (p *Pinned) Submit(ctx context.Context, s Submission) (Disposition, error) {
	return p.submit(ctx, p.set(), s)
}

// Profiles are those of the policy that is held.
func (p *Pinned) Profiles() map[string]Profile {
	if set := p.set(); set != nil {
		return set.profiles
	}
	return nil
}
