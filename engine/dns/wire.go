package dns

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	headerSize = 12
	maxAnswers = 200
	maxTTL     = 7 * 24 * time.Hour
)

var (
	errStray = errors.New("dns: not the answer to the question")
	errAgain = errors.New("dns: to be asked by TCP")
)

// A query is a message to a server.
type query struct {
	question
	msg []byte
	tcp bool // it was sent by TCP
}

// A record is what is kept of a resource record.
type record struct {
	owner string // without the dot at its end
	kind  dnsmessage.Type
	ttl   time.Duration
	addr  netip.Addr // A and AAAA
	text  string     // TXT, joined; CNAME
	caa   CAA
}

// pack makes a message of each question, with an identifier of its own and its
// letters in random case.
func (c *Client) pack(qs []question) ([]query, error) {
	// Two octets for the identifier and a bit for each octet of the name.
	per := 2 + (len(qs[0].name)+7)/8
	random := make([]byte, per*len(qs))
	if _, err := io.ReadFull(c.rand, random); err != nil {
		return nil, err
	}
	out := make([]query, len(qs))
	for i, q := range qs {
		r := random[i*per : (i+1)*per]
		out[i] = query{question: q, msg: packOne(q, r[:2], r[2:])}
		if i > 0 && bytes.Equal(out[i].msg[:2], out[0].msg[:2]) {
			out[i].msg[0] ^= 0x80
		}
	}
	return out, nil
}

// packOne: RFC 1035, Section 4.1. id has two octets, flips a bit for each octet
// of the name.
func packOne(q question, id, flips []byte) []byte {
	msg := make([]byte, headerSize, headerSize+len(q.name)+6)
	copy(msg, id)
	msg[2] = 1 // recursion desired
	msg[5] = 1 // one question
	at := 0
	for label := range strings.SplitSeq(q.name, ".") {
		msg = append(msg, byte(len(label)))
		for i := range len(label) {
			b := label[i]
			if ('a' <= b|0x20 && b|0x20 <= 'z') && flips[at/8]>>(at%8)&1 == 1 {
				b ^= 0x20
			}
			msg = append(msg, b)
			at++
		}
	}
	return append(msg, 0, byte(q.kind>>8), byte(q.kind), 0, 1)
}

// askable keeps away what is no name, so that packOne need not look.
func askable(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// parse reads a message that must be the answer to the query: its identifier,
// and exactly its question. errStray says that it is not, errAgain that it is to
// be asked by TCP. Only the answer section is read.
func (q query) parse(msg []byte) answer {
	end := len(q.msg)
	if len(msg) < end || msg[0] != q.msg[0] || msg[1] != q.msg[1] || binary.BigEndian.Uint16(msg[4:]) != 1 {
		return answer{err: errStray}
	}
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || !h.Response || h.OpCode != 0 || !bytes.EqualFold(msg[headerSize:end], q.msg[headerSize:]) {
		return answer{err: errStray}
	}
	sameCase := bytes.Equal(msg[headerSize:end], q.msg[headerSize:])
	if !q.tcp && (h.Truncated || !sameCase) {
		return answer{err: errAgain}
	}
	switch {
	case h.RCode == dnsmessage.RCodeNameError:
		return answer{said: "there is no such name"}
	case h.RCode != dnsmessage.RCodeSuccess, h.Truncated:
		return answer{err: ErrNoAnswer, said: "it fails: " + strings.TrimPrefix(h.RCode.String(), "RCode")}
	}
	if err := p.SkipAllQuestions(); err != nil {
		return answer{err: ErrNoAnswer, said: unreadable}
	}
	records, err := readAnswers(&p, q.kind)
	if err != nil {
		return answer{err: ErrNoAnswer, said: unreadable}
	}
	if len(records) == 0 && !h.Authoritative && !h.RecursionAvailable {
		// A server that neither has the name nor looks for it points to others;
		// that there are no records it does not say.
		return answer{err: ErrNoAnswer, said: "it neither has the name nor looks for it"}
	}
	return answer{records: records, said: "there are no such records"}
}

const unreadable = "its answer cannot be read"

// readAnswers reads the answer section, as far as it is about the type and about
// aliases.
func readAnswers(p *dnsmessage.Parser, kind dnsmessage.Type) ([]record, error) {
	var out []record
	for n := 0; ; n++ {
		h, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if n == maxAnswers {
			return nil, ErrNoAnswer
		}
		if h.Class != dnsmessage.ClassINET || h.Type != kind && h.Type != dnsmessage.TypeCNAME {
			if err := p.SkipAnswer(); err != nil {
				return nil, err
			}
			continue
		}
		r := record{owner: strings.TrimSuffix(h.Name.String(), "."), kind: h.Type, ttl: min(maxTTL, time.Duration(h.TTL)*time.Second)}
		if err := r.read(p); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
}

// read reads what the record says.
func (r *record) read(p *dnsmessage.Parser) error {
	switch r.kind {
	case dnsmessage.TypeA:
		b, err := p.AResource()
		r.addr = netip.AddrFrom4(b.A)
		return err
	case dnsmessage.TypeAAAA:
		b, err := p.AAAAResource()
		r.addr = netip.AddrFrom16(b.AAAA)
		return err
	case dnsmessage.TypeCNAME:
		b, err := p.CNAMEResource()
		r.text = strings.TrimSuffix(b.CNAME.String(), ".")
		return err
	case dnsmessage.TypeTXT:
		b, err := p.TXTResource()
		r.text = strings.Join(b.TXT, "")
		return err
	}
	b, err := p.UnknownResource()
	if err != nil {
		return err
	}
	r.caa, err = readCAA(b.Data)
	return err
}

// readCAA: RFC 8659, Section 4.1. What does not parse is no answer, rather than
// a property less.
func readCAA(b []byte) (CAA, error) {
	if len(b) < 2 || b[1] == 0 || len(b) < 2+int(b[1]) {
		return CAA{}, ErrNoAnswer
	}
	tag := string(b[2 : 2+b[1]])
	for i := range len(tag) {
		if c := tag[i] | 0x20; !('a' <= c && c <= 'z' || '0' <= tag[i] && tag[i] <= '9') {
			return CAA{}, ErrNoAnswer
		}
	}
	return CAA{Critical: b[0]&0x80 != 0, Tag: strings.ToLower(tag), Value: string(b[2+b[1]:])}, nil
}
