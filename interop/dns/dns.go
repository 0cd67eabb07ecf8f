// Package dns is a name server for tests and for the load driver: every name
// has the address 127.0.0.1, TXT and CAA records are what the test sets, and
// nothing else exists. It answers over UDP and TCP on loopback.
package dns

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// A Server answers until it is closed.
type Server struct {
	Addr string // where it answers, host:port

	udp net.PacketConn
	tcp net.Listener

	mu  sync.Mutex
	txt map[string][]string
	caa map[string]string // values of issue properties
}

// Serve starts a server on addr; port 0 picks a free one.
func Serve(addr string) (*Server, error) {
	s := &Server{txt: map[string][]string{}}
	// The port that UDP got may be taken for TCP: then try another.
	for try := 0; ; try++ {
		var err error
		if s.udp, err = net.ListenPacket("udp", addr); err != nil {
			return nil, err
		}
		s.Addr = s.udp.LocalAddr().String()
		if s.tcp, err = net.Listen("tcp", s.Addr); err == nil {
			break
		}
		_ = s.udp.Close()
		if try == 20 {
			return nil, err
		}
	}
	go s.serveUDP()
	go s.serveTCP()
	return s, nil
}

// Close stops the server.
func (s *Server) Close() error {
	_ = s.udp.Close()
	return s.tcp.Close()
}

// Set adds a TXT record. The name may have a dot at its end.
func (s *Server) Set(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name = canonical(name)
	if !slices.Contains(s.txt[name], value) {
		s.txt[name] = append(s.txt[name], value)
	}
}

// Issue makes the name's CAA records one issue property with a value (RFC 8659);
// with an empty value it has none.
func (s *Server) Issue(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.caa == nil {
		s.caa = map[string]string{}
	}
	s.caa[canonical(name)] = value
}

// Clear removes a TXT record.
func (s *Server) Clear(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name = canonical(name)
	s.txt[name] = slices.DeleteFunc(s.txt[name], func(v string) bool { return v == value })
	if len(s.txt[name]) == 0 {
		delete(s.txt, name)
	}
}

func (s *Server) lookup(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.txt[canonical(name)])
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

func (s *Server) serveUDP() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.udp.ReadFrom(buf)
		if err != nil {
			return
		}
		if out := s.answer(buf[:n]); out != nil {
			_, _ = s.udp.WriteTo(out, from)
		}
	}
}

func (s *Server) serveTCP() {
	for {
		c, err := s.tcp.Accept()
		if err != nil {
			return
		}
		go s.serveConn(c)
	}
}

func (s *Server) serveConn(c net.Conn) {
	defer c.Close()
	var size [2]byte
	for {
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		out := s.answer(q)
		if out == nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return
		}
	}
}

const typeCAA dnsmessage.Type = 257

// answer is the answer to one query, nil where there is none.
func (s *Server) answer(msg []byte) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true, RecursionDesired: h.RecursionDesired, RecursionAvailable: true})
	if b.StartQuestions() != nil || b.Question(q) != nil || b.StartAnswers() != nil {
		return nil
	}
	rh := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}
	switch q.Type {
	case typeCAA:
		s.mu.Lock()
		value := s.caa[canonical(q.Name.String())]
		s.mu.Unlock()
		if value != "" {
			_ = b.UnknownResource(rh, dnsmessage.UnknownResource{Type: typeCAA, Data: []byte("\x00\x05issue" + value)})
		}
	case dnsmessage.TypeA:
		_ = b.AResource(rh, dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}})
	case dnsmessage.TypeTXT:
		for _, v := range s.lookup(q.Name.String()) {
			_ = b.TXTResource(rh, dnsmessage.TXTResource{TXT: []string{v}})
		}
	}
	out, err := b.Finish()
	if err != nil {
		return nil
	}
	return out
}
