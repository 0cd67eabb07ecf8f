package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The way of a person at the command line: submit, look, retrieve, revoke.
func TestCLI(t *testing.T) {
	t.Parallel()
	c := startCA(t)
	csr, _ := c.newCSR("www.cli.test", "cli.test")
	out, errs, code := c.tryCLI("submit", csr)
	if code != 0 {
		t.Fatalf("submit: exit %d\n%s%s", code, out, errs)
	}
	if !strings.HasPrefix(out, "-----BEGIN CERTIFICATE-----") {
		t.Fatalf("submit prints something else than the chain on stdout:\n%s", out)
	}
	cert := c.verify(out, "www.cli.test", "cli.test")
	chain := out
	c.checkGood(chain)

	var s submitted
	c.cliJSON(&s, "submit", csr)
	if s.ID == "" || s.Serial == "" {
		t.Fatalf("submit --json gave %+v", s)
	}
	if got := c.cli("retrieve", s.ID); got != s.Chain {
		t.Errorf("retrieve %s gave\n%s\nnot\n%s", s.ID, got, s.Chain)
	}
	for _, args := range [][]string{{"view", serialOf(cert)}, {"explain", s.ID}} {
		if out := c.cli(args...); !strings.Contains(out, "www.cli.test") {
			t.Errorf("chancery %s does not name the name:\n%s", strings.Join(args, " "), out)
		}
		var doc map[string]any
		c.cliJSON(&doc, args...)
	}
	if out := c.cli("status"); !strings.Contains(out, "founder") {
		t.Errorf("status does not show the founder:\n%s", out)
	}

	c.cli("revoke", "--reason", "keyCompromise", serialOf(cert))
	c.checkRevoked(chain)
	if _, errs, code := c.tryCLI("revoke", serialOf(cert)); code == 0 || !strings.Contains(errs, "revoked") {
		t.Errorf("revoking again: exit %d\n%s", code, errs)
	}
	if _, errs, code := c.tryCLI("submit", csr, "--profile", "nonsense"); code == 0 || !strings.Contains(errs, "nonsense") {
		t.Errorf("an unknown profile: exit %d\n%s", code, errs)
	}

	trust := c.cli("ca", "trust")
	for _, want := range []string{"SHA-256", "SHA-1", "roots.pem"} {
		if !strings.Contains(trust, want) {
			t.Errorf("ca trust does not say %q:\n%s", want, trust)
		}
	}
	if out, _, code := execute(t, c.dir, nil, c.binary, "version"); code != 0 || !strings.HasPrefix(out, "chancery test") {
		t.Errorf("version: exit %d: %s", code, out)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out, _, code := execute(t, c.dir, nil, c.binary, "completion", shell); code != 0 || !strings.Contains(out, "chancery") {
			t.Errorf("completion %s: exit %d", shell, code)
		}
	}
}

// approval: manual at the command line: a grant's holder submits and waits, an
// officer looks at what would be signed, approves one and denies the other.
func TestCLIApproval(t *testing.T) {
	t.Parallel()
	c := vetted(t)
	var g grant
	c.cliJSON(&g, "grant", "create", "--protocol", "native", "--profile", "vetted", "--name", "*.vetted.test")
	holder := func(args ...string) (stdout, stderr string, code int) {
		t.Helper()
		return execute(t, c.dir, []string{"CHANCERY_TOKEN=" + g.Secret}, c.binary, append(args, "--server", "https://"+c.HTTPS, "--ca", c.roots())...)
	}
	submit := func(name string) string {
		t.Helper()
		csr, _ := c.newCSR(name)
		out, errs, code := holder("submit", csr, "--profile", "vetted")
		id, ok := strings.CutPrefix(strings.TrimSpace(errs), "pending ")
		if code != 3 || !ok || out != "" {
			t.Fatalf("submit: exit %d\n%s%s", code, out, errs)
		}
		return id
	}
	good, bad := submit("good.vetted.test"), submit("bad.vetted.test")
	for _, want := range []string{good, bad, "good.vetted.test", "bad.vetted.test"} {
		if list := c.cli("pending"); !strings.Contains(list, want) {
			t.Errorf("pending does not show %s:\n%s", want, list)
		}
	}
	if out := c.cli("explain", good); !strings.Contains(out, "good.vetted.test") || !strings.Contains(out, "pend") {
		t.Errorf("explain shows\n%s", out)
	}
	if _, errs, code := holder("approve", good); code == 0 {
		t.Errorf("the holder approves its own request: %s", errs)
	}
	c.cli("approve", good)
	c.cli("deny", bad, "--reason", "not ours")

	out, errs, code := holder("retrieve", good)
	if code != 0 {
		t.Fatalf("retrieve: exit %d\n%s", code, errs)
	}
	c.verify(out, "good.vetted.test")
	if _, errs, code := holder("retrieve", bad); code != 1 || !strings.Contains(errs, "not ours") {
		t.Errorf("retrieving what was denied: exit %d\n%s", code, errs)
	}
	if _, _, code := c.tryCLI("approve", good); code == 0 {
		t.Error("what was decided can be approved again")
	}
	if n := len(c.pending()); n != 0 {
		t.Errorf("%d requests still wait", n)
	}

	// Nobody approves what they asked for themselves.
	csr, _ := c.newCSR("own.vetted.test")
	_, errs, code = c.tryCLI("submit", csr, "--profile", "vetted")
	id, _ := strings.CutPrefix(strings.TrimSpace(errs), "pending ")
	if code != 3 {
		t.Fatalf("submit: exit %d\n%s", code, errs)
	}
	if _, errs, code := c.tryCLI("approve", id); code == 0 {
		t.Errorf("the founder approved the founder's own request: %s", errs)
	}
}

// "chancery apply" and SIGHUP activate policy.yaml; a bad one changes nothing.
func TestCLIApply(t *testing.T) {
	t.Parallel()
	c := startCA(t)
	file := filepath.Join(c.data, "policy.yaml")
	before := read(t, file)
	csr, _ := c.newCSR("www.apply.test")
	if _, _, code := c.tryCLI("submit", csr, "--profile", "brief"); code == 0 {
		t.Fatal("there is a profile brief already")
	}
	c.editPolicy(func(doc map[string]any) {
		child(doc, "profiles")["brief"] = map[string]any{
			"authority": "main", "frontends": []string{"native"}, "validity": "1d", "eku": []string{"serverAuth"},
		}
		child(doc, "frontends", "native", "default")["profiles"] = []string{"service", "brief"}
	})
	if out := c.cli("apply"); !strings.Contains(out, "brief") {
		t.Errorf("apply does not say what changed:\n%s", out)
	}
	c.verify(c.cli("submit", csr, "--profile", "brief"), "www.apply.test")

	write(t, file, strings.Replace(before, "eku:", "ekku:", 1))
	if _, errs, code := c.tryCLI("apply"); code == 0 || !strings.Contains(errs, "ekku") || !strings.Contains(errs, "policy.yaml:") {
		t.Errorf("a bad document: exit %d\n%s", code, errs)
	}
	c.verify(c.cli("submit", csr, "--profile", "brief"), "www.apply.test")
}

// Whoever is no founder, officer or admin can do none of it.
func TestCLINeedsCredential(t *testing.T) {
	t.Parallel()
	c := startCA(t)
	must(t, os.Rename(filepath.Join(c.data, "admin.key"), filepath.Join(c.dir, "hidden")))
	for _, args := range [][]string{{"pending"}, {"status"}, {"grant", "list"}, {"freeze", "all", "--reason", "x"}} {
		all := append(args, "--server", "https://"+c.Admin, "--ca", c.roots())
		out, errs, code := execute(t, c.dir, nil, c.binary, all...)
		if code == 0 {
			t.Errorf("chancery %s without a credential: %s%s", strings.Join(args, " "), out, errs)
		}
	}
}
