package config

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"chancery/engine"
)

// LoadPolicy reads a CA policy document. It reports every error: those of form
// with their place, and what the engine would refuse.
func LoadPolicy(file string, open Open) (engine.Policy, error) {
	var p engine.Policy
	doc, err := os.ReadFile(file)
	if err != nil {
		return p, fmt.Errorf("cannot read the CA policy: %w", err)
	}
	at, err := Decode(file, doc, &p, open)
	if err != nil {
		return p, err
	}
	if err := p.Check(); err != nil {
		return p, located(file, at, err)
	}
	return p, nil
}

// located gives errors the place of the longest key that their text begins with.
func located(file string, at map[string]Position, err error) error {
	var all Problems
	for _, e := range flatten(err) {
		p := Problem{File: file, Message: e.Error()}
		best := ""
		for key := range at {
			if len(key) > len(best) && mentions(e.Error(), key) {
				best = key
			}
		}
		if best != "" {
			p.Line, p.Column = at[best].Line, at[best].Column
		}
		all = append(all, p)
	}
	return all.err()
}

// mentions reports whether a message names a key such as profiles.trial, in
// any of the ways that people write it: with a dot, a space, or in quotes.
func mentions(message, key string) bool {
	text := strings.NewReplacer(`"`, "", ": ", ".", " ", ".").Replace(message)
	return strings.HasPrefix(text, key) || strings.HasPrefix(text, singular(key))
}

// singular is "profile.trial" for "profiles.trial".
func singular(key string) string {
	head, rest, _ := strings.Cut(key, ".")
	switch head {
	case "profiles":
		head = "profile"
	case "authorities":
		head = "authority"
	case "roles":
		head = "role"
	}
	if rest == "" {
		return head
	}
	return head + "." + rest
}

// flatten takes apart what errors.Join put together.
func flatten(err error) []error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	return []error{err}
}
