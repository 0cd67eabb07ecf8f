package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"chancery/engine"
)

// Node is the document chancery.yaml: what is true of this machine, not of the
// CA.
type Node struct {
	Node      string    `json:"node"` // name of this node in records
	Listen    Listen    `json:"listen"`
	PublicURL PublicURL `json:"public_url"`
	Store     Store     `json:"store"`
	ACME      ACME      `json:"acme"`
	Proxies   []string  `json:"proxies"` // addresses or networks whose word about the client's address is taken
	Log       Log       `json:"log"`
}

// Listen are the addresses to listen on, as HOST:PORT.
type Listen struct {
	HTTPS string `json:"https"` // enrollment
	HTTP  string `json:"http"`  // CRL, OCSP, CA certificates
	Admin string `json:"admin"` // administration
}

// PublicURL is what clients call the listeners, when that differs.
type PublicURL struct {
	HTTPS string `json:"https,omitempty"`
	HTTP  string `json:"http,omitempty"`
}

// ACME holds what the ACME frontend needs of this machine's network.
type ACME struct {
	Validation Validation `json:"validation"`
}

// Validation is how ACME challenges are validated.
type Validation struct {
	HTTPPort  int      `json:"http_port"`           // of http-01
	TLSPort   int      `json:"tls_port"`            // of tls-alpn-01
	Resolvers []string `json:"resolvers,omitempty"` // HOST:PORT of DNS servers; none: the system's
	Networks  []string `json:"networks,omitempty"`  // the only ones to validate in; none: all
}

// Log is about the server's own log on standard error.
type Log struct {
	Level string `json:"level"` // debug, info, warn or error
}

// DefaultNode are the settings of a node that nobody configured.
func DefaultNode() Node {
	return Node{
		Node:   "chancery",
		Listen: Listen{HTTPS: "127.0.0.1:8443", HTTP: "127.0.0.1:8080", Admin: "127.0.0.1:8444"},
		Store:  Store{Scrub: engine.Duration(24 * time.Hour)},
		ACME:   ACME{Validation{HTTPPort: 80, TLSPort: 443}},
		Log:    Log{Level: "info"},
	}
}

// LoadNode reads the settings in a file over the defaults. A file that does not
// exist is an error only when must is set.
func LoadNode(file string, must bool) (Node, error) {
	n := DefaultNode()
	doc, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && !must {
		doc, err = nil, nil
	}
	if err != nil {
		return n, fmt.Errorf("cannot read the settings: %w", err)
	}
	at, err := Decode(file, doc, &n, Open{})
	if err != nil {
		return n, err
	}
	n.Store.fill(at)
	return n, n.check(file, at)
}

// LogLevel is the level that the settings name.
func (n *Node) LogLevel() slog.Level {
	var l slog.Level
	_ = l.UnmarshalText([]byte(n.Log.Level)) // checked when the settings were read
	return l
}

// check finds what is wrong beyond the types.
func (n *Node) check(file string, at map[string]Position) error {
	var problems Problems
	fail := func(key, format string, args ...any) {
		pos := at[key]
		problems = append(problems, Problem{file, pos.Line, pos.Column, key, fmt.Sprintf(format, args...)})
	}
	if n.Node == "" || strings.ContainsAny(n.Node, " \t\n:/") || len(n.Node) > 64 {
		fail("node", "expects a short name without spaces, colons and slashes")
	}
	for key, addr := range map[string]string{"listen.https": n.Listen.HTTPS, "listen.http": n.Listen.HTTP, "listen.admin": n.Listen.Admin} {
		if err := checkAddress(addr); err != nil {
			fail(key, "%s", err)
		}
	}
	checkURL(fail, "public_url.https", n.PublicURL.HTTPS, "https")
	checkURL(fail, "public_url.http", n.PublicURL.HTTP, "http")
	n.Store.check(fail)
	for key, port := range map[string]int{"acme.validation.http_port": n.ACME.Validation.HTTPPort, "acme.validation.tls_port": n.ACME.Validation.TLSPort} {
		if port < 1 || port > 65535 {
			fail(key, "%d is not a port", port)
		}
	}
	for i, r := range n.ACME.Validation.Resolvers {
		if _, err := netip.ParseAddrPort(r); err != nil {
			fail(fmt.Sprintf("acme.validation.resolvers.%d", i), "%.60q is not ADDRESS:PORT, such as 192.0.2.53:53", r)
		}
	}
	checkNetworks(fail, "acme.validation.networks", n.ACME.Validation.Networks)
	checkNetworks(fail, "proxies", n.Proxies)
	if err := new(slog.Level).UnmarshalText([]byte(n.Log.Level)); err != nil {
		fail("log.level", "%.20q is not debug, info, warn or error", n.Log.Level)
	}
	return problems.err()
}

func checkAddress(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		if _, err = strconv.ParseUint(port, 10, 16); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%.60q is not HOST:PORT, such as 127.0.0.1:8443 or :8443", addr)
}

// ClientAddr is an address that clients can use: one that listens everywhere is
// reached by the machine's name.
func ClientAddr(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err != nil || host != "" && (ip == nil || !ip.IsUnspecified()) {
		return listen
	}
	if host, err = os.Hostname(); err != nil || host == "" {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

func checkURL(fail func(key, format string, args ...any), key, text, scheme string) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != scheme || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(text, "/") {
		fail(key, "%.80q is not an address such as %s://pki.example.org, without a slash at its end", text, scheme)
	}
}

// checkNetworks refuses what is neither an address nor a network.
func checkNetworks(fail func(key, format string, args ...any), key string, list []string) {
	for i, s := range list {
		if _, err := ParseNetwork(s); err != nil {
			fail(fmt.Sprintf("%s.%d", key, i), "%s", err)
		}
	}
}

// ParseNetwork reads an address or a network in CIDR notation.
func ParseNetwork(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.Prefix{}, fmt.Errorf("%.60q is neither an address nor a network such as 10.0.0.0/8", s)
}
