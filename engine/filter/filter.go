// Package filter is the one grammar in which people select requests and
// certificates:
//
//	state = pending and received before -7d
//	name = *.corp.example and not (profile = web or revoked)
//	expires before +30d and requester = "account:01k81i18g08nqp9b7h943la181"
//
// A condition is a field, an operator and a value, or the name of a flag alone.
// Conditions are joined by and, which binds closer, and or; not stands before
// one or before parentheses. Texts are compared by = and !=, where * stands for
// any characters. Times are compared by before (or <) and after (or >), which
// includes the time itself; they are days, times as in RFC 3339, now, or
// relative to now, as +30d and -12h.
//
// The package knows no fields: whoever parses names them.
package filter

import (
	"slices"
	"strings"
	"time"
)

// What a filter may have: octets, conditions, and parentheses in one another.
const (
	MaxLength = 2000
	maxTerms  = 50
	maxDepth  = 20
)

// A Kind says how a field is compared.
type Kind int

// The kinds.
const (
	Text   Kind = iota // = and !=
	Moment             // before and after
	Flag               // by its name alone
)

// A Field is what conditions can be about.
type Field struct {
	Name  string
	Kind  Kind
	Words []string // the only values of a text; nil: any

	// Fold returns the form in which records have a value without *, or an error
	// for one that none can have. Nil: as it is.
	Fold func(string) (string, error)
}

// An Op is how a condition compares.
type Op string

// The operators. Is is that of flags.
const (
	Equal   Op = "="
	Unequal Op = "!="
	Before  Op = "before"
	After   Op = "after"
	Is      Op = ""
)

// A Term is one condition.
type Term struct {
	Field string
	Op    Op
	Value string // of a text
	When  Time   // of a moment
}

// Exact reports whether the value of a text has no *.
func (t Term) Exact() bool { return !strings.Contains(t.Value, "*") }

// A Time is absolute, or relative to when the filter is used.
type Time struct {
	At     time.Time // zero: relative
	Offset time.Duration
	text   string
}

// From is the time, where now is the other.
func (t Time) From(now time.Time) time.Time {
	if t.At.IsZero() {
		return now.Add(t.Offset)
	}
	return t.At
}

// A Value is what a record has in a field, by the field's kind. A moment that is
// zero is none, and no condition on it is met.
type Value struct {
	Texts []string // one of them is enough
	Time  time.Time
	Flag  bool
}

// An Expr is a filter. The nil Expr selects everything.
type Expr struct{ root *node }

// A node is a term, or joins others.
type node struct {
	join string // "and", "or", "not"; empty: term
	kids []*node
	term Term
}

// Match reports whether a record is selected at a time. It asks get for the
// fields that it needs, in the order in which they are written, and returns its
// error.
func (x *Expr) Match(now time.Time, get func(field string) (Value, error)) (bool, error) {
	if x == nil {
		return true, nil
	}
	return x.root.match(now, get)
}

func (n *node) match(now time.Time, get func(string) (Value, error)) (bool, error) {
	switch n.join {
	case "":
		v, err := get(n.term.Field)
		return err == nil && n.term.meets(v, now), err
	case "not":
		ok, err := n.kids[0].match(now, get)
		return !ok, err
	}
	or := n.join == "or"
	for _, kid := range n.kids {
		if ok, err := kid.match(now, get); err != nil || ok == or {
			return ok, err
		}
	}
	return !or, nil
}

func (t Term) meets(v Value, now time.Time) bool {
	switch t.Op {
	case Is:
		return v.Flag
	case Before:
		return !v.Time.IsZero() && v.Time.Before(t.When.From(now))
	case After:
		return !v.Time.IsZero() && !v.Time.Before(t.When.From(now))
	}
	some := slices.ContainsFunc(v.Texts, func(s string) bool { return like(t.Value, s) })
	return some == (t.Op == Equal)
}

// like compares a text with a pattern, in which * stands for any characters. It
// takes time in proportion to their product at most.
func like(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, parts[last])
}

// Must lists the conditions that everything selected meets: what an index can be
// chosen by.
func (x *Expr) Must() []Term {
	if x == nil {
		return nil
	}
	return x.root.must(nil)
}

func (n *node) must(all []Term) []Term {
	switch n.join {
	case "":
		all = append(all, n.term)
	case "and":
		for _, kid := range n.kids {
			all = kid.must(all)
		}
	}
	return all
}

// Fields lists the fields that the filter asks about.
func (x *Expr) Fields() []string {
	var all []string
	var walk func(*node)
	walk = func(n *node) {
		if n.join == "" && !slices.Contains(all, n.term.Field) {
			all = append(all, n.term.Field)
		}
		for _, kid := range n.kids {
			walk(kid)
		}
	}
	if x != nil {
		walk(x.root)
	}
	return all
}

// String writes the filter in its plainest form, which Parse reads.
func (x *Expr) String() string {
	if x == nil {
		return ""
	}
	return x.root.String()
}

func (n *node) String() string {
	switch n.join {
	case "":
		return n.term.String()
	case "not":
		return "not " + n.kids[0].within("not")
	}
	parts := make([]string, len(n.kids))
	for i, kid := range n.kids {
		parts[i] = kid.within(n.join)
	}
	return strings.Join(parts, " "+n.join+" ")
}

// within writes a part of something, in parentheses if it binds less.
func (n *node) within(join string) string {
	if n.join == "" || n.join == "not" || join == "or" && n.join == "and" {
		return n.String()
	}
	return "(" + n.String() + ")"
}

func (t Term) String() string {
	switch t.Op {
	case Is:
		return t.Field
	case Before, After:
		return t.Field + " " + string(t.Op) + " " + t.When.text
	}
	return t.Field + " " + string(t.Op) + " " + quoted(t.Value)
}

// quoted writes a value as a word if it is one.
func quoted(s string) string {
	if s != "" && !strings.ContainsAny(s, special) {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
