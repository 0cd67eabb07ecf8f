// Package pki holds the lint rules that no configuration turns off: what
// RFC 5280 forbids in an end-entity certificate, and what this authority forbids
// itself beyond that. They read the finished bytes with a parser of their own,
// so that a mistake of the encoder does not hide itself.
package pki

import (
	"context"
	"slices"

	"chancery/engine"
)

// Severities of a rule. An error blocks the certificate, a warning is recorded.
const (
	blocks = "error"
	warns  = "warn"
)

// A rule looks at one property. It returns what is wrong, or nothing.
type rule struct {
	name     string
	citation string
	severity string
	check    func(*certificate) string
}

// Check runs all rules over one end-entity certificate in DER, whose signature
// may be a placeholder. What cannot be parsed is a finding, not an error.
func Check(ctx context.Context, der []byte) ([]engine.Finding, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(der) > maxSize {
		return []engine.Finding{{Rule: "size", Severity: blocks, Detail: "certificate is longer than 32 KiB (own limit)"}}, nil
	}
	c, problem := parse(der)
	if problem != "" {
		return []engine.Finding{{Rule: "form", Severity: blocks, Detail: problem + " (RFC 5280, Section 4.1)"}}, nil
	}
	var found []engine.Finding
	for _, group := range [...][]rule{bodyRules(), keyRules(), nameRules(), altNameRules(), extensionRules(), usageRules()} {
		found = run(found, group, c)
	}
	if !slices.ContainsFunc(found, func(f engine.Finding) bool { return f.Severity == blocks }) {
		// A second reading can only repeat what the rules have said already.
		found = run(found, secondReading(), c)
	}
	return found, nil
}

func run(found []engine.Finding, rules []rule, c *certificate) []engine.Finding {
	for i := range rules {
		r := &rules[i]
		if detail := r.check(c); detail != "" {
			found = append(found, engine.Finding{Rule: r.name, Severity: r.severity, Detail: detail + " (" + r.citation + ")"})
		}
	}
	return found
}

const maxSize = 32 << 10
