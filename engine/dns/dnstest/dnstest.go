// Package dnstest is a name server for tests that answers whatever the test
// wants it to, by UDP and TCP.
package dnstest

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// A Server answers until the test ends.
type Server struct {
	Addr string // host:port

	mu      sync.Mutex
	records map[string][]dnsmessage.ResourceBody
	answer  func(q dnsmessage.Question, tcp bool) *dnsmessage.Message
	asked   []string
}

// Start starts a server on loopback.
func Start(t testing.TB) *Server {
	t.Helper()
	pc, ln := listen(t)
	s := &Server{Addr: pc.LocalAddr().String(), records: map[string][]dnsmessage.ResourceBody{}}
	var wait sync.WaitGroup
	wait.Go(func() { s.udp(pc) })
	wait.Go(func() { s.tcp(ln, &wait) })
	t.Cleanup(func() {
		pc.Close()
		ln.Close()
		wait.Wait()
	})
	return s
}

// listen finds a port that is free for both.
func listen(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if ln, err := net.Listen("tcp", pc.LocalAddr().String()); err == nil {
			return pc, ln
		}
		pc.Close()
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil, nil
}

// A adds addresses to a name; "*" is every name that has none.
func (s *Server) A(name string, addrs ...string) {
	for _, text := range addrs {
		a := netip.MustParseAddr(text)
		if a.Is4() {
			s.add(name, &dnsmessage.AResource{A: a.As4()})
		} else {
			s.add(name, &dnsmessage.AAAAResource{AAAA: a.As16()})
		}
	}
}

// TXT adds a record of one or several character-strings.
func (s *Server) TXT(name string, strings ...string) {
	s.add(name, &dnsmessage.TXTResource{TXT: strings})
}

// CNAME makes a name an alias.
func (s *Server) CNAME(name, target string) {
	s.add(name, &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(target + ".")})
}

// CAA adds a property of RFC 8659 to a name.
func (s *Server) CAA(name string, flags byte, tag, value string) {
	s.add(name, &dnsmessage.UnknownResource{Type: TypeCAA, Data: append([]byte{flags, byte(len(tag))}, tag+value...)})
}

// TypeCAA is the number of the CAA record, which dnsmessage does not know.
const TypeCAA dnsmessage.Type = 257

// Clear forgets a name.
func (s *Server) Clear(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, name)
}

// Answer makes fn answer instead of the records. Its message's identifier is set
// unless it has one; nil is silence.
func (s *Server) Answer(fn func(q dnsmessage.Question, tcp bool) *dnsmessage.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = fn
}

// Asked lists the questions so far, as "udp A name.".
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

func (s *Server) add(name string, r dnsmessage.ResourceBody) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[name] = append(s.records[name], r)
}

// reply makes the answer to a query, nil for none.
func (s *Server) reply(query []byte, tcp bool) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	s.mu.Lock()
	network := "udp "
	if tcp {
		network = "tcp "
	}
	s.asked = append(s.asked, network+strings.TrimPrefix(q.Type.String(), "Type")+" "+q.Name.String())
	answer := s.answer
	s.mu.Unlock()
	if answer == nil {
		answer = s.Records
	}
	m := answer(q, tcp)
	if m == nil {
		return nil
	}
	if m.ID == 0 {
		m.ID = h.ID
	}
	m.Response, m.RecursionAvailable = true, true
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	if !tcp && len(out) > 512 {
		m.Truncated, m.Answers = true, nil
		if out, err = m.Pack(); err != nil {
			return nil
		}
	}
	return out
}

// Records answers from the records, as Answer's fn would.
func (s *Server) Records(q dnsmessage.Question, _ bool) *dnsmessage.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &dnsmessage.Message{Questions: []dnsmessage.Question{q}}
	name := q.Name
	for range 20 {
		found, ok := s.records[strings.ToLower(strings.TrimSuffix(name.String(), "."))]
		if !ok && (q.Type == dnsmessage.TypeA || q.Type == dnsmessage.TypeAAAA) {
			found = s.records["*"]
		}
		next := ""
		for _, r := range found {
			c, alias := r.(*dnsmessage.CNAMEResource)
			if alias {
				next = c.CNAME.String()
			}
			if alias || kind(r) == q.Type {
				m.Answers = append(m.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, Type: kind(r), TTL: 300}, Body: r,
				})
			}
		}
		if next == "" {
			break
		}
		name = dnsmessage.MustNewName(next)
	}
	return m
}

func kind(r dnsmessage.ResourceBody) dnsmessage.Type {
	switch r := r.(type) {
	case *dnsmessage.UnknownResource:
		return r.Type
	case *dnsmessage.AResource:
		return dnsmessage.TypeA
	case *dnsmessage.AAAAResource:
		return dnsmessage.TypeAAAA
	case *dnsmessage.TXTResource:
		return dnsmessage.TypeTXT
	}
	return dnsmessage.TypeCNAME
}

func (s *Server) udp(pc net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		if out := s.reply(buf[:n], false); out != nil {
			pc.WriteTo(out, from)
		}
	}
}

func (s *Server) tcp(ln net.Listener, wait *sync.WaitGroup) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		wait.Go(func() {
			defer conn.Close()
			var size [2]byte
			if _, err := io.ReadFull(conn, size[:]); err != nil {
				return
			}
			q := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(conn, q); err != nil {
				return
			}
			if out := s.reply(q, true); out != nil {
				conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
			}
		})
	}
}
