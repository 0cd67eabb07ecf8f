package config

import (
	"fmt"
	"slices"
	"strings"

	"chancery/engine/nearest"
)

// A Problem is one thing wrong in a document, with its place.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"` // 0: the whole file
	Column  int    `json:"column,omitempty"`
	Key     string `json:"key,omitempty"` // such as profiles.trial.validity
	Message string `json:"message"`       // what is wrong, and what to write instead
}

func (p Problem) String() string {
	place := p.File
	if p.Line > 0 {
		place = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
	if p.Key != "" {
		return fmt.Sprintf("%s: %s: %s", place, p.Key, p.Message)
	}
	return place + ": " + p.Message
}

// Problems is the error that lists all of them, in the order of the document.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

// err is nil when there is no problem.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	slices.SortStableFunc(p, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return p
}

// A Position is where in a file a key stands.
type Position struct{ Line, Column int }

// suggestion says which of the known words somebody may have meant, or which
// there are when none is near.
func suggestion(word string, known []string) string {
	switch best := nearest.Word(word, known); {
	case best != "":
		return fmt.Sprintf("; did you mean %s?", best)
	case len(known) == 0:
		return ""
	}
	sorted := slices.Sorted(slices.Values(known))
	return "; known here: " + strings.Join(sorted, ", ")
}
