package profile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"chancery/engine"
	"chancery/engine/names"
)

const defaultMost = 100

// compile prepares the profile for use. Most of what could be wrong with it the
// engine has checked before.
func compile(name string, e engine.Profile) (*profile, error) {
	p := &profile{Profile: e, name: name, cn: e.Subject.CN, most: e.Names.Max}
	if p.cn == "" {
		p.cn = "san"
	}
	if p.most == 0 {
		p.most = defaultMost
	}
	var wrong []error
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	var err error
	if p.purposes, err = purposeOIDs(e.ExtKeyUsage); err != nil {
		bad("eku: %w", err)
	}
	if e.Subject.Fixed != "" {
		if p.fixed, err = names.ParseDNString(e.Subject.Fixed); err != nil {
			bad("subject.fixed: %w", err)
		} else if len(p.fixed.CommonNames()) > 0 && p.cn != "drop" {
			bad("subject.fixed has a CN; with it, set subject.cn to drop")
		}
	}
	if err := e.Keys.Check(); err != nil {
		bad("keys: %w", err)
	}
	for _, q := range e.Requesters {
		if i := strings.IndexByte(string(q), '*'); i >= 0 && i != len(q)-1 {
			bad("requesters: in %q a * can only be at the end", q)
		}
	}
	return p, errors.Join(wrong...)
}

// choose finds the profile that the request is for.
func (s *shaper) choose(r *engine.Request) (*profile, *refusal) {
	usable := s.usable(r)
	want := r.Want
	if want == "" {
		want = s.fallback
	}
	if want == "" && len(usable) == 1 {
		want = usable[0]
	}
	if want == "" {
		if len(usable) == 0 {
			return nil, refuse(engine.UnknownProfile, "no profile may be asked for through %s; add %s to the frontends of one", r.Source, r.Source)
		}
		return nil, refuse(engine.UnknownProfile, "the request names no profile; ask for one of: %s", strings.Join(usable, ", "))
	}
	p := s.profiles[want]
	if p == nil {
		return nil, refuse(engine.UnknownProfile, "there is no profile %.60q; %s", want, instead(usable))
	}
	if !slices.Contains(p.Frontends, r.Source) {
		return nil, refuse(engine.UnknownProfile, "profile %s cannot be asked for through %s; %s", p.name, r.Source, instead(usable))
	}
	return p, nil
}

func instead(usable []string) string {
	if len(usable) == 0 {
		return "this requester may use none"
	}
	return "ask for one of: " + strings.Join(usable, ", ")
}

// usable lists the profiles that the requester may ask for.
func (s *shaper) usable(r *engine.Request) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.profiles)) {
		if p := s.profiles[name]; slices.Contains(p.Frontends, r.Source) && p.takes(r.Requester) {
			out = append(out, name)
		}
	}
	return out
}

// admits checks all that is not about names.
func (p *profile) admits(r *engine.Request) *refusal {
	if !p.takes(r.Requester) {
		return refuse(engine.NotAuthorized, "profile %s is not for %s; have it added to the profile's requesters, or ask for another profile", p.name, r.Requester)
	}
	if r.WantAuth != "" && r.WantAuth != p.Authority {
		if p.Authority == "" {
			return refuse(engine.UnknownProfile, "profile %s leaves no choice of authority; ask for none", p.name)
		}
		return refuse(engine.UnknownProfile, "profile %s is issued by authority %s, not %.60q; ask for that or for none", p.name, p.Authority, r.WantAuth)
	}
	if err := r.Asked.Key.Allowed(p.Keys); err != nil {
		return refuse(engine.BadKey, "%v (profile %s)", err, p.name)
	}
	return nil
}

// takes says whether the profile is for a requester. A * at the end stands for
// the rest of a principal.
func (p *profile) takes(q engine.Principal) bool {
	return len(p.Requesters) == 0 || slices.ContainsFunc(p.Requesters, func(may engine.Principal) bool {
		if prefix, ok := strings.CutSuffix(string(may), "*"); ok {
			return strings.HasPrefix(string(q), prefix)
		}
		return may == q
	})
}
