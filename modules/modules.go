// Package modules lists the policies, lints and exits that a policy document can
// name, and makes them from it. Adding a module is adding a package and one line
// to [builtin].
package modules

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"chancery/engine"
	"chancery/modules/exit/file"
	"chancery/modules/exit/webhook"
	"chancery/modules/lint/pki"
	"chancery/modules/policy/caa"
	"chancery/modules/policy/keys"
	"chancery/modules/policy/profile"
	"chancery/modules/policy/public"
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
			"caa":    Of(caa.New).Waiting(),
			"keys":   Of(keys.New),
			"public": Of(public.New),
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

// Build makes the modules that the policy document names, for its profiles. All
// that is wrong with them is in the error, one line each.
func Build(policy engine.Policy, deps engine.Deps, extra With) (engine.Setup, error) {
	all, err := merge(builtin(), extra)
	if err != nil {
		return engine.Setup{}, err
	}
	if deps.Profiles, err = policy.EffectiveProfiles(); err != nil {
		return engine.Setup{}, err
	}
	shape, judge := policy.Decide.Shape, policy.Decide.Judge
	if len(shape) == 0 {
		shape = []engine.Module{{Name: defaultShaper}}
	}
	if len(judge) == 0 {
		judge = []engine.Module{{Name: defaultJudge}}
	}
	judge = withNeeded(judge, deps.Profiles)
	deps.CAAIdentities = policy.CAAIdentities
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

// withNeeded adds the judges that profiles ask for in words of their own: no list
// can leave them out. They come last, so that what they ask the network is as
// fresh as it can be.
func withNeeded(judge []engine.Module, profiles map[string]engine.Profile) []engine.Module {
	need := map[string]bool{}
	for _, p := range profiles {
		need["public"] = need["public"] || p.Public
		need["caa"] = need["caa"] || p.ChecksCAA()
	}
	for _, name := range []string{"public", "caa"} {
		if need[name] && !slices.ContainsFunc(judge, func(m engine.Module) bool { return m.Name == name }) {
			judge = append(slices.Clip(judge), engine.Module{Name: name})
		}
	}
	return judge
}

// Configs are the types of the modules' settings, by the key of the list in the
// document (shape, judge, exit) and the name of the module.
type Configs map[string]map[string]reflect.Type

// ConfigTypes are the settings of all modules, for whoever checks a document
// against them before anything is made from it.
func ConfigTypes(extra With) (Configs, error) {
	all, err := merge(builtin(), extra)
	return Configs{"shape": types(all.Shapers), "judge": types(all.Judges), "exit": types(all.Exits)}, err
}

// Type is the type of the settings of one module.
func (c Configs) Type(list, name string) (t reflect.Type, ok bool) {
	t, ok = c[list][name]
	return t, ok
}

// Names lists the modules that a list may have.
func (c Configs) Names(list string) []string { return slices.Sorted(maps.Keys(c[list])) }

func types[M any](of map[string]Builder[M]) map[string]reflect.Type {
	out := make(map[string]reflect.Type, len(of))
	for name, b := range of {
		out[name] = b.config
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
		out = append(out, engine.Step[M]{Name: name, Run: run, Waits: b.waits})
	}
	return out, errors.Join(wrong...)
}
