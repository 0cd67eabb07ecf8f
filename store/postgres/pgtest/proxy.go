package pgtest

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Proxy stands between a client and a cluster and does what networks do. It
// reads the protocol, so that it can break a connection at a chosen message.
type Proxy struct {
	l      net.Listener
	target string // the cluster's socket

	mu    sync.Mutex
	links map[*link]bool
	down  bool
	delay time.Duration
	hole  chan struct{} // while it is there, nothing passes; closed at its end
	at    Point
	cut   chan struct{} // is closed when the cut at that point was made
	wg    sync.WaitGroup
}

// A Point is a moment in a transaction that writes.
type Point int

// The points at which CutNext cuts.
const (
	// BeforeCommit is when the server has done all the writes and told the
	// client so, but has not got the order to commit.
	BeforeCommit Point = iota + 1

	// AtAnswer is when the server has committed, and its answer has not reached
	// the client; what came before the answer has.
	AtAnswer

	// Silent is like AtAnswer, but of all that the server said since the client
	// sent its last messages nothing reaches the client.
	Silent

	// AmidRows is when the client has got one row of an answer that has more.
	AmidRows
)

// NewProxy starts a proxy before the cluster. It ends with the test.
func NewProxy(t testing.TB, c *Cluster) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{l: l, target: filepath.Join(c.dir, ".s.PGSQL.5432"), links: map[*link]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.Hole(false)
		p.Down(true)
		p.wg.Wait()
	})
	return p
}

// DSN is the address of a database of the cluster, by way of the proxy.
func (p *Proxy) DSN(t testing.TB, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Del("host")
	u.User, u.Host, u.RawQuery = url.User(q.Get("user")), p.l.Addr().String(), q.Encode()
	return u.String()
}

// Cut breaks all connections. New ones may be made.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.close()
	}
}

// Down breaks all connections and lets nobody in until it is up again.
func (p *Proxy) Down(down bool) {
	p.mu.Lock()
	p.down = down
	p.mu.Unlock()
	if down {
		p.Cut()
	}
}

// Delay makes every message take so much longer.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Hole swallows all messages, without a word to either side, until it ends.
func (p *Proxy) Hole(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.hole == nil:
		p.hole = make(chan struct{})
	case !on && p.hole != nil:
		close(p.hole)
		p.hole = nil
	}
}

// CutNext breaks the next connection that reaches the point, once. The channel
// is closed when that was done.
func (p *Proxy) CutNext(at Point) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.cut = at, make(chan struct{})
	return p.cut
}

func (p *Proxy) accept() {
	for {
		client, err := p.l.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	server, err := net.Dial("unix", p.target)
	if err != nil {
		_ = client.Close()
		return
	}
	l := &link{p: p, client: client, server: server}
	p.mu.Lock()
	if p.down {
		l.close()
	}
	p.links[l] = true
	p.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { l.copy(server, client, true, l.asked) })
	wg.Go(func() { l.copy(client, server, false, l.answered) })
	wg.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// A link is one connection through the proxy.
type link struct {
	p              *Proxy
	client, server net.Conn

	mu       sync.Mutex
	withheld bool   // BeforeCommit: what the client sends is dropped
	wrote    bool   // the server has said that it wrote something
	held     []byte // Silent: what the server said since it was last ready
	rows     int    // in the answer that is on its way
}

func (l *link) close() {
	_ = l.client.Close()
	_ = l.server.Close()
}

// copy passes messages in one direction. Look says of each whether it is to
// pass, and perhaps earlier ones, and whether the connection is to be cut then.
func (l *link) copy(to io.Writer, from io.Reader, opens bool, look func(message []byte) (pass []byte, cut bool)) {
	defer l.close()
	r := bufio.NewReader(from)
	for first := opens; ; first = false {
		head := make([]byte, 5)
		if first { // the start has no kind
			head = head[:4]
		}
		if _, err := io.ReadFull(r, head); err != nil {
			return
		}
		body := make([]byte, max(0, int(binary.BigEndian.Uint32(head[len(head)-4:]))-4))
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		l.p.linger()
		pass, cut := append(head, body...), false
		if !first {
			pass, cut = look(pass)
		}
		if _, err := to.Write(pass); err != nil {
			return
		}
		if cut {
			l.p.done()
			return
		}
	}
}

// linger takes the time that a message takes.
func (p *Proxy) linger() {
	p.mu.Lock()
	delay, hole := p.delay, p.hole
	p.mu.Unlock()
	if hole != nil {
		<-hole
	}
	if delay > 0 {
		<-time.After(delay)
	}
}

func (p *Proxy) point() Point {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// done says that the cut was made.
func (p *Proxy) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at != 0 {
		p.at = 0
		close(p.cut)
	}
}

// asked looks at what the client sends: after a Flush comes the commit.
func (l *link) asked(message []byte) (pass []byte, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.withheld {
		return nil, false
	}
	if message[0] == 'H' && l.p.point() == BeforeCommit {
		l.withheld = true
	}
	return message, false
}

// answered looks at what the server sends.
func (l *link) answered(message []byte) (pass []byte, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.p.point()
	kind, body := message[0], message[5:]
	tag, _, _ := strings.Cut(strings.TrimRight(string(body), "\x00"), " ")
	ready := kind == 'Z'
	committed := l.wrote && (kind == 'C' && tag == "COMMIT" || ready && body[0] == 'I')
	if committed && (at == AtAnswer || at == Silent) {
		return nil, true
	}
	if committed {
		l.wrote = false
	}
	if kind == 'D' {
		if l.rows++; l.rows == 2 && at == AmidRows {
			return nil, true
		}
	}
	if ready {
		l.rows = 0
	}
	if kind == 'C' && (tag == "INSERT" || tag == "DELETE" || tag == "UPDATE") {
		l.wrote = true
		cut = l.withheld
	}
	l.held = append(l.held, message...)
	if at == Silent && !ready && kind != 'R' { // R: the client must answer it
		return nil, cut
	}
	pass, l.held = l.held, nil
	return pass, cut
}
