// Package dns asks name servers, and believes as little as it can of what comes
// back (RFC 5452): answers come to a random port, with a random identifier, with
// the letters of the question in the random case in which they were sent, and
// are bounded in size, number and time. It is for look-ups that somebody else
// may want to falsify: those that prove control of a name (RFC 8555), and those
// that say who may issue for it (RFC 8659).
//
// It does not validate DNSSEC. A resolver that does answers SERVFAIL for what is
// bogus, which here is no answer and never an empty one.
package dns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	maxChain  = 8               // CNAMEs followed
	perServer = 3 * time.Second // for one question to one server
	rounds    = 2               // over all servers
)

// typeCAA is the number of RFC 8659, which dnsmessage has no name for.
const typeCAA dnsmessage.Type = 257

var (
	// ErrNoAnswer says that no server gave an answer that can be used: they were
	// silent, failed, refused, or answered something else. It says nothing about
	// whether there are records.
	ErrNoAnswer = errors.New("the name servers gave no usable answer")

	// ErrChain says that a name is an alias of an alias, and so on for too long.
	ErrChain = errors.New("too many aliases (CNAME)")

	// ErrName says that a text cannot be a name in the DNS.
	ErrName = errors.New("not a name that can be asked for")
)

// Config is what a Client is made of.
type Config struct {
	// Servers are asked in this order, as host:port; none: the system's.
	Servers []string

	// Dial connects to a server; nil is the system's.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Rand makes the identifiers of queries and the case of their names. Required.
	Rand io.Reader
}

// A Client asks. It is safe for concurrent use.
type Client struct {
	servers func() []string
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	rand    io.Reader
	system  *net.Resolver // knows the hosts file too; nil unless the servers are the system's
}

// New makes a Client.
func New(c Config) (*Client, error) {
	if c.Rand == nil {
		return nil, errors.New("name servers cannot be asked without randomness")
	}
	cl := &Client{dial: c.Dial, rand: c.Rand}
	if cl.dial == nil {
		cl.dial = new(net.Dialer).DialContext
	}
	if len(c.Servers) == 0 {
		cl.system, cl.servers = new(net.Resolver), func() []string { return systemServers(resolvConf) }
		return cl, nil
	}
	for _, s := range c.Servers {
		host, port, err := net.SplitHostPort(s)
		if err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("resolver %q is not host:port, such as 192.0.2.53:53", s)
		}
	}
	cl.servers = func() []string { return c.Servers }
	return cl, nil
}

// Servers are those that are asked now.
func (c *Client) Servers() []string { return c.servers() }

// Addresses returns the addresses of a host, those of IPv6 first; none is no
// error. The system's hosts file counts if the servers are the system's.
func (c *Client) Addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	host = strings.TrimSuffix(host, ".")
	switch special(host) {
	case loopbackName: // RFC 6761, Section 6.3: never asked of a server
		return []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
	case unaskedName:
		return nil, ErrName
	}
	if c.system != nil {
		return c.systemAddresses(ctx, host)
	}
	found, err := c.lookup(ctx, host, dnsmessage.TypeAAAA, dnsmessage.TypeA)
	if err != nil {
		return nil, err
	}
	var all []netip.Addr
	for _, f := range found {
		for _, r := range f.records {
			all = append(all, r.addr)
		}
	}
	if len(all) == 0 {
		return nil, errors.Join(found[0].err, found[1].err)
	}
	return all, nil
}

// TXT returns the TXT records of a name, each with its character-strings joined
// (RFC 1035, Section 3.3.14); none is no error.
func (c *Client) TXT(ctx context.Context, name string) ([]string, error) {
	f, err := c.one(ctx, name, dnsmessage.TypeTXT)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, r := range f.records {
		all = append(all, r.text)
	}
	return all, nil
}

// A CAA is one property (RFC 8659, Section 4.1).
type CAA struct {
	Critical bool // the other flags are to be ignored
	Tag      string
	Value    string
}

// CAA returns the properties at a name, or where its alias leads, and how long
// that may be relied on. It climbs no tree; none is no error.
func (c *Client) CAA(ctx context.Context, name string) ([]CAA, time.Duration, error) {
	f, err := c.one(ctx, name, typeCAA)
	if err != nil {
		return nil, 0, err
	}
	var all []CAA
	for _, r := range f.records {
		all = append(all, r.caa)
	}
	return all, f.ttl, nil
}

func (c *Client) one(ctx context.Context, name string, kind dnsmessage.Type) (finding, error) {
	name = strings.TrimSuffix(name, ".")
	if special(name) != ordinaryName {
		return finding{}, ErrName
	}
	found, err := c.lookup(ctx, name, kind)
	if err != nil {
		return finding{}, err
	}
	return found[0], found[0].err
}

// A nameKind says whether servers know about a name at all.
type nameKind int

const (
	ordinaryName nameKind = iota
	loopbackName
	unaskedName
)

// special names are nothing for the DNS: localhost (RFC 6761), onion (RFC 7686).
func special(name string) nameKind {
	last := strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])
	switch last {
	case "localhost":
		return loopbackName
	case "onion":
		return unaskedName
	}
	return ordinaryName
}

// A finding is what one look-up brought.
type finding struct {
	records []record // of the type asked for, at the end of the aliases
	ttl     time.Duration
	err     error
}

// lookup asks for several types of one name at once and follows aliases as far
// as the servers did not. The error says that the name cannot be asked for;
// otherwise there is a finding for each type.
func (c *Client) lookup(ctx context.Context, name string, kinds ...dnsmessage.Type) ([]finding, error) {
	if !askable(name) {
		return nil, ErrName
	}
	qs := make([]question, len(kinds))
	for i, k := range kinds {
		qs[i] = question{name: name, kind: k}
	}
	out := make([]finding, len(kinds))
	for i, a := range c.ask(ctx, qs) {
		out[i] = c.follow(ctx, qs[i], a)
	}
	return out, nil
}

// follow walks the aliases of an answer, and asks again where it ends without
// records.
func (c *Client) follow(ctx context.Context, q question, a answer) finding {
	ttl := maxTTL
	for links := 0; ; {
		if a.err != nil {
			return finding{err: a.err}
		}
		end, followed, least := walk(a.records, q.name)
		if links += followed; links > maxChain {
			return finding{err: ErrChain}
		}
		f := finding{ttl: min(ttl, least)}
		for _, r := range a.records {
			if r.kind == q.kind && strings.EqualFold(r.owner, end) {
				f.records = append(f.records, r)
				f.ttl = min(f.ttl, r.ttl)
			}
		}
		if len(f.records) > 0 || followed == 0 {
			return f
		}
		if !askable(end) || special(end) != ordinaryName {
			return finding{err: ErrName}
		}
		q.name, ttl = end, f.ttl
		a = c.ask(ctx, []question{q})[0]
	}
}

// walk follows the aliases within one answer.
func walk(records []record, name string) (end string, links int, ttl time.Duration) {
	ttl = maxTTL
	for links <= maxChain {
		next := ""
		for _, r := range records {
			if r.kind == dnsmessage.TypeCNAME && strings.EqualFold(r.owner, name) {
				next, ttl = r.text, min(ttl, r.ttl)
				break
			}
		}
		if next == "" {
			break
		}
		name = next
		links++
	}
	return name, links, ttl
}
