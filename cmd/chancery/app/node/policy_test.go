package node

import (
	"bytes"
	"testing"

	"chancery/engine"
)

// A newer program's document says what this one does not know. That may be a
// restriction, so this node does not use the rest of it.
func TestPolicyOfANewerProgramIsNotUsedInPart(t *testing.T) {
	p := engine.Policy{Authorities: map[string]engine.Authority{"main": {}}, Profiles: map[string]engine.Profile{"web": {}}}
	doc, _, err := p.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	back, err := readPolicy(doc)
	if err != nil {
		t.Fatalf("our own: %v", err)
	}
	if again, _, err := back.Canonical(); err != nil || !bytes.Equal(again, doc) {
		t.Errorf("it is not the same: %s, %v", again, err)
	}
	for name, newer := range map[string][]byte{
		"beside profiles": bytes.Replace(doc, []byte(`{"auth`), []byte(`{"forbid":["x"],"auth`), 1),
		"in a profile":    bytes.Replace(doc, []byte(`"web":{`), []byte(`"web":{"only_on":"monday",`), 1),
	} {
		if bytes.Equal(newer, doc) {
			t.Fatal("nothing was added")
		}
		if _, err := readPolicy(newer); err == nil {
			t.Errorf("%s: it was left out", name)
		}
	}
}
