package cli

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/cmd/chancery/app/datadir"
	"chancery/frontends/native/client"
)

func TestWhereTheServerIs(t *testing.T) {
	d := datadir.Dir(t.TempDir())
	if err := d.WriteServing(datadir.Addresses{HTTPS: "[::]:1443", HTTP: "0.0.0.0:80", Admin: "127.0.0.1:1444"}); err != nil {
		t.Fatal(err)
	}
	dir := string(d)
	for _, tt := range []struct {
		name string
		have connection
		env  map[string]string
		want connection
	}{
		{"data", connection{data: dir}, nil,
			connection{server: "https://localhost:1443", admin: "https://127.0.0.1:1444", ca: d.Roots(), cert: d.FounderCert(), key: d.FounderKey()}},
		{"data from the environment", connection{}, map[string]string{"CHANCERY_DATA": dir},
			connection{server: "https://localhost:1443", admin: "https://127.0.0.1:1444", ca: d.Roots(), cert: d.FounderCert(), key: d.FounderKey()}},
		{"a flag before all", connection{data: dir, admin: "https://a:1", token: "t"}, map[string]string{"CHANCERY_ADMIN": "https://b:1"},
			connection{server: "https://localhost:1443", admin: "https://a:1", ca: d.Roots(), token: "t"}},
		{"one address", connection{server: "https://a:1"}, map[string]string{"CHANCERY_CA": "/ca.pem"},
			connection{server: "https://a:1", admin: "https://a:1", ca: "/ca.pem"}},
		{"environment", connection{}, map[string]string{"CHANCERY_SERVER": "https://s:1", "CHANCERY_ADMIN": "https://a:1", "CHANCERY_CERT": "c", "CHANCERY_KEY": "k"},
			connection{server: "https://s:1", admin: "https://a:1", cert: "c", key: "k"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := tt.have
			o.env = func(k string) string { return tt.env[k] }
			if err := o.complete(); err != nil {
				t.Fatal(err)
			}
			o.env, o.data = nil, ""
			got := []string{o.server, o.admin, o.ca, o.cert, o.key, o.token}
			want := []string{tt.want.server, tt.want.admin, tt.want.ca, tt.want.cert, tt.want.key, tt.want.token}
			if strings.Join(got, "|") != strings.Join(want, "|") {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
	o := connection{env: func(string) string { return "" }, data: filepath.Join(dir, "none")}
	if err := o.complete(); err == nil || !strings.Contains(err.Error(), "chancery serve --data") {
		t.Errorf("no server: %v", err)
	}
	o = connection{env: func(string) string { return "" }, server: "https://a:1", cert: "c"}
	if err := o.complete(); err == nil {
		t.Error("a certificate without its key was taken")
	}
}

func TestJSONWithoutWhatIsEmpty(t *testing.T) {
	var b bytes.Buffer
	o := connection{json: true}
	if err := o.show(&b, []client.Request{{ID: "x", Received: time.Unix(0, 0).UTC()}}, "text"); err != nil {
		t.Fatal(err)
	}
	var list []map[string]any
	if err := json.Unmarshal(b.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	if r := list[0]; r["id"] != "x" || r["received"] == nil || r["ended"] != nil || r["subject"] != nil {
		t.Errorf("%s", &b)
	}
	b.Reset()
	if err := o.show(&b, []client.Request{}, ""); err != nil || b.String() != "[]\n" {
		t.Errorf("%q %v", &b, err)
	}
}

// What strangers put into names and subjects must not act on a terminal.
func TestNothingMovesTheCursor(t *testing.T) {
	for in, want := range map[string]string{
		"plain Zürich":          "plain Zürich",
		"a\x1b[2Jb":             "a?[2Jb",
		"a\rb\nc\td":            "a?b?c?d",
		"a\u202eb\u200bc":       "a?b?c",
		"c1\u009bx\u2066\u007f": "c1?x??",
	} {
		if got := plain(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	out := table([][]string{{"A", "B"}, {"x\ny", "z"}})
	if strings.Count(out, "\n") != 2 {
		t.Errorf("a cell made a line of its own:\n%s", out)
	}
	text := requestText(&client.Request{ID: "x", Attributes: []client.Claim{{Name: "n\x1b", Value: "v\n"}}, Pends: []client.Pend{{Step: "s", Detail: "d\x07"}}})
	if strings.ContainsAny(text, "\x1b\x07") {
		t.Errorf("%q", text)
	}
}

func TestEveryPage(t *testing.T) {
	pages := map[string][]int{"": {1, 2}, "a": {3, 4}, "b": {5}}
	next := map[string]string{"": "a", "a": "b"}
	for limit, want := range map[int]int{0: 5, 1: 1, 3: 3, 9: 5} {
		all, err := every(limit, func(after string, n int) ([]int, string, error) {
			p := pages[after]
			return p[:min(n, len(p))], next[after], nil
		})
		if err != nil || len(all) != want {
			t.Errorf("limit %d: %v %v", limit, all, err)
		}
	}
}

func TestTrust(t *testing.T) {
	text := trustText([]rootView{{Subject: "CN=x", Until: "2046-01-01T00:00:00Z", SHA256: "AABB", SHA1: "CCDD"}}, "/it's/roots.pem")
	for _, want := range []string{"SHA-256 AA:BB", "SHA-1   CC:DD", "update-ca-certificates", "update-ca-trust", "security add-trusted-cert", "certutil", "keytool", `'/it'\''s/roots.pem'`} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
}
