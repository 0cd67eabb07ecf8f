package acme

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/engine/dns/dnstest"

	"golang.org/x/net/dns/dnsmessage"
)

func newProber(t *testing.T, s *site, servers ...*dnstest.Server) *Prober {
	t.Helper()
	v := Validation{HTTPPort: s.port, TLSPort: s.port}
	for _, d := range servers {
		v.Resolvers = append(v.Resolvers, d.Addr)
	}
	p, err := NewProber(v, true, []string{"ca.example"}, time.Now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func textOf(o *Outcome) string {
	all := ""
	for _, s := range o.Steps {
		all += s.About + ": " + s.Text + "\n"
	}
	return all
}

// What the CA sees, in words: each server, each address, each hop, CAA.
func TestTryTellsWhatTheCASees(t *testing.T) {
	s, good, bad := newSite(t), dnstest.Start(t), dnstest.Start(t)
	bad.Answer(func(q dnsmessage.Question, _ bool) *dnsmessage.Message {
		return &dnsmessage.Message{Header: dnsmessage.Header{RCode: dnsmessage.RCodeRefused}, Questions: []dnsmessage.Question{q}}
	})
	good.A("www.example.org", "169.254.169.254", "127.0.0.1")
	good.CAA("example.org", 0, "issue", "other.example")
	s.set("/.well-known/acme-challenge/token", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, fmt.Sprintf("http://www.example.org:%d/there?x", s.port), http.StatusFound)
	})
	s.set("/there", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("token.thumbprint")) })
	p := newProber(t, s, good, bad)
	o, err := p.Try(t.Context(), Trial{Name: "WWW.example.org", KeyAuthorization: "token.thumbprint"})
	if err != nil || !o.Valid || o.Name != "www.example.org" || o.Challenge != "http-01" {
		t.Fatalf("%+v, %v", o, err)
	}
	text := textOf(o)
	for _, want := range []string{
		"dns: A of www.example.org at " + good.Addr, "169.254.169.254, 127.0.0.1", bad.Addr + ", in ", "it fails: Refused", "there are no such records",
		"address: 169.254.169.254 is in no network that this server validates in", "address: 127.0.0.1 may be dialled", "connect: 127.0.0.1 port",
		"/.well-known/acme-challenge/token: status 302", "/there: status 200",
		`CAA of example.org at`, `0 issue "other.example"`, "caa: CAA issue does not name this CA: a profile that obeys CAA refuses",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	// Without what to compare it shows how far the way goes.
	o, err = p.Try(t.Context(), Trial{Name: "www.example.org"})
	if err != nil || o.Valid || !strings.Contains(o.Conclusion, "reaches") || !strings.Contains(textOf(o), "status 404") {
		t.Errorf("%+v, %v", o, err)
	}
	for challenge, want := range map[string]string{
		"dns-01": "TXT of _acme-challenge.www.example.org", "dns-account-01": "._acme-challenge.www.example.org", "dns-persist-01": "TXT of _validation-persist.www.example.org", "tls-alpn-01": "no TLS handshake",
	} {
		o, err := p.Try(t.Context(), Trial{Name: "www.example.org", Challenge: challenge, Account: "https://ca.example/acme/default/account/1"})
		if err != nil || o.Valid || !strings.Contains(textOf(o), want) || !strings.HasPrefix(o.Conclusion, "It fails (") {
			t.Errorf("%s: %+v, %v", challenge, o, err)
		}
	}
	if o, err := p.Try(t.Context(), Trial{Name: "10.255.255.1", Challenge: "http-01"}); err == nil && strings.Contains(textOf(o), "dns:") {
		t.Errorf("%+v", o)
	}
}

// It goes nowhere that validations do not go, one trial at a time, and repeats
// nothing that a server says but in printable form.
func TestTryIsNoWayIn(t *testing.T) {
	s, d := newSite(t), dnstest.Start(t)
	d.A("meta.example.org", "169.254.169.254")
	d.A("www.example.org", "127.0.0.1")
	d.TXT("_acme-challenge.www.example.org", "<img onerror=x>\x1b[31m\n")
	s.set("/.well-known/acme-challenge/token", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("canary of the intranet")) })
	p := newProber(t, s, d)
	for _, name := range []string{"meta.example.org", "169.254.169.254", "fe80::1", "::ffff:169.254.169.254"} {
		o, err := p.Try(t.Context(), Trial{Name: name})
		if err == nil && (o.Valid || strings.Contains(textOf(o), "connect:")) {
			t.Errorf("%s: %s", name, textOf(o))
		}
	}
	for _, challenge := range []string{"http-01", "dns-01"} {
		o, err := p.Try(t.Context(), Trial{Name: "www.example.org", Challenge: challenge, KeyAuthorization: "token.thumbprint"})
		if all := textOf(o) + o.Conclusion; err != nil || strings.Contains(all, "canary") || strings.Contains(all, "\x1b") {
			t.Errorf("%s: %s", challenge, all)
		}
	}
	for _, bad := range []Trial{
		{}, {Name: "a b"}, {Name: "x.example", Challenge: "dns-02"}, {Name: "*.x.example", Challenge: "http-01"}, {Name: "192.0.2.1", Challenge: "dns-01"},
		{Name: "x.example", KeyAuthorization: "token"}, {Name: "x.example", KeyAuthorization: "../x.y"}, {Name: "x.example", KeyAuthorization: "a\r\nX: y.b"},
		{Name: "x.example", KeyAuthorization: strings.Repeat("a", 300) + ".b"}, {Name: "x.example", Challenge: "dns-persist-01"},
	} {
		if _, err := p.Try(t.Context(), bad); err == nil {
			t.Errorf("%+v was tried", bad)
		}
	}
	// A second one while the first is under way.
	release, began := make(chan struct{}), make(chan struct{})
	v := Validation{Resolvers: []string{d.Addr}, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if network == "tcp" {
			close(began)
			<-release
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	p, err := NewProber(v, true, nil, time.Now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := p.Try(context.Background(), Trial{Name: "www.example.org"})
		done <- err
	}()
	<-began
	if _, err := p.Try(t.Context(), Trial{Name: "www.example.org"}); !errors.Is(err, ErrTrying) {
		t.Errorf("%v", err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
