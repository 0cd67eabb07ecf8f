// Package validate asks the network whether an applicant controls a name: the
// challenges of RFC 8555, Sections 8.3 and 8.4, of RFC 8737, both also for
// addresses (RFC 8738), and of the drafts for dns-account-01 and dns-persist-01.
//
// The applicant chooses whom the server talks to, so everything here is written
// against servers that lie, stall or flood, and against use of the server as a
// way into its own network (RFC 8555, Section 10.4): each address is checked
// when it is dialled, each name is resolved once per hop, answers are bounded in
// size and time, and what an answer held is never repeated in an error.
package validate

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"chancery/engine"
	"chancery/engine/dns"
	"chancery/engine/names"
)

// Deadline is how long one validation may take in all.
const Deadline = 10 * time.Second

// A Kind is why a validation failed, by the names of RFC 8555, Section 6.7.
type Kind string

// The kinds of failure.
const (
	Connection        Kind = "connection"
	DNS               Kind = "dns"
	TLS               Kind = "tls"
	IncorrectResponse Kind = "incorrectResponse"
	Malformed         Kind = "malformed"    // a record that is meant for us cannot be read
	Unauthorized      Kind = "unauthorized" // a record is for somebody else, or no longer good
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
	// HTTPPort is asked in place of port 80, TLSPort in place of 443; 0 is these.
	HTTPPort, TLSPort int

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

	// Rand makes the identifiers of DNS queries. Required.
	Rand io.Reader
}

// A Validator validates. It is safe for concurrent use.
type Validator struct {
	httpPort, tlsPort string
	resolver          *dns.Client
	admits            func(netip.Addr) bool
	dial              func(ctx context.Context, network, addr string) (net.Conn, error)
	busy              targets
}

// New makes a Validator.
func New(c Config) (*Validator, error) {
	v := &Validator{httpPort: "80", tlsPort: "443", dial: c.Dial, admits: admission(c.Networks, c.Loopback)}
	for key, p := range map[string]struct {
		from int
		to   *string
	}{"http_port": {c.HTTPPort, &v.httpPort}, "tls_port": {c.TLSPort, &v.tlsPort}} {
		if p.from < 0 || p.from > 65535 {
			return nil, fmt.Errorf("%s %d is not a port", key, p.from)
		}
		if p.from != 0 {
			*p.to = strconv.Itoa(p.from)
		}
	}
	if v.dial == nil {
		// No connection lives long enough to be kept alive.
		v.dial = (&net.Dialer{KeepAlive: -1}).DialContext
	}
	var err error
	v.resolver, err = dns.New(dns.Config{Servers: c.Resolvers, Dial: c.Dial, Rand: c.Rand})
	return v, err
}

// Resolver is what looks names up.
func (v *Validator) Resolver() *dns.Client { return v.resolver }

// A Challenge is what is to be validated.
type Challenge struct {
	Method engine.Method
	Name   names.Name // DNS name, which may be a wildcard where the method is for it, or address
	Token  string     // none for dns-persist-01

	// Thumbprints are those of the account's keys in base64url (RFC 8555, Section
	// 8.1). The first is of the key that accepted the challenge.
	Thumbprints []string

	Account string     // URL of the account
	Persist Persistent // for dns-persist-01
	Now     time.Time
}

// Found is what a validation brought beside success.
type Found struct {
	Until time.Time // the proof is good no longer than this; zero: it says nothing
}

// Validate validates. The error is an *Error.
func (v *Validator) Validate(ctx context.Context, c Challenge) (Found, error) {
	if len(c.Thumbprints) == 0 || c.Name.Wildcard() != strings.HasPrefix(c.Name.Value, "*.") {
		return Found{}, failure(Unauthorized, "the challenge cannot be validated")
	}
	host := strings.TrimPrefix(c.Name.Value, "*.")
	authorization := c.Token + "." + c.Thumbprints[0]
	digest := sha256.Sum256([]byte(authorization))
	text := base64.RawURLEncoding.EncodeToString(digest[:])
	switch {
	case c.Method == engine.HTTP01 && !c.Name.Wildcard():
		return Found{}, v.HTTP01(ctx, host, c.Token, authorization)
	case c.Method == engine.TLSALPN01 && !c.Name.Wildcard():
		return Found{}, v.TLSALPN01(ctx, c.Name, digest)
	case c.Name.Type != names.DNS:
		// RFC 8738, Section 7
		return Found{}, failure(Malformed, "%s is not for addresses", c.Method)
	case c.Method == engine.DNS01:
		return Found{}, v.DNS01(ctx, host, text)
	case c.Method == engine.DNSAccount01:
		return Found{}, v.DNSAccount01(ctx, host, c.Account, text)
	case c.Method == engine.DNSPersist01:
		return v.DNSPersist01(ctx, c)
	}
	return Found{}, failure(Malformed, "%s is not for this name", c.Method)
}

// asFailure is what an error of the resolver is to the applicant. what says what
// was looked up.
func asFailure(err error, what, name string) error {
	switch {
	case errors.Is(err, dns.ErrChain):
		return failure(DNS, "looking up %s of %s: too many aliases (CNAME)", what, name)
	case errors.Is(err, dns.ErrName):
		return failure(DNS, "%s is not a name that can be asked for", name)
	}
	return failure(DNS, "looking up %s of %s: the name servers gave no usable answer", what, name)
}
