// Package webhook is an exit that posts each event as JSON to an address.
//
// The body is the event, with the certificate in PEM as "certificate" where
// there is one. Idempotency-Key is the event's id, the same when the event comes
// again. Chancery-Signature is "t=UNIX,v1=HEX", where HEX is the HMAC-SHA256,
// under the shared secret, of the digits of UNIX, a dot, and the body. A receiver
// computes it, compares in constant time, and refuses a time that is minutes
// away. Any answer of the 2xx kind says that the event was taken.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"chancery/engine"
)

// Config says where to post what.
type Config struct {
	// URL is where events are posted: https, or http on a loopback address.
	// Required.
	URL string `json:"url"`

	// SecretFile holds the secret that the receiver shares: at least 16 octets,
	// without the end of the line. Under the server's data unless it is
	// absolute. Required.
	SecretFile string `json:"secret_file"`

	// RootsFile holds the certificates, in PEM, that the receiver's certificate
	// must chain to. Optional; default: those of the operating system.
	RootsFile string `json:"roots_file,omitempty"`

	// Timeout is for one event, from dialing to the end of the answer. Optional;
	// default 10s.
	Timeout engine.Duration `json:"timeout,omitempty"`

	// Events are the kinds to post: issued, pending, denied, revoked. Optional;
	// default: all.
	Events []engine.EventKind `json:"events,omitempty"`

	// AllowPrivate lets the host be at a private address (RFC 1918, RFC 4193).
	// Loopback needs a host that says so, and link-local addresses, where clouds
	// keep their credentials, are always refused. Optional; default false.
	AllowPrivate bool `json:"allow_private,omitempty"`
}

const (
	defaultTimeout = 10 * time.Second
	maxAnswer      = 64 << 10 // octets of the answer that are read, so that the connection can be used again
	maxShown       = 200      // characters of the answer that an error shows
)

// New makes the exit. It reads the files, and connects to nothing.
func New(c Config, d engine.Deps) (engine.Exit, error) {
	u, err := address(c.URL)
	if err != nil {
		return nil, err
	}
	if d.Dial == nil || d.Now == nil {
		return nil, errors.New("no network or no clock is given to this module")
	}
	secret, err := readSecret(c.SecretFile, d.Dir)
	if err != nil {
		return nil, err
	}
	roots, err := readRoots(c.RootsFile, d.Dir)
	if err != nil {
		return nil, err
	}
	events, err := kinds(c.Events)
	if err != nil {
		return nil, err
	}
	timeout := time.Duration(c.Timeout)
	if timeout == 0 {
		timeout = defaultTimeout
	}
	guard := dialer{dial: d.Dial, loopback: loopbackHost(u.Hostname()), private: c.AllowPrivate}
	return &exit{
		url: u.String(), shown: u.Scheme + "://" + u.Host + u.EscapedPath(), secret: secret, now: d.Now, timeout: timeout, events: events,
		client: &http.Client{
			Transport: &http.Transport{
				DialContext: guard.Dial, // and no proxy from the environment
				TLSClientConfig: &tls.Config{
					MinVersion: tls.VersionTLS12, RootCAs: roots, Time: d.Now,
				},
				ForceAttemptHTTP2: true, DisableCompression: true, MaxResponseHeaderBytes: 16 << 10,
				MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// address checks the URL. Errors leave its query out, where tokens often are.
func address(s string) (*url.URL, error) {
	const form = "write it as https://host.example/path"
	u, err := url.Parse(s)
	switch {
	case s == "":
		return nil, errors.New("url is missing; " + form)
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("url is not an address; " + form)
	case u.User != nil:
		return nil, errors.New("url holds a name or password; the receiver knows Chancery by the signature of each post, so leave it out")
	case u.Fragment != "":
		return nil, errors.New("url has a fragment (#), which is never sent; leave it out")
	case u.Scheme == "https", u.Scheme == "http" && loopbackHost(u.Hostname()):
		return u, nil
	case u.Scheme == "http":
		return nil, fmt.Errorf("url: %s would be told everything in the clear; use https, or a loopback address", u.Host)
	}
	return nil, fmt.Errorf("url has the scheme %.20q; use https", u.Scheme)
}

func loopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func kinds(list []engine.EventKind) ([]engine.EventKind, error) {
	if list == nil {
		return slices.Clone(engine.EventKinds), nil
	}
	if len(list) == 0 {
		return nil, errors.New("events is empty, so nothing would be posted; leave it out for all")
	}
	for _, k := range list {
		if !slices.Contains(engine.EventKinds, k) {
			return nil, fmt.Errorf("events: there is no kind %.40q, only %v", k, engine.EventKinds)
		}
	}
	return slices.Clone(list), nil
}

type exit struct {
	url     string
	shown   string // url as logs may have it
	secret  []byte
	now     func() time.Time
	timeout time.Duration
	events  []engine.EventKind
	client  *http.Client
}

// Wants implements [engine.Exit].
func (x *exit) Wants() []engine.EventKind { return slices.Clone(x.events) }

// A post is the body: the event, and its certificate in the form people know.
type post struct {
	engine.Event
	Certificate string `json:"certificate,omitempty"`
}

// Tell implements [engine.Exit].
func (x *exit) Tell(ctx context.Context, ev engine.Event) error {
	p := post{Event: ev}
	if len(ev.DER) > 0 {
		p.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ev.DER}))
	}
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, x.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("posting to %s: %w", x.shown, without(err))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "chancery")
	req.Header.Set("Idempotency-Key", ev.ID)
	req.Header.Set("Chancery-Signature", x.sign(body))
	res, err := x.client.Do(req)
	if err != nil {
		return fmt.Errorf("posting to %s: %w", x.shown, without(err))
	}
	defer res.Body.Close()
	start, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer)) // what it says does not matter once the status is known
	return x.taken(res, start)
}

// Release implements [engine.Releaser].
func (x *exit) Release() { x.client.CloseIdleConnections() }

func (x *exit) sign(body []byte) string {
	t := strconv.FormatInt(x.now().Unix(), 10)
	h := hmac.New(sha256.New, x.secret)
	h.Write([]byte(t + "."))
	h.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(h.Sum(nil))
}

func (x *exit) taken(res *http.Response, body []byte) error {
	switch res.StatusCode / 100 {
	case 2:
		return nil
	case 3:
		return fmt.Errorf("%s answered %d, a redirect, which is not followed; put the final address into url", x.shown, res.StatusCode)
	}
	if text := printable(body); text != "" {
		return fmt.Errorf("%s answered %d: %s", x.shown, res.StatusCode, text)
	}
	return fmt.Errorf("%s answered %d", x.shown, res.StatusCode)
}

// printable is the beginning of an answer that is safe in a log.
func printable(body []byte) string {
	var b strings.Builder
	for _, c := range body {
		if b.Len() == maxShown {
			break
		}
		if c < ' ' || c > '~' {
			c = ' '
		}
		b.WriteByte(c)
	}
	return strings.TrimSpace(b.String())
}

// without takes off the wrapping that repeats the whole address.
func without(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
