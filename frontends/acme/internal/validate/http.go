package validate

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

const (
	maxRedirects  = 10
	maxLocation   = 2000     // octets of a redirect's target
	maxAnswer     = 24 << 10 // octets of an answer, most of them for its header
	maxEarly      = 5        // informational answers (1xx) before the answer
	trailingSpace = 64       // octets of white space after the key authorization that are read
	wellKnown     = "/.well-known/acme-challenge/"
)

// HTTP01 fetches the token's resource from the host, which may be an address,
// and compares it with the key authorization (RFC 8555, Section 8.3; RFC 8738,
// Section 5). The error is an *Error.
func (v *Validator) HTTP01(ctx context.Context, host, token, keyAuthorization string) error {
	ctx, cancel := context.WithTimeout(ctx, Deadline)
	defer cancel()
	// RFC 8555, Section 8.3: over HTTP, not HTTPS. The port that stands for 80 is
	// put in when dialling, so the Host header is the bare name.
	u := &url.URL{Scheme: "http", Host: host, Path: wellKnown + token}
	if strings.Contains(host, ":") {
		u.Host = "[" + host + "]" // RFC 3986, Section 3.2.2
	}
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
	conn, err := v.reach(ctx, u)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			err = unreachable(host)
		}
		return nil, err
	}
	defer conn.Close()
	resp, err := exchange(ctx, conn, u)
	if err != nil {
		note(ctx, "http", "no valid HTTP answer to GET %s://%s%s", u.Scheme, u.Host, u.EscapedPath())
		return nil, unreachable(host)
	}
	note(ctx, "http", "GET %s://%s%s: status %d", u.Scheme, u.Host, u.EscapedPath(), resp.StatusCode)
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
		return nil, unreachable(host)
	}
	note(ctx, "http", "the answer has %s octets", atMost(len(body), most))
	// RFC 8555, Section 8.3: white space at the end is ignored, nowhere else.
	if len(body) > most || strings.TrimRight(string(body), " \t\r\n") != want {
		return nil, failure(IncorrectResponse, "what %s serves for the token is not the key authorization of this account", host)
	}
	return nil, nil
}

// reach connects to the server of a URL. An error that is no *Error is a server
// that broke off.
func (v *Validator) reach(ctx context.Context, u *url.URL) (net.Conn, error) {
	port := v.httpPort
	if u.Scheme == "https" {
		port = v.tlsPort
	}
	conn, err := v.connect(ctx, u.Hostname(), port)
	if err != nil || u.Scheme != "https" {
		return conn, err
	}
	// The content is public and compared; whose certificate a redirect to https
	// shows says nothing about the name. None of ours is sent.
	secure := tls.Client(conn, &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
	if err := secure.Handshake(); err != nil {
		note(ctx, "tls", "no TLS handshake with %s", u.Host)
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// exchange sends one request and reads the head of its answer. Nothing is shared
// between requests, and the connection is not used again.
func exchange(ctx context.Context, conn net.Conn, u *url.URL) (*http.Response, error) {
	request := "GET " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host +
		"\r\nUser-Agent: chancery-validation/1 (RFC 8555)\r\nAccept: */*\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(io.LimitReader(conn, maxAnswer), 1024)
	for range maxEarly + 1 {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return nil, err
		}
		if resp.ProtoMajor != 1 || resp.StatusCode == http.StatusSwitchingProtocols || resp.StatusCode < 100 {
			break
		}
		if resp.StatusCode >= 200 {
			return resp, nil
		}
	}
	return nil, errors.New("not an answer of HTTP/1")
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
	case u.User != nil, u.Opaque != "", strings.Contains(u.Host, "%"), strings.HasSuffix(u.Host, ":"), !visible(u.RequestURI()):
		return bad("an unusual URL")
	case notAddress != nil && !plainHost(target):
		return bad("what is no host name")
	case port != "" && !(u.Scheme == "http" && (port == "80" || port == v.httpPort)) && !(u.Scheme == "https" && (port == "443" || port == v.tlsPort)):
		return bad("another port than 80 and 443")
	}
	u.Fragment = ""
	return u, nil
}

// visible says that a text can stand in the first line of a request.
func visible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

func atMost(n, most int) string {
	if n > most {
		return "more than " + strconv.Itoa(most)
	}
	return strconv.Itoa(n)
}
