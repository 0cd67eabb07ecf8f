// Package modules lists the policies, lints and exits that a policy document can
// name, and makes them from it. Adding a module is adding a package and one line
// to [builtin].
package modules

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"chancery/engine"
	"chancery/modules/exit/file"
	"chancery/modules/exit/webhook"
	"chancery/modules/lint/pki"
	"chancery/modules/policy/keys"
	"chancery/modules/policy/profile"
)

// With is a set of modules by the names that a policy document calls them. A
// program of its own adds some with it to those that are built in.
type With struct {
	Shapers map[string]Builder[engine.Shaper]
	Judges  map[string]Builder[engine.Judge]
	Exits   map[string]Builder[engine.Exit]
	Lints   map[string]engine.Lint // run for every certificate, and are not configured
}

// builtin is every module of Chancery's own: one line each.
func builtin() With {
	return With{
		Shapers: map[string]Builder[engine.Shaper]{
			"profile": Of(profile.New),
		},
		Judges: map[string]Builder[engine.Judge]{
			"keys": Of(keys.New),
		},
		Exits: map[string]Builder[engine.Exit]{
			"file":    Of(file.New),
			"webhook": Of(webhook.New),
		},
		Lints: map[string]engine.Lint{
			"pki": pki.Check,
		},
	}
}

// What runs when a policy document leaves a list empty.
const (
	defaultShaper = "profile"
	defaultJudge  = "keys"
)

// Build makes the modules that the policy document names. All that is wrong with
// them is in the error, one line each. deps.Profiles may hold profiles that are
// not in the document: Chancery's own.
func Build(policy engine.Policy, deps engine.Deps, extra With) (engine.Setup, error) {
	all, err := merge(builtin(), extra)
	if err != nil {
		return engine.Setup{}, err
	}
	deps.Profiles = profiles(policy, deps.Profiles)
	shape, judge := policy.Decide.Shape, policy.Decide.Judge
	if len(shape) == 0 {
		shape = []engine.Module{{Name: defaultShaper}}
	}
	if len(judge) == 0 {
		judge = []engine.Module{{Name: defaultJudge}}
	}
	shapers, err1 := buildAll("policy.shape", all.Shapers, shape, deps)
	judges, err2 := buildAll("policy.judge", all.Judges, judge, deps)
	exits, err3 := buildAll("exit", all.Exits, policy.Exit, deps)
	if err := errors.Join(err1, err2, err3); err != nil {
		return engine.Setup{}, err
	}
	s := engine.Setup{Policy: policy, Shapers: shapers, Judges: judges}
	for _, name := range slices.Sorted(maps.Keys(all.Lints)) {
		s.Lints = append(s.Lints, engine.Step[engine.Lint]{Name: name, Run: all.Lints[name]})
	}
	for _, x := range exits {
		s.Exits = append(s.Exits, engine.Outlet{Name: x.Name, Exit: x.Run})
	}
	return s, nil
}

// Configs are the settings of the modules by name, each as its zero value, for
// whoever checks a document against them.
type Configs struct {
	Shape map[string]any // under policy.shape
	Judge map[string]any // under policy.judge
	Exit  map[string]any // under exit
}

// ConfigTypes lists the settings of all modules.
func ConfigTypes(extra With) (Configs, error) {
	all, err := merge(builtin(), extra)
	if err != nil {
		return Configs{}, err
	}
	return Configs{configs(all.Shapers), configs(all.Judges), configs(all.Exits)}, nil
}

func configs[M any](of map[string]Builder[M]) map[string]any {
	out := make(map[string]any, len(of))
	for name, b := range of {
		out[name] = b.Config
	}
	return out
}

// merge adds a program's own modules. One cannot take the place of a built-in
// one: a document must mean the same wherever it is read.
func merge(own, extra With) (With, error) {
	return own, errors.Join(
		add("shaper", own.Shapers, extra.Shapers),
		add("judge", own.Judges, extra.Judges),
		add("exit", own.Exits, extra.Exits),
		add("lint", own.Lints, extra.Lints))
}

func add[M any](kind string, to, from map[string]M) error {
	for name, m := range from {
		if _, taken := to[name]; taken {
			return fmt.Errorf("the %s %q is built in; give yours another name", kind, name)
		}
		to[name] = m
	}
	return nil
}

// profiles are Chancery's own and the policy's, these with the authority that
// each falls back to, so that a shaper need not know the authorities.
func profiles(p engine.Policy, own map[string]engine.Profile) map[string]engine.Profile {
	fallback := ""
	if _, ok := p.Authorities["main"]; ok {
		fallback = "main"
	}
	if len(p.Authorities) == 1 {
		for fallback = range p.Authorities {
		}
	}
	out := make(map[string]engine.Profile, len(own)+len(p.Profiles))
	maps.Copy(out, own)
	for name, f := range p.Profiles {
		if f.Authority == "" {
			f.Authority = fallback
		}
		out[name] = f
	}
	return out
}

// buildAll makes the modules of one list of the document, in its order. The
// second of a name is called name#2.
func buildAll[M any](where string, known map[string]Builder[M], list []engine.Module, deps engine.Deps) ([]engine.Step[M], error) {
	var out []engine.Step[M]
	var wrong []error
	times := map[string]int{}
	for _, m := range list {
		b, ok := known[m.Name]
		if !ok {
			wrong = append(wrong, unknown(where, m.Name, slices.Sorted(maps.Keys(known))))
			continue
		}
		run, err := b.build(m.Config, deps)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %s: %w", where, m.Name, err))
			continue
		}
		name := m.Name
		if times[name]++; times[name] > 1 {
			name += "#" + strconv.Itoa(times[name])
		}
		out = append(out, engine.Step[M]{Name: name, Run: run, Waits: b.Waits})
	}
	return out, errors.Join(wrong...)
}
