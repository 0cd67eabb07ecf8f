package modules

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/engine"
)

type facts struct{}

func (facts) KeyBlocked(context.Context, [32]byte) (string, bool, error) { return "", false, nil }
func (facts) CAKey([32]byte) bool                                        { return false }

func deps(t *testing.T) engine.Deps {
	return engine.Deps{
		Now: time.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Dial: (&net.Dialer{}).DialContext,
		Dir: t.TempDir(), Facts: facts{},
	}
}

// document reads a policy document with the lists that a test gives.
func document(t *testing.T, lists string) engine.Policy {
	t.Helper()
	var p engine.Policy
	doc := `{"authorities": {"corp": {}}, "profiles": {"web": {"frontends": ["acme"], "validity": "90d", "eku": ["serverAuth"]}}, ` + lists + `}`
	if err := json.Unmarshal([]byte(doc), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDefaultsWhereADocumentIsSilent(t *testing.T) {
	s, err := Build(document(t, `"policy": {}`), deps(t), With{})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Shapers) != 1 || s.Shapers[0].Name != "profile" || s.Shapers[0].Waits {
		t.Errorf("shapers %+v", s.Shapers)
	}
	if len(s.Judges) != 1 || s.Judges[0].Name != "keys" || s.Judges[0].Waits {
		t.Errorf("judges %+v", s.Judges)
	}
	if len(s.Lints) != 1 || s.Lints[0].Name != "pki" {
		t.Errorf("lints %+v", s.Lints)
	}
	if len(s.Exits) != 0 || len(s.Policy.Profiles) != 1 {
		t.Errorf("%+v", s)
	}
}

// What a profile asks for in words of its own is in every list, and last.
func TestJudgesThatProfilesNeed(t *testing.T) {
	for word, want := range map[string]string{`"caa": true`: "keys caa", `"public": true`: "keys public caa"} {
		p := document(t, `"policy": {}, "caa_identities": ["ca.example"]`)
		if err := json.Unmarshal([]byte(`{"web": {"frontends": ["acme"], "validity": "90d", "eku": ["serverAuth"], `+word+`}}`), &p.Profiles); err != nil {
			t.Fatal(err)
		}
		s, err := Build(p, deps(t), With{})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, j := range s.Judges {
			got += " " + j.Name
		}
		if got != " "+want || !s.Judges[len(s.Judges)-1].Waits {
			t.Errorf("%s: judges%s", word, got)
		}
		p.CAAIdentities = nil
		if _, err := Build(p, deps(t), With{}); err == nil {
			t.Errorf("%s without a name of this CA", word)
		}
	}
}

func TestListsKeepTheirOrder(t *testing.T) {
	extra := With{
		Shapers: map[string]Builder[engine.Shaper]{"ask": Of(func(struct{}, engine.Deps) (engine.Shaper, error) {
			return func(context.Context, *engine.Request, *engine.Draft) (engine.Verdict, error) {
				return engine.Pass(), nil
			}, nil
		}).Waiting()},
		Lints: map[string]engine.Lint{"house": func(context.Context, []byte) ([]engine.Finding, error) { return nil, nil }},
	}
	s, err := Build(document(t, `"policy": {"shape": ["profile", "ask"], "judge": [{"keys": {"rsa_min": 3072}}, "keys"]},
		"exit": [{"file": {"path": "a"}}, {"file": {"path": "b"}}, {"file": {"path": "c"}}]`), deps(t), extra)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range s.Shapers {
		got = append(got, x.Name)
	}
	for _, x := range s.Judges {
		got = append(got, x.Name)
	}
	for _, x := range s.Lints {
		got = append(got, x.Name)
	}
	for _, x := range s.Exits {
		got = append(got, x.Name)
	}
	if want := []string{"profile", "ask", "keys", "keys#2", "house", "pki", "file", "file#2", "file#3"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if s.Shapers[0].Waits || !s.Shapers[1].Waits {
		t.Error("the shaper that waits is not marked as such, or another is")
	}
}

func TestWhatIsWrongIsSaidAtOnce(t *testing.T) {
	for _, tt := range []struct{ lists, says string }{
		{`"policy": {"shape": ["profil"]}`, `policy.shape: no module is called "profil", did you mean profile?; there are: profile`},
		{`"policy": {"judge": ["cel"]}`, `policy.judge: no module is called "cel"; there are: caa, keys, public`},
		{`"exit": [{"web-hook": {}}]`, `exit: no module is called "web-hook", did you mean webhook?; there are: file, webhook`},
		{`"policy": {"judge": [{"keys": {"rsa-min": 3072}}]}`, `policy.judge: keys: there is no setting "rsa-min", did you mean rsa_min?; there are: rsa_min, curves`},
		{`"policy": {"judge": [{"keys": {"RSA_MIN": 3072}}]}`, `there is no setting "RSA_MIN", did you mean rsa_min?`},
		{`"policy": {"judge": [{"keys": {"rsa_min": "3072"}}]}`, `policy.judge: keys: rsa_min: must not be of type string`},
		{`"policy": {"judge": [{"keys": []}]}`, `policy.judge: keys: settings: must not be of type [`},
		{`"policy": {"judge": [{"keys": {"rsa_min": 1024}}]}`, `below 2048`},
		{`"exit": [{"file": {}}]`, `exit: file: path is missing`},
		{`"exit": ["file"]`, `exit: file: path is missing`},
		{`"exit": [{"webhook": {"url": "https://x.example", "secret_file": "s", "timeout": "soon"}}]`, `exit: webhook: timeout: "soon" is not a duration`},
		{`"exit": [{"file": {"path": "x", "": 1}}]`, `there is no setting ""`},
	} {
		_, err := Build(document(t, tt.lists), deps(t), With{})
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s:\n%v\nwant %s", tt.lists, err, tt.says)
		}
	}
	_, err := Build(document(t, `"policy": {"shape": ["a"], "judge": ["b"]}, "exit": ["c", "d"]`), deps(t), With{})
	if err == nil || strings.Count(err.Error(), "no module is called") != 4 {
		t.Errorf("not all that is wrong is said: %v", err)
	}
	wrong := document(t, `"policy": {}`)
	wrong.Profiles["web"] = engine.Profile{}
	if _, err := Build(wrong, deps(t), With{}); err == nil || !strings.Contains(err.Error(), "profiles.web: ") {
		t.Errorf("a profile without anything: %v", err)
	}
}

// Chancery's own certificates are shaped by the same module as everybody's.
func TestOwnProfilesAreThere(t *testing.T) {
	s, err := Build(document(t, `"policy": {}`), deps(t), With{})
	if err != nil {
		t.Fatal(err)
	}
	r := &engine.Request{Source: engine.Self, Want: "chancery-none", Asked: &engine.Asked{}}
	v, err := s.Shapers[0].Run(t.Context(), r, &engine.Draft{})
	if err != nil {
		t.Fatal(err)
	}
	if _, detail, _ := v.Denied(); !strings.Contains(detail, engine.ProfileTLS) || !strings.Contains(detail, engine.ProfilePerson) {
		t.Errorf("profiles for Chancery itself: %s", detail)
	}
}

func TestBuiltInNamesAreTaken(t *testing.T) {
	extra := With{Judges: map[string]Builder[engine.Judge]{"keys": builtin().Judges["keys"]}}
	_, err := Build(document(t, `"policy": {}`), deps(t), extra)
	if err == nil || err.Error() != `the judge "keys" is built in; give yours another name` {
		t.Errorf("%v", err)
	}
	if _, err := ConfigTypes(extra); err == nil {
		t.Error("ConfigTypes took it")
	}
}

func TestConfigTypes(t *testing.T) {
	c, err := ConfigTypes(With{})
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(c)); !slices.Equal(got, []string{"exit", "judge", "shape"}) {
		t.Errorf("lists %v", got)
	}
	if got := c.Names("exit"); !slices.Equal(got, []string{"file", "webhook"}) {
		t.Errorf("exits %v", got)
	}
	typ, ok := c.Type("exit", "file")
	if !ok || typ.Kind() != reflect.Struct || !slices.Contains(settings(typ), "path") {
		t.Errorf("settings of file: %v", typ)
	}
	if _, ok := c.Type("judge", "file"); ok {
		t.Error("file is no judge")
	}
}

// A module that a document can name has a folder of its own, and a comment that
// says what each setting is.
func TestEverySettingIsExplained(t *testing.T) {
	c, err := ConfigTypes(With{})
	if err != nil {
		t.Fatal(err)
	}
	for list, known := range c {
		for name, typ := range known {
			dir := strings.TrimPrefix(typ.PkgPath(), "chancery/modules/")
			files, err := filepath.Glob(filepath.Join(dir, "*.go"))
			if err != nil || len(files) == 0 {
				t.Fatalf("%s %s: %v", list, name, err)
			}
			all := ""
			for _, f := range files {
				text, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				all += string(text)
			}
			for f := range typ.Fields() {
				_, before, _ := strings.Cut(all, "type Config struct {")
				before, _, _ = strings.Cut(before, "\t"+f.Name+" ")
				if i := strings.LastIndex(before, "\n\n"); i >= 0 {
					before = before[i:]
				}
				if !strings.Contains(before, "// "+f.Name) || !strings.Contains(before, "Optional") && !strings.Contains(before, "Required") {
					t.Errorf("%s: the setting %s does not say what it is, whether it is Optional or Required, and its default", dir, f.Name)
				}
			}
		}
	}
}
