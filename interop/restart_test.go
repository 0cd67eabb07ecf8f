package interop

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	"chancery/interop/live"
)

// The second start uses what the first one made: the same roots, CA, founder,
// and every certificate.
func TestSecondStartReusesEverything(t *testing.T) {
	t.Parallel()
	c := startCA(t)
	csr, _ := c.newCSR("first.start.test")
	chain := c.cli("submit", csr)
	cert := c.verify(chain, "first.start.test")

	made := []string{"roots.pem", "admin.crt", "admin.key", "chancery.yaml", "policy.yaml"}
	before := map[string]string{}
	for _, f := range made {
		before[f] = read(t, filepath.Join(c.data, f))
	}
	for _, secret := range []string{"admin.key", "seal.key"} {
		fi, err := os.Stat(filepath.Join(c.data, secret))
		must(t, err)
		if fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %s", secret, fi.Mode())
		}
	}
	c.stop()
	c.start()

	for _, f := range made {
		if read(t, filepath.Join(c.data, f)) != before[f] {
			t.Errorf("the second start changed %s", f)
		}
	}
	c.checkGood(chain)
	if out := c.cli("view", serialOf(cert)); !strings.Contains(out, "first.start.test") {
		t.Errorf("view does not know the certificate:\n%s", out)
	}
	csr, _ = c.newCSR("second.start.test")
	again := c.cli("submit", csr)
	c.verify(again, "second.start.test")
	if a, b := certsOf(t, chain), certsOf(t, again); !a[1].Equal(b[1]) {
		t.Error("the second start issues with another CA certificate")
	}
}

// Listeners on port 0 get free ports, which the ready line names.
func TestFreePorts(t *testing.T) {
	t.Parallel()
	c := newCA(t)
	write(t, c.conf, "listen: {https: '127.0.0.1:0', http: '127.0.0.1:0', admin: '127.0.0.1:0'}\n")
	c.start()
	for _, url := range []string{"https://" + c.HTTPS, "http://" + c.HTTP, "https://" + c.Admin} {
		for _, path := range []string{"/healthz", "/readyz"} {
			resp, err := c.client(c.founder()).Get(url + path)
			must(t, err)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s%s: %s", url, path, resp.Status)
			}
		}
	}
	csr, _ := c.newCSR("free.port.test")
	c.checkGood(c.cli("submit", csr))
}

// SIGTERM drains: a request under way is answered, no new one is taken, the
// exit code is 0.
func TestDrain(t *testing.T) {
	t.Parallel()
	c := newCA(t)
	c.start()
	body := `{"this":"is not a request"}`
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(read(t, c.roots())))
	conn, err := tls.Dial("tcp", c.HTTPS, &tls.Config{RootCAs: pool})
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	dir, err := (&acme.Client{DirectoryURL: c.directory(), HTTPClient: c.client()}).Discover(t.Context())
	must(t, err)
	path := strings.TrimPrefix(dir.OrderURL, "https://"+c.HTTPS)
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/jose+json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", path, c.HTTPS, len(body))
	must(t, err)
	// Once the server asks for the body, the request is under way.
	buf := make([]byte, 25)
	if _, err := io.ReadFull(conn, buf); err != nil || !strings.HasPrefix(string(buf), "HTTP/1.1 100 Continue") {
		t.Fatalf("the server did not ask for the body: %q %v", buf, err)
	}
	must(t, c.Signal(syscall.SIGTERM))
	eventually(t, 10*time.Second, func() error {
		extra, err := net.Dial("tcp", c.HTTPS)
		if err == nil {
			_ = extra.Close()
			return fmt.Errorf("new connections are still taken")
		}
		return nil
	})
	select {
	case <-c.Done():
		t.Fatal("ended while a request was under way")
	default:
	}
	_, err = io.WriteString(conn, body)
	must(t, err)
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 4") {
		t.Errorf("the request under way got %q %v", answer, err)
	}
	select {
	case <-c.Done():
		if c.Err() != nil {
			t.Errorf("ended with %v\n%s", c.Err(), tail(c.Log()))
		}
	case <-time.After(30 * time.Second):
		t.Error("still running 30 s after the last request")
	}
	c.checkLog()
}

// A configuration with a mistake is refused, with the line and what was meant.
func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	good := newCA(t)
	good.init()
	policy := read(t, filepath.Join(good.data, "policy.yaml"))
	tests := []struct {
		name, node, policy string
		want               []string // in what is printed
	}{
		{"unknown key", "listen:\n  htps: 127.0.0.1:0\n", "", []string{"chancery.yaml:2", "htps", "https"}},
		{"unknown section", "lissten: {}\n", "", []string{"chancery.yaml:1", "lissten", "listen"}},
		{"wrong type", "listen:\n  https: [1]\n", "", []string{"chancery.yaml:2"}},
		{"not YAML", "listen: {\n", "", []string{"chancery.yaml:"}},
		{"unknown key of a profile", "", strings.Replace(policy, "    validity: 7d", "    validty: 7d", 1), []string{"policy.yaml:", "validty", "validity"}},
		{"unknown module", "", strings.Replace(policy, "judge: [keys]", "judge: [kes]", 1), []string{"policy.yaml:", "kes", "keys"}},
		{"empty EKU", "", strings.Replace(policy, "    eku: [serverAuth]", "    eku: []", 1), []string{"policy.yaml", "eku"}},
		{"unknown profile of an endpoint", "", strings.Replace(policy, "profiles: [trial]", "profiles: [trail]", 1), []string{"policy.yaml", "trail", "trial"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCA(t)
			c.init()
			if tt.node != "" {
				write(t, c.conf, tt.node)
			}
			if tt.policy != "" {
				if tt.policy == policy {
					t.Fatal("the policy document is not what this test expects: nothing was replaced")
				}
				write(t, filepath.Join(c.data, "policy.yaml"), tt.policy)
			}
			for _, command := range []string{"serve", "config check"} {
				args := append(strings.Fields(command), "--data", c.data, "--config", c.conf)
				out, errs, code := execute(t, c.dir, nil, c.binary, args...)
				if code == 0 {
					t.Fatalf("%s: accepted\n%s%s", command, out, errs)
				}
				for _, w := range tt.want {
					if !strings.Contains(errs, w) {
						t.Errorf("%s does not say %q:\n%s", command, w, errs)
					}
				}
			}
		})
	}
}

// Off loopback, an endpoint that would give certificates to everybody refuses
// to start unless the policy says that this is meant.
func TestDefaultExposure(t *testing.T) {
	t.Parallel()
	c := newCA(t)
	c.init()
	ports, err := live.Ports(3)
	must(t, err)
	write(t, c.conf, fmt.Sprintf("listen: {https: '0.0.0.0:%d', http: '127.0.0.1:%d', admin: '127.0.0.1:%d'}\n", ports[0], ports[1], ports[2]))
	_, errs, code := execute(t, c.dir, nil, c.binary, "serve", "--data", c.data, "--config", c.conf)
	if code == 0 || !strings.Contains(errs, "open: true") || !strings.Contains(errs, "names") {
		t.Fatalf("exit %d\n%s", code, errs)
	}
	c.editPolicy(func(doc map[string]any) { child(doc, "frontends", "acme", "default")["open"] = true })
	c.start()
	if out := c.cli("status"); !strings.Contains(out, "open") {
		t.Errorf("status does not say that an endpoint is open:\n%s", out)
	}
}
