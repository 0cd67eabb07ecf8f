package app

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFirstAndSecondStart(t *testing.T) {
	p := newPlace(t)
	s := p.serve()
	if !strings.Contains(s.out.String(), "chancery submit --data") || !strings.Contains(s.out.String(), "certbot certonly") {
		t.Errorf("the first start shows no commands:\n%s", s.out)
	}
	modes := map[string]fs.FileMode{
		string(p.dir): 0o700, p.dir.Settings(): 0o600, p.dir.Policy(): 0o600, p.dir.Seal(): 0o600, p.dir.FounderKey(): 0o600,
		p.dir.FounderCert(): 0o644, p.dir.Roots(): 0o644, p.dir.TLS(): 0o600, p.dir.Socket(): 0o600, p.dir.Path("chancery.db"): 0o600,
	}
	if p.records.Shared() {
		delete(modes, p.dir.Path("chancery.db"))
	}
	for path, mode := range modes {
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%s: %v %v, want %v", path, fi, err, mode)
		}
	}
	for _, url := range []string{"https://" + s.at.HTTPS, "http://" + s.at.HTTP, "https://" + s.at.Admin} {
		for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
			if code, body := p.get(url + path); code != 200 || body != want {
				t.Errorf("%s%s: %d %q", url, path, code, body)
			}
		}
	}
	if code, body := p.get("https://" + s.at.Admin + "/metrics"); code != 200 || !strings.Contains(body, "chancery_ready 1\n") {
		t.Errorf("metrics: %d\n%s", code, body)
	}
	chain := p.cli("submit", p.csr("first.example.org"))
	if !strings.HasPrefix(chain, "-----BEGIN CERTIFICATE-----\n") {
		t.Errorf("submit printed\n%s", chain)
	}
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.errs)
	}
	before := p.snapshot()

	s = p.serve()
	if out := s.out.String(); !strings.HasPrefix(out, "ready ") || strings.Count(out, "\n") != 1 {
		t.Errorf("the second start says more than that it is ready:\n%s", out)
	}
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.errs)
	}
	after := p.snapshot()
	for path := range after {
		if before[path] != after[path] {
			t.Errorf("the second start changed %s", path)
		}
	}
	if len(before) != len(after) {
		t.Errorf("%d files became %d", len(before), len(after))
	}
	if _, err := os.Stat(p.dir.Serving()); err == nil {
		t.Error("serving.json outlived the server")
	}
}

// A first start that died before its last file goes on with what is there.
func TestFirstStartGoesOn(t *testing.T) {
	p := newPlace(t)
	p.cli("init", "--config", p.conf)
	whole := p.snapshot()
	for _, lost := range [][]string{
		{"initialized"},
		{"initialized", "admin.crt"},
		{"initialized", "admin.crt", "chancery.db"},
		{"initialized", "admin.crt", "admin.key", "chancery.db"},
		{"initialized", "admin.crt", "admin.key", "chancery.db", "policy.yaml", "chancery.yaml", "roots.pem"},
	} {
		for _, f := range lost {
			p.lose(f)
		}
		s := p.serve()
		if _, err := os.Stat(p.dir.FounderCert()); err != nil {
			t.Error(err)
		}
		if code := s.stop(); code != 0 {
			t.Errorf("without %v: exit code %d\n%s", lost, code, s.errs)
		}
		for path, content := range p.snapshot() {
			if want := whole[path]; want != "" && want != content && !strings.HasPrefix(path, "admin.") {
				t.Errorf("without %v: %s is another now", lost, path)
			}
		}
	}
	s := p.serve()
	p.cli("submit", p.csr("resumed.example.org"))
	s.stop()
	// The founder's key cannot be replaced once there are records of it.
	for _, f := range []string{"initialized", "admin.key"} {
		if err := os.Remove(p.dir.Path(f)); err != nil {
			t.Fatal(err)
		}
	}
	if _, errs, code := p.run("serve", "--data", string(p.dir), "--config", p.conf); code != 1 || !strings.Contains(errs, "another founder") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestConstrainedToADomain(t *testing.T) {
	p := newPlace(t)
	p.cli("init", "--config", p.conf, "--domain", "Corp.Example")
	s := p.serve() // its own TLS certificate verifies, or get would fail
	if code, body := p.get("https://" + s.at.HTTPS + "/readyz"); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	p.cli("submit", p.csr("www.corp.example"))
	p.openssl("localhost", "127.0.0.1")
	if _, errs, code := p.run("submit", p.csr("www.other.example"), "--data", string(p.dir)); code != 1 || !strings.Contains(errs, "constrained") {
		t.Errorf("a name outside: exit %d %s", code, errs)
	}
	s.stop()
	if _, errs, code := p.run("init", "--data", string(p.dir), "--domain", "other.example"); code != 1 || !strings.Contains(errs, "name constraint") {
		t.Errorf("another domain: exit %d %s", code, errs)
	}
}

func TestApply(t *testing.T) {
	p := newPlace(t)
	s := p.serve()
	good := p.read(p.dir.Policy())
	csr := p.csr("brief.example.org")
	p.write(p.dir.Policy(), strings.Replace(good, "validity: 90d", "validity: 1d", 1))
	if out := p.cli("apply"); !strings.Contains(out, "profiles.service changed") {
		t.Errorf("apply: %s", out)
	}
	block, _ := pem.Decode([]byte(p.cli("submit", csr)))
	if c, err := x509.ParseCertificate(block.Bytes); err != nil || c.NotAfter.After(time.Now().Add(25*time.Hour)) {
		t.Errorf("the new policy is not in force: %v %v", c.NotAfter, err)
	}
	p.write(p.dir.Policy(), strings.Replace(good, "validity: 90d", "valdity: 1d", 1))
	if _, errs, code := p.run("apply", "--data", string(p.dir)); code != 1 || !strings.Contains(errs, "policy.yaml:") || !strings.Contains(errs, "did you mean validity?") {
		t.Errorf("a bad policy: exit %d %s", code, errs)
	}
	p.cli("submit", csr) // the one before is still in force

	file := filepath.Join(t.TempDir(), "new.yaml")
	p.write(file, good)
	if out := p.cli("apply", file); !strings.Contains(out, "profiles.service changed") || p.read(p.dir.Policy()) != good {
		t.Errorf("apply FILE: %s", out)
	}
	var status struct {
		Policy string `json:"policy"`
	}
	if err := json.Unmarshal([]byte(p.cli("status", "--json")), &status); err != nil || status.Policy == "" {
		t.Errorf("status: %+v %v", status, err)
	}
	if code := s.stop(); code != 0 {
		t.Errorf("exit %d\n%s", code, s.errs)
	}
	if out := p.cli("config", "check"); !strings.Contains(out, status.Policy) {
		t.Errorf("config check says another version than the server: %s, %s", out, status.Policy)
	}
}

// Whoever owns the data directory can administer without a credential, and that
// is in the log.
func TestSocket(t *testing.T) {
	p := newPlace(t)
	s := p.serve()
	if err := os.Remove(p.dir.FounderKey()); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := p.run("status", "--data", string(p.dir)); code != 1 || !strings.Contains(errs, "--socket") {
		t.Errorf("without a credential: exit %d %s", code, errs)
	}
	if out := p.cli("grant", "create", "--name", "*.example.org", "--socket"); !strings.Contains(out, "secret") {
		t.Errorf("over the socket: %s", out)
	}
	if !strings.Contains(s.errs.String(), "local administration used") {
		t.Error("the log does not say that the socket was used")
	}
	if err := os.Remove(p.dir.Socket()); err != nil {
		t.Fatal(err)
	}
}

func TestAnotherSealIsRefused(t *testing.T) {
	p := newPlace(t)
	p.cli("init", "--config", p.conf)
	p.write(p.dir.Seal(), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
	if _, errs, code := p.run("serve", "--data", string(p.dir), "--config", p.conf); code != 1 || !strings.Contains(errs, "seal.key") {
		t.Errorf("exit %d %s", code, errs)
	}
}

func TestUsage(t *testing.T) {
	p := newPlace(t)
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"version"}, 0, "chancery test"},
		{[]string{"sumbit"}, 2, "did you mean submit?"},
		{[]string{"submit"}, 2, "one file"},
		{[]string{"serve", "now"}, 2, "takes no argument"},
		{[]string{"status", "--nonsense"}, 2, "unknown flag"},
		{[]string{"deny", "x"}, 2, "--reason"},
		{[]string{"view", "--since", "yesterday"}, 2, "a date such as"},
		{[]string{"status", "--data", "/nonexistent"}, 1, "chancery serve --data /nonexistent"},
		{[]string{"config", "check", "--data", "/nonexistent"}, 1, "policy.yaml"},
		{[]string{"root", "export"}, 2, "--to"},
	} {
		args := tt.args
		if tt.args[0] == "view" {
			args = append(args, "--server", "https://127.0.0.1:1")
		}
		out, errs, code := p.run(args...)
		if code != tt.code || !strings.Contains(out+errs, tt.want) {
			t.Errorf("%v: exit %d, want %d\n%s%s", tt.args, code, tt.code, out, errs)
		}
	}
}

func TestRootExport(t *testing.T) {
	p := newPlace(t)
	p.cli("init", "--config", p.conf)
	to := filepath.Join(t.TempDir(), "stick")
	p.cli("root", "export", "--to", to)
	for _, f := range []string{"root.key", "root.pass", "root.crt"} {
		if _, err := os.Stat(filepath.Join(to, f)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(p.dir.CAKey("root")); err == nil {
		t.Error("the key is still here")
	}
	if _, errs, code := p.run("root", "export", "--to", to, "--data", string(p.dir)); code != 1 || !strings.Contains(errs, "before") {
		t.Errorf("again: exit %d %s", code, errs)
	}
	s := p.serve() // which never needs it
	if code := s.stop(); code != 0 {
		t.Errorf("exit %d\n%s", code, s.errs)
	}
}

// A node that joined has no policy.yaml, and nothing is wrong with that.
func TestCheckOfAJoinedNode(t *testing.T) {
	p := newPlace(t)
	p.write(p.conf, "store: {postgres: {dsn: 'postgres://db.test/chancery'}}\n")
	if out, errs, code := p.run("config", "check", "--data", string(p.dir), "--config", p.conf); code != 0 || !strings.Contains(out, "in the database") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	p.write(p.conf, "store: {postgres: {dsn: 'postgres://db.test/chancery'}, bolt: {}}\n")
	if out, errs, code := p.run("config", "check", "--data", string(p.dir), "--config", p.conf); code != 1 || !strings.Contains(errs, "not both") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
}

// A password on a command line is seen by every user of the machine.
func TestRestoreTakesNoPasswordFromTheCommandLine(t *testing.T) {
	p := newPlace(t)
	t.Setenv("OTHER_DSN", "")
	for dsn, want := range map[string]string{
		"postgres://u:hunter2@db.test/c":           "holds a password",
		"host=db.test user=u password='hunter2'":   "holds a password",
		"env:OTHER_DSN":                            "OTHER_DSN is empty",
		"file:" + filepath.Join(t.TempDir(), "no"): "no such file",
	} {
		for _, args := range [][]string{{"restore", p.conf}, {"restore", "add"}} {
			out, errs, code := p.run(append(args, "--data", string(p.dir), "--dsn", dsn)...)
			if code != 2 || !strings.Contains(errs, want) || strings.Contains(out+errs, "hunter2") {
				t.Errorf("%v %s: exit %d\n%s%s", args, dsn, code, out, errs)
			}
		}
	}
}

func TestJoinSaysWhatIsMissing(t *testing.T) {
	t.Setenv("CHANCERY_STORE_DSN", "")
	p := newPlace(t)
	for _, one := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 2, "CHANCERY_STORE_DSN"},
		{[]string{"--dsn", "postgres://u:hunter2@db.test/c"}, 2, "holds a password"},
		{[]string{"--dsn", "postgres://u@db.test/c", "--name", "a b"}, 1, "no name for a node"},
	} {
		out, errs, code := p.run(append([]string{"node", "join", "--data", string(p.dir)}, one.args...)...)
		if code != one.code || !strings.Contains(errs, one.want) || strings.Contains(out+errs, "hunter2") {
			t.Errorf("%v: exit %d\n%s%s", one.args, code, out, errs)
		}
	}
}
