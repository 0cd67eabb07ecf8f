package validate

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"chancery/engine"
	"chancery/engine/names"
)

func digestOf(authorization string) string {
	h := sha256.Sum256([]byte(authorization))
	return base64.RawURLEncoding.EncodeToString(h[:])
}

func TestACME_A081_FirstRequest(t *testing.T) {
	f := newFarm(t)
	var got *http.Request
	f.handle = func(w http.ResponseWriter, r *http.Request) { got = r; io.WriteString(w, ka) }
	if err := f.fetch(); err != nil {
		t.Fatal(err)
	}
	if got.Method != "GET" || got.RequestURI != "/.well-known/acme-challenge/token" || got.Host != "www.example.org" || got.UserAgent() == "" || got.TLS != nil || !got.Close || got.Proto != "HTTP/1.1" {
		t.Errorf("%+v", got)
	}
	if d := f.dials(); len(d) != 1 || d[0] != "198.51.100.7:80" {
		t.Errorf("%v", d)
	}
}

func TestACME_A082_WhiteSpaceAtTheEndOnly(t *testing.T) {
	f := newFarm(t)
	for body, ok := range map[string]bool{
		ka: true, ka + "\r\n": true, ka + " \t\r\n\n": true, ka + strings.Repeat(" ", trailingSpace): true,
		" " + ka: false, "\ufeff" + ka: false, ka + "\nmore": false, ka + "\x00": false, ka + "\v": false, ka + "\u00a0": false, "": false,
		ka[:len(ka)-1]: false, strings.ToUpper(ka): false, ka + ka: false, ka + strings.Repeat(" ", trailingSpace+1): false, "<p>" + ka: false,
	} {
		f.handle = func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
		err := f.fetch()
		if ok && err != nil {
			t.Errorf("%q: %v", body, err)
		} else if !ok {
			fails(t, body, err, IncorrectResponse)
		}
	}
}

func TestACME_A083_Redirects(t *testing.T) {
	f := newFarm(t)
	for status, ok := range map[int]bool{301: true, 302: true, 307: true, 308: true, 303: false, 300: false, 304: false, 305: false} {
		f.redirect(status, "http://other.example.org/x")
		if err := f.fetch(); (err == nil) != ok {
			t.Errorf("%d: %v", status, err)
		}
	}
	// The request to the other host is like the first, with nothing of it.
	f.redirect(302, "https://other.example.org/a%20b?c=%2F&d#e")
	h := f.handle
	var got *http.Request
	f.handle = func(w http.ResponseWriter, r *http.Request) { got = r; h(w, r) }
	if err := f.fetch(); err != nil || got.RequestURI != "/a%20b?c=%2F&d" || got.Host != "other.example.org" || got.Header.Get("Referer")+got.Header.Get("Cookie")+got.Header.Get("Authorization") != "" {
		t.Errorf("%v, %+v", err, got)
	}
}

func TestACME_A084_OnlySuccess(t *testing.T) {
	f := newFarm(t)
	for status, ok := range map[int]bool{200: true, 203: true, 206: true, 404: false, 401: false, 500: false, 503: false} {
		f.handle = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); io.WriteString(w, ka) }
		if err := f.fetch(); (err == nil) != ok {
			t.Errorf("%d: %v", status, err)
		}
	}
	// Raw answers: the versions of HTTP, early ones before the answer, framing.
	for answer, ok := range map[string]bool{
		"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n" + ka: true,
		"HTTP/1.0 200 OK\r\n\r\n" + ka:                       true,
		"HTTP/1.1 200\r\n\r\n" + ka:                          true,
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" + ka:      true,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ntoken\r\nb\r\n.thumbprint\r\n0\r\n\r\n": true,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n10\r\n" + ka + "\r\n0\r\n\r\n":         false,
		"HTTP/2.0 200 OK\r\n\r\n" + ka:                                                                   false,
		"HTTP/1.1 101 Switching\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" + ka:                                     false,
		"HTTP/1.1 99 OK\r\n\r\n" + ka:                                                                    false,
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 16\r\n\r\n" + ka:                        false,
		"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 40) + "\r\n" + ka: false,
		strings.Repeat("HTTP/1.1 102 Wait\r\n\r\n", maxEarly+1) + "HTTP/1.1 200 OK\r\n\r\n" + ka:         false,
		ka: false,
	} {
		f.v.dial = raw(t, func(c net.Conn) {
			head := make([]byte, 4096)
			c.Read(head)
			io.WriteString(c, answer)
		})
		if err := f.fetch(); (err == nil) != ok {
			t.Errorf("%.60q: %v", answer, err)
		}
	}
}

// several records and strings, letter for letter.
func TestACME_A085_TXTRecords(t *testing.T) {
	c := Challenge{Method: engine.DNS01, Name: names.Name{Type: names.DNS, Value: "*.www.example.org"}, Token: "token", Thumbprints: []string{"thumbprint"}}
	right := digestOf(ka)
	for records, ok := range map[string]bool{
		right: true, "other|" + right: true, right + "|other|" + right: true, right[:7] + "+" + right[7:]: true,
		right + "=": false, strings.ToLower(right): false, `"` + right + `"`: false, right + " ": false, "": false,
		right + "|" + right + "=": true, ka: false,
	} {
		f := newFarm(t)
		for r := range strings.SplitSeq(records, "|") {
			f.dns.TXT(validationName, strings.Split(r, "+")...)
		}
		if _, err := f.v.Validate(t.Context(), c); (err == nil) != ok {
			t.Errorf("%s: %v", records, err)
		}
	}
}

// XN-018: a digest is of one token and one key.
func TestXN_018_StaleRecords(t *testing.T) {
	f := newFarm(t)
	f.dns.TXT(validationName, digestOf("older."+"thumbprint"))
	f.dns.TXT(validationName, digestOf("token."+"another key"))
	for _, name := range []string{"www.example.org", "*.www.example.org"} {
		c := Challenge{Method: engine.DNS01, Name: names.Name{Type: names.DNS, Value: name}, Token: "token", Thumbprints: []string{"thumbprint", "another key"}}
		_, err := f.v.Validate(t.Context(), c)
		fails(t, name, err, IncorrectResponse)
	}
}

// XN-008: nothing of what a server sends is repeated.
func TestXN_008_NoMarkupInErrors(t *testing.T) {
	f := newFarm(t)
	const canary = "<img onerror=canary>\x1b[31m"
	f.dns.TXT(validationName, canary)
	f.dns.TXT("_validation-persist.www.example.org", canary)
	f.handle = func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, canary) }
	steps := ""
	ctx := Watched(t.Context(), func(s Step) { steps += s.About + s.Text })
	for _, m := range []engine.Method{engine.HTTP01, engine.DNS01, engine.DNSPersist01, engine.TLSALPN01} {
		_, err := f.v.Validate(ctx, Challenge{Method: m, Name: www, Token: "token", Thumbprints: []string{"x"}})
		if err == nil || strings.Contains(err.Error()+steps, "canary") || strings.Contains(err.Error()+steps, "\x1b") {
			t.Errorf("%s: %v, %s", m, err, steps)
		}
	}
	f.redirect(302, "http://www.example.org/"+canary[:10])
	if err := f.v.HTTP01(ctx, "www.example.org", "token", ka); err != nil || strings.Contains(steps, "<img") {
		t.Errorf("%v, %s", err, steps)
	}
}

// XN-025: onion names are for nobody here, and are asked of no server.
func TestXN_025_Onion(t *testing.T) {
	f := newFarm(t)
	for _, host := range []string{"expyuzz4wqqyqhjn.onion", "a.EXPYUZZ4WQQYQHJN.Onion"} {
		fails(t, host, f.v.HTTP01(t.Context(), host, "token", ka), DNS)
		fails(t, host, f.v.DNS01(t.Context(), host, "digest"), DNS)
	}
	if len(f.dns.Asked()) > 0 || len(f.dials()) > 0 {
		t.Errorf("%v", f.dns.Asked())
	}
}

// XN-027: however many names lead to one machine, it sees a few connections at a
// time, and another machine does not wait for it.
func TestXN_027_OneTarget(t *testing.T) {
	f := newFarm(t)
	release := make(chan struct{})
	var mu sync.Mutex
	now, most, other := 0, 0, 0
	reached := make(chan struct{}, 1000)
	stall := raw(t, func(c net.Conn) {
		c.Read(make([]byte, 4096))
		<-release
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"+ka)
	})
	f.v.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		mu.Lock()
		if strings.HasPrefix(addr, "198.51.100.99:") {
			other++
			mu.Unlock()
			return f.dial(ctx, network, addr)
		}
		now++
		most = max(most, now)
		mu.Unlock()
		conn, err := stall(ctx, network, addr)
		reached <- struct{}{}
		return &counted{conn, func() { mu.Lock(); now--; mu.Unlock() }}, err
	}
	var wait sync.WaitGroup
	for range 3 * maxPerHost {
		wait.Go(func() {
			if err := f.fetch(); err != nil {
				t.Error(err)
			}
		})
	}
	for range maxPerHost {
		<-reached
	}
	f.dns.A("other.example.org", "198.51.100.99")
	if err := f.v.HTTP01(t.Context(), "other.example.org", "token", ka); err != nil || other != 1 {
		t.Errorf("another machine waits: %v", err)
	}
	close(release)
	wait.Wait()
	if most > maxPerHost {
		t.Errorf("%d connections at a time", most)
	}
	if len(f.v.busy.busy) > 0 {
		t.Error("targets are kept")
	}
}

type counted struct {
	net.Conn
	gone func()
}

func (c *counted) Close() error {
	c.gone()
	return c.Conn.Close()
}

// What an administrator is shown is what was done, in order.
func TestStepsOfAValidation(t *testing.T) {
	f := newFarm(t)
	f.dns.Clear("*")
	f.dns.A("www.example.org", "127.0.0.1", "2001:db8::1")
	f.dns.A("other.example.org", "198.51.100.9")
	f.redirect(302, "https://other.example.org/x")
	var got []string
	ctx := Watched(t.Context(), func(s Step) { got = append(got, s.About) })
	if err := f.v.HTTP01(ctx, "www.example.org", "token", ka); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, []string{"address", "address", "connect", "http", "address", "connect", "http", "http"}) {
		t.Errorf("%v", got)
	}
}
