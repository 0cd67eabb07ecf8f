package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"chancery/interop/dns"
	"chancery/interop/live"
)

// A ca is one installation of Chancery in a folder of its own, with a name
// server that gives every name the address 127.0.0.1.
type ca struct {
	*live.Server // the running process, replaced by start

	t      *testing.T
	dir    string // scratch folder of the test
	data   string // --data
	conf   string // --config
	binary string
	http01 int // where the CA looks for http-01 answers
	dns    *dns.Server
	txtURL string // GET ?do=set|clear&name=NAME&value=VALUE changes TXT records
}

// newCA prepares an installation on free ports and does not start it.
func newCA(t *testing.T) *ca {
	t.Helper()
	c := &ca{t: t, dir: t.TempDir(), binary: release}
	c.data = filepath.Join(c.dir, "data")
	c.conf = filepath.Join(c.dir, "chancery.yaml")
	ports, err := live.Ports(4)
	must(t, err)
	c.http01 = ports[3]
	c.dns, err = dns.Serve("127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = c.dns.Close() })
	txt := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		do := c.dns.Set
		if r.FormValue("do") == "clear" {
			do = c.dns.Clear
		}
		do(r.FormValue("name"), r.FormValue("value"))
	}))
	t.Cleanup(txt.Close)
	c.txtURL = txt.URL
	write(t, c.conf, fmt.Sprintf(`
listen:
  https: 127.0.0.1:%d
  http: 127.0.0.1:%d
  admin: 127.0.0.1:%d
acme:
  validation:
    http_port: %d
    resolvers: ["%s"]
`, ports[0], ports[1], ports[2], c.http01, c.dns.Addr))
	return c
}

// startCA is newCA and start.
func startCA(t *testing.T) *ca {
	t.Helper()
	c := newCA(t)
	c.start()
	return c
}

// init makes the data folder without serving, so that its policy can be edited
// before the first start.
func (c *ca) init() {
	c.t.Helper()
	c.cli("init", "--config", c.conf)
}

// start runs "chancery serve" until it is ready. At the end of the test it is
// stopped, unless the test has done that.
func (c *ca) start(env ...string) {
	c.t.Helper()
	s, err := live.Start(c.settings(env...))
	must(c.t, err)
	c.Server = s
	c.t.Cleanup(func() {
		select {
		case <-s.Done():
		default:
			c.stop()
		}
	})
}

func (c *ca) settings(env ...string) live.Settings {
	return live.Settings{Binary: c.binary, Args: []string{"--data", c.data, "--config", c.conf}, Env: env}
}

// stop ends it with SIGTERM: exit code 0, and nothing bad in the log.
func (c *ca) stop() {
	c.t.Helper()
	if err := c.Stop(); err != nil {
		c.t.Errorf("stopping: %v\n%s", err, tail(c.Log()))
	}
	c.checkLog()
	if c.t.Failed() {
		c.t.Logf("log of the server:\n%s", tail(c.Log()))
	}
}

// checkLog fails the test if the server panicked or raced.
func (c *ca) checkLog() {
	c.t.Helper()
	for _, bad := range []string{"panic", "DATA RACE", "goroutine "} {
		if strings.Contains(c.Log(), bad) {
			c.t.Errorf("the log holds %q\n%s", bad, tail(c.Log()))
		}
	}
}

// editPolicy changes policy.yaml. The server reads it at its next start, or
// on "apply".
func (c *ca) editPolicy(edit func(doc map[string]any)) {
	c.t.Helper()
	file := filepath.Join(c.data, "policy.yaml")
	var doc map[string]any
	must(c.t, yaml.Unmarshal([]byte(read(c.t, file)), &doc))
	edit(doc)
	b, err := yaml.Marshal(doc)
	must(c.t, err)
	write(c.t, file, string(b))
}

// child is a mapping inside a document, made if it is not there.
func child(doc map[string]any, path ...string) map[string]any {
	for _, key := range path {
		next, ok := doc[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			doc[key] = next
		}
		doc = next
	}
	return doc
}

// roots is the bundle that clients trust.
func (c *ca) roots() string { return filepath.Join(c.data, "roots.pem") }

// cli runs the chancery command as the founder and returns stdout.
func (c *ca) cli(args ...string) string {
	c.t.Helper()
	out, errs, code := c.tryCLI(args...)
	if code != 0 {
		c.t.Fatalf("chancery %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// tryCLI is cli for commands that may be refused.
func (c *ca) tryCLI(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	return execute(c.t, c.dir, nil, c.binary, append(args, "--data", c.data)...)
}

// cliJSON runs a command with --json and decodes what it prints.
func (c *ca) cliJSON(into any, args ...string) {
	c.t.Helper()
	out := c.cli(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		c.t.Fatalf("chancery %s --json: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// client trusts roots.pem, and authenticates with the certificate if given.
func (c *ca) client(cert ...tls.Certificate) *http.Client {
	c.t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(read(c.t, c.roots()))) {
		c.t.Fatal("roots.pem holds no certificate")
	}
	return &http.Client{
		Timeout:       20 * time.Second,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: cert}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// founder is the credential that the first start made.
func (c *ca) founder() tls.Certificate {
	c.t.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(c.data, "admin.crt"), filepath.Join(c.data, "admin.key"))
	must(c.t, err)
	return cert
}

// directory is the URL of an ACME directory; no name is the default one.
func (c *ca) directory(name ...string) string {
	return "https://" + c.HTTPS + "/acme/" + strings.Join(append(name, "directory"), "/")
}

// execute runs a program for at most two minutes.
func execute(t *testing.T, dir string, env []string, name string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(live.CleanEnv(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// eventually repeats a check until it passes.
func eventually(t *testing.T, within time.Duration, check func() error) {
	t.Helper()
	end := time.After(within)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-end:
			t.Fatalf("still so after %s: %v", within, err)
		case <-again.C:
		}
	}
}

// fetch gets a URL that needs no authentication.
func fetch(t *testing.T, url string) []byte {
	t.Helper()
	b, err := tryFetch(url)
	must(t, err)
	return b
}

// tryFetch is fetch for servers that may not be there.
func tryFetch(url string) ([]byte, error) {
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s\n%s", url, resp.Status, b)
	}
	return b, err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	return string(b)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(file), 0o700))
	must(t, os.WriteFile(file, []byte(text), 0o600))
}

// tail is the end of a long text.
func tail(s string) string {
	const most = 4000
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}
