package validate

import (
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// raw answers connections as the test says, without a web server.
func raw(t testing.TB, fn func(net.Conn)) func(context.Context, string, string) (net.Conn, error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wait.Go(func() { defer conn.Close(); fn(conn) })
		}
	})
	t.Cleanup(func() { ln.Close(); wait.Wait() })
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, ln.Addr().String())
	}
}

func TestXN_006_HostileServers(t *testing.T) {
	endless := func(head, again string) func(net.Conn) {
		return func(c net.Conn) {
			io.WriteString(c, head)
			for {
				if _, err := io.WriteString(c, again); err != nil {
					return
				}
			}
		}
	}
	for name, fn := range map[string]func(net.Conn){
		"10 GB body":       endless("HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n"+ka, strings.Repeat("x", 1<<16)),
		"endless chunks":   endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1000\r\n"+strings.Repeat(" ", 0x1000)+"\r\n"),
		"endless header":   endless("HTTP/1.1 200 OK\r\n", "X-A: "+strings.Repeat("b", 1000)+"\r\n"),
		"endless 1xx":      endless("", "HTTP/1.1 103 Early Hints\r\n\r\n"),
		"nothing":          func(net.Conn) {},
		"garbage":          func(c net.Conn) { io.WriteString(c, "SSH-2.0-secret\r\n") },
		"half an answer":   func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"+ka) },
		"reset":            func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) },
		"negative length":  func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"+ka) },
		"header injection": func(c net.Conn) { io.WriteString(c, "HTTP/1.1 302 F\r\nLocation: http://a\x00b/\r\n\r\n") },
	} {
		v, err := New(Config{Resolvers: []string{"192.0.2.1:53"}, Rand: rand.Reader, Loopback: true, Dial: raw(t, func(c net.Conn) {
			c.SetDeadline(time.Now().Add(20 * time.Second))
			go io.Copy(io.Discard, c)
			fn(c)
		})})
		if err != nil {
			t.Fatal(err)
		}
		err = v.HTTP01(t.Context(), "localhost", "token", ka)
		var e *Error
		if !errors.As(err, &e) || strings.Contains(e.Detail, "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Compressed content is what it is, not what it would be.
	f := newFarm(t)
	f.handle = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		z.Write([]byte(ka))
		z.Close()
	}
	fails(t, "gzip", f.fetch(), IncorrectResponse)
}

// Servers that stall take their time from nobody else, and end with the context.
func TestXN_006_SlowServers(t *testing.T) {
	release := make(chan struct{})
	stall := raw(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\n"); <-release })
	defer close(release)
	slow, err := New(Config{Resolvers: []string{"192.0.2.1:53"}, Rand: rand.Reader, Loopback: true, Dial: stall})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	for range 200 {
		wait.Go(func() { fails(t, "slow", slow.HTTP01(ctx, "localhost", "token", ka), Connection) })
	}
	f := newFarm(t)
	if err := f.fetch(); err != nil {
		t.Error(err)
	}
	cancel()
	wait.Wait()
}

func TestXN_007_NoEcho(t *testing.T) {
	f := newFarm(t)
	for _, body := range []string{"canary of the intranet", "<img onerror=canary>", "\x1b[31mcanary\r\n"} {
		for _, status := range []int{200, 403, 500} {
			f.handle = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Canary", "canary")
				w.WriteHeader(status)
				io.WriteString(w, body)
			}
			err := f.fetch()
			fails(t, body, err, IncorrectResponse)
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("%v", err)
			}
		}
	}
	f.redirect(302, "gopher://canary/")
	if err := f.fetch(); strings.Contains(err.Error(), "canary") {
		t.Errorf("%v", err)
	}
}
