package validate

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// XN-006: what drips is cut, by a clock that no octet stops; and the way over
// many slow hops is cut as a whole. All sleeping here is by the clock of
// synctest: it takes no time, and makes the times below exact.
func TestXN_006_DripsAndSlowHops(t *testing.T) {
	const location = "HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"
	for name, tt := range map[string]struct {
		answer func(net.Conn)
		within time.Duration
	}{
		"header, an octet a second": {func(c net.Conn) { drip(c, "HTTP/1.1 200 OK\r\nX-Header: long enough to outlast any patience\r\n") }, hopTimeout},
		"body, an octet a second": {func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			drip(c, ka+"                                        ")
		}, hopTimeout},
		"silence":        {func(c net.Conn) { io.Copy(io.Discard, c) }, hopTimeout},
		"ten slow hops":  {func(c net.Conn) { time.Sleep(3 * time.Second); io.WriteString(c, location) }, Deadline},
		"half an answer": {func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\ntoken"); c.Close() }, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			var servers sync.WaitGroup
			defer servers.Wait()
			f := &Validator{httpPort: "80", tlsPort: "443", admits: admission(nil, false), dial: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				servers.Go(func() {
					defer theirs.Close()
					servers.Go(func() { io.Copy(io.Discard, theirs) }) // the request
					tt.answer(theirs)
				})
				return ours, nil
			}}
			began := time.Now()
			fails(t, name, f.HTTP01(t.Context(), "198.51.100.7", "token", ka), Connection)
			if took := time.Since(began); took != tt.within {
				t.Errorf("%s: cut after %v, want %v", name, took, tt.within)
			}
			began = time.Now()
			if err := f.TLSALPN01(t.Context(), www4, digest); err == nil || time.Since(began) > hopTimeout {
				t.Errorf("%s: tls-alpn-01 after %v: %v", name, time.Since(began), err)
			}
		})
	}
}

// drip sends an octet a second, by the clock of synctest.
func drip(c net.Conn, text string) {
	for i := range len(text) {
		time.Sleep(time.Second)
		if _, err := io.WriteString(c, text[i:i+1]); err != nil {
			return
		}
	}
}
