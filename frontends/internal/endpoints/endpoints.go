// Package endpoints reads what a policy document says of a frontend: settings by
// the name of an endpoint.
package endpoints

import (
	stdjson "encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
)

// Parse reads the endpoints of a protocol strictly: a member that E does not have,
// or one that is repeated, is an error that says which there are.
func Parse[E any](protocol string, doc map[string]stdjson.RawMessage) (map[string]E, error) {
	all := map[string]E{}
	for name, raw := range doc {
		var e E
		if err := json.Unmarshal(raw, &e, json.RejectUnknownMembers(true)); err != nil {
			return nil, fmt.Errorf("frontends.%s.%s: %w (known are %s)", protocol, name, err, strings.Join(members(reflect.TypeFor[E]()), ", "))
		}
		all[name] = e
	}
	return all, nil
}

// members are the names that a struct has in JSON.
func members(t reflect.Type) (names []string) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}
