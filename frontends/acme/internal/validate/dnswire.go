package validate

import (
	"context"
	"encoding/binary"
	"io"
	"net"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	maxUDP     = 4096 // octets of an answer by UDP; we promise to take 512
	maxTCP     = 16 << 10
	maxAnswers = 200
	maxStray   = 64 // datagrams that do not answer the question
)

// exchange sends one query and waits for its answer.
func (c *client) exchange(ctx context.Context, network, server string, query []byte, q dnsmessage.Question) (*dnsmessage.Message, error) {
	conn, err := c.dial(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if t, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(t); err != nil {
			return nil, err
		}
	}
	// The end of ctx interrupts a read that waits.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if network == "tcp" {
		return overTCP(conn, query, q)
	}
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, maxUDP)
	for range maxStray {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		// Whatever is not the answer may be somebody's guess: go on listening.
		if m, err := parseAnswer(buf[:n], query, q); err == nil {
			return m, nil
		}
	}
	return nil, errAnswer
}

// overTCP: RFC 1035, Section 4.2.2.
func overTCP(conn net.Conn, query []byte, q dnsmessage.Question) (*dnsmessage.Message, error) {
	msg := append(binary.BigEndian.AppendUint16(make([]byte, 0, len(query)+2), uint16(len(query))), query...)
	if _, err := conn.Write(msg); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n > maxTCP {
		return nil, errAnswer
	}
	buf := make([]byte, n)
	if _, err := io.ReadFull(conn, buf); err != nil {
		return nil, err
	}
	return parseAnswer(buf, query, q)
}

// parseAnswer reads a message that must be the answer to the query: its
// identifier, and exactly its question. Only the answer section is read.
func parseAnswer(msg, query []byte, q dnsmessage.Question) (*dnsmessage.Message, error) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil {
		return nil, err
	}
	if !h.Response || h.ID != binary.BigEndian.Uint16(query) || h.OpCode != 0 {
		return nil, errAnswer
	}
	got, err := p.Question()
	if err != nil {
		return nil, err
	}
	if got != q {
		return nil, errAnswer
	}
	if _, err := p.Question(); err != dnsmessage.ErrSectionDone {
		return nil, errAnswer
	}
	m := &dnsmessage.Message{Header: h}
	for h.RCode == dnsmessage.RCodeSuccess && !h.Truncated {
		r, err := p.Answer()
		if err == dnsmessage.ErrSectionDone {
			break
		}
		if err != nil || len(m.Answers) == maxAnswers {
			return nil, errAnswer
		}
		m.Answers = append(m.Answers, r)
	}
	return m, nil
}
