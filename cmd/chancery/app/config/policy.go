package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"chancery/engine"
)

// LoadPolicy reads a CA policy document. It reports every error: those of form
// with their place, and what the engine would refuse.
func LoadPolicy(file string, open Open) (engine.Policy, error) {
	doc, err := os.ReadFile(file)
	if err != nil {
		return engine.Policy{}, fmt.Errorf("cannot read the CA policy: %w", err)
	}
	return ParsePolicy(file, doc, open)
}

// ParsePolicy is LoadPolicy for a document that is in memory. The file is its
// name in errors.
func ParsePolicy(file string, doc []byte, open Open) (engine.Policy, error) {
	var p engine.Policy
	at, err := Decode(file, doc, &p, open)
	if err != nil {
		return p, err
	}
	if err := errors.Join(p.Check(), checkEndpoints(&p)); err != nil {
		return p, located(file, at, err)
	}
	return p, nil
}

// checkEndpoints finds profiles that an endpoint names and that are not there,
// or cannot be asked for through its protocol.
func checkEndpoints(p *engine.Policy) error {
	var errs []error
	for source, endpoints := range p.Frontends {
		for name, raw := range endpoints {
			var e struct {
				Profiles []string `json:"profiles"`
			}
			if json.Unmarshal(raw, &e) != nil {
				continue // not how this frontend has it
			}
			for i, profile := range e.Profiles {
				key := fmt.Sprintf("frontends.%s.%s.profiles.%d", source, name, i)
				pr, ok := p.Profiles[profile]
				switch {
				case !ok && !strings.HasPrefix(profile, "chancery-"):
					errs = append(errs, fmt.Errorf("%s: there is no profile %s%s", key, profile, suggestion(profile, slices.Collect(maps.Keys(p.Profiles)))))
				case ok && !slices.Contains(pr.Frontends, source):
					errs = append(errs, fmt.Errorf("%s: profile %s is not for %s; add it to profiles.%s.frontends", key, profile, source, profile))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// located gives errors the place of the longest key that their text begins with,
// as in "profiles.trial: eku: …".
func located(file string, at map[string]Position, err error) error {
	var all Problems
	for _, e := range Flatten(err) {
		p := Problem{File: file, Message: e.Error()}
		text, best := strings.ReplaceAll(e.Error(), ": ", ".")+".", ""
		for key := range at {
			if len(key) > len(best) && strings.HasPrefix(text, key+".") {
				best = key
			}
		}
		if best != "" {
			p.Line, p.Column = at[best].Line, at[best].Column
		} else if key, _, ok := strings.Cut(e.Error(), ": "); ok {
			p.Line, p.Column = position(at, key)
		}
		all = append(all, p)
	}
	return all.err()
}

// position is the place of the longest part of a key that stands in the document.
func position(at map[string]Position, key string) (line, column int) {
	for key != "" {
		if pos, ok := at[key]; ok {
			return pos.Line, pos.Column
		}
		key = key[:max(strings.LastIndexByte(key, '.'), 0)]
	}
	return 0, 0
}

// Flatten takes apart what errors.Join put together.
func Flatten(err error) []error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, Flatten(e)...)
		}
		return all
	}
	return []error{err}
}
