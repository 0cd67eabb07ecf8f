package validate

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const (
	maxRedirects  = 10
	maxLocation   = 2000            // octets of a redirect's target
	maxHeader     = 16 << 10        // octets of an answer's header
	maxAddresses  = 4               // tried per hop
	dialTimeout   = 3 * time.Second // per address, so that a dead one leaves time for the next
	trailingSpace = 64              // octets of white space after the key authorization that are read
	wellKnown     = "/.well-known/acme-challenge/"
)

// HTTP01 fetches the token's resource from the host and compares it with the
// key authorization (RFC 8555, Section 8.3). The error is an *Error.
func (v *Validator) HTTP01(ctx context.Context, host, token, keyAuthorization string) error {
	ctx, cancel := context.WithTimeout(ctx, Deadline)
	defer cancel()
	// RFC 8555, Section 8.3: over HTTP, not HTTPS. The port that stands for 80 is
	// put in when dialling, so the Host header is the bare name.
	u := &url.URL{Scheme: "http", Host: host, Path: wellKnown + token}
	for range maxRedirects + 1 {
		next, err := v.hop(ctx, u, host, keyAuthorization)
		if next == nil || err != nil {
			return err
		}
		u = next
	}
	return failure(Connection, "%s redirects more than %d times", host, maxRedirects)
}

// hop asks one server. It returns where that server redirects to, or nil when
// the answer was final.
func (v *Validator) hop(ctx context.Context, u *url.URL, host, want string) (*url.URL, error) {
	tr := v.transport()
	defer tr.CloseIdleConnections()
	req := (&http.Request{
		Method: http.MethodGet, URL: u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {"chancery-validation/1 (RFC 8555)"}, "Accept": {"*/*"}},
		Close:  true,
	}).WithContext(ctx)
	resp, err := tr.RoundTrip(req)
	if err != nil {
		if e := (*Error)(nil); errors.As(err, &e) {
			return nil, e
		}
		// One text for refused, silent, reset and broken: it is no port scanner.
		return nil, failure(Connection, "no valid HTTP answer from %s", host)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return v.target(u, resp.Header.Get("Location"), host)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, failure(IncorrectResponse, "%s answered with status %d instead of the key authorization", host, resp.StatusCode)
	}
	most := len(want) + trailingSpace
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(most+1)))
	if err != nil {
		return nil, failure(Connection, "no valid HTTP answer from %s", host)
	}
	// RFC 8555, Section 8.3: white space at the end is ignored, nowhere else.
	if len(body) > most || strings.TrimRight(string(body), " \t\r\n") != want {
		return nil, failure(IncorrectResponse, "what %s serves for the token is not the key authorization of this account", host)
	}
	return nil, nil
}

// target checks a redirect: only http and https, only on their ports, only to
// something with a name or an address that a URL can hold without tricks.
func (v *Validator) target(from *url.URL, location, host string) (*url.URL, error) {
	bad := func(why string) (*url.URL, error) {
		return nil, failure(Connection, "%s redirects to %s, which is not followed", host, why)
	}
	if location == "" || len(location) > maxLocation {
		return bad("nowhere or to a very long address")
	}
	u, err := from.Parse(location)
	if err != nil {
		return bad("what is no URL")
	}
	port, target := u.Port(), u.Hostname()
	_, notAddress := netip.ParseAddr(target)
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return bad("another scheme than http and https")
	case u.User != nil, u.Opaque != "", strings.Contains(u.Host, "%"), strings.HasSuffix(u.Host, ":"):
		return bad("an unusual URL")
	case notAddress != nil && !plainHost(target):
		return bad("what is no host name")
	case port != "" && !(u.Scheme == "http" && (port == "80" || port == v.port)) && !(u.Scheme == "https" && port == "443"):
		return bad("another port than 80 and 443")
	}
	u.Fragment = ""
	return u, nil
}

// transport makes one for a single request, so that nothing is shared between
// applicants and no connection stays open.
func (v *Validator) transport() *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // validation goes straight, whatever the environment says
		DialContext:            v.dialHost,
		DisableKeepAlives:      true,
		DisableCompression:     true, // what is compared is what was sent
		MaxResponseHeaderBytes: maxHeader,
		// The content is public and compared; whose certificate a redirect to
		// https shows says nothing about the name.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12},
	}
}

// dialHost resolves the host, once, and dials the very addresses that it
// checked, so that a second answer of the DNS changes nothing.
func (v *Validator) dialHost(ctx context.Context, network, hostport string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	if port == "80" {
		port = v.port
	}
	addrs, err := v.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	tried := 0
	for _, a := range addrs {
		if !v.admits(a) {
			continue
		}
		if tried++; tried > maxAddresses {
			break
		}
		conn, err := v.dialOne(ctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return conn, nil
		}
	}
	if tried == 0 {
		return nil, failure(Connection, "no address of %s is in a network that this server validates in", host)
	}
	return nil, failure(Connection, "no valid HTTP answer from %s", host)
}

func (v *Validator) dialOne(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return v.dial(ctx, network, addr)
}

// lookup resolves a host, which in a redirect may be an address.
func (v *Validator) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	return v.resolver.addresses(ctx, host)
}

// plainHost keeps what is no host name away from resolvers and messages.
func plainHost(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_') {
			return false
		}
	}
	return true
}
