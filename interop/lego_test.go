package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A lego is one installation of lego, with an account of its own.
type lego struct {
	c   *ca
	dir string
	env []string
}

func newLego(c *ca) *lego {
	return &lego{c, filepath.Join(c.t.TempDir(), "lego"), []string{"LEGO_CA_CERTIFICATES=" + c.roots()}}
}

func (l *lego) run(args ...string) {
	l.c.t.Helper()
	all := append([]string{"--server", l.c.directory(), "--accept-tos", "--email", "a@lego.test", "--path", l.dir}, args...)
	out, errs, code := execute(l.c.t, l.c.dir, l.env, "lego", all...)
	if code != 0 {
		l.c.t.Fatalf("lego %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
}

// chain is the certificate with its issuers.
func (l *lego) chain(name string) string {
	l.c.t.Helper()
	return read(l.c.t, filepath.Join(l.dir, "certificates", name+".crt"))
}

// lego with http-01: a certificate, its renewal, revoked.
func TestLegoHTTP01(t *testing.T) {
	t.Parallel()
	c := startCA(t)
	l := newLego(c)
	answer := []string{"--http", "--http.port", fmt.Sprintf("127.0.0.1:%d", c.http01), "-d", "www.lego.test", "-d", "lego.test"}
	l.run(append(answer, "run")...)
	first := l.chain("www.lego.test")
	c.verify(first, "www.lego.test", "lego.test")
	c.checkGood(first)

	l.run(append(answer, "renew", "--days", "3650", "--no-random-sleep")...)
	second := l.chain("www.lego.test")
	if serialOf(certsOf(t, first)[0]) == serialOf(certsOf(t, second)[0]) {
		t.Fatal("renewal gave the same certificate")
	}
	c.verify(second, "www.lego.test", "lego.test")

	l.run("-d", "www.lego.test", "revoke", "--reason", "4", "--keep")
	c.checkRevoked(second)
	c.checkGood(first)
}

// lego with dns-01 by its exec provider: a wildcard.
func TestLegoDNS01(t *testing.T) {
	t.Parallel()
	c := startCA(t)
	l := newLego(c)
	hook := filepath.Join(c.dir, "exec.sh")
	write(t, hook, fmt.Sprintf(`#!/bin/sh
case $1 in present) do=set ;; *) do=clear ;; esac
exec curl -fsS -G --data-urlencode "name=$2" --data-urlencode "value=$3" "%s?do=$do"
`, c.txtURL))
	must(t, os.Chmod(hook, 0o700))
	l.env = append(l.env, "EXEC_PATH="+hook)
	l.run("--dns", "exec", "--dns.disable-cp", "--dns.resolvers", c.dns.Addr, "-d", "*.wild.test", "run")
	chain := l.chain("_.wild.test")
	c.verify(chain, "*.wild.test")
	c.checkGood(chain)
}
