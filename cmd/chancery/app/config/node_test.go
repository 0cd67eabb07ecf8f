package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"chancery/store/postgres"
)

func writeFile(t *testing.T, doc string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "chancery.yaml")
	if err := os.WriteFile(file, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSettingsNameOnlyWhatDiffers(t *testing.T) {
	n, err := LoadNode(writeFile(t, "listen: {http: '127.0.0.1:0'}\nacme: {validation: {http_port: 5002}}\n"), true)
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultNode()
	want.Listen.HTTP, want.ACME.Validation.HTTPPort, want.Store.Bolt = "127.0.0.1:0", 5002, &Bolt{"chancery.db"}
	if !reflect.DeepEqual(n, want) {
		t.Errorf("got  %+v\nwant %+v", n, want)
	}
	if p := n.BoltPath("/d"); p != "/d/chancery.db" {
		t.Error(p)
	}
}

func TestSettingsErrors(t *testing.T) {
	for doc, want := range map[string]string{
		"listen: {htttp: ':80'}":                        ":1:10: listen.htttp: unknown key; did you mean http?",
		"listen:\n  admin: localhost":                   `:2:3: listen.admin: "localhost" is not HOST:PORT`,
		"listen: {https: '127.0.0.1:99999'}":            "is not HOST:PORT",
		"public_url: {http: 'http://pki.example.org/'}": "without a slash at its end",
		"public_url: {https: 'http://x.example'}":       "such as https://",
		"acme:\n  validation:\n    resolvers: [dns1]":   `:3:17: acme.validation.resolvers.0: "dns1" is not ADDRESS:PORT`,
		"acme: {validation: {tls_port: 0}}":             "0 is not a port",
		"proxies: [10.0.0.0/33]":                        "neither an address nor a network",
		"store: {postgres: {dsn: x}, bolt: {path: y}}":  ":1:1: store: records are kept in one place",
		"store: {postgres: {dsn: x, dsn_file: y}}":      ":1:9: store.postgres: give dsn or dsn_file",
		"store: {postgres: {dsn: x, durability: none}}": `:1:28: store.postgres.durability: leave it out, or accept a server with synchronous_commit=off in these words: "a crash may lose`,
		"store: {postgress: {dsn: x}}":                  "unknown key; did you mean postgres?",
		"store: {postgres: {dns: x}}":                   "store.postgres.dns: unknown key; did you mean dsn?",
		"log: {level: loud}":                            "is not debug",
		"node: a b":                                     "short name",
	} {
		if _, err := LoadNode(writeFile(t, doc), true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\ngot  %v\nwant %s", doc, err, want)
		}
	}
}

func TestMissingSettings(t *testing.T) {
	if _, err := LoadNode("/nonexistent/chancery.yaml", false); err != nil {
		t.Error(err)
	}
	if _, err := LoadNode("/nonexistent/chancery.yaml", true); err == nil {
		t.Error("a file that was asked for is missing, and nobody said so")
	}
}

func TestTheWrittenSettingsReadBack(t *testing.T) {
	changed := DefaultNode()
	changed.Listen.HTTPS, changed.PublicURL.HTTP, changed.Store.Bolt = ":8443", "http://pki.example.org", &Bolt{"/var/x.db"}
	changed.ACME.Validation = Validation{HTTPPort: 5002, TLSPort: 5001, Resolvers: []string{"127.0.0.1:53"}, Networks: []string{"10.0.0.0/8"}}
	changed.Proxies, changed.Node, changed.Log.Level = []string{"::1"}, "node-1", "debug"
	same := DefaultNode()
	same.Store.Bolt = &Bolt{"chancery.db"}
	shared, file, env := DefaultNode(), DefaultNode(), DefaultNode()
	shared.Store.Postgres = &Postgres{DSN: `postgres://u:p"#w@db/chancery`, Durability: postgres.UnsafeWords}
	file.Store.Postgres, env.Store.Postgres = &Postgres{DSNFile: "/run/secrets/dsn"}, &Postgres{}
	for _, n := range []Node{same, changed, shared, file, env} {
		doc, err := WriteNode(n)
		if err != nil {
			t.Fatal(err)
		}
		got, err := LoadNode(writeFile(t, string(doc)), true)
		if err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		if !reflect.DeepEqual(got, n) {
			t.Errorf("got  %+v\nwant %+v\n%s", got, n, doc)
		}
	}
}

func TestWhereTheDSNComesFrom(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dsn"), []byte("postgres://file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(name string) string { return map[string]string{DSNVariable: "postgres://env"}[name] }
	none := func(string) string { return "" }
	for _, one := range []struct {
		doc  string
		env  func(string) string
		want string
	}{
		{"store: {postgres: {dsn: 'postgres://yaml'}}", env, "postgres://yaml"},
		{"store: {postgres: {dsn_file: dsn}}", env, "postgres://file"},
		{"store: {postgres: {}}", env, "postgres://env"},
		{"store:\n  postgres:\n", env, "postgres://env"},
		{"store: {postgres: {}}", none, DSNVariable},
		{"store: {postgres: {dsn_file: missing}}", env, "no such file"},
		{"", env, "name no PostgreSQL"},
	} {
		n, err := LoadNode(writeFile(t, one.doc), true)
		if err != nil {
			t.Fatalf("%s: %v", one.doc, err)
		}
		dsn, err := n.PostgresDSN(dir, one.env)
		if got := string(dsn) + fmt.Sprint(err); !strings.Contains(got, one.want) {
			t.Errorf("%s: got %s, want %s", one.doc, got, one.want)
		}
	}
}

// A password never reaches a log or an error, however somebody prints the
// settings.
func TestPasswordsAreNotPrinted(t *testing.T) {
	for _, dsn := range []Secret{
		"postgres://u:hunter2@db/chancery?sslmode=require", "postgres://db/chancery?user=u&password=hunter2",
		"host=db user=u password=hunter2 dbname=c", `host=db password='hun\'hunter2' dbname=c`, "postgres://u:hunter2@db:bad:port/%",
	} {
		n := DefaultNode()
		n.Store.Postgres = &Postgres{DSN: dsn}
		if !dsn.HasPassword() {
			t.Errorf("%q has a password", string(dsn))
		}
		if b, err := json.Marshal(n); err != nil || strings.Contains(string(b), "hunter2") {
			t.Errorf("%s %v", b, err)
		}
		for _, verb := range []string{"%v", "%+v", "%s", "%q", "%#v"} {
			if text := fmt.Sprintf(verb, *n.Store.Postgres); strings.Contains(text, "hunter2") {
				t.Errorf("%s of %q", verb, text)
			}
		}
	}
}

func TestADSNWithoutAPassword(t *testing.T) {
	for _, dsn := range []Secret{"postgres://u@db/c?sslmode=verify-full", "postgres:///c?host=/run/x y", "host=db user=u"} {
		if dsn.HasPassword() {
			t.Errorf("%s has none", dsn)
		}
	}
}

// Who takes the # away from a setting that is shown must get that setting.
func TestTheCommentedSettingsAreSettings(t *testing.T) {
	doc, err := WriteNode(DefaultNode())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(doc)) {
		setting := strings.TrimPrefix(line, "#")
		if !strings.HasPrefix(setting, " ") || strings.HasPrefix(setting, "  ") {
			line = setting // prose has one blank after its #
		}
		b.WriteString(line)
	}
	n, err := LoadNode(writeFile(t, b.String()), true)
	if err != nil {
		t.Fatalf("%v\n%s", err, &b)
	}
	if n.PublicURL.HTTP == "" || len(n.ACME.Validation.Networks) != 1 || len(n.Proxies) != 1 {
		t.Errorf("%+v\n%s", n, &b)
	}
}

// TestScrubIsATime: it is written as people write it, and too often is refused.
func TestScrubIsATime(t *testing.T) {
	for text, want := range map[string]time.Duration{"24h": 24 * time.Hour, "1m30s": 90 * time.Second, "30m": 30 * time.Minute, "7d": 7 * 24 * time.Hour} {
		file := filepath.Join(t.TempDir(), "chancery.yaml")
		if err := os.WriteFile(file, []byte("store: {scrub: "+text+"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := LoadNode(file, true)
		if err != nil || time.Duration(n.Store.Scrub) != want || n.Store.Bolt == nil {
			t.Errorf("%s: %v, %v", text, n.Store, err)
		}
		doc, err := WriteNode(n)
		if err == nil {
			err = os.WriteFile(file, doc, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if again, err := LoadNode(file, true); err != nil || again.Store.Scrub != n.Store.Scrub {
			t.Errorf("%s, written and read: %v, %v\n%s", text, again.Store, err, doc)
		}
	}
	file := filepath.Join(t.TempDir(), "chancery.yaml")
	if err := os.WriteFile(file, []byte("store: {scrub: 1ms}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadNode(file, true); err == nil || !strings.Contains(err.Error(), "too often") {
		t.Errorf("1ms: %v", err)
	}
}
