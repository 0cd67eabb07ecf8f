package client

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"time"
)

// A Submission asks for a certificate.
type Submission struct {
	CSR        []byte            // PKCS #10, PEM or DER
	Profile    string            // may be empty: the endpoint's own
	Authority  string            // may be empty: policy decides
	Attributes map[string]string // hints for policy and officers
	Key        string            // Idempotency-Key; empty: a random one, so each call is a request of its own
}

// The values of Result.Status.
const (
	StatusIssued  = "issued"
	StatusPending = "pending"
	StatusDenied  = "denied" // to officers; a requester gets a *Problem
)

// A Result is what became of a request so far.
type Result struct {
	ID          string    `json:"id"`
	Status      string    `json:"status"`
	Serial      string    `json:"serial"`
	Issuer      string    `json:"issuer"`
	NotAfter    time.Time `json:"not_after"`
	Certificate string    `json:"certificate"` // PEM
	Chain       string    `json:"chain"`       // PEM, the certificate first, without the root
	RetryAfter  int64     `json:"retry_after"` // seconds, when pending
	Reason      string    `json:"reason"`      // when denied
	Detail      string    `json:"detail"`
}

// Submit asks for a certificate. A refusal is a *Problem.
func (c *Client) Submit(ctx context.Context, s Submission) (*Result, error) {
	if s.Key == "" {
		s.Key = newKey()
	}
	body := map[string]any{"csr": csrText(s.CSR)}
	if s.Profile != "" {
		body["profile"] = s.Profile
	}
	if s.Authority != "" {
		body["authority"] = s.Authority
	}
	if len(s.Attributes) > 0 {
		body["attributes"] = s.Attributes
	}
	var r Result
	_, err := c.do(ctx, call{method: "POST", path: "/requests", body: body, header: http.Header{"Idempotency-Key": {s.Key}}}, &r)
	return result(&r, err)
}

func csrText(csr []byte) string {
	if bytes.HasPrefix(bytes.TrimSpace(csr), []byte("-----")) {
		return string(csr)
	}
	return base64.StdEncoding.EncodeToString(csr)
}

func result(r *Result, err error) (*Result, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Retrieve asks what became of a request.
func (c *Client) Retrieve(ctx context.Context, id string) (*Result, error) {
	p, err := path("/requests/", id, "")
	if err != nil {
		return nil, err
	}
	var r Result
	_, err = c.do(ctx, call{method: "GET", path: p}, &r)
	return result(&r, err)
}

// Wait retrieves until the request is not pending any more, as often as the
// server likes, or until ctx is done.
func (c *Client) Wait(ctx context.Context, id string) (*Result, error) {
	for {
		r, err := c.Retrieve(ctx, id)
		if err != nil || r.Status != StatusPending {
			return r, err
		}
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(time.Duration(max(1, r.RetryAfter)) * time.Second):
		}
	}
}

// The forms of a certificate.
const (
	PEM   = "pem"   // with its chain
	DER   = "der"   // alone
	PKCS7 = "pkcs7" // with its chain
)

// Certificate downloads a certificate by its serial number.
func (c *Client) Certificate(ctx context.Context, serial, form string) ([]byte, error) {
	p, err := path("/certificates/", serial, "")
	if err != nil {
		return nil, err
	}
	var b []byte
	_, err = c.do(ctx, call{method: "GET", path: p, query: url.Values{"format": {form}}}, &b)
	return b, err
}

// RevokeOwn revokes a certificate that the caller requested. The reason is its
// name in RFC 5280; empty is unspecified.
func (c *Client) RevokeOwn(ctx context.Context, serial, reason string) (*Certificate, error) {
	p, err := path("/certificates/", serial, "/revoke")
	if err != nil {
		return nil, err
	}
	var cert Certificate
	if _, err := c.do(ctx, call{method: "POST", path: p, body: map[string]string{"reason": reason}}, &cert); err != nil {
		return nil, err
	}
	return &cert, nil
}

// An Authority is an issuing CA.
type Authority struct {
	Name       string    `json:"name"`
	KeyID      string    `json:"key_id"`
	Subject    string    `json:"subject"`
	NotAfter   time.Time `json:"not_after"`
	SHA256     string    `json:"sha256"`      // of its certificate
	RootSHA256 string    `json:"root_sha256"` // of the root's
	CanSign    bool      `json:"can_sign"`
	Profiles   []string  `json:"profiles"`
	CRLNumber  string    `json:"crl_number"`
	NextUpdate time.Time `json:"crl_next_update"`
}

// Authorities lists the issuing CAs.
func (c *Client) Authorities(ctx context.Context) ([]Authority, error) {
	var a struct {
		Authorities []Authority `json:"authorities"`
	}
	_, err := c.do(ctx, call{method: "GET", path: "/authorities", admin: c.server == ""}, &a)
	return a.Authorities, err
}

// Chain is an authority's chain with its root, in PEM.
func (c *Client) Chain(ctx context.Context, authority string) ([]byte, error) {
	p, err := path("/authorities/", authority, "/chain")
	if err != nil {
		return nil, err
	}
	var b []byte
	_, err = c.do(ctx, call{method: "GET", path: p, query: url.Values{"format": {PEM}}, admin: c.server == ""}, &b)
	return b, err
}

// A Profile is a kind of certificate that the caller may ask for.
type Profile struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Authority   string   `json:"authority"`
	Validity    string   `json:"validity"`
	EKU         []string `json:"eku"`
	Approval    string   `json:"approval"`
	Default     bool     `json:"default"`
}

// Profiles lists the profiles that the caller could ask for.
func (c *Client) Profiles(ctx context.Context) ([]Profile, error) {
	var p struct {
		Profiles []Profile `json:"profiles"`
	}
	_, err := c.do(ctx, call{method: "GET", path: "/profiles"}, &p)
	return p.Profiles, err
}
