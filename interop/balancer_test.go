package interop

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chancery/interop/live"
	"chancery/store/postgres/pgtest"
)

// A balancer forwards each connection to the next node that takes it, and knows
// nothing of what it carries. One that was quiet for a moment is closed, so that
// clients that keep connections open change nodes too.
type balancer struct {
	net.Listener
	mu    sync.Mutex
	nodes []*ca
	turn  int
	took  []int // connections, by node
	conns sync.WaitGroup
}

// quiet is longer than a client thinks between two steps of a TLS handshake.
const quiet = 250 * time.Millisecond

func newBalancer(t *testing.T) *balancer {
	t.Helper()
	ports, err := live.Ports(1)
	must(t, err)
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0]))
	must(t, err)
	b := &balancer{Listener: l}
	b.conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.conns.Go(func() { b.forward(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		b.conns.Wait()
	})
	return b
}

func (b *balancer) add(node *ca) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nodes, b.took = append(b.nodes, node), append(b.took, 0)
}

// next connects to the node whose turn it is, or to one after it.
func (b *balancer) next() (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for range b.nodes {
		i := b.turn % len(b.nodes)
		b.turn++
		c, err := net.Dial("tcp", b.nodes[i].HTTPS)
		if err == nil {
			b.took[i]++
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (b *balancer) forward(client net.Conn) {
	defer client.Close()
	server, err := b.next()
	if err != nil {
		return
	}
	defer server.Close()
	var waiting atomic.Bool // the client has asked and the node has not answered
	waiting.Store(true)
	idle := time.NewTimer(time.Minute)
	defer idle.Stop()
	done := make(chan struct{}, 2)
	pump := func(to, from net.Conn, asks bool) {
		defer func() { done <- struct{}{} }()
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			if n > 0 {
				waiting.Store(asks)
				idle.Reset(quiet)
				if _, err := to.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	go pump(server, client, true)
	go pump(client, server, false)
	ended := 0
	for ended == 0 {
		select {
		case <-done:
			ended++
		case <-idle.C:
			if !waiting.Load() {
				ended = -1
			} else {
				idle.Reset(quiet)
			}
		}
	}
	_, _ = client.Close(), server.Close()
	for range 2 - max(ended, 0) {
		<-done
	}
}

// threeNodes starts three nodes with the CA keys behind a balancer. What it
// returns first is the installation as clients see it.
func threeNodes(t *testing.T) (*ca, []*ca, *balancer, string) {
	t.Helper()
	dsn := pgtest.DSN(t)
	b := newBalancer(t)
	var nodes []*ca
	for i := range 3 {
		c := newNode(t, fmt.Sprintf("n%d", i+1), dsn)
		conf := read(t, c.conf) + "public_url: {https: 'https://" + b.Addr().String() + "'}\n"
		if i > 0 {
			first := nodes[0]
			conf = strings.Replace(conf, fmt.Sprintf("http_port: %d", c.http01), fmt.Sprintf("http_port: %d", first.http01), 1)
			write(t, c.conf, conf)
			j := c.join()
			first.cli("node", "approve", fmt.Sprintf("n%d", i+1), j.fingerprint)
			if err := j.cmd.Wait(); err != nil {
				t.Fatalf("join: %v\n%s", err, j.text())
			}
			for _, key := range []string{"main.key", "management.key"} {
				write(t, filepath.Join(c.data, "keys", key), read(t, filepath.Join(first.data, "keys", key)))
			}
		} else {
			write(t, c.conf, conf)
		}
		c.start()
		nodes = append(nodes, c)
		b.add(c)
	}
	front, server := *nodes[0], *nodes[0].Server
	server.HTTPS = b.Addr().String()
	front.Server = &server
	return &front, nodes, b, dsn
}
