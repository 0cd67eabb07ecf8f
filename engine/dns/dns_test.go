package dns

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/engine/dns/dnstest"

	"golang.org/x/net/dns/dnsmessage"
)

const host = "_acme-challenge.www.example.org"

func newClient(t testing.TB, servers ...string) *Client {
	t.Helper()
	c, err := New(Config{Servers: servers, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func rr(name dnsmessage.Name, kind dnsmessage.Type, body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Type: kind, Class: dnsmessage.ClassINET, TTL: 60}, Body: body}
}

func TestBothFamiliesOverOneSocket(t *testing.T) {
	s := dnstest.Start(t)
	s.A("www.example.org", "198.51.100.1", "2001:db8::1", "198.51.100.2")
	sockets := 0
	c := newClient(t, s.Addr)
	c.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		sockets++
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	got, err := c.Addresses(t.Context(), "www.example.org.")
	if err != nil || fmt.Sprint(got) != "[2001:db8::1 198.51.100.1 198.51.100.2]" {
		t.Errorf("%v, %v", got, err)
	}
	if sockets != 1 || len(s.Asked()) != 2 {
		t.Errorf("%d sockets, %v", sockets, s.Asked())
	}
	if got, err := c.Addresses(t.Context(), "none.example.org"); len(got) != 0 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	// One family without an answer is no answer when the other is empty.
	s.Answer(func(q dnsmessage.Question, tcp bool) *dnsmessage.Message {
		m := &dnsmessage.Message{Questions: []dnsmessage.Question{q}}
		if q.Type == dnsmessage.TypeA {
			m.RCode = dnsmessage.RCodeServerFailure
		}
		return m
	})
	if _, err := c.Addresses(t.Context(), "www.example.org"); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("%v", err)
	}
}

func TestTruncatedAnswersGoOverTCP(t *testing.T) {
	s := dnstest.Start(t)
	for i := range 50 {
		s.TXT(host, fmt.Sprintf("a record that fills the answer %d", i))
	}
	s.TXT(host, "dig", "est")
	got, err := newClient(t, s.Addr).TXT(t.Context(), host)
	if err != nil || len(got) != 51 || !slices.Contains(got, "digest") {
		t.Errorf("%d, %v", len(got), err)
	}
	if asked := s.Asked(); len(asked) != 2 || !strings.EqualFold(asked[1], "tcp TXT "+host+".") {
		t.Errorf("%v", asked)
	}
}

// Names go out in random case; a server that does not echo it is believed by TCP
// only.
func TestXN_012_MixedCase(t *testing.T) {
	s := dnstest.Start(t)
	s.TXT(host, "digest")
	c := newClient(t, s.Addr)
	sent := map[string]bool{}
	for range 8 {
		if got, err := c.TXT(t.Context(), host); err != nil || len(got) != 1 {
			t.Fatalf("%v, %v", got, err)
		}
	}
	for _, a := range s.Asked() {
		sent[a] = true
	}
	if len(sent) < 3 {
		t.Errorf("always the same case: %v", sent)
	}
	s.Answer(func(q dnsmessage.Question, tcp bool) *dnsmessage.Message {
		m := s.Records(q, tcp)
		m.Questions[0].Name = dnsmessage.MustNewName(strings.ToLower(q.Name.String()))
		if !tcp {
			m.Answers = []dnsmessage.Resource{rr(q.Name, dnsmessage.TypeTXT, &dnsmessage.TXTResource{TXT: []string{"forged"}})}
		}
		return m
	})
	if got, err := c.TXT(t.Context(), host); err != nil || fmt.Sprint(got) != "[digest]" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestXN_011_Aliases(t *testing.T) {
	// A server that follows, and one that does not.
	for _, follows := range []bool{true, false} {
		for links, ok := range map[int]bool{1: true, maxChain: true, maxChain + 1: false, 15: false} {
			s := dnstest.Start(t)
			for i := range links {
				s.CNAME(map[bool]string{true: host, false: fmt.Sprintf("c%d.example", i)}[i == 0], fmt.Sprintf("c%d.example", i+1))
			}
			s.TXT(fmt.Sprintf("c%d.example", links), "digest")
			if !follows {
				s.Answer(func(q dnsmessage.Question, tcp bool) *dnsmessage.Message {
					m := s.Records(q, tcp)
					m.Answers = m.Answers[:min(1, len(m.Answers))]
					return m
				})
			}
			got, err := newClient(t, s.Addr).TXT(t.Context(), host)
			if ok != (err == nil && len(got) == 1) || !ok && err != ErrChain {
				t.Errorf("follows %v, %d links: %v, %v", follows, links, got, err)
			}
			if n := len(s.Asked()); n > maxChain+2 {
				t.Errorf("%d questions", n)
			}
		}
	}
	s := dnstest.Start(t)
	s.CNAME(host, "loop.example")
	s.CNAME("loop.example", host)
	c := newClient(t, s.Addr)
	if _, err := c.TXT(t.Context(), host); err != ErrChain {
		t.Errorf("loop: %v", err)
	}
	// An alias leads to nothing that servers do not know about.
	s.CNAME("www.example.org", "localhost")
	if _, err := c.TXT(t.Context(), "www.example.org"); err != ErrName {
		t.Errorf("to localhost: %v", err)
	}
	for _, a := range s.Asked() {
		if strings.Contains(strings.ToLower(a), " localhost.") {
			t.Error(a)
		}
	}
}

func TestXN_012_Spoofing(t *testing.T) {
	s := dnstest.Start(t)
	evil := dnsmessage.MustNewName("evil.example.")
	right := &dnsmessage.TXTResource{TXT: []string{"digest"}}
	for name, spoil := range map[string]func(q dnsmessage.Question, m *dnsmessage.Message){
		"wrong question":   func(q dnsmessage.Question, m *dnsmessage.Message) { m.Questions[0].Name = evil },
		"wrong type":       func(q dnsmessage.Question, m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeA },
		"no question":      func(q dnsmessage.Question, m *dnsmessage.Message) { m.Questions = nil },
		"two questions":    func(q dnsmessage.Question, m *dnsmessage.Message) { m.Questions = append(m.Questions, q) },
		"other owner":      func(q dnsmessage.Question, m *dnsmessage.Message) { m.Answers[0].Header.Name = evil },
		"other class":      func(q dnsmessage.Question, m *dnsmessage.Message) { m.Answers[0].Header.Class = dnsmessage.ClassCHAOS },
		"other section":    func(q dnsmessage.Question, m *dnsmessage.Message) { m.Additionals, m.Answers = m.Answers, nil },
		"failure":          func(q dnsmessage.Question, m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeServerFailure },
		"refused":          func(q dnsmessage.Question, m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeRefused },
		"NXDOMAIN, answer": func(q dnsmessage.Question, m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeNameError },
		"other opcode":     func(q dnsmessage.Question, m *dnsmessage.Message) { m.OpCode = 5 },
	} {
		s.Answer(func(q dnsmessage.Question, tcp bool) *dnsmessage.Message {
			m := &dnsmessage.Message{Questions: []dnsmessage.Question{q}, Answers: []dnsmessage.Resource{rr(q.Name, dnsmessage.TypeTXT, right)}}
			spoil(q, m)
			return m
		})
		// A server that never answers rightly would be waited for: the second read
		// ends that here.
		ctx, cancel := context.WithCancel(t.Context())
		c := newClient(t, s.Addr)
		c.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			return &oneAnswer{Conn: conn, done: cancel}, err
		}
		if got, err := c.TXT(ctx, host); len(got) > 0 {
			t.Errorf("%s was believed: %v, %v", name, got, err)
		}
		cancel()
	}
	// The right answer after many wrong ones still counts.
	conn := &script{}
	c := newClient(t, "192.0.2.1:53")
	c.dial = func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	conn.read = func(n int) []byte {
		if n < maxStray {
			return []byte("junk of twelve and more octets")
		}
		return packed(t, conn.wrote, 0, "digest")
	}
	if got, err := c.TXT(t.Context(), host); err != nil || fmt.Sprint(got) != "[digest]" {
		t.Errorf("%v, %v", got, err)
	}
	for _, off := range []int{1, 255, 4096} {
		q, err := c.pack([]question{{host, dnsmessage.TypeTXT}})
		if err != nil {
			t.Fatal(err)
		}
		if a := q[0].parse(packed(t, q[0].msg, off, "digest")); a.err != errStray {
			t.Errorf("an identifier off by %d was taken: %v", off, a.err)
		}
	}
}

// oneAnswer ends the context when a second read begins.
type oneAnswer struct {
	net.Conn
	reads int
	done  func()
}

func (o *oneAnswer) Read(b []byte) (int, error) {
	if o.reads++; o.reads > 1 {
		o.done()
	}
	return o.Conn.Read(b)
}

// A script is a connection that says what the test wants.
type script struct {
	net.Conn
	wrote []byte
	n     int
	read  func(n int) []byte
}

func (s *script) Read(b []byte) (int, error) {
	s.n++
	return copy(b, s.read(s.n-1)), nil
}

func (s *script) Write(b []byte) (int, error) {
	s.wrote = slices.Clone(b)
	return len(b), nil
}
func (s *script) Close() error                { return nil }
func (s *script) SetDeadline(time.Time) error { return nil }

// packed answers the query with one TXT record, with its identifier off by some.
func packed(t testing.TB, query []byte, off int, txt ...string) []byte {
	t.Helper()
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		t.Fatal(err)
	}
	q, err := p.Question()
	if err != nil {
		t.Fatal(err)
	}
	b, err := (&dnsmessage.Message{
		Header: dnsmessage.Header{ID: h.ID + uint16(off), Response: true, RecursionAvailable: true}, Questions: []dnsmessage.Question{q},
		Answers: []dnsmessage.Resource{rr(q.Name, dnsmessage.TypeTXT, &dnsmessage.TXTResource{TXT: txt})},
	}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A second server is asked when the first fails, points elsewhere, or is silent.
func TestServersInTurn(t *testing.T) {
	bad, good := dnstest.Start(t), dnstest.Start(t)
	good.TXT(host, "digest")
	for name, answer := range map[string]func(q dnsmessage.Question, tcp bool) *dnsmessage.Message{
		"failure": func(q dnsmessage.Question, _ bool) *dnsmessage.Message {
			return &dnsmessage.Message{Header: dnsmessage.Header{RCode: dnsmessage.RCodeServerFailure}, Questions: []dnsmessage.Question{q}}
		},
		"24 kB": func(q dnsmessage.Question, tcp bool) *dnsmessage.Message {
			m := &dnsmessage.Message{Questions: []dnsmessage.Question{q}}
			for range 100 {
				m.Answers = append(m.Answers, rr(q.Name, dnsmessage.TypeTXT, &dnsmessage.TXTResource{TXT: []string{strings.Repeat("x", 240)}}))
			}
			return m
		},
		"too many": func(q dnsmessage.Question, tcp bool) *dnsmessage.Message {
			m := &dnsmessage.Message{Questions: []dnsmessage.Question{q}}
			for range maxAnswers + 1 {
				m.Answers = append(m.Answers, rr(q.Name, dnsmessage.TypeTXT, &dnsmessage.TXTResource{TXT: []string{""}}))
			}
			return m
		},
	} {
		bad.Answer(answer)
		if got, err := newClient(t, bad.Addr, good.Addr).TXT(t.Context(), host); err != nil || len(got) != 1 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if _, err := newClient(t, bad.Addr).TXT(t.Context(), host); err != ErrNoAnswer {
			t.Errorf("%s: %v", name, err)
		}
	}
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if got, err := newClient(t, closed.LocalAddr().String(), good.Addr).TXT(t.Context(), host); err != nil || len(got) != 1 {
		t.Errorf("nobody there: %v, %v", got, err)
	}
}

// A lame server (XN-014) says neither that there are records nor that there are none.
func TestLameServersAreNoAnswer(t *testing.T) {
	conn := &script{}
	conn.read = func(int) []byte {
		b := packed(t, conn.wrote, 0, "x")
		b[3] &^= 0x80     // recursion not available
		b[6], b[7] = 0, 0 // no answers
		return b[:len(conn.wrote)]
	}
	c := newClient(t, "192.0.2.1:53")
	c.dial = func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	if _, err := c.TXT(t.Context(), host); err != ErrNoAnswer {
		t.Errorf("%v", err)
	}
}

func TestNamesThatAreNotAsked(t *testing.T) {
	s := dnstest.Start(t)
	c := newClient(t, s.Addr)
	for _, name := range []string{
		"", ".", "a..b", ".a", strings.Repeat("a", 64) + ".b", strings.Repeat("a.", 127) + "b", "a b", "a\x00b", "ü.example", "v2.onion", "www.V3.Onion", "localhost", "x.localhost",
	} {
		if _, err := c.TXT(t.Context(), name); err != ErrName {
			t.Errorf("%.20q: %v", name, err)
		}
	}
	for _, name := range []string{"localhost", "x.LocalHost."} {
		if a, err := c.Addresses(t.Context(), name); err != nil || len(a) != 2 || !a[0].IsLoopback() || !a[1].IsLoopback() {
			t.Errorf("%v, %v", a, err)
		}
	}
	if asked := s.Asked(); len(asked) > 0 {
		t.Errorf("%v", asked)
	}
}

func TestCAARecords(t *testing.T) {
	s := dnstest.Start(t)
	s.CAA("example.org", 0, "issue", "ca.example; accounturi=https://ca.example/1")
	s.CAA("example.org", 128, "IssueWild", ";")
	s.CAA("example.org", 1, "tbs", "")
	got, ttl, err := newClient(t, s.Addr).CAA(t.Context(), "example.org")
	want := []CAA{{false, "issue", "ca.example; accounturi=https://ca.example/1"}, {true, "issuewild", ";"}, {false, "tbs", ""}}
	if err != nil || !slices.Equal(got, want) || ttl != 300*time.Second {
		t.Errorf("%v, %v, %v", got, ttl, err)
	}
	for name, data := range map[string]string{"empty": "", "no tag": "\x00\x00x", "short": "\x00\x09issue", "tag": "\x00\x02i-x"} {
		s.Answer(func(q dnsmessage.Question, _ bool) *dnsmessage.Message {
			return &dnsmessage.Message{Questions: []dnsmessage.Question{q}, Answers: []dnsmessage.Resource{
				rr(q.Name, dnstest.TypeCAA, &dnsmessage.UnknownResource{Type: dnstest.TypeCAA, Data: []byte(data)}),
			}}
		})
		if _, _, err := newClient(t, s.Addr).CAA(t.Context(), "example.org"); err != ErrNoAnswer {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each server is heard for itself.
func TestEachServer(t *testing.T) {
	good, bad := dnstest.Start(t), dnstest.Start(t)
	good.CNAME("www.example.org", "web.example.org")
	good.A("web.example.org", "198.51.100.1")
	good.CAA("example.org", 128, "issue", "ca.example")
	good.TXT("t.example.org", "a\"b\x1b")
	bad.Answer(func(q dnsmessage.Question, _ bool) *dnsmessage.Message {
		return &dnsmessage.Message{Header: dnsmessage.Header{RCode: dnsmessage.RCodeServerFailure}, Questions: []dnsmessage.Question{q}}
	})
	c := newClient(t, good.Addr, bad.Addr)
	for _, tt := range []struct {
		name, says string
		kind       Type
	}{
		{"www.example.org", "[alias of web.example.org 198.51.100.1]", A},
		{"www.example.org", "[alias of web.example.org]", AAAA},
		{"example.org", `[128 issue "ca.example"]`, CAARR},
		{"t.example.org", `["a\"b\x1b"]`, TXT},
	} {
		got := c.Each(t.Context(), tt.name, tt.kind)
		if len(got) != 2 || fmt.Sprint(got[0].Records) != tt.says || got[0].Server != good.Addr || got[1].Instead != "it fails: ServerFailure" {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
	if got := c.Each(t.Context(), "none.example.org", A)[0]; len(got.Records) > 0 || got.Instead != "there are no such records" {
		t.Errorf("%+v", got)
	}
	if got := c.Each(t.Context(), "x.onion", A)[0]; got.Instead == "" {
		t.Errorf("%+v", got)
	}
}

func TestSystemServers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	for text, want := range map[string]string{
		"": "[127.0.0.1:53]",
		"search corp.example\nnameserver 192.0.2.1\n# nameserver 192.0.2.2\nnameserver fe80::1%eth0\nnameserver x\n":     "[192.0.2.1:53 [fe80::1%eth0]:53]",
		"nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\noptions edns0 trust-ad": "[192.0.2.1:53 192.0.2.2:53 192.0.2.3:53]",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(systemServers(file)); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
	c := newClient(t)
	if got, err := c.Addresses(t.Context(), "localhost"); err != nil || len(got) != 2 || got[1] != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("%v, %v", got, err)
	}
	if len(c.Servers()) == 0 {
		t.Error("no server")
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []Config{{}, {Rand: rand.Reader, Servers: []string{"192.0.2.1"}}, {Rand: rand.Reader, Servers: []string{":53"}}, {Rand: rand.Reader, Servers: []string{"a:"}}} {
		if _, err := New(c); err == nil {
			t.Errorf("%v was taken", c.Servers)
		}
	}
	c := newClient(t, "192.0.2.1:53")
	c.rand = strings.NewReader("")
	c.dial = func(context.Context, string, string) (net.Conn, error) { return nil, io.EOF }
	if _, err := c.TXT(t.Context(), host); err != ErrNoAnswer {
		t.Errorf("without randomness: %v", err)
	}
}
