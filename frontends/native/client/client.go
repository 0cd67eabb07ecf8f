// Package client speaks Chancery's native API: enrollment with a server's https
// listener, administration with its admin listener or local socket.
//
// Errors that the server explains are of type *[Problem]; its Detail is meant
// for people and says what to do.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Options say where the server is and who calls.
type Options struct {
	Server string // of enrollment, such as "https://pki.example.org:8443"
	Admin  string // of administration, such as "https://127.0.0.1:8444"
	Socket string // of administration too: the path of the local socket, instead of Admin

	Roots       *x509.CertPool   // that the server's certificate chains to; nil: the system's
	Certificate *tls.Certificate // to authenticate with
	Token       string           // or: the secret of a grant

	Timeout time.Duration // of one call; 0: a minute
}

// A Client calls one server. It may be used from many goroutines.
type Client struct {
	server, admin string
	token         string
	http          *http.Client
	local         *http.Client // over the socket
}

// New makes a Client. It connects to nothing yet.
func New(o Options) (*Client, error) {
	c := &Client{token: o.Token}
	var err error
	if c.server, err = base(o.Server, o.Token); err != nil {
		return nil, err
	}
	if c.admin, err = base(o.Admin, o.Token); err != nil {
		return nil, err
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Roots}
	if o.Certificate != nil {
		// Whatever issuers the server names: it names none, and judges itself.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return o.Certificate, nil }
	}
	c.http = newHTTP(&http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: conf, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 15 * time.Second,
	}, o.Timeout)
	if o.Socket != "" {
		c.admin = "http://local"
		c.local = newHTTP(&http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", o.Socket)
		}}, o.Timeout)
	}
	return c, nil
}

func newHTTP(t *http.Transport, timeout time.Duration) *http.Client {
	return &http.Client{
		Transport: t,
		Timeout:   timeout,
		// The API redirects nobody, and a token must not follow where another
		// server points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// base checks an address. A token is not sent where others can read it.
func base(s, token string) (string, error) {
	if s == "" {
		return "", nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" {
		return "", fmt.Errorf("%q is not the address of a server, such as https://pki.example.org:8443", s)
	}
	if ip := net.ParseIP(u.Hostname()); token != "" && u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", fmt.Errorf("a token does not go to %s in the clear: use https", s)
	}
	return strings.TrimRight(s, "/"), nil
}

// A Problem is an error that the server explains (RFC 9457).
type Problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Reason    string `json:"reason"` // the same for the same kind of problem, for programs
	ID        string `json:"id"`     // of the request for a certificate
	Scope     string `json:"scope"`  // that is frozen
	RequestID string `json:"request_id"`

	RetryAfter time.Duration `json:"-"` // when it makes sense to come again; 0: not by itself
}

// Error shows what people need: what is wrong, what to do, and what to quote.
func (p *Problem) Error() string {
	s := p.Detail
	if s == "" {
		s = p.Title
	}
	if p.Reason != "" {
		s = p.Reason + ": " + s
	}
	if p.RequestID != "" {
		s += " (request id " + p.RequestID + ")"
	}
	return s
}

// Temporary reports whether the same call may succeed later.
func (p *Problem) Temporary() bool {
	return p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 32 << 20

// A call is one exchange.
type call struct {
	method, path string
	query        url.Values
	admin        bool
	body         any    // as JSON
	raw          []byte // or: as it is
	mediaType    string // of raw
	accept       string
	header       http.Header
}

// do makes the call and decodes the answer into out, unless out is nil or a
// *[]byte, which takes it as it is.
func (c *Client) do(ctx context.Context, k call, out any) (*http.Response, error) {
	req, err := c.request(ctx, k)
	if err != nil {
		return nil, err
	}
	doer := c.http
	if k.admin && c.local != nil {
		doer = c.local
	}
	resp, err := doer.Do(req)
	if err != nil {
		return nil, explain(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("the answer ended early: %w", err)
	}
	if len(body) > maxAnswer {
		return nil, errors.New("the answer is too long")
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, problem(resp, body)
	}
	switch out := out.(type) {
	case nil:
	case *[]byte:
		*out = body
	default:
		if err := json.Unmarshal(body, out); err != nil {
			return nil, fmt.Errorf("%s %s answered with something that is not the native API: %w", k.method, req.URL.Redacted(), err)
		}
	}
	return resp, nil
}

func (c *Client) request(ctx context.Context, k call) (*http.Request, error) {
	where := c.server
	if k.admin {
		where = c.admin
	}
	if where == "" {
		return nil, errors.New("no address: set Options.Server for enrollment, Options.Admin or Options.Socket for administration")
	}
	payload, mediaType := k.raw, k.mediaType
	if k.body != nil {
		b, err := json.Marshal(k.body)
		if err != nil {
			return nil, err
		}
		payload, mediaType = b, "application/json"
	}
	target := where + "/api/v1" + k.path
	if len(k.query) > 0 {
		target += "?" + k.query.Encode()
	}
	var body io.Reader
	if payload != nil {
		body = bytes.NewReader(payload)
	}
	req, err := http.NewRequestWithContext(ctx, k.method, target, body)
	if err != nil {
		return nil, err
	}
	for name, v := range k.header {
		req.Header[name] = v
	}
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	if k.accept != "" {
		req.Header.Set("Accept", k.accept)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

// problem reads an error answer, from whoever it comes.
func problem(resp *http.Response, body []byte) error {
	p := &Problem{}
	if t, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); t != "application/problem+json" || json.Unmarshal(body, p) != nil {
		p = &Problem{Detail: "the server, or something before it, answered " + resp.Status}
	}
	p.Status = resp.StatusCode
	if p.RequestID == "" {
		p.RequestID = resp.Header.Get("X-Request-Id")
	}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		p.RetryAfter = time.Duration(n) * time.Second
	}
	return p
}

// explain adds what to do to the errors that newcomers meet.
func explain(err error) error {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("%w; give the server's roots (its roots.pem)", err)
	case errors.As(err, &host):
		return fmt.Errorf("%w; use the name that is in the server's certificate", err)
	}
	return err
}

// newKey makes an idempotency key, so that a submission can be sent again when
// its answer was lost.
func newKey() string { return rand.Text() }

// path builds a path out of constant parts and one from the caller, which must
// be a plain word.
func path(before, word, after string) (string, error) {
	if word == "" || word == "." || word == ".." || strings.IndexFunc(word, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.~:", r)
	}) >= 0 {
		return "", fmt.Errorf("%.60q cannot be part of an address", word)
	}
	return before + word + after, nil
}
