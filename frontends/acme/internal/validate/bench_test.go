package validate

import (
	"bufio"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"chancery/engine/dns/dnstest"
)

// BenchmarkHTTP01 is one validation against a name server and a web server that
// do next to nothing, so that what is measured is mostly ours. cpu-µs/op is what
// the whole process used, which is what an issuance pays where validation is
// not what it waits for.
func BenchmarkHTTP01(b *testing.B) {
	dns := dnstest.Start(b)
	dns.A("www.example.org", "127.0.0.1")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			answerOnce(c)
		}
	}()
	b.Cleanup(func() { ln.Close(); <-done })
	_, port, _ := strings.Cut(ln.Addr().String(), ":")
	n, _ := strconv.Atoi(port)
	v, err := New(Config{HTTPPort: n, Resolvers: []string{dns.Addr}, Loopback: true, Rand: rand.Reader})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	from := cpu(b)
	for b.Loop() {
		if err := v.HTTP01(b.Context(), "www.example.org", "token", ka); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpu(b)-from).Microseconds())/float64(b.N), "cpu-µs/op")
}

func answerOnce(c net.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 512)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		if len(line) <= 2 {
			break
		}
	}
	io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: "+strconv.Itoa(len(ka))+"\r\nConnection: close\r\n\r\n"+ka)
}

// BenchmarkServed is the same against a net/http server.
func BenchmarkServed(b *testing.B) {
	dns := dnstest.Start(b)
	dns.A("www.example.org", "127.0.0.1")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, ka) }))
	b.Cleanup(s.Close)
	n, _ := strconv.Atoi(s.URL[strings.LastIndexByte(s.URL, ':')+1:])
	v, err := New(Config{HTTPPort: n, Resolvers: []string{dns.Addr}, Loopback: true, Rand: rand.Reader})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	from := cpu(b)
	for b.Loop() {
		if err := v.HTTP01(b.Context(), "www.example.org", "token", ka); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpu(b)-from).Microseconds())/float64(b.N), "cpu-µs/op")
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
