package config

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"chancery/engine"
)

var (
	moduleType = reflect.TypeFor[engine.Module]()
	rawType    = reflect.TypeFor[json.RawMessage]()
	textType   = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonType   = reflect.TypeFor[json.Unmarshaler]()
)

func dotted(path []string) string { return strings.Join(path, ".") }

// with returns path and one more step, never in the memory of path.
func with(path []string, step string) []string {
	return append(path[:len(path):len(path)], step)
}

// value checks a node against a type and returns it as encoding/json would
// decode it. What it returns after a problem is not used.
func (w *walker) value(n ast.Node, t reflect.Type, path []string) any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return nil
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		w.fail(n, path, "anchors and aliases are not read here: write the value out")
		return nil
	case *ast.TagNode:
		w.fail(n, path, "tags are not read here: write the plain value")
		return nil
	}
	if len(path) > maxDepth {
		w.fail(n, path[:1], "is nested too deeply")
		return nil
	}
	switch {
	case t == moduleType:
		return w.module(n, path)
	case t == rawType:
		if w.open.Raw != nil {
			if under, ok := w.open.Raw(path); ok {
				return w.value(n, under, path)
			}
		}
		return w.any(n, path)
	case reflect.PointerTo(t).Implements(jsonType):
		return w.custom(n, t, path)
	case reflect.PointerTo(t).Implements(textType):
		return w.text(n, t, path)
	}
	switch t.Kind() {
	case reflect.Struct:
		return w.object(n, path, fieldsOf(t), nil)
	case reflect.Map:
		return w.object(n, path, nil, t.Elem())
	case reflect.Slice, reflect.Array:
		return w.list(n, t.Elem(), path)
	case reflect.Interface:
		return w.any(n, path)
	}
	return w.scalar(n, t, path)
}

// fieldsOf are the keys of a struct with the types of their values.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			for k, v := range fieldsOf(f.Type) {
				fields[k] = v
			}
		case !f.IsExported():
		case name == "":
			fields[f.Name] = f.Type
		default:
			fields[name] = f.Type
		}
	}
	return fields
}

// pairsOf lists the members of a mapping; ok is false when n is not one.
func pairsOf(n ast.Node) (pairs []*ast.MappingValueNode, ok bool) {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	}
	return nil, false
}

// object walks a mapping: of known fields, or, when fields is nil, of any keys
// with values of type elem.
func (w *walker) object(n ast.Node, path []string, fields map[string]reflect.Type, elem reflect.Type) any {
	pairs, ok := pairsOf(n)
	if !ok {
		w.fail(n, path, "expects keys with values under it, indented")
		return nil
	}
	var known []string
	if fields != nil {
		for k := range fields {
			known = append(known, k)
		}
	} else if w.open.Keys != nil {
		known = w.open.Keys(path)
	}
	out := make(map[string]any, len(pairs))
	seen := make(map[string]int, len(pairs))
	for _, p := range pairs {
		key, ok := w.key(p, path, seen)
		if !ok {
			continue
		}
		under := with(path, key)
		t := elem
		if fields != nil {
			t, ok = fields[key]
		} else if known != nil {
			ok = slices.Contains(known, key)
		}
		if !ok {
			w.fail(p.Key, under, "unknown key%s", suggestion(key, known))
			continue
		}
		pos := p.Key.GetToken().Position
		w.at[dotted(under)] = Position{pos.Line, pos.Column}
		if v := w.value(p.Value, t, under); v != nil {
			out[key] = v
		}
	}
	return out
}

// key returns the key of a pair, unless it was there before or is no plain text.
// Seen are the lines of the keys before it.
func (w *walker) key(p *ast.MappingValueNode, path []string, seen map[string]int) (string, bool) {
	s, ok := p.Key.(ast.ScalarNode)
	if !ok || p.Key.IsMergeKey() {
		w.fail(p.Key, path, "a key here is plain text; anchors, aliases and merges are not read")
		return "", false
	}
	key := scalarText(s)
	if first, twice := seen[key]; twice {
		w.fail(p.Key, with(path, key), "is given twice, first in line %d: keep one", first)
		return "", false
	}
	seen[key] = p.Key.GetToken().Position.Line
	return key, true
}

func (w *walker) list(n ast.Node, elem reflect.Type, path []string) any {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		w.fail(n, path, "expects a list, such as [a, b] or lines that begin with a hyphen")
		return nil
	}
	out := make([]any, 0, len(s.Values))
	for i, v := range s.Values {
		under := with(path, strconv.Itoa(i))
		if t := startOf(v); t != nil && t.Position != nil {
			w.at[dotted(under)] = Position{t.Position.Line, t.Position.Column}
		}
		out = append(out, w.value(v, elem, under))
	}
	return out
}

// module reads "name" or "name: {settings}".
func (w *walker) module(n ast.Node, path []string) any {
	list := path[max(0, len(path)-2)] // the key above the index
	name, settings := "", ast.Node(nil)
	where := n
	if s, ok := n.(ast.ScalarNode); ok {
		name = scalarText(s)
	} else if pairs, ok := pairsOf(n); ok && len(pairs) == 1 {
		name, settings, where = pairs[0].Key.GetToken().Value, pairs[0].Value, pairs[0].Key
	} else {
		w.fail(n, path, `a module is its name, or one "name: {settings}"`)
		return nil
	}
	if w.open.Module == nil {
		if settings == nil {
			return name
		}
		return map[string]any{name: w.any(settings, with(path, name))}
	}
	t, ok := w.open.Module(list, name)
	if !ok {
		var known []string
		if w.open.Known != nil {
			known = w.open.Known(list)
		}
		w.fail(where, path, "there is no %s module %q%s", list, name, suggestion(name, known))
		return nil
	}
	if settings == nil {
		return name
	}
	v := w.value(settings, t, with(path, name))
	if v == nil {
		v = map[string]any{}
	}
	return map[string]any{name: v}
}

// custom is for types that read their JSON themselves.
func (w *walker) custom(n ast.Node, t reflect.Type, path []string) any {
	v := w.any(n, path)
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, reflect.New(t).Interface())
	}
	if err != nil {
		w.fail(n, path, "%s", err)
	}
	return v
}

// text is for types that read themselves from text.
func (w *walker) text(n ast.Node, t reflect.Type, path []string) any {
	s, ok := n.(ast.ScalarNode)
	if !ok {
		w.fail(n, path, "expects one word or text")
		return nil
	}
	v := scalarText(s)
	if err := reflect.New(t).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(v)); err != nil {
		w.fail(n, path, "%s", err)
	}
	return v
}

func (w *walker) scalar(n ast.Node, t reflect.Type, path []string) any {
	s, ok := n.(ast.ScalarNode)
	if !ok {
		w.fail(n, path, "expects one value")
		return nil
	}
	v := scalarText(s)
	switch t.Kind() {
	case reflect.String:
		if _, isBool := n.(*ast.BoolNode); isBool {
			w.fail(n, path, "expects text: put it in quotes")
			return nil
		}
		return v
	case reflect.Bool:
		if b, isBool := n.(*ast.BoolNode); isBool {
			return b.Value
		}
		w.fail(n, path, "expects true or false, not %.40q", v)
	case reflect.Float32, reflect.Float64:
		if f, err := strconv.ParseFloat(v, t.Bits()); err == nil {
			return f
		}
		w.fail(n, path, "expects a number, not %.40q", v)
	default:
		return w.integer(n, t, path, v)
	}
	return nil
}

func (w *walker) integer(n ast.Node, t reflect.Type, path []string, v string) any {
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if i, err := strconv.ParseInt(v, 10, t.Bits()); err == nil {
			return i
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if i, err := strconv.ParseUint(v, 10, t.Bits()); err == nil {
			return i
		}
	default:
		panic(fmt.Sprintf("config: no reading for %s", t)) // a settings type that nobody thought of
	}
	w.fail(n, path, "expects a whole number, not %.40q", v)
	return nil
}

// any takes a value as it is written.
func (w *walker) any(n ast.Node, path []string) any {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return w.object(n, path, nil, reflect.TypeFor[any]())
	case *ast.SequenceNode:
		return w.list(n, reflect.TypeFor[any](), path)
	case *ast.BoolNode:
		return n.Value
	case *ast.IntegerNode:
		return json.Number(n.GetToken().Value)
	case ast.ScalarNode:
		return scalarText(n)
	}
	w.fail(n, path, "cannot be read here")
	return nil
}

// scalarText is the text of a scalar as it was written: 1.10 stays 1.10.
func scalarText(s ast.ScalarNode) string {
	switch n := s.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	}
	return s.GetToken().Value
}
