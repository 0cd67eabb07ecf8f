package dns

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	maxUDP   = 1500 // octets of an answer by UDP; what we promise to take is 512
	maxTCP   = 16 << 10
	maxStray = 64 // datagrams that answer no question
)

// A question is one name and type.
type question struct {
	name string // without the dot at its end
	kind dnsmessage.Type
}

// An answer is what a server said to one question.
type answer struct {
	records []record
	err     error
	said    string // instead of records, in words
}

// ask puts questions about one name to the servers in turn, until each has an
// answer. A name that does not exist is an answer without records.
func (c *Client) ask(ctx context.Context, qs []question) []answer {
	out := make([]answer, len(qs))
	open := make([]int, len(qs)) // indexes of those without an answer
	for i := range qs {
		out[i].err, open[i] = ErrNoAnswer, i
	}
	servers := c.servers()
	for range rounds {
		for _, server := range servers {
			batch := make([]question, len(open))
			for i, at := range open {
				batch[i] = qs[at]
			}
			still := open[:0]
			for i, a := range c.askOne(ctx, server, batch) {
				if at := open[i]; a.err != nil {
					still = append(still, at)
				} else {
					out[at] = a
				}
			}
			if open = still; len(open) == 0 || ctx.Err() != nil {
				return out
			}
		}
	}
	return out
}

// askOne puts questions to one server, all over one socket.
func (c *Client) askOne(ctx context.Context, server string, qs []question) []answer {
	ctx, cancel := context.WithTimeout(ctx, perServer)
	defer cancel()
	out := make([]answer, len(qs))
	for i := range out {
		out[i].err = ErrNoAnswer
	}
	queries, err := c.pack(qs)
	if err != nil {
		return out
	}
	c.overUDP(ctx, server, queries, out)
	for i := range out {
		if out[i].err == errAgain {
			out[i] = c.overTCP(ctx, server, queries[i])
		}
	}
	return out
}

// connect dials a server. The end of ctx interrupts whatever waits on it.
func (c *Client) connect(ctx context.Context, network, server string) (conn net.Conn, stop func(), err error) {
	conn, err = c.dial(ctx, network, server)
	if err != nil {
		return nil, nil, err
	}
	if t, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(t); err != nil {
			conn.Close()
			return nil, nil, err
		}
	}
	interrupt := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() { interrupt(); conn.Close() }, nil
}

// overUDP sends the queries and fills in what comes back before the time is up
// or the socket fails.
func (c *Client) overUDP(ctx context.Context, server string, queries []query, out []answer) {
	conn, stop, err := c.connect(ctx, "udp", server)
	if err != nil {
		return
	}
	defer stop()
	for _, q := range queries {
		if _, err := conn.Write(q.msg); err != nil {
			return
		}
	}
	buf := make([]byte, maxUDP)
	done := make([]bool, len(queries))
	for range maxStray + len(queries) {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		left := 0
		for i, q := range queries {
			if done[i] {
				continue
			}
			// Whatever is not the answer may be somebody's guess: go on listening.
			if a := q.parse(buf[:n]); a.err != errStray {
				out[i], done[i] = a, true
				continue
			}
			left++
		}
		if left == 0 {
			return
		}
	}
}

// overTCP asks what UDP could not bring whole (RFC 7766, Section 5), or brought
// in another case than it was asked: a server that does so cannot be told from a
// guess by UDP, but by TCP it can.
func (c *Client) overTCP(ctx context.Context, server string, q query) answer {
	conn, stop, err := c.connect(ctx, "tcp", server)
	if err != nil {
		return answer{err: err}
	}
	defer stop()
	// RFC 1035, Section 4.2.2
	msg := append(binary.BigEndian.AppendUint16(make([]byte, 0, len(q.msg)+2), uint16(len(q.msg))), q.msg...)
	if _, err := conn.Write(msg); err != nil {
		return answer{err: err}
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return answer{err: err}
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n > maxTCP {
		return answer{err: ErrNoAnswer}
	}
	buf := make([]byte, n)
	if _, err := io.ReadFull(conn, buf); err != nil {
		return answer{err: err}
	}
	q.tcp = true
	if a := q.parse(buf); a.err != errStray && a.err != errAgain {
		return a
	}
	return answer{err: ErrNoAnswer}
}
