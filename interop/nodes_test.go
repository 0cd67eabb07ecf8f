package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/interop/live"
	"chancery/store/postgres/pgtest"
)

// newNode prepares an installation whose records are in a shared database, and
// does not start it.
func newNode(t *testing.T, name, dsn string) *ca {
	t.Helper()
	c := newCA(t)
	write(t, filepath.Join(c.dir, "dsn"), dsn+"\n")
	write(t, c.conf, read(t, c.conf)+fmt.Sprintf("node: %s\nstore: {postgres: {dsn_file: %s}}\n", name, filepath.Join(c.dir, "dsn")))
	return c
}

// A joining is "chancery node join" that runs.
type joining struct {
	cmd         *exec.Cmd
	mu          sync.Mutex
	out         bytes.Buffer
	fingerprint string
}

func (j *joining) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.out.Write(b)
}

func (j *joining) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.out.String()
}

// join begins to join and returns once the fingerprint is shown.
func (c *ca) join(args ...string) *joining {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	c.t.Cleanup(cancel)
	j := &joining{cmd: exec.CommandContext(ctx, c.binary, append([]string{"node", "join", "--data", c.data, "--config", c.conf}, args...)...)}
	j.cmd.Env, j.cmd.Stdout, j.cmd.Stderr = live.CleanEnv(), j, j
	must(c.t, j.cmd.Start())
	shown := regexp.MustCompile(`(?m)^fingerprint: (\S+)$`)
	eventually(c.t, 20*time.Second, func() error {
		if m := shown.FindStringSubmatch(j.text()); m != nil {
			j.fingerprint = m[1]
			return nil
		}
		return errors.New(j.text())
	})
	return j
}

// nodesPage is what chancery node list and status say of nodes.
type nodesPage struct {
	Policy string
	Nodes  []struct {
		Name, Policy string
		Live         bool
		Signs        []string
		Problems     []string
	}
	Waiting []struct{ Name string }
}

// at runs a command as the founder of one node against another.
func (c *ca) at(other *ca, args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	return execute(c.t, c.dir, nil, c.binary, append(args, "--server", "https://"+other.HTTPS, "--admin", "https://"+other.Admin,
		"--ca", other.roots(), "--cert", filepath.Join(c.data, "admin.crt"), "--key", filepath.Join(c.data, "admin.key"))...)
}

// nodeProblems are those that a status page has for a node; nil: no such node.
func (p *nodesPage) of(name string) (live bool, problems string) {
	for _, n := range p.Nodes {
		if n.Name == name {
			return n.Live, strings.Join(append(n.Problems, "signs: "+strings.Join(n.Signs, " ")), "; ")
		}
	}
	return false, "there is no such node"
}

// A second machine joins, serves without CA keys and with them, follows the
// policy, and goes on when the first is killed.
func TestNodesShareOneCA(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	a, b := newNode(t, "n1", dsn), newNode(t, "n2", dsn)
	a.start()

	// An empty machine makes no second CA.
	_, stderr, code := b.tryCLI("init", "--config", b.conf)
	if code == 0 || !strings.Contains(stderr, "chancery node join") {
		t.Fatalf("a second CA: exit %d\n%s", code, stderr)
	}
	if _, err := os.Stat(filepath.Join(b.data, "seal.key")); err == nil {
		t.Fatal("the refused machine made a seal of its own")
	}

	j := b.join()
	var page nodesPage
	a.cliJSON(&page, "node", "list")
	if len(page.Waiting) != 1 || page.Waiting[0].Name != "n2" {
		t.Errorf("waiting: %+v", page)
	}
	if _, stderr, code := a.tryCLI("node", "approve", "n2", "aaaa-bbbb-cccc-dddd"); code != 1 || !strings.Contains(stderr, "fingerprint") {
		t.Errorf("a wrong fingerprint: exit %d\n%s", code, stderr)
	}
	approved := a.cli("node", "approve", "n2", j.fingerprint)
	if err := j.cmd.Wait(); err != nil {
		t.Fatalf("join: %v\n%s", err, j.text())
	}
	seal := regexp.MustCompile(`is called ([0-9a-f]{16})`)
	if x, y := seal.FindString(approved), seal.FindString(j.text()); x == "" || x != y {
		t.Errorf("the name of the shared key: %q there, %q here", x, y)
	}
	if !strings.Contains(j.text(), filepath.Join(b.data, "keys", "main.key")) {
		t.Errorf("join does not say which keys to copy:\n%s", j.text())
	}
	if info, err := os.Stat(filepath.Join(b.data, "seal.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("seal.key: %v %v", info, err)
	}
	if read(t, filepath.Join(a.data, "seal.key")) != read(t, filepath.Join(b.data, "seal.key")) {
		t.Error("the nodes have different seals")
	}
	if all, _ := filepath.Glob(filepath.Join(b.data, "keys", "*")); len(all) > 0 {
		t.Errorf("keys came through the database: %v", all)
	}

	b.start() // n1 signs the certificate of its listeners
	withoutKeys(t, a, b)
	follows(t, a, b)

	// With the key of a CA it signs too.
	b.stop()
	for _, key := range []string{"main.key", "management.key"} {
		write(t, filepath.Join(b.data, "keys", key), read(t, filepath.Join(a.data, "keys", key)))
	}
	write(t, filepath.Join(b.data, "policy.yaml"), strings.Replace(read(t, filepath.Join(a.data, "policy.yaml")), "60d", "61d", 1))
	b.start()
	_, before := b.statusOf(a, "n2")
	if !strings.Contains(before, "policy.yaml is not the policy in force") || !strings.Contains(before, "main") {
		t.Errorf("status of n2: %s", before)
	}

	must(t, a.Kill())
	serial := b.enroll(a, "after.example.org")
	b.revoked(a, serial)
	eventually(t, 40*time.Second, func() error {
		if live, problems := b.statusOf(a, "n1"); live || !strings.Contains(problems, "silent for") {
			return fmt.Errorf("n1: live %v, %s", live, problems)
		}
		return nil
	})
	strangerSeal(t, b)
}

// withoutKeys shows what a node without CA keys does.
func withoutKeys(t *testing.T, a, b *ca) {
	t.Helper()
	if live, problems := b.statusOf(a, "n2"); !live || !strings.HasSuffix(problems, "signs: ") {
		t.Errorf("status of n2: live %v, %s", live, problems)
	}
	if got := string(fetch(t, "http://"+b.HTTP+"/readyz")); got != "ready\n" {
		t.Errorf("n2 is not ready: %s", got)
	}
	serial := b.enroll(a, "handed.example.org")
	b.says(a, serial, "good")
	b.revoked(a, serial)
	b.says(a, serial, "revoked")
}

// says has openssl ask this node by OCSP; one without the CA key answers with the
// key that it was delegated to.
func (c *ca) says(founder *ca, serial, word string) {
	c.t.Helper()
	eventually(c.t, 15*time.Second, func() error {
		out, errs, code := execute(c.t, c.dir, nil, "openssl", "ocsp", "-CAfile", filepath.Join(founder.data, "roots.pem"), "-issuer", filepath.Join(founder.data, "ca", "main.crt"),
			"-serial", "0x"+serial, "-url", "http://"+c.HTTP+"/ocsp")
		if code != 0 || !strings.Contains(out, "0x"+serial+": "+word) || !strings.Contains(errs+out, "Response verify OK") {
			return fmt.Errorf("wanted %s: exit %d\n%s%s", word, code, out, errs)
		}
		return nil
	})
}

// follows shows that a policy applied on one node is used on the other.
func follows(t *testing.T, a, b *ca) {
	t.Helper()
	a.editPolicy(func(doc map[string]any) {
		child(doc, "profiles", "service")["validity"] = "60d"
	})
	a.cli("apply")
	var page nodesPage
	a.cliJSON(&page, "status")
	eventually(t, 10*time.Second, func() error {
		out, stderr, code := a.at(b, "status", "--json")
		if code != 0 || !strings.Contains(out, page.Policy) {
			return fmt.Errorf("exit %d, not version %s\n%s%s", code, page.Policy, out, stderr)
		}
		return nil
	})
}

// statusOf is what this node says of one; the founder's credential is at.
func (c *ca) statusOf(founder *ca, name string) (live bool, problems string) {
	c.t.Helper()
	out, stderr, code := founder.at(c, "status", "--json")
	if code != 0 {
		c.t.Fatalf("status: exit %d\n%s", code, stderr)
	}
	var page nodesPage
	decode(c.t, out, &page)
	return page.of(name)
}

// enroll gets a certificate from this node and returns its serial number.
func (c *ca) enroll(founder *ca, name string) string {
	c.t.Helper()
	file := filepath.Join(c.dir, name+".csr")
	_, stderr, code := execute(c.t, c.dir, nil, "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
		"-keyout", file+".key", "-subj", "/CN="+name, "-addext", "subjectAltName=DNS:"+name, "-out", file)
	if code != 0 {
		c.t.Fatal(stderr)
	}
	out, stderr, code := founder.at(c, "submit", file, "--json")
	var issued struct{ Status, Serial string }
	if code == 0 {
		decode(c.t, out, &issued)
	}
	if issued.Serial == "" {
		c.t.Fatalf("submit at %s: exit %d\n%s%s\n%s", c.HTTPS, code, out, stderr, tail(c.Log()))
	}
	return issued.Serial
}

// revoked revokes at this node, and waits until the CRL that it serves says so.
func (c *ca) revoked(founder *ca, serial string) {
	c.t.Helper()
	if _, stderr, code := founder.at(c, "revoke", serial); code != 0 {
		c.t.Fatalf("revoke: exit %d\n%s", code, stderr)
	}
	var page struct {
		Authorities []struct {
			Name  string
			KeyID string `json:"key_id"`
		}
	}
	out, _, _ := founder.at(c, "status", "--json")
	decode(c.t, out, &page)
	for _, a := range page.Authorities {
		if a.Name != "main" {
			continue
		}
		eventually(c.t, 15*time.Second, func() error {
			list, err := x509.ParseRevocationList(fetch(c.t, "http://"+c.HTTP+"/crl/"+a.KeyID+".crl"))
			if err != nil {
				return err
			}
			for _, e := range list.RevokedCertificateEntries {
				if fmt.Sprintf("%x", e.SerialNumber) == serial {
					return nil
				}
			}
			return fmt.Errorf("the CRL does not list %s", serial)
		})
		return
	}
	c.t.Fatalf("no authority main in %s", out)
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

// strangerSeal shows that a node with another seal refuses to start.
func strangerSeal(t *testing.T, b *ca) {
	t.Helper()
	b.stop()
	secret := make([]byte, 32)
	_, err := rand.Read(secret)
	must(t, err)
	write(t, filepath.Join(b.data, "seal.key"), base64.StdEncoding.EncodeToString(secret)+"\n")
	s, err := live.Start(b.settings())
	if err == nil {
		_ = s.Kill()
		t.Fatal("a node with another seal serves")
	}
	if !strings.Contains(err.Error(), "is not the key that these records were made with") {
		t.Error(err)
	}
}

// Of two machines that begin on the same empty database at the same time, one
// makes the CA.
func TestTwoFirstStarts(t *testing.T) {
	t.Parallel()
	for range 3 {
		dsn := pgtest.DSN(t)
		all := []*ca{newNode(t, "n1", dsn), newNode(t, "n2", dsn)}
		errs := make([]error, len(all))
		var wg sync.WaitGroup
		for i, c := range all {
			wg.Go(func() {
				s, err := live.Start(c.settings())
				if errs[i] = err; err == nil {
					c.Server = s
				}
			})
		}
		wg.Wait()
		won := -1
		for i, c := range all {
			switch _, err := os.Stat(filepath.Join(c.data, "seal.key")); {
			case errs[i] == nil && won >= 0:
				t.Error("both made a CA")
			case errs[i] == nil:
				won = i
			case !strings.Contains(errs[i].Error(), "chancery node join"):
				t.Errorf("refused without saying what to do: %v", errs[i])
			case err == nil:
				t.Error("the loser keeps a seal of its own")
			}
			if c.Server != nil {
				c.stop()
			}
		}
		if won < 0 {
			t.Fatalf("nobody made a CA: %v", errs)
		}
	}
}
