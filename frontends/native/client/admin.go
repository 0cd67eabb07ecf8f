package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A Request is what administration shows of a request.
type Request struct {
	ID             string    `json:"id"`
	State          string    `json:"state"`
	Source         string    `json:"source"`
	Endpoint       string    `json:"endpoint"`
	Requester      string    `json:"requester"`
	AskedProfile   string    `json:"asked_profile"`
	AskedAuthority string    `json:"asked_authority"`
	Profile        string    `json:"profile"`
	Subject        string    `json:"subject"`
	Names          []string  `json:"names"`
	Received       time.Time `json:"received"`
	Ended          time.Time `json:"ended"`
	Policy         string    `json:"policy"`
	Pends          []Pend    `json:"pends"`
	Digest         string    `json:"digest"` // of what officers vote on
	Votes          []Vote    `json:"votes"`
	Proofs         []Proof   `json:"proofs"`
	Attributes     []Claim   `json:"attributes"`
	Replaces       string    `json:"replaces"`
	Serial         string    `json:"serial"`
	Issuer         string    `json:"issuer"`
	Reason         string    `json:"reason"`
	Detail         string    `json:"detail"`
}

// A Pend says which policy step wants an officer to look, and why.
type Pend struct {
	Step   string `json:"step"`
	Detail string `json:"detail"`
}

// A Vote is one officer's approval.
type Vote struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Digest string    `json:"digest"`
	Steps  []string  `json:"steps"`
	Note   string    `json:"note"`
}

// A Proof is something that was established about the requester.
type Proof struct {
	Method    string    `json:"method"`
	Principal string    `json:"principal"`
	Names     []string  `json:"names"`
	Ref       string    `json:"ref"`
	By        string    `json:"by"`
	At        time.Time `json:"at"`
	Expires   time.Time `json:"expires"`
}

// A Claim is something that the requester says and nobody proved.
type Claim struct {
	Origin string `json:"origin"`
	Name   string `json:"name"`
	Value  string `json:"value"`
}

// A RequestFilter selects requests. Empty fields select all.
type RequestFilter struct {
	State     string
	Requester string
	Basis     string // such as "grant:ID" or "vote:NAME"
	Profile   string
	Source    string
	Since     time.Time
	Where     string           // a filter, such as "state = denied and received after -1d"
	Found     func(how string) // is told by which index, or that all were looked at; may be nil
	Limit     int
	After     string // from the page before
}

// Requests lists requests, and the cursor of the next page, empty at the end. With
// Where a page may hold less than its limit before the end.
func (c *Client) Requests(ctx context.Context, f RequestFilter) ([]Request, string, error) {
	q := values("state", f.State, "requester", f.Requester, "basis", f.Basis, "profile", f.Profile, "source", f.Source, "where", f.Where, "after", f.After)
	addTime(q, "since", f.Since)
	addLimit(q, f.Limit)
	var page struct {
		Requests []Request `json:"requests"`
		Next     string    `json:"next"`
		Found    string    `json:"found"`
	}
	_, err := c.do(ctx, call{method: "GET", path: "/requests", query: q, admin: true}, &page)
	if err == nil && f.Found != nil {
		f.Found(page.Found)
	}
	return page.Requests, page.Next, err
}

// Request shows one request.
func (c *Client) Request(ctx context.Context, id string) (*Request, error) {
	return get[Request](ctx, c, "/requests/", id, "")
}

// An Explanation is everything known about how a request came to be what it is.
type Explanation struct {
	Request     Request      `json:"request"`
	Trail       []Step       `json:"trail"`
	Warrants    []Warrant    `json:"warrants"`
	Certificate *Certificate `json:"certificate"`
	Preview     *Preview     `json:"preview"`
	TBS         []byte       `json:"tbs"` // what would be signed
}

// A Step is what one policy step said.
type Step struct {
	Step    string `json:"step"`
	Verdict string `json:"verdict"`
	Detail  string `json:"detail"`
}

// A Warrant says why a name may be in the certificate.
type Warrant struct {
	Name string `json:"name"`
	By   string `json:"by"`
}

// A Preview is what TBS says.
type Preview struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Serial    string    `json:"serial"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Names     []string  `json:"names"`
	Key       string    `json:"key"`
	KeySHA256 string    `json:"key_sha256"`
	EKU       []string  `json:"eku"`
}

// Explain tells how a request was, or would now be, decided.
func (c *Client) Explain(ctx context.Context, id string) (*Explanation, error) {
	return get[Explanation](ctx, c, "/requests/", id, "/explain")
}

// Approve votes for the certificate with the digest that Explain showed. With
// an empty digest it votes for whatever the request would make now.
func (c *Client) Approve(ctx context.Context, id, digest, note string) (*Result, error) {
	return post[Result](ctx, c, "/requests/", id, "/approve", given("digest", digest, "note", note))
}

// Deny ends a pending request. The requester is shown the detail.
func (c *Client) Deny(ctx context.Context, id, detail string) (*Result, error) {
	return post[Result](ctx, c, "/requests/", id, "/deny", map[string]any{"detail": detail})
}

// A Certificate is what the API tells of a certificate.
type Certificate struct {
	Serial      string    `json:"serial"`
	Issuer      string    `json:"issuer"`
	Status      string    `json:"status"`
	Reason      string    `json:"reason"`
	RevokedAt   time.Time `json:"revoked_at"`
	RevokedBy   string    `json:"revoked_by"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	Subject     string    `json:"subject"`
	Names       []string  `json:"names"`
	Profile     string    `json:"profile"`
	Authority   string    `json:"authority"`
	Requester   string    `json:"requester"`
	Request     string    `json:"request"`
	Key         string    `json:"key"`
	Certificate string    `json:"certificate"` // PEM, when one was asked for
}

// A CertificateFilter selects certificates. Empty fields select all.
type CertificateFilter struct {
	Name          string
	Status        string
	Profile       string
	ExpiresBefore time.Time
	Where         string           // a filter, such as "expires before +30d and not renewed"
	Found         func(how string) // is told by which index, or that all were looked at; may be nil
	Limit         int
	After         string // from the page before
}

// Certificates lists certificates, and the cursor of the next page. With Where a
// page may hold less than its limit before the end.
func (c *Client) Certificates(ctx context.Context, f CertificateFilter) ([]Certificate, string, error) {
	q := values("name", f.Name, "status", f.Status, "profile", f.Profile, "where", f.Where, "after", f.After)
	addTime(q, "expires_before", f.ExpiresBefore)
	addLimit(q, f.Limit)
	var page struct {
		Certificates []Certificate `json:"certificates"`
		Next         string        `json:"next"`
		Found        string        `json:"found"`
	}
	_, err := c.do(ctx, call{method: "GET", path: "/certificates", query: q, admin: true}, &page)
	if err == nil && f.Found != nil {
		f.Found(page.Found)
	}
	return page.Certificates, page.Next, err
}

// View shows one certificate with everything that officers may see.
func (c *Client) View(ctx context.Context, serial string) (*Certificate, error) {
	return get[Certificate](ctx, c, "/certificates/", serial, "")
}

// A Revocation says how an officer changes a certificate's status.
type Revocation struct {
	Reason  string // name in RFC 5280; certificateHold holds; empty: unspecified
	Release bool   // ends a hold instead
	Issuer  string // key identifier of the CA key, if several used the serial number
}

// Revoke changes a certificate's status.
func (c *Client) Revoke(ctx context.Context, serial string, r Revocation) (*Certificate, error) {
	body := given("reason", r.Reason, "issuer", r.Issuer)
	if r.Release {
		body["release"] = true
	}
	return post[Certificate](ctx, c, "/certificates/", serial, "/revoke", body)
}

// get reads one thing of administration.
func get[T any](ctx context.Context, c *Client, before, word, after string) (*T, error) {
	p, err := path(before, word, after)
	if err != nil {
		return nil, err
	}
	v := new(T)
	if _, err := c.do(ctx, call{method: http.MethodGet, path: p, admin: true}, v); err != nil {
		return nil, err
	}
	return v, nil
}

// post acts on one thing of administration.
func post[T any](ctx context.Context, c *Client, before, word, after string, body map[string]any) (*T, error) {
	p, err := path(before, word, after)
	if err != nil {
		return nil, err
	}
	v := new(T)
	if _, err := c.do(ctx, call{method: http.MethodPost, path: p, body: body, admin: true}, v); err != nil {
		return nil, err
	}
	return v, nil
}

// given makes a body of those fields that are not empty.
func given(fields ...string) map[string]any {
	m := map[string]any{}
	for i := 0; i < len(fields); i += 2 {
		if fields[i+1] != "" {
			m[fields[i]] = fields[i+1]
		}
	}
	return m
}

func values(fields ...string) url.Values {
	q := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		if fields[i+1] != "" {
			q.Set(fields[i], fields[i+1])
		}
	}
	return q
}

func addTime(q url.Values, name string, t time.Time) {
	if !t.IsZero() {
		q.Set(name, t.UTC().Format(time.RFC3339))
	}
}

func addLimit(q url.Values, n int) {
	if n > 0 {
		q.Set("limit", strconv.Itoa(n))
	}
}
