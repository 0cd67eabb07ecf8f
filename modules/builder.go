package modules

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	strict "github.com/go-json-experiment/json"

	"chancery/engine"
	"chancery/engine/nearest"
)

// A Builder makes a module of one kind from its settings. Make one with Of.
type Builder[M any] struct {
	config reflect.Type // of the settings
	waits  bool
	build  func(settings json.RawMessage, deps engine.Deps) (M, error)
}

// Of makes a Builder of a module's constructor. The document may hold only
// settings that are fields of C.
func Of[C, M any](construct func(C, engine.Deps) (M, error)) Builder[M] {
	return Builder[M]{config: reflect.TypeFor[C](), build: func(settings json.RawMessage, deps engine.Deps) (m M, err error) {
		var c C
		if len(settings) != 0 {
			if err := strict.Unmarshal(settings, &c, strict.RejectUnknownMembers(true)); err != nil {
				return m, settingsError(err, reflect.TypeFor[C]())
			}
		}
		return construct(c, deps)
	}}
}

// Waiting is b for a module that may wait for something outside the process, as
// one that asks another server does. A request is then recorded before it is
// decided, at the cost of one more commit.
func (b Builder[M]) Waiting() Builder[M] {
	b.waits = true
	return b
}

// settingsError says of what the decoder refused where it is and what to write.
func settingsError(err error, config reflect.Type) error {
	var s *strict.SemanticError
	if !errors.As(err, &s) {
		return err
	}
	at := strings.ReplaceAll(strings.TrimPrefix(string(s.JSONPointer), "/"), "/", ".")
	if !errors.Is(s.Err, strict.ErrUnknownName) {
		if s.Err == nil {
			return fmt.Errorf("%s: must not be of type %s", orSettings(at), s.JSONKind)
		}
		return fmt.Errorf("%s: %w", orSettings(at), s.Err)
	}
	if strings.Contains(at, ".") { // within a setting: its own type knows its fields
		return fmt.Errorf("there is no setting %s", strconv.QuoteToASCII(at))
	}
	known := settings(config)
	if len(known) == 0 {
		return fmt.Errorf("there is no setting %s; this module has none", strconv.QuoteToASCII(at))
	}
	return fmt.Errorf("there is no setting %s%s; there are: %s", strconv.QuoteToASCII(at), didYouMean(at, known), strings.Join(known, ", "))
}

func orSettings(at string) string {
	if at == "" {
		return "settings"
	}
	return at
}

// settings lists the names of a configuration's fields in the document.
func settings(config reflect.Type) []string {
	if config.Kind() != reflect.Struct {
		return nil
	}
	var out []string
	for f := range config.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		if f.IsExported() && name != "-" {
			out = append(out, name)
		}
	}
	return out
}

// unknown says that a document names a module that is not there.
func unknown(where, name string, known []string) error {
	return fmt.Errorf("%s: no module is called %s%s; there are: %s", where, strconv.QuoteToASCII(name), didYouMean(name, known), strings.Join(known, ", "))
}

// didYouMean suggests the nearest of the known words, if one is near.
func didYouMean(word string, known []string) string {
	if best := nearest.Word(word, known); best != "" {
		return ", did you mean " + best + "?"
	}
	return ""
}
