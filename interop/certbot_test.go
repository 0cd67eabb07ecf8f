package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/interop/live"
)

// A certbot is one installation of certbot, with an account of its own.
type certbot struct {
	c         *ca
	dir       string
	directory string
}

func newCertbot(c *ca, directory string) *certbot {
	return &certbot{c, filepath.Join(c.t.TempDir(), "certbot"), directory}
}

func (b *certbot) args(args []string) []string {
	return append([]string{
		"--config-dir", b.dir + "/c", "--work-dir", b.dir + "/w", "--logs-dir", b.dir + "/l",
		"--server", b.directory, "--non-interactive", "--agree-tos",
	}, args...)
}

func (b *certbot) env() []string { return []string{"REQUESTS_CA_BUNDLE=" + b.c.roots()} }

// run runs certbot, which must succeed.
func (b *certbot) run(args ...string) string {
	b.c.t.Helper()
	out, errs, code := execute(b.c.t, b.c.dir, b.env(), "certbot", b.args(args)...)
	if code != 0 {
		b.c.t.Fatalf("certbot %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out + errs
}

// standalone are the arguments for a certificate by http-01.
func (b *certbot) standalone(name string, domains ...string) []string {
	args := []string{
		"certonly", "--standalone", "--http-01-port", fmt.Sprint(b.c.http01), "--http-01-address", "127.0.0.1",
		"--register-unsafely-without-email", "--cert-name", name,
	}
	for _, d := range domains {
		args = append(args, "-d", d)
	}
	return args
}

// file is a file of a certificate: cert, chain, fullchain, privkey.
func (b *certbot) file(name, kind string) string {
	return filepath.Join(b.dir, "c", "live", name, kind+".pem")
}

func (b *certbot) fullchain(name string) string {
	b.c.t.Helper()
	return read(b.c.t, b.file(name, "fullchain"))
}

// start runs certbot in the background; end says how it ended.
func (b *certbot) start(args ...string) *background {
	b.c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "certbot", b.args(args)...)
	cmd.Dir, cmd.Env = b.c.dir, append(live.CleanEnv(), b.env()...)
	bg := &background{cancel: cancel, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = bg, bg
	cmd.WaitDelay = 5 * time.Second
	must(b.c.t, cmd.Start())
	b.c.t.Cleanup(bg.kill)
	go func() {
		bg.err = cmd.Wait()
		close(bg.done)
	}()
	return bg
}

// A background is a program that runs beside the test.
type background struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error

	mu  sync.Mutex
	out bytes.Buffer
}

func (b *background) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.Write(p)
}

func (b *background) output() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.String()
}

func (b *background) kill() {
	b.cancel()
	<-b.done
}

// wait waits for the end of the program and returns what it printed.
func (b *background) wait(within time.Duration) (string, error) {
	select {
	case <-b.done:
		return b.output(), b.err
	case <-time.After(within):
		return b.output(), errors.New("still running")
	}
}

// certbot with http-01: a certificate, its renewal, revoked by the account key.
func TestCertbotHTTP01(t *testing.T) {
	t.Parallel()
	c := startCA(t)
	b := newCertbot(c, c.directory())
	b.run(b.standalone("t1", "www.certbot.test", "certbot.test")...)
	first := b.fullchain("t1")
	c.verify(first, "www.certbot.test", "certbot.test")
	c.checkGood(first)

	b.run("renew", "--force-renewal", "--no-random-sleep-on-renew")
	second := b.fullchain("t1")
	if serialOf(certsOf(t, first)[0]) == serialOf(certsOf(t, second)[0]) {
		t.Fatal("renewal gave the same certificate")
	}
	c.verify(second, "www.certbot.test", "certbot.test")

	b.run("revoke", "--cert-name", "t1", "--reason", "keycompromise", "--no-delete-after-revoke")
	c.checkRevoked(second)
	c.checkGood(first)

	b.run("update_account", "--email", "someone@certbot.test", "--no-eff-email")
	b.run("unregister")
}

// certbot with dns-01 hooks: a wildcard with an RSA key, revoked by its own key.
func TestCertbotDNS01Wildcard(t *testing.T) {
	t.Parallel()
	c := startCA(t)
	b := newCertbot(c, c.directory())
	hook := func(do string) string {
		file := filepath.Join(c.dir, do+".sh")
		write(t, file, fmt.Sprintf(`#!/bin/sh
exec curl -fsS -G --data-urlencode "name=_acme-challenge.$CERTBOT_DOMAIN" --data-urlencode "value=$CERTBOT_VALIDATION" '%s?do=%s'
`, c.txtURL, do))
		return "sh " + file
	}
	b.run("certonly", "--manual", "--preferred-challenges", "dns", "--manual-auth-hook", hook("set"), "--manual-cleanup-hook", hook("clear"),
		"--register-unsafely-without-email", "--cert-name", "t2", "--key-type", "rsa", "-d", "*.wild.test", "-d", "wild.test")
	chain := b.fullchain("t2")
	c.verify(chain, "*.wild.test", "wild.test")
	c.checkGood(chain)

	b.run("revoke", "--cert-path", b.file("t2", "cert"), "--key-path", b.file("t2", "privkey"), "--reason", "superseded", "--no-delete-after-revoke")
	c.checkRevoked(chain)
}
