package validate

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"chancery/frontends/acme/internal/dnstest"

	"golang.org/x/net/dns/dnsmessage"
)

const validationName = "_acme-challenge.www.example.org"

// alternating answers with a public address, then with a private one.
func alternating(s *dnstest.Server, mu *sync.Mutex, n *int) func(dnsmessage.Question, bool) *dnsmessage.Message {
	return func(q dnsmessage.Question, tcp bool) *dnsmessage.Message {
		m := &dnsmessage.Message{Questions: []dnsmessage.Question{q}}
		if q.Type != dnsmessage.TypeA {
			return m
		}
		mu.Lock()
		defer mu.Unlock()
		a := [4]byte{198, 51, 100, 7}
		if *n++; *n > 1 {
			a = [4]byte{127, 0, 0, 1}
		}
		m.Answers = []dnsmessage.Resource{record(q.Name, &dnsmessage.AResource{A: a})}
		return m
	}
}

func record(name dnsmessage.Name, body dnsmessage.ResourceBody) dnsmessage.Resource {
	kind := dnsmessage.TypeA
	switch body.(type) {
	case *dnsmessage.TXTResource:
		kind = dnsmessage.TypeTXT
	case *dnsmessage.CNAMEResource:
		kind = dnsmessage.TypeCNAME
	}
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Type: kind, Class: dnsmessage.ClassINET}, Body: body}
}

func (f *farm) dns01() error { return f.v.DNS01(f.t.Context(), "www.example.org", "digest") }

func TestDNS01(t *testing.T) {
	f := newFarm(t)
	fails(t, "none", f.dns01(), DNS)
	f.dns.TXT(validationName, "other")
	fails(t, "another", f.dns01(), IncorrectResponse)
	f.dns.TXT(validationName, "dig", "est")
	if err := f.dns01(); err != nil {
		t.Error(err)
	}
	fails(t, "too long", f.v.DNS01(t.Context(), strings.Repeat("a.", 120)+"example", "digest"), DNS)
}

func TestTruncatedAnswersGoOverTCP(t *testing.T) {
	f := newFarm(t)
	for i := range 50 {
		f.dns.TXT(validationName, fmt.Sprintf("a record that fills the answer %d", i))
	}
	f.dns.TXT(validationName, "digest")
	if err := f.dns01(); err != nil {
		t.Error(err)
	}
	if asked := f.dns.Asked(); len(asked) != 2 || asked[1] != "tcp TXT "+validationName+"." {
		t.Errorf("%v", asked)
	}
}

func TestXN011_CNAMEs(t *testing.T) {
	chain := func(f *farm, links int) {
		for i := range links {
			f.dns.CNAME(map[bool]string{true: validationName, false: fmt.Sprintf("c%d.example", i)}[i == 0], fmt.Sprintf("c%d.example", i+1))
		}
		f.dns.TXT(fmt.Sprintf("c%d.example", links), "digest")
	}
	// A server that follows, and one that does not.
	for _, follow := range []bool{true, false} {
		for links, ok := range map[int]bool{1: true, maxChain: true, maxChain + 1: false, 15: false} {
			f := newFarm(t)
			chain(f, links)
			if !follow {
				f.dns.Answer(func(q dnsmessage.Question, tcp bool) *dnsmessage.Message {
					m := f.dns.Records(q, tcp)
					m.Answers = m.Answers[:min(1, len(m.Answers))]
					return m
				})
			}
			err := f.dns01()
			if (err == nil) != ok {
				t.Errorf("follow %v, %d links: %v", follow, links, err)
			}
			if !ok {
				fails(t, "chain", err, DNS)
			}
			if n := len(f.dns.Asked()); n > maxChain+2 {
				t.Errorf("%d questions", n)
			}
		}
	}
	f := newFarm(t)
	f.dns.CNAME(validationName, "loop.example")
	f.dns.CNAME("loop.example", validationName)
	fails(t, "loop", f.dns01(), DNS)
	f.dns.CNAME("www.example.org", "private.example")
	f.dns.A("private.example", "127.0.0.1")
	fails(t, "to a private address", f.fetch(), Connection)
}

func TestXN012_Spoofing(t *testing.T) {
	f := newFarm(t)
	evil := dnsmessage.MustNewName("evil.example.")
	right := &dnsmessage.TXTResource{TXT: []string{"digest"}}
	for name, spoil := range map[string]func(q dnsmessage.Question, m *dnsmessage.Message){
		"wrong question":   func(q dnsmessage.Question, m *dnsmessage.Message) { m.Questions[0].Name = evil },
		"wrong type":       func(q dnsmessage.Question, m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeA },
		"no question":      func(q dnsmessage.Question, m *dnsmessage.Message) { m.Questions = nil },
		"two questions":    func(q dnsmessage.Question, m *dnsmessage.Message) { m.Questions = append(m.Questions, q) },
		"other owner":      func(q dnsmessage.Question, m *dnsmessage.Message) { m.Answers[0].Header.Name = evil },
		"other section":    func(q dnsmessage.Question, m *dnsmessage.Message) { m.Additionals, m.Answers = m.Answers, nil },
		"failure":          func(q dnsmessage.Question, m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeServerFailure },
		"refused":          func(q dnsmessage.Question, m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeRefused },
		"NXDOMAIN, answer": func(q dnsmessage.Question, m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeNameError },
		"other opcode":     func(q dnsmessage.Question, m *dnsmessage.Message) { m.OpCode = 5 },
	} {
		f.dns.Answer(func(q dnsmessage.Question, tcp bool) *dnsmessage.Message {
			m := &dnsmessage.Message{Questions: []dnsmessage.Question{q}, Answers: []dnsmessage.Resource{record(q.Name, right)}}
			spoil(q, m)
			return m
		})
		// A server that never answers rightly would be waited for: the caller's
		// context ends that here.
		ctx, cancel := context.WithCancel(t.Context())
		answered := f.v.dial
		v := *f.v
		v.resolver = &client{servers: []string{f.dns.Addr}, rand: rand.Reader, dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := answered(ctx, network, addr)
			return &oneAnswer{Conn: conn, done: cancel}, err
		}}
		if err := v.DNS01(ctx, "www.example.org", "digest"); err == nil {
			t.Errorf("%s was believed", name)
		}
		cancel()
	}
	// The right answer after many wrong ones still counts.
	query := newQuery(t, 7)
	conn := &script{}
	for range maxStray - 1 {
		conn.reads = append(conn.reads, []byte("junk"))
	}
	conn.reads = append(conn.reads, packed(t, 7, "digest"))
	c := &client{dial: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
	m, err := c.exchange(t.Context(), "udp", "x", query, question)
	if err != nil || len(m.Answers) != 1 {
		t.Errorf("%v", err)
	}
	for _, id := range []uint16{6, 8, 0} {
		if _, err := parseAnswer(packed(t, id, "digest"), query, question); err == nil {
			t.Errorf("identifier %d was taken for 7", id)
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

type script struct {
	net.Conn
	reads [][]byte
}

func (s *script) Read(b []byte) (int, error) {
	n := copy(b, s.reads[0])
	s.reads = s.reads[1:]
	return n, nil
}

func (s *script) Write(b []byte) (int, error) { return len(b), nil }
func (s *script) Close() error                { return nil }

var question = dnsmessage.Question{Name: dnsmessage.MustNewName(validationName + "."), Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}

func newQuery(t testing.TB, id uint16) []byte {
	t.Helper()
	q, err := (&dnsmessage.Message{Header: dnsmessage.Header{ID: id}, Questions: []dnsmessage.Question{question}}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func packed(t testing.TB, id uint16, txt ...string) []byte {
	t.Helper()
	b, err := (&dnsmessage.Message{
		Header: dnsmessage.Header{ID: id, Response: true}, Questions: []dnsmessage.Question{question},
		Answers: []dnsmessage.Resource{record(question.Name, &dnsmessage.TXTResource{TXT: txt})},
	}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A second server is asked when the first fails.
func TestServersInTurn(t *testing.T) {
	bad, good := dnstest.Start(t), dnstest.Start(t)
	bad.Answer(func(q dnsmessage.Question, _ bool) *dnsmessage.Message {
		return &dnsmessage.Message{Header: dnsmessage.Header{RCode: dnsmessage.RCodeServerFailure}, Questions: []dnsmessage.Question{q}}
	})
	good.TXT(validationName, "digest")
	v, err := New(Config{Resolvers: []string{bad.Addr, good.Addr}, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.DNS01(t.Context(), "www.example.org", "digest"); err != nil {
		t.Error(err)
	}
}

func FuzzParseAnswer(f *testing.F) { // XN-013
	query := newQuery(f, 7)
	f.Add(packed(f, 7, "digest"))
	f.Add(packed(f, 7, strings.Repeat("x", 255), "\x00", ""))
	f.Add(query)
	f.Add([]byte("\x00\x07\x84\x00\x00\x01\x00\x01\x00\x00\x00\x00\xc0\x0c"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		m, err := parseAnswer(msg, query, question)
		if err != nil {
			return
		}
		end, links := follow(m.Answers, question.Name)
		if links > maxChain+1 || len(m.Answers) > maxAnswers || end.Length == 0 {
			t.Errorf("%d links, %d answers", links, len(m.Answers))
		}
	})
}
