package acme

import (
	"slices"
	"testing"

	"chancery/engine/names"
	"chancery/frontends/internal/jose"
)

func FuzzOrderPayload(f *testing.F) {
	f.Add([]byte(anOrder))
	f.Add([]byte(`{"identifiers":[{"type":"dns","value":"*.example.org"},{"type":"ip","value":"192.0.2.1"}],"notBefore":"0001-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"identifiers":[{"type":"dns","value":"a","value":"b"}]}`))
	f.Add([]byte(`null`))
	a := admission{ordinary: true, special: true, subdomains: true}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var in struct {
			Identifiers []identifier `json:"identifiers"`
			NotBefore   string       `json:"notBefore"`
			NotAfter    string       `json:"notAfter"`
			Profile     *string      `json:"profile"`
		}
		c := &call{msg: &jose.Message{Payload: payload}}
		if err := c.decode(&in); err != nil {
			return
		}
		if err := checkDates(in.NotBefore, in.NotAfter); err != nil && asProblem(err) == nil {
			t.Errorf("no problem: %v", err)
		}
		all, err := a.parseIdentifiers(in.Identifiers, nil)
		if err != nil {
			p := asProblem(err)
			if p == nil {
				t.Fatalf("no problem: %v", err)
			}
			for _, s := range p.Subproblems {
				if len(s.Identifier.Value) > 256 || len(s.Identifier.Type) > 32 {
					t.Errorf("%q is shown", s.Identifier)
				}
			}
			return
		}
		for _, w := range all {
			if again, err := names.Parse(w.name.Type, w.name.Value); err != nil || again != w.name || fromStored(stored(w.name)) != w.name {
				t.Errorf("%v is not canonical", w.name)
			}
			if w.ancestor != "" && !slices.Contains(above(w.name), w.ancestor) {
				t.Errorf("%s is not above %v", w.ancestor, w.name)
			}
		}
		if len(all) == 0 || len(all) > names.MaxNames {
			t.Errorf("%d names", len(all))
		}
	})
}
