package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"chancery/store"
)

// A Freeze stops issuing. Scope is "all", "authority:NAME", "profile:NAME" or
// "grant:ID".
type Freeze struct {
	Scope  string    `json:"scope"`
	Reason string    `json:"reason"` // shown to clients
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

// freezeList is one row with all of them, so that the decision commit reads one
// document.
type freezeList struct {
	Freezes []Freeze `json:"f"`
}

const freezeKey = "all"

var freezes = store.Table[freezeList]{Name: "freezes", Version: 1, Key: func(*freezeList) string { return freezeKey }}

// frozen returns a *FrozenError if what the outcome would issue is frozen. It
// runs inside the decision commit.
func (e *Engine) frozen(tx store.Tx, o *outcome) error {
	l, err := freezes.Get(tx, freezeKey)
	if store.Missing(err) {
		return nil
	} else if err != nil {
		return err
	}
	scopes := []string{"all", "authority:" + o.draft.Authority, "profile:" + o.draft.Profile}
	for _, g := range o.grants {
		scopes = append(scopes, "grant:"+g)
	}
	for _, f := range l.Freezes {
		if slices.Contains(scopes, f.Scope) && o.issuer.Authority != ManagementAuthority {
			return &FrozenError{f.Scope, f.Reason}
		}
	}
	return nil
}

// Freeze stops issuing in a scope. What is decided already is still finished,
// and revocation stays alive; people's own certificates are not affected.
func (e *Engine) Freeze(ctx context.Context, a Actor, scope, reason string) error {
	if err := a.Require(Admin, Officer, Operator); err != nil {
		return err
	}
	if err := e.checkScope(scope); err != nil {
		return err
	}
	if strings.TrimSpace(reason) == "" {
		return fmt.Errorf("%w: say why; clients are shown the reason", ErrBadInput)
	}
	return e.changeFreezes(ctx, a, "freeze", scope, reason, func(l []Freeze) []Freeze {
		return append(without(l, scope), Freeze{scope, reason, a.Person, e.now()})
	})
}

// Thaw ends a freeze.
func (e *Engine) Thaw(ctx context.Context, a Actor, scope string) error {
	if err := a.Require(Admin, Officer, Operator); err != nil {
		return err
	}
	return e.changeFreezes(ctx, a, "thaw", scope, "", func(l []Freeze) []Freeze { return without(l, scope) })
}

// Freezes lists what is frozen.
func (e *Engine) Freezes(ctx context.Context) ([]Freeze, error) {
	var l *freezeList
	err := e.view(ctx, func(tx store.Tx) (err error) {
		l, err = freezes.Get(tx, freezeKey)
		return err
	})
	if store.Missing(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return l.Freezes, nil
}

func (e *Engine) changeFreezes(ctx context.Context, a Actor, act, scope, reason string, fn func([]Freeze) []Freeze) error {
	err := e.update(ctx, func(tx store.Tx) error {
		old, err := freezes.Get(tx, freezeKey)
		if store.Missing(err) {
			err = freezes.Insert(tx, &freezeList{fn(nil)})
		} else if err == nil {
			err = freezes.Put(tx, old, &freezeList{fn(old.Freezes)})
		}
		if err != nil {
			return err
		}
		return e.audit(tx, a, act, scope, reason)
	})
	if err == nil {
		e.Log.WarnContext(ctx, act, "scope", scope, "by", a.Person, "reason", reason)
	}
	return err
}

func (e *Engine) checkScope(scope string) error {
	kind, name, _ := strings.Cut(scope, ":")
	set := e.setup.Load()
	switch kind {
	case "all":
		if name == "" {
			return nil
		}
	case "authority":
		if e.current[name] != nil {
			return nil
		}
	case "profile":
		if _, ok := set.profiles[name]; ok {
			return nil
		}
	case "grant":
		if store.ValidID(name) {
			return nil
		}
	}
	return fmt.Errorf("%w: the scope is all, authority:NAME, profile:NAME or grant:ID of one that exists, not %.60q", ErrBadInput, scope)
}

func without(l []Freeze, scope string) []Freeze {
	return slices.DeleteFunc(slices.Clone(l), func(f Freeze) bool { return f.Scope == scope })
}
