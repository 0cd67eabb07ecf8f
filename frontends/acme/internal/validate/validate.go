// Package validate asks the network whether an applicant controls a name: the
// http-01 and dns-01 challenges of RFC 8555, Sections 8.3 and 8.4.
//
// The applicant chooses whom the server talks to, so everything here is written
// against servers that lie, stall or flood, and against use of the server as a
// way into its own network (RFC 8555, Section 10.4): each address is checked
// when it is dialled, each name is resolved once per hop, answers are bounded in
// size and time, and what an answer held is never repeated in an error.
package validate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// Deadline is how long one validation may take in all.
const Deadline = 10 * time.Second

// A Kind is why a validation failed, by the names of RFC 8555, Section 6.7.
type Kind string

// The kinds of failure.
const (
	Connection        Kind = "connection"
	DNS               Kind = "dns"
	IncorrectResponse Kind = "incorrectResponse"
)

// An Error says why a validation failed. Detail is short and printable, and
// deliberately coarse: it must not tell open ports from closed ones.
type Error struct {
	Kind   Kind
	Detail string
}

func (e *Error) Error() string { return string(e.Kind) + ": " + e.Detail }

func failure(k Kind, format string, args ...any) error {
	return &Error{k, fmt.Sprintf(format, args...)}
}

// Config is how a Validator sees the network.
type Config struct {
	// HTTPPort is asked in place of port 80; 0 is 80.
	HTTPPort int

	// Resolvers are DNS servers as host:port, asked in this order; none: the
	// system's resolver.
	Resolvers []string

	// Networks are the only ones that are connected to; none: all but loopback,
	// link-local, multicast and other special ones.
	Networks []netip.Prefix

	// Loopback adds loopback addresses to what an empty Networks admits.
	Loopback bool

	// Dial connects to an address; nil is the system's.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Rand makes the identifiers of DNS queries.
	Rand io.Reader
}

// A Validator validates. It is safe for concurrent use.
type Validator struct {
	port     string
	resolver resolver
	admits   func(netip.Addr) bool
	dial     func(ctx context.Context, network, addr string) (net.Conn, error)
}

// A resolver looks up what validation needs. Its errors are *Error.
type resolver interface {
	addresses(ctx context.Context, host string) ([]netip.Addr, error)
	txt(ctx context.Context, name string) ([]string, error)
}

// New makes a Validator.
func New(c Config) (*Validator, error) {
	v := &Validator{port: "80", dial: c.Dial}
	if c.HTTPPort != 0 {
		if c.HTTPPort < 0 || c.HTTPPort > 65535 {
			return nil, fmt.Errorf("http_port %d is not a port", c.HTTPPort)
		}
		v.port = strconv.Itoa(c.HTTPPort)
	}
	if v.dial == nil {
		v.dial = (&net.Dialer{}).DialContext
	}
	v.admits = admission(c.Networks, c.Loopback)
	if len(c.Resolvers) == 0 {
		v.resolver = system{new(net.Resolver)}
		return v, nil
	}
	for _, s := range c.Resolvers {
		host, port, err := net.SplitHostPort(s)
		if err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("resolver %q is not host:port, such as 192.0.2.53:53", s)
		}
	}
	if c.Rand == nil {
		return nil, errors.New("own resolvers need randomness")
	}
	v.resolver = &client{servers: c.Resolvers, dial: v.dial, rand: c.Rand}
	return v, nil
}

// system is the resolver of the operating system.
type system struct{ r *net.Resolver }

func (s system) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	found, err := s.r.LookupNetIP(ctx, "ip", host)
	if err != nil || len(found) == 0 {
		return nil, failure(DNS, "no address found for %s", host)
	}
	return found, nil
}

func (s system) txt(ctx context.Context, name string) ([]string, error) {
	found, err := s.r.LookupTXT(ctx, name+".")
	if err != nil {
		return nil, failure(DNS, "no TXT record found for %s", name)
	}
	return found, nil
}
