package endpoints

import (
	stdjson "encoding/json"
	"strings"
	"testing"
)

type endpoint struct {
	Profile string   `json:"profile"`
	Names   []string `json:"names,omitempty"`
}

func TestParse(t *testing.T) {
	got, err := Parse[endpoint]("est", map[string]stdjson.RawMessage{"a": stdjson.RawMessage(`{"profile":"p"}`)})
	if err != nil || len(got) != 1 || got["a"].Profile != "p" {
		t.Errorf("Parse = %v, %v", got, err)
	}
	for _, doc := range []string{`{"profiles":"p"}`, `{"profile":"p","profile":"q"}`, `{"Profile":"p"}`, `{"profile":1}`, `[]`, ``} {
		_, err := Parse[endpoint]("est", map[string]stdjson.RawMessage{"a": stdjson.RawMessage(doc)})
		if err == nil || !strings.HasPrefix(err.Error(), "frontends.est.a: ") || !strings.HasSuffix(err.Error(), "(known are profile, names)") {
			t.Errorf("%s: %v", doc, err)
		}
	}
}
