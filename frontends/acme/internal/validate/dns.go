package validate

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	maxChain  = 8               // CNAMEs followed
	perServer = 3 * time.Second // for one question to one server
	rounds    = 2               // over all servers
)

// DNS01 looks for the digest among the TXT records of the host's validation
// name (RFC 8555, Section 8.4). The error is an *Error.
func (v *Validator) DNS01(ctx context.Context, host, digest string) error {
	ctx, cancel := context.WithTimeout(ctx, Deadline)
	defer cancel()
	name := "_acme-challenge." + host
	if len(name) > 253 {
		return failure(DNS, "the name is too long for dns-01: with _acme-challenge before it, it has more than 253 characters")
	}
	records, err := v.resolver.txt(ctx, name)
	if err != nil {
		return err
	}
	if len(records) == 0 {
		return failure(DNS, "no TXT record found for %s", name)
	}
	for _, r := range records {
		if r == digest {
			return nil
		}
	}
	return failure(IncorrectResponse, "no TXT record of %s is the digest for this account and token (%d found)", name, len(records))
}

// A client asks the configured servers. It trusts an answer that comes from the
// address and port that it asked, to a random port of its own, with its random
// identifier and its question (RFC 5452).
type client struct {
	servers []string
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	rand    io.Reader
}

// addresses asks for both kinds at the same time.
func (c *client) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	host = strings.TrimSuffix(host, ".")
	if h := strings.ToLower(host); h == "localhost" || strings.HasSuffix(h, ".localhost") {
		// RFC 6761, Section 6.3: never asked of a server.
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	var four, six []netip.Addr
	var err4, err6 error
	var wait sync.WaitGroup
	wait.Go(func() { six, err6 = lookup(ctx, c, host, dnsmessage.TypeAAAA, addressOf) })
	four, err4 = lookup(ctx, c, host, dnsmessage.TypeA, addressOf)
	wait.Wait()
	all := append(six, four...)
	if len(all) == 0 && (err4 != nil || err6 != nil) {
		return nil, failure(DNS, "looking up the addresses of %s: the name servers gave no usable answer", host)
	}
	if len(all) == 0 {
		return nil, failure(DNS, "no address found for %s", host)
	}
	return all, nil
}

func (c *client) txt(ctx context.Context, name string) ([]string, error) {
	records, err := lookup(ctx, c, name, dnsmessage.TypeTXT, textOf)
	if err != nil {
		return nil, failure(DNS, "looking up TXT of %s: the name servers gave no usable answer", name)
	}
	return records, nil
}

func addressOf(b dnsmessage.ResourceBody) (netip.Addr, bool) {
	switch r := b.(type) {
	case *dnsmessage.AResource:
		return netip.AddrFrom4(r.A), true
	case *dnsmessage.AAAAResource:
		return netip.AddrFrom16(r.AAAA), true
	}
	return netip.Addr{}, false
}

// textOf joins the character-strings of one record (RFC 1035, Section 3.3.14).
func textOf(b dnsmessage.ResourceBody) (string, bool) {
	r, ok := b.(*dnsmessage.TXTResource)
	if !ok {
		return "", false
	}
	return strings.Join(r.TXT, ""), true
}

var (
	errChain  = errors.New("too many CNAMEs")
	errAnswer = errors.New("no usable answer")
)

// lookup asks for one type and follows CNAMEs, as far as the servers did not.
func lookup[T any](ctx context.Context, c *client, host string, kind dnsmessage.Type, value func(dnsmessage.ResourceBody) (T, bool)) ([]T, error) {
	name, err := dnsmessage.NewName(host + ".")
	if err != nil {
		return nil, err
	}
	for links := 0; ; {
		q := dnsmessage.Question{Name: name, Type: kind, Class: dnsmessage.ClassINET}
		answer, err := c.ask(ctx, q)
		if err != nil {
			return nil, err
		}
		end, followed := follow(answer, name)
		if links += followed; links > maxChain {
			return nil, errChain
		}
		var found []T
		for _, r := range answer {
			if r.Header.Type == kind && sameName(r.Header.Name, end) {
				if v, ok := value(r.Body); ok {
					found = append(found, v)
				}
			}
		}
		if len(found) > 0 || followed == 0 {
			return found, nil
		}
		name = end
	}
}

// follow walks the CNAMEs of one answer.
func follow(answer []dnsmessage.Resource, name dnsmessage.Name) (end dnsmessage.Name, links int) {
	for links <= maxChain {
		next, ok := alias(answer, name)
		if !ok {
			break
		}
		name = next
		links++
	}
	return name, links
}

func alias(answer []dnsmessage.Resource, name dnsmessage.Name) (dnsmessage.Name, bool) {
	for _, r := range answer {
		if c, ok := r.Body.(*dnsmessage.CNAMEResource); ok && sameName(r.Header.Name, name) {
			return c.CNAME, true
		}
	}
	return name, false
}

func sameName(a, b dnsmessage.Name) bool { return strings.EqualFold(a.String(), b.String()) }

// ask puts the question to the servers in turn. A name that does not exist is an
// answer without records.
func (c *client) ask(ctx context.Context, q dnsmessage.Question) ([]dnsmessage.Resource, error) {
	for range rounds {
		for _, server := range c.servers {
			answer, err := c.askOne(ctx, server, q)
			if err == nil {
				return answer, nil
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
	}
	return nil, errAnswer
}

func (c *client) askOne(ctx context.Context, server string, q dnsmessage.Question) ([]dnsmessage.Resource, error) {
	ctx, cancel := context.WithTimeout(ctx, perServer)
	defer cancel()
	var b [2]byte
	if _, err := io.ReadFull(c.rand, b[:]); err != nil {
		return nil, err
	}
	id := uint16(b[0])<<8 | uint16(b[1])
	query, err := (&dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{q},
	}).Pack()
	if err != nil {
		return nil, err
	}
	m, err := c.exchange(ctx, "udp", server, query, q)
	if err == nil && m.Truncated {
		m, err = c.exchange(ctx, "tcp", server, query, q) // RFC 7766, Section 5
	}
	if err != nil {
		return nil, err
	}
	if m.RCode != dnsmessage.RCodeSuccess && m.RCode != dnsmessage.RCodeNameError {
		return nil, errAnswer
	}
	return m.Answers, nil
}
