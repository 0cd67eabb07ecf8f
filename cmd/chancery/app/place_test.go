package app

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/cmd/chancery/app/datadir"
	"chancery/store/storetest/backends"
)

func TestMain(m *testing.M) { os.Exit(backends.Run(m)) }

// A place is a data directory with settings on free ports.
type place struct {
	t       *testing.T
	dir     datadir.Dir
	conf    string
	records backends.Place
}

func newPlace(t *testing.T) *place {
	t.Helper()
	base := t.TempDir()
	p := &place{t, datadir.Dir(filepath.Join(base, "data")), filepath.Join(base, "conf.yaml"), backends.New(t)}
	p.write(p.conf, "listen: {https: '127.0.0.1:0', http: '127.0.0.1:0', admin: '127.0.0.1:0'}\n"+p.records.Settings())
	return p
}

// lose removes a file of the data directory. Where the records are not there, the
// database takes the place of its file.
func (p *place) lose(file string) {
	p.t.Helper()
	if file == "chancery.db" && p.records.Shared() {
		p.records.Empty(p.t)
		return
	}
	if err := os.Remove(p.dir.Path(file)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) write(path, text string) {
	p.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) read(path string) string {
	p.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// run is one command; its output is what it wrote on stdout and stderr.
func (p *place) run(args ...string) (out, errs string, code int) {
	var o, e bytes.Buffer
	code = Run(context.Background(), With{Version: "test"}, args, strings.NewReader(""), &o, &e)
	return o.String(), e.String(), code
}

// cli is run with the data directory, for commands that must succeed.
func (p *place) cli(args ...string) string {
	p.t.Helper()
	out, errs, code := p.run(append(args, "--data", string(p.dir))...)
	if code != 0 {
		p.t.Fatalf("%v: exit %d\n%s%s", args, code, out, errs)
	}
	return out
}

// A server is "chancery serve" in this process.
type server struct {
	at   datadir.Addresses
	out  *lines
	errs *lines
	stop func() int
}

// lines is what a server writes, from several goroutines.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (p *place) serve() *server {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{out: &lines{}, errs: &lines{}}
	done := make(chan int, 1)
	go func() {
		done <- Run(ctx, With{Version: "test"}, []string{"serve", "--data", string(p.dir), "--config", p.conf}, nil, s.out, s.errs)
	}()
	s.stop = sync.OnceValue(func() int {
		cancel()
		return <-done
	})
	p.t.Cleanup(func() { s.stop() })
	for end := time.Now().Add(20 * time.Second); !strings.Contains(s.out.String(), "\nready ") && !strings.HasPrefix(s.out.String(), "ready "); {
		if time.Now().After(end) || len(done) > 0 {
			p.t.Fatalf("not ready\n%s%s", s.out, s.errs)
		}
		time.Sleep(2 * time.Millisecond)
	}
	var err error
	if s.at, err = p.dir.ReadServing(); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// csr writes a request for a name and returns its file.
func (p *place) csr(name string) string {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	if err != nil {
		p.t.Fatal(err)
	}
	file := filepath.Join(p.t.TempDir(), "csr.pem")
	p.write(file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})))
	return file
}

// openssl verifies the server's own certificate as another implementation does.
func (p *place) openssl(host, ip string) {
	p.t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		p.t.Log("openssl is not there to verify the server's own certificate")
		return
	}
	// The file begins with the server's own certificate, and the CA's follows.
	out, err := exec.Command("openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", host, "-verify_ip", ip,
		"-CAfile", p.dir.Roots(), "-untrusted", p.dir.TLS(), p.dir.TLS()).CombinedOutput()
	if err != nil {
		p.t.Errorf("openssl verify: %v\n%s", err, out)
	}
}

// snapshot is every file below the data directory but those of a running
// server and of its records.
func (p *place) snapshot() map[string]string {
	all := map[string]string{}
	_ = filepath.WalkDir(string(p.dir), func(path string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(string(p.dir), path)
		if err == nil && e.Type().IsRegular() && rel != "chancery.db" && !strings.HasPrefix(rel, "issued") {
			all[rel] = p.read(path)
		}
		return nil
	})
	return all
}

func (p *place) get(url string) (int, string) {
	p.t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(p.read(p.dir.Roots())))
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	resp, err := c.Get(url)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
