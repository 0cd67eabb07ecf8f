package config

import (
	"reflect"
	"strings"
	"testing"

	"chancery/engine"
)

type fileConfig struct {
	Path string `json:"path"`
}

type endpoint struct {
	Profiles     []string `json:"profiles"`
	RequireGrant bool     `json:"require_grant"`
	Max          int      `json:"max"`
}

var testOpen = Open{
	Module: func(list, name string) (reflect.Type, bool) {
		switch list + "/" + name {
		case "exit/file":
			return reflect.TypeFor[fileConfig](), true
		case "shape/profile", "judge/keys":
			return reflect.TypeFor[struct{}](), true
		}
		return nil, false
	},
	Known: func(list string) []string {
		return map[string][]string{"exit": {"file"}, "shape": {"profile"}, "judge": {"keys"}}[list]
	},
	Raw: func(path []string) (reflect.Type, bool) { return reflect.TypeFor[endpoint](), true },
	Keys: func(path []string) []string {
		if dotted(path) == "frontends" {
			return []string{"acme", "native"}
		}
		return nil
	},
}

func TestEveryErrorHasItsPlace(t *testing.T) {
	tests := []struct {
		name, doc string
		want      []string // each a line of the error, in order
	}{
		{"unknown key", "profiles:\n  a:\n    valdity: 7d\n", []string{"f:3:5: profiles.a.valdity: unknown key; did you mean validity?"}},
		{"all of them", "authoritys: {}\nprofiles:\n  a: {ekus: [x], frontend: [acme]}\n",
			[]string{"f:1:1: authoritys: unknown key; did you mean authorities?", "f:3:7: profiles.a.ekus: unknown key; did you mean eku?", "f:3:18: profiles.a.frontend: unknown key; did you mean frontends?"}},
		{"nothing near", "retention: {colour: red}\n", []string{"f:1:13: retention.colour: unknown key; known here: deliveries, orders, trails"}},
		{"twice", "retention:\n  orders: 1d\n  orders: 2d\n", []string{"f:3:3: retention.orders: is given twice, first in line 2: keep one"}},
		{"anchor", "profiles:\n  a: &x {validity: 7d}\n  b: *x\n", []string{"f:2:6: profiles.a: anchors", "f:3:6: profiles.b: anchors"}},
		{"merge", "profiles:\n  b:\n    <<: {validity: 7d}\n", []string{"f:3:5: profiles.b: a key here is plain text"}},
		{"tag", "profiles: !!map {}\n", []string{"f:1:11: profiles: tags are not read"}},
		{"duration", "profiles:\n  a: {validity: soon}\n", []string{`f:2:17: profiles.a.validity: "soon" is not a duration`}},
		{"pattern", "profiles:\n  a:\n    names:\n      allow: ['*.*']\n", []string{"f:4:15: profiles.a.names.allow.0: "}},
		{"list for text", "profiles:\n  a: {approval: [x]}\n", []string{"f:2:17: profiles.a.approval: expects one value"}},
		{"text for list", "profiles:\n  a: {eku: serverAuth}\n", []string{"f:2:12: profiles.a.eku: expects a list"}},
		{"number", "profiles:\n  a: {names: {max: many}}\n", []string{`f:2:20: profiles.a.names.max: expects a whole number, not "many"`}},
		{"bool", "frontends:\n  acme:\n    default: {require_grant: yes}\n", []string{`f:3:30: frontends.acme.default.require_grant: expects true or false`}},
		{"frontend", "frontends:\n  amce: {}\n", []string{"f:2:3: frontends.amce: unknown key; did you mean acme?"}},
		{"endpoint", "frontends:\n  acme:\n    default:\n      profile: [trial]\n", []string{"f:4:7: frontends.acme.default.profile: unknown key; did you mean profiles?"}},
		{"module", "policy:\n  judge: [kyes]\n", []string{`f:2:11: policy.judge.0: there is no judge module "kyes"; did you mean keys?`}},
		{"module settings", "exit:\n  - file: {pth: x}\n", []string{"f:2:12: exit.0.file.pth: unknown key; did you mean path?"}},
		{"module of two", "exit:\n  - file: {path: x}\n    other: {}\n", []string{"f:2:5: exit.0: a module is its name"}},
		{"two documents", "retention: {}\n---\nretention: {}\n", []string{"f:3:1: a second document"}},
		{"syntax", "profiles: [\n", []string{"is not YAML"}},
		{"tab", "profiles:\n\ta: b\n", []string{"is not YAML"}},
		{"no mapping", "- a\n", []string{"f:1:1: expects keys"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p engine.Policy
			_, err := Decode("f", []byte(tt.doc), &p, testOpen)
			if err == nil {
				t.Fatal("it was taken")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.want) {
				t.Fatalf("%d errors, want %d:\n%s", len(lines), len(tt.want), err)
			}
			for i, want := range tt.want {
				if !strings.Contains(lines[i], want) {
					t.Errorf("got  %s\nwant %s", lines[i], want)
				}
			}
		})
	}
}

func TestDecode(t *testing.T) {
	var p engine.Policy
	at, err := Decode("f", []byte(`
authorities: {main: {}}
profiles:
  trial:
    description: 1.10
    frontends: [acme]
    validity: 7d
    eku: [serverAuth]
    names: {allow: [any], max: 3}
policy: {shape: [profile], judge: [keys: {}]}
exit:
  - file:
      path: issued
frontends:
  acme:
    default: {profiles: [trial], max: 3}
`), &p, testOpen)
	if err != nil {
		t.Fatal(err)
	}
	if f := p.Profiles["trial"]; f.Description != "1.10" || f.Names.Max != 3 || f.ExtKeyUsage[0] != "serverAuth" || f.Validity == 0 {
		t.Errorf("profile: %+v", f)
	}
	if got := string(p.Frontends["acme"]["default"]); got != `{"max":3,"profiles":["trial"]}` {
		t.Errorf("frontend: %s", got)
	}
	if x := p.Exit[0]; x.Name != "file" || string(x.Config) != `{"path":"issued"}` {
		t.Errorf("exit: %+v", x)
	}
	if at["profiles.trial.validity"] != (Position{7, 5}) {
		t.Errorf("position: %v", at["profiles.trial.validity"])
	}
}

func TestEmptyDocuments(t *testing.T) {
	for _, doc := range []string{"", "\n", "# only\n# comments\n", "profiles:\n"} {
		var p engine.Policy
		if _, err := Decode("f", []byte(doc), &p, testOpen); err != nil {
			t.Errorf("%q: %v", doc, err)
		}
	}
}

func TestDeepNestingIsRefused(t *testing.T) {
	var p engine.Policy
	doc := "frontends: " + strings.Repeat("{a: ", 200) + "1" + strings.Repeat("}", 200)
	if _, err := Decode("f", []byte(doc), &p, Open{}); err == nil {
		t.Error("it was taken")
	}
}
