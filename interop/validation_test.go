package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/acme"

	"chancery/interop/live"
)

// lego with tls-alpn-01 (RFC 8737), against another port than 443.
func TestLegoTLSALPN01(t *testing.T) {
	t.Parallel()
	c := newCA(t)
	ports, err := live.Ports(1)
	must(t, err)
	write(t, c.conf, read(t, c.conf)+fmt.Sprintf("    tls_port: %d\n", ports[0]))
	c.start()
	l := newLego(c)
	l.run("--tls", "--tls.port", fmt.Sprintf("127.0.0.1:%d", ports[0]), "-d", "www.alpn.test", "-d", "alpn.test", "run")
	chain := l.chain("www.alpn.test")
	c.verify(chain, "www.alpn.test", "alpn.test")
	c.checkGood(chain)
}

// Of a profile that obeys CAA records, nothing is issued against them: not for
// another issuer, not for another account, not by another method (RFC 8659, RFC
// 8657). What it rested on is in the trail.
func TestCAA(t *testing.T) {
	t.Parallel()
	c := newCA(t)
	c.init()
	c.editPolicy(func(doc map[string]any) {
		doc["caa_identities"] = []string{"ca.caa.test"}
		child(doc, "profiles", "trial")["caa"] = true
	})
	c.start()
	ctx := context.Background()
	g := newGoClient(c)
	must(t, g.register(ctx))
	account, err := g.GetReg(ctx, "")
	must(t, err)
	dir, err := g.Discover(ctx)
	must(t, err)
	if fmt.Sprint(dir.CAA) != "[ca.caa.test]" {
		t.Errorf("the directory says %v", dir.CAA)
	}
	for i, tt := range []struct {
		value string
		ok    bool
	}{
		{"", true},
		{"other.test", false},
		{";", false},
		{"ca.caa.test", true},
		{"ca.caa.test; accounturi=" + account.URI, true},
		{"ca.caa.test; accounturi=" + account.URI + "0", false},
		{"ca.caa.test; validationmethods=http-01,dns-01", true},
		{"ca.caa.test; validationmethods=dns-01", false},
	} {
		c.dns.Issue("domain.test", tt.value)
		_, chain, err := g.obtain(ctx, fmt.Sprintf("h%d.domain.test", i), fmt.Sprintf("other%d.test", i))
		var e *acme.Error
		switch {
		case tt.ok && err != nil:
			t.Errorf("%q: %v", tt.value, err)
		case tt.ok:
			cert := c.verify(chain, fmt.Sprintf("h%d.domain.test", i), fmt.Sprintf("other%d.test", i))
			var v struct {
				Request string `json:"request"`
			}
			c.cliJSON(&v, "view", serialOf(cert))
			if trail := c.cli("explain", v.Request); tt.value != "" && !strings.Contains(trail, fmt.Sprintf("h%d.domain.test: CAA issue names this CA (at domain.test); other%d.test: there are no CAA records", i, i)) {
				t.Errorf("%q: the trail says\n%s", tt.value, trail)
			}
		case !errors.As(err, &e) || e.ProblemType != "urn:ietf:params:acme:error:caa" || !strings.Contains(e.Detail, "domain.test"):
			t.Errorf("%q: %v", tt.value, err)
		}
	}
}

// chancery acme try says why a validation fails, from the place where it does.
func TestAcmeTry(t *testing.T) {
	t.Parallel()
	c := newCA(t)
	c.start()
	out, errs, code := c.tryCLI("acme", "try", "www.try.test")
	for _, want := range []string{"A of www.try.test at " + c.dns.Addr, "127.0.0.1 may be dialled", fmt.Sprintf("127.0.0.1 port %d: not reached", c.http01), "It fails (connection)"} {
		if code != 1 || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in\n%s%s", code, want, out, errs)
		}
	}
	g := newGoClient(c)
	g.tokens.Store("/.well-known/acme-challenge/token", "token.thumbprint")
	var r struct {
		Valid bool `json:"valid"`
	}
	c.cliJSON(&r, "acme", "try", "www.try.test", "--key-authorization", "token.thumbprint")
	if !r.Valid {
		t.Error("what is served is not found")
	}
	if out, _, code := c.tryCLI("acme", "try", "169.254.169.254"); code != 1 || !strings.Contains(out, "in no network that this server validates in") {
		t.Errorf("exit %d: %s", code, out)
	}
	// The refusal of an officer's and admin's word to everybody else is in the
	// tests of the native API; here nobody at all asks.
	if _, _, code := c.tryCLI("acme", "try", "www.try.test", "--cert", filepath.Join(c.dir, "none.crt"), "--key", os.DevNull); code == 0 {
		t.Error("a stranger may try")
	}
}
