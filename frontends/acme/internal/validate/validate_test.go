package validate

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"

	"chancery/engine/dns/dnstest"
)

const ka = "token.thumbprint"

// A farm is an Internet of one machine: whatever address is dialled, the same
// responders answer, on 80 and 443, and every dial is written down.
type farm struct {
	t      testing.TB
	v      *Validator
	dns    *dnstest.Server
	http   *httptest.Server
	tls    *httptest.Server
	mu     sync.Mutex
	dialed []string
	handle http.HandlerFunc
}

func newFarm(t testing.TB, change ...func(*Config)) *farm {
	t.Helper()
	f := &farm{t: t, dns: dnstest.Start(t), handle: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, ka) }}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.handle(w, r) })
	f.http, f.tls = httptest.NewServer(h), httptest.NewUnstartedServer(h)
	f.tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.tls.StartTLS()
	t.Cleanup(f.http.Close)
	t.Cleanup(f.tls.Close)
	f.dns.A("*", "198.51.100.7")
	c := Config{Resolvers: []string{f.dns.Addr}, Rand: rand.Reader, Dial: f.dial}
	for _, fn := range change {
		fn(&c)
	}
	v, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	f.v = v
	return f
}

func (f *farm) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	if addr == f.dns.Addr {
		return d.DialContext(ctx, network, addr)
	}
	f.mu.Lock()
	f.dialed = append(f.dialed, addr)
	f.mu.Unlock()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	switch port {
	case "80":
		return d.DialContext(ctx, network, f.http.Listener.Addr().String())
	case "443":
		return d.DialContext(ctx, network, f.tls.Listener.Addr().String())
	}
	return nil, errors.New("nobody listens on " + port)
}

func (f *farm) dials() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.dialed
	f.dialed = nil
	return d
}

func (f *farm) fetch() error { return f.v.HTTP01(f.t.Context(), "www.example.org", "token", ka) }

// fails wants an error of the kind that is fit to be shown.
func fails(t testing.TB, what string, err error, k Kind) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Kind != k {
		t.Errorf("%s: %v, want %s", what, err, k)
		return
	}
	if len(e.Detail) > 200 || strings.ContainsFunc(e.Detail, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
		t.Errorf("%s: %q", what, e.Detail)
	}
}

var private = []string{
	"127.0.0.1", "127.8.8.8", "::1", "169.254.169.254", "fe80::1", "100.64.0.1", "0.0.0.0", "::", "0.1.2.3", "255.255.255.255", "224.0.0.1", "ff02::1", "240.0.0.1", "192.0.0.1",
	"::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001::1", "fd00:ec2::254", "::ffff:169.254.169.254", "fec0::1",
	"100.100.100.200", "192.0.0.192", "168.63.129.16", "fd20:ce::254", "::ffff:0:7f00:1", "2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a9fe:a9fe", "64:ff9b::", "2002:e000:1::",
}

func TestXN_001_SpecialAddresses(t *testing.T) {
	f := newFarm(t)
	for _, a := range private {
		f.dns.Clear("www.example.org")
		f.dns.A("www.example.org", a)
		fails(t, a, f.fetch(), Connection)
		if d := f.dials(); len(d) != 0 {
			t.Errorf("%s: dialled %v", a, d)
		}
	}
	for _, a := range []string{"10.1.2.3", "192.168.1.1", "172.16.0.1", "fd12:3456::1", "8.8.8.8", "2001:db8:1::1", "2606:4700::1", "2002:808:808::1", "64:ff9b::808:808"} {
		f.dns.Clear("www.example.org")
		f.dns.A("www.example.org", a)
		if err := f.fetch(); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
}

func TestNetworks(t *testing.T) {
	loop := newFarm(t, func(c *Config) { c.Loopback = true })
	list := newFarm(t, func(c *Config) {
		c.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.2/32"), netip.MustParsePrefix("::/0")}
	})
	for _, tt := range []struct {
		f    *farm
		addr string
		ok   bool
	}{
		{loop, "127.0.0.1", true}, {loop, "::1", true}, {loop, "169.254.169.254", false}, {loop, "64:ff9b::7f00:1", false}, {loop, "2002:7f00:1::", false},
		{list, "64:ff9b::7f00:1", false}, {list, "64:ff9b::a01:101", true}, {list, "2002:a01:101::", true}, {list, "2002:808:808::", false}, {list, "2606:4700::1", true}, {list, "2606:4700::5efe:7f00:1", false}, {list, "::ffff:0:7f00:1", false},
		{list, "10.1.1.1", true}, {list, "127.0.0.2", true}, {list, "127.0.0.1", false}, {list, "8.8.8.8", false}, {list, "::ffff:127.0.0.1", false}, {list, "::ffff:10.0.0.1", true}, {list, "::", false}, {list, "ff02::1", false},
	} {
		tt.f.dns.Clear("www.example.org")
		tt.f.dns.A("www.example.org", tt.addr)
		if err := tt.f.fetch(); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.addr, err)
		}
	}
}

// redirect answers the first request with a redirect and the others as before.
func (f *farm) redirect(status int, location string) {
	f.handle = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/acme-challenge/token" && r.TLS == nil && r.Host == "www.example.org" {
			w.Header().Set("Location", location)
			w.WriteHeader(status)
			return
		}
		io.WriteString(w, ka)
	}
}

func TestXN_002_RedirectToPrivate(t *testing.T) {
	f := newFarm(t)
	f.dns.A("inner.example.org", "127.0.0.1")
	f.dns.A("meta.example.org", "169.254.169.254")
	for _, to := range []string{
		"http://127.0.0.1/x", "http://[::1]/x", "http://localhost/x", "http://inner.example.org/x", "https://meta.example.org/x", "http://169.254.169.254/latest/meta-data/", "http://[::ffff:127.0.0.1]/",
		"http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/",
	} {
		f.redirect(http.StatusFound, to)
		f.dials()
		err := f.fetch()
		var e *Error
		if !errors.As(err, &e) {
			// Numbers that some readers take for addresses are names to us, and
			// names resolve where the name server says.
			if d := f.dials(); len(d) != 2 || d[1] != "198.51.100.7:80" {
				t.Errorf("%s: dialled %v", to, d)
			}
			continue
		}
		if d := f.dials(); len(d) != 1 || d[0] != "198.51.100.7:80" {
			t.Errorf("%s: dialled %v", to, d)
		}
	}
}

func TestXN_003_RedirectTargets(t *testing.T) {
	f := newFarm(t)
	for _, to := range []string{
		"http://www.example.org:22/x", "http://www.example.org:6379/", "http://www.example.org:8080/", "https://www.example.org:80/", "http://www.example.org:443/", "https://www.example.org:8443/",
		"file:///etc/passwd", "gopher://www.example.org/", "ftp://www.example.org/", "javascript:alert(1)", "data:,x", "http://a:80@evil.example/", "http://user@www.example.org/", "http:///x", "http://", "http:www.example.org",
		"http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://a b/", "http://www.example.org:/x", "http://www.example.org:99999/", "http://%00/", "http://www.example.org/?a b", "http://www.example.org/?\u00fc", "", "http://" + strings.Repeat("a", 300) + ".example/", "http://exa\u00fcmple.org/", "/" + strings.Repeat("x", 3000),
	} {
		f.redirect(http.StatusFound, to)
		f.dials()
		fails(t, to, f.fetch(), Connection)
		if d := f.dials(); len(d) != 1 {
			t.Errorf("%s: dialled %v", to, d)
		}
	}
	for status, ok := range map[int]bool{301: true, 302: true, 307: true, 308: true, 303: false, 300: false, 304: false, 305: false} {
		f.redirect(status, "http://other.example.org/x")
		if err := f.fetch(); (err == nil) != ok {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// Nobody's certificate matters; relative, with port, with fragment. None of ours
// is sent, and the name is in SNI.
func TestXN_005_RedirectToHTTPS(t *testing.T) {
	f := newFarm(t)
	var seen *tls.ConnectionState
	for _, to := range []string{"https://other.example.org/x", "https://198.51.100.9/", "https://www.example.org:443/a?b=c", "http://other.example.org:80/", "//other.example.org/", "http://other.example.org/#x", "http://[2001:db8:1::5]/x"} {
		f.redirect(http.StatusFound, to)
		h := f.handle
		f.handle = func(w http.ResponseWriter, r *http.Request) { seen = r.TLS; h(w, r) }
		if err := f.fetch(); err != nil {
			t.Errorf("%s: %v", to, err)
		}
		if https := strings.HasPrefix(to, "https"); https != (seen != nil) || https && (len(seen.PeerCertificates) != 0 || seen.Version < tls.VersionTLS12) {
			t.Errorf("%s: %+v", to, seen)
		}
	}
}

func TestXN_004_RedirectLoops(t *testing.T) {
	f := newFarm(t)
	n := 0
	f.handle = func(w http.ResponseWriter, r *http.Request) {
		n++
		http.Redirect(w, r, fmt.Sprintf("/%d", n), http.StatusFound)
	}
	fails(t, "endless", f.fetch(), Connection)
	if n != maxRedirects+1 {
		t.Errorf("%d requests", n)
	}
	f.handle = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.Path)
		w.WriteHeader(http.StatusFound)
	}
	fails(t, "to itself", f.fetch(), Connection)
	f.handle = func(w http.ResponseWriter, r *http.Request) {
		other := map[bool]string{true: "http", false: "https"}[r.TLS != nil]
		http.Redirect(w, r, other+"://www.example.org/", http.StatusFound)
	}
	fails(t, "https and http", f.fetch(), Connection)
	for hops, ok := range map[int]bool{maxRedirects: true, maxRedirects + 1: false} {
		n = 0
		f.handle = func(w http.ResponseWriter, r *http.Request) {
			if n++; n > hops {
				io.WriteString(w, ka)
				return
			}
			http.Redirect(w, r, fmt.Sprintf("/%d", n), http.StatusFound)
		}
		if err := f.fetch(); (err == nil) != ok {
			t.Errorf("%d hops: %v", hops, err)
		}
	}
}

// XN-026: open, closed and silent ports read the same.
func TestXN_026_CoarseErrors(t *testing.T) {
	f := newFarm(t)
	seen := map[string]bool{}
	for _, dial := range []func(context.Context, string, string) (net.Conn, error){
		func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") },
		func(context.Context, string, string) (net.Conn, error) { return nil, context.DeadlineExceeded },
		raw(t, func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\r\n") }),
		raw(t, func(net.Conn) {}),
	} {
		f.v.dial = dial // the resolver has its own
		err := f.fetch()
		fails(t, "closed", err, Connection)
		seen[err.Error()] = true
	}
	if len(seen) != 1 {
		t.Errorf("%v", seen)
	}
}

func TestXN_009_Rebinding(t *testing.T) {
	f := newFarm(t)
	n := 0
	var mu sync.Mutex
	f.dns.Answer(alternating(f.dns, &mu, &n))
	if err := f.fetch(); err != nil {
		t.Error(err)
	}
	if d := f.dials(); len(d) != 1 || d[0] != "198.51.100.7:80" {
		t.Errorf("dialled %v", d)
	}
	fails(t, "the second answer", f.fetch(), Connection)
	if d := f.dials(); len(d) != 0 {
		t.Errorf("dialled %v", d)
	}
}

// XN-010: each address counts for itself.
func TestXN_010_SeveralAddresses(t *testing.T) {
	f := newFarm(t)
	f.dns.A("www.example.org", "127.0.0.1", "::1", "2001:db8:1::1", "198.51.100.1")
	if err := f.fetch(); err != nil {
		t.Error(err)
	}
	if d := f.dials(); len(d) != 1 || d[0] != "[2001:db8:1::1]:80" {
		t.Errorf("dialled %v", d)
	}
	// The next one is tried when the first does not answer; not all of many.
	dial := f.v.dial
	f.v.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasPrefix(addr, "[2001") {
			dial(ctx, network, addr)
			return nil, errors.New("unreachable")
		}
		return dial(ctx, network, addr)
	}
	if err := f.fetch(); err != nil {
		t.Error(err)
	}
	// IPv6 goes first, whatever the order of the answer; then one of IPv4, once.
	for i := range 20 {
		f.dns.A("many.example.org", "198.51.100."+strconv.Itoa(i+1), "2001:db8::"+strconv.Itoa(i+1))
	}
	f.dials()
	if err := f.v.HTTP01(t.Context(), "many.example.org", "token", ka); err != nil {
		t.Error(err)
	}
	if d := fmt.Sprint(f.dials()); d != "[[2001:db8::1]:80 198.51.100.1:80]" {
		t.Errorf("dialled %v", d)
	}
	f.dns.A("six.example.org", "2001:db8::1", "2001:db8::2", "2001:db8::3")
	fails(t, "six", f.v.HTTP01(t.Context(), "six.example.org", "token", ka), Connection)
	if d := f.dials(); len(d) != 2 {
		t.Errorf("dialled %v", d)
	}
}

// The port that stands for 80 does not show in the request.
func TestHTTPPort(t *testing.T) {
	f := newFarm(t, func(c *Config) { c.HTTPPort = 8055; c.Loopback = true })
	dial := f.v.dial
	f.v.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return dial(ctx, network, strings.Replace(addr, ":8055", ":80", 1))
	}
	hosts := []string{}
	f.handle = func(w http.ResponseWriter, r *http.Request) {
		if hosts = append(hosts, r.Host); len(hosts) == 1 {
			http.Redirect(w, r, "http://other.example.org:8055/x", http.StatusFound)
			return
		}
		io.WriteString(w, ka)
	}
	if err := f.fetch(); err != nil {
		t.Error(err)
	}
	if fmt.Sprint(hosts) != "[www.example.org other.example.org:8055]" {
		t.Errorf("%v", hosts)
	}
}
