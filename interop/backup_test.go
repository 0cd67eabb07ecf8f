package interop

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/store/postgres/pgtest"
)

// commands are the lines of the shell blocks in a section of a page.
func commands(t *testing.T, page, section string) (all []string) {
	t.Helper()
	_, text, ok := strings.Cut(read(t, page), "\n## "+section+"\n")
	if !ok {
		t.Fatalf("%s has no section %s", page, section)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	for i, block := range strings.Split(text, "```") {
		if shell, ok := strings.CutPrefix(block, "sh\n"); ok && i%2 == 1 {
			all = append(all, strings.Split(strings.TrimSpace(shell), "\n")...)
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s: %s has no commands", page, section)
	}
	return all
}

// as runs a command of a page, with the folders of this test in place of those
// that the page names.
func (c *ca) as(command string) (output string, code int) {
	c.t.Helper()
	line := strings.NewReplacer("/var/lib/chancery", c.data, "/srv/", c.dir+"/srv/").Replace(command)
	if rest, ok := strings.CutPrefix(line, "chancery "); ok {
		line = c.binary + " " + rest
		if strings.HasPrefix(rest, "restore --") {
			line += " --config " + c.conf
		}
	}
	out, errs, code := execute(c.t, c.dir, nil, "sh", "-c", line)
	return out + errs, code
}

func (c *ca) mustAs(command string) string {
	c.t.Helper()
	out, code := c.as(command)
	if code != 0 {
		c.t.Fatalf("%s: exit %d\n%s", command, code, out)
	}
	return out
}

// authorityKeys are the CA keys by authority.
func (c *ca) authorityKeys() map[string]string {
	c.t.Helper()
	all := map[string]string{}
	for _, name := range []string{"main", "management"} {
		all[name] = fmt.Sprintf("%x", certsOf(c.t, read(c.t, filepath.Join(c.data, "ca", name+".crt")))[0].SubjectKeyId)
	}
	return all
}

func (c *ca) crl(keyID string) *x509.RevocationList {
	c.t.Helper()
	l, err := x509.ParseRevocationList(fetch(c.t, "http://"+c.HTTP+"/crl/"+keyID+".crl"))
	must(c.t, err)
	return l
}

// lose is a CA that was backed up, worked on, and is gone: what is left are the
// backup, the keys, the published lists and the journal.
type lose struct {
	c                          *ca
	before, after, gone, taken string // chains
	once                       grant
	g                          *goClient
	list                       *x509.RevocationList
}

func backedUpAndLost(t *testing.T) *lose {
	t.Helper()
	c := startCA(t)
	l := &lose{c: c, g: newGoClient(c), once: c.newGrant("*.once.test", "--uses", "1")}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, l.g.register(ctx))
	submit := func(name string) string {
		csr, _ := c.newCSR(name)
		return c.cli("submit", csr)
	}
	l.before, l.taken = submit("before.test"), submit("taken.test")
	for _, dir := range []string{"backup", "keys", "crl"} {
		must(t, os.MkdirAll(filepath.Join(c.dir, "srv", dir), 0o700))
	}
	stop := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() { // the CA goes on while the backup is made
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				submit(fmt.Sprintf("load%d.test", i))
			}
		}
	})
	for _, command := range commands(t, "../docs/operations.md", "Backup") {
		c.mustAs(command)
	}
	close(stop)
	load.Wait()

	l.after, l.gone = submit("after.test"), submit("gone.test")
	c.cli("revoke", serialOf(certsOf(t, l.gone)[0]))
	c.cli("revoke", serialOf(certsOf(t, l.taken)[0]))
	c.checkRevoked(l.gone)
	main := c.authorityKeys()["main"]
	eventually(t, 10*time.Second, func() error {
		if l.list = c.crl(main); len(l.list.RevokedCertificateEntries) != 2 {
			return fmt.Errorf("%d entries", len(l.list.RevokedCertificateEntries))
		}
		revoked := 0
		for _, ev := range c.journal() {
			if ev.Kind == "revoked" {
				revoked++
			}
		}
		if revoked != 2 {
			return fmt.Errorf("%d revocations in the journal", revoked)
		}
		return nil
	})
	for name, id := range c.authorityKeys() {
		write(t, filepath.Join(c.dir, "srv", "crl", name+".crl"), string(fetch(t, "http://"+c.HTTP+"/crl/"+id+".crl")))
	}
	c.stop()
	must(t, os.Rename(filepath.Join(c.data, "issued"), filepath.Join(c.dir, "srv", "issued")))
	must(t, os.Rename(c.data, c.data+".lost"))
	return l
}

// inQuarantine checks what clients see until the release.
func (l *lose) inQuarantine() {
	c, t := l.c, l.c.t
	t.Helper()
	csr, _ := c.newCSR("now.test")
	if _, errs, code := c.tryCLI("submit", csr); code == 0 || !strings.Contains(errs, "restored from a backup") {
		t.Errorf("a native client is told (exit %d)\n%s", code, errs)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l.g.HTTPClient = c.client() // another server's certificate now
	if _, _, err := l.g.obtain(ctx, "now.go.test"); err == nil || !strings.Contains(err.Error(), "restored from a backup") {
		t.Errorf("an ACME client is told %v", err)
	}
	resp, err := http.Get("http://" + c.HTTP + "/readyz")
	must(t, err)
	why, err := io.ReadAll(resp.Body)
	must(t, errors.Join(err, resp.Body.Close()))
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(why), "restored from a backup") {
		t.Errorf("readyz says %s\n%s", resp.Status, why)
	}
	c.checkGood(l.before)
	c.checkGood(l.after)
	c.checkRevoked(l.gone)
	c.checkRevoked(l.taken)
	now := c.crl(c.authorityKeys()["main"])
	if now.Number.Cmp(l.list.Number) <= 0 || len(now.RevokedCertificateEntries) < 2 {
		t.Errorf("list %v with %d entries after %v", now.Number, len(now.RevokedCertificateEntries), l.list.Number)
	}
}

func (l *lose) afterRelease() {
	c, t := l.c, l.c.t
	t.Helper()
	csr, _ := c.newCSR("again.test")
	c.verify(c.cli("submit", csr), "again.test")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, _, err := l.g.obtain(ctx, "again.go.test"); err != nil {
		t.Errorf("an ACME client from before: %v", err)
	}
	csr, _ = c.newCSR("a.once.test")
	_, errs, code := execute(t, c.dir, []string{"CHANCERY_TOKEN=" + l.once.Secret}, c.binary, "submit", csr, "--profile", "service", "--server", "https://"+c.HTTPS, "--ca", c.roots())
	if code == 0 {
		t.Errorf("a grant for one certificate from before the backup is good: %s", errs)
	}
	c.checkGood(l.after)
	var page struct {
		Quarantine any `json:"quarantine"`
	}
	if c.cliJSON(&page, "status"); page.Quarantine != nil {
		t.Errorf("still in quarantine: %v", page.Quarantine)
	}
}

// The commands of docs/operations.md, as written: a backup while the CA works,
// the machine is lost, a restore, the release.
func TestBackupAndRestoreAsDocumented(t *testing.T) {
	t.Parallel()
	l := backedUpAndLost(t)
	c := l.c
	archive := filepath.Join(c.dir, "srv", "backup", "ca.backup")
	if info, err := os.Stat(archive); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	for _, secret := range []string{"PRIVATE KEY", strings.TrimSpace(read(t, filepath.Join(c.data+".lost", "seal.key"))), l.once.Secret} {
		if bytes.Contains([]byte(read(t, archive)), []byte(secret)) {
			t.Errorf("the backup holds %.12q…", secret)
		}
	}
	released := false
	for _, command := range commands(t, "../docs/operations.md", "Restore") {
		switch {
		case command == "systemctl start chancery":
			c.start()
			l.inQuarantine()
			continue
		case strings.HasPrefix(command, "chancery restore release"):
			released = true
		case strings.HasPrefix(command, "chancery status"):
			if out := c.mustAs(command); !strings.Contains(out, "IN QUARANTINE") {
				t.Errorf("status does not say it:\n%s", out)
			}
			continue
		}
		c.mustAs(command)
	}
	if !released {
		t.Fatal("the page does not release")
	}
	l.afterRelease()
}

// What is missing is said, and given later; into PostgreSQL this time.
func TestRestoreIntoPostgres(t *testing.T) {
	t.Parallel()
	l := backedUpAndLost(t)
	c := l.c
	dsn := pgtest.DSN(t)
	srv := func(name string) string { return filepath.Join(c.dir, "srv", name) }
	for _, command := range commands(t, "../docs/operations.md", "Restore")[:2] {
		c.mustAs(command)
	}
	out, errs, code := execute(t, c.dir, nil, c.binary, "restore", srv("backup/ca.backup"), "--data", c.data, "--dsn", dsn)
	if code != 0 || strings.Count(out, "missing:") != 2 {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	c.conf = filepath.Join(c.data, "chancery.yaml") // as the restore wrote it
	c.start()
	if _, errs, code := c.tryCLI("restore", "release"); code == 0 || !strings.Contains(errs, "main") || !strings.Contains(errs, "management") {
		t.Errorf("released: exit %d\n%s", code, errs)
	}
	if err := c.status(l.gone, false); err == nil {
		t.Error("good, before the last list is known")
	}
	// Where records are in a database, the server may run meanwhile.
	c.cli("restore", "add", "--crl", srv("crl/main.crl"), "--journal", srv("issued"))
	if _, errs, code := c.tryCLI("restore", "add", "--no-published-crl", c.authorityKeys()["management"]); code == 0 || !strings.Contains(errs, "say why") {
		t.Errorf("without words: exit %d\n%s", code, errs)
	}
	c.cli("restore", "add", "--no-published-crl", c.authorityKeys()["management"]+"=nobody ever fetched it")
	eventually(t, 20*time.Second, func() error {
		if n := c.crl(c.authorityKeys()["main"]).Number; n.Cmp(l.list.Number) <= 0 {
			return fmt.Errorf("list %v", n)
		}
		return nil
	})
	l.inQuarantine()
	c.cli("restore", "release")
	l.afterRelease()
}

// Whoever has the role asks over the network; where no server runs, the disk is
// read, also when the last one was killed and left its socket.
func TestBackupWaysIn(t *testing.T) {
	t.Parallel()
	c := startCA(t)
	file := filepath.Join(c.dir, "a.backup")
	verify := func() {
		t.Helper()
		if out := c.cli("backup", "verify", file); !strings.Contains(out, "made by this CA") {
			t.Errorf("verify says\n%s", out)
		}
		must(t, os.Remove(file))
	}
	admin := []string{"--admin", "https://" + c.Admin, "--ca", c.roots()}
	founder := []string{"--cert", filepath.Join(c.data, "admin.crt"), "--key", filepath.Join(c.data, "admin.key")}
	out, errs, code := execute(t, c.dir, nil, c.binary, append(append([]string{"backup", file}, admin...), founder...)...)
	if code != 0 {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	verify()
	token := []string{"CHANCERY_TOKEN=" + c.newGrant("*.a.test").Secret}
	if out, errs, code := execute(t, c.dir, token, c.binary, append([]string{"backup", file}, admin...)...); code == 0 || !strings.Contains(errs, "unauthorized") {
		t.Errorf("with the token of an enrollee: exit %d\n%s%s", code, out, errs)
	}
	if left, _ := filepath.Glob(file + "*"); len(left) > 0 {
		t.Errorf("left by what was refused: %v", left)
	}
	write(t, file, c.cli("backup", "-"))
	verify()
	var audit struct {
		Audit []struct{ Act, Via string }
	}
	resp, err := c.client(c.founder()).Get("https://" + c.Admin + "/api/v1/audit")
	must(t, err)
	defer resp.Body.Close()
	must(t, json.NewDecoder(resp.Body).Decode(&audit))
	var via []string
	for _, a := range audit.Audit {
		if a.Act == "backup" {
			via = append(via, a.Via)
		}
	}
	if len(via) != 2 || via[0] != "socket" || via[1] != "founder" {
		t.Errorf("backups in the audit, newest first: %q", via)
	}
	must(t, c.Kill())
	c.cli("backup", file)
	verify()
}
