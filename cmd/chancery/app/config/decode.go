package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxDocument is far more than anybody writes by hand; it bounds what a wrong
// file costs.
const maxDocument = 1 << 20

// maxDepth is far deeper than any setting lies.
const maxDepth = 32

// Open says what lies under keys whose Go type leaves it open. Every function
// may be nil.
type Open struct {
	// Module is the type of the configuration of a module in a list, which is
	// named by the key that the list stands under (shape, judge, exit). Known
	// are the modules of that list, for suggestions.
	Module func(list, name string) (t reflect.Type, ok bool)
	Known  func(list string) []string

	// Raw is the type of the value at a path, for values that the Go type keeps
	// as raw JSON.
	Raw func(path []string) (t reflect.Type, ok bool)

	// Keys are the keys that a map at a path may have; nil: any.
	Keys func(path []string) []string
}

// Decode reads a YAML document into dst. The error, if any, is of type
// Problems. The positions are those of all keys, by dotted path.
func Decode(file string, doc []byte, dst any, open Open) (map[string]Position, error) {
	w := &walker{file: file, open: open, at: map[string]Position{}}
	root := w.parse(doc)
	if len(w.problems) > 0 {
		return w.at, w.problems.err()
	}
	tree := w.value(root, reflect.TypeOf(dst).Elem(), nil)
	if len(w.problems) > 0 {
		return w.at, w.problems.err()
	}
	if tree == nil {
		return w.at, nil // nothing but comments
	}
	b, err := json.Marshal(tree)
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		err = d.Decode(dst)
	}
	if err != nil {
		return w.at, Problems{{File: file, Message: err.Error()}}
	}
	return w.at, nil
}

type walker struct {
	file     string
	open     Open
	at       map[string]Position
	problems Problems
}

// parse returns the root node, nil for an empty document.
func (w *walker) parse(doc []byte) ast.Node {
	if len(doc) > maxDocument {
		w.problems = append(w.problems, Problem{File: w.file, Message: fmt.Sprintf("is larger than %d bytes: is this the right file?", maxDocument)})
		return nil
	}
	// Keys given twice are found by the walk, with the place of the first.
	f, err := parser.ParseBytes(doc, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		p := Problem{File: w.file, Message: "is not YAML: " + err.Error()}
		if e, ok := errors.AsType[yaml.Error](err); ok {
			p.Message = "is not YAML: " + e.GetMessage()
			if t := e.GetToken(); t != nil && t.Position != nil {
				p.Line, p.Column = t.Position.Line, t.Position.Column
			}
		}
		w.problems = append(w.problems, p)
		return nil
	}
	var root ast.Node
	for _, d := range f.Docs {
		if d.Body == nil {
			continue
		}
		if root != nil {
			w.fail(d.Body, nil, "a second document: a file holds one")
			return nil
		}
		root = d.Body
	}
	return root
}

func (w *walker) fail(n ast.Node, path []string, format string, args ...any) {
	p := Problem{File: w.file, Key: dotted(path), Message: fmt.Sprintf(format, args...)}
	if t := startOf(n); t != nil && t.Position != nil {
		p.Line, p.Column = t.Position.Line, t.Position.Column
	}
	w.problems = append(w.problems, p)
}

// startOf is the first token of a node; for a mapping in block style that is
// its first key, not the colon that the parser gives.
func startOf(n ast.Node) *token.Token {
	switch m := n.(type) {
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return m.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		return m.Key.GetToken()
	}
	return n.GetToken()
}
