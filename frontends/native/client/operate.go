package client

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// A Grant is the right to enroll.
type Grant struct {
	ID           string    `json:"id"`
	Secret       string    `json:"secret"` // of CreateGrant only: it is shown once
	Protocol     string    `json:"protocol"`
	Endpoints    []string  `json:"endpoints"`
	Profiles     []string  `json:"profiles"`
	Names        []string  `json:"names"`
	Uses         int       `json:"uses"`
	Reserved     int       `json:"reserved"`
	Spent        int       `json:"spent"`
	Denials      int       `json:"denials"`
	Prevalidated bool      `json:"prevalidated"`
	Accounts     int       `json:"accounts"` // ACME accounts that can be bound to it; 0: any number
	Bound        int       `json:"bound"`    // of them so far
	Holder       string    `json:"holder"`
	Owner        string    `json:"owner"`
	Created      time.Time `json:"created"`
	Expires      time.Time `json:"expires"`
	Revoked      time.Time `json:"revoked"`
}

// A NewGrant says what a grant is to be good for.
type NewGrant struct {
	Protocol     string    `json:"protocol"` // acme, scep, est or native
	Endpoints    []string  `json:"endpoints,omitempty"`
	Profiles     []string  `json:"profiles,omitempty"`
	Names        []string  `json:"names,omitempty"` // patterns, such as *.example.org
	Uses         int       `json:"uses,omitempty"`  // 0: any number
	Prevalidated bool      `json:"prevalidated,omitempty"`
	Accounts     int       `json:"accounts,omitempty"` // ACME: accounts that can be bound to it; 0: any number
	Holder       string    `json:"holder,omitempty"`   // who holds it without a secret, such as key:HEX
	Expires      time.Time `json:"expires,omitzero"`
	ExpiresIn    string    `json:"expires_in,omitempty"` // instead, such as 30d
}

// CreateGrant makes a grant. Its Secret is shown this once.
func (c *Client) CreateGrant(ctx context.Context, g NewGrant) (*Grant, error) {
	var made Grant
	if _, err := c.do(ctx, call{method: "POST", path: "/grants", body: g, admin: true}, &made); err != nil {
		return nil, err
	}
	return &made, nil
}

// Grants lists grants, and the cursor of the next page.
func (c *Client) Grants(ctx context.Context, limit int, after string) ([]Grant, string, error) {
	q := values("after", after)
	addLimit(q, limit)
	var page struct {
		Grants []Grant `json:"grants"`
		Next   string  `json:"next"`
	}
	_, err := c.do(ctx, call{method: "GET", path: "/grants", query: q, admin: true}, &page)
	return page.Grants, page.Next, err
}

// RevokeGrant ends a grant.
func (c *Client) RevokeGrant(ctx context.Context, id string) error {
	p, err := path("/grants/", id, "")
	if err != nil {
		return err
	}
	_, err = c.do(ctx, call{method: "DELETE", path: p, admin: true}, nil)
	return err
}

// A Freeze stops issuing.
type Freeze struct {
	Scope  string    `json:"scope"` // "all", "authority:NAME", "profile:NAME" or "grant:ID"
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

// Freezes lists what is frozen.
func (c *Client) Freezes(ctx context.Context) ([]Freeze, error) {
	var all struct {
		Freezes []Freeze `json:"freezes"`
	}
	_, err := c.do(ctx, call{method: "GET", path: "/freezes", admin: true}, &all)
	return all.Freezes, err
}

// Freeze stops issuing in a scope. Clients are shown the reason.
func (c *Client) Freeze(ctx context.Context, scope, reason string) (*Freeze, error) {
	var f Freeze
	if _, err := c.do(ctx, call{method: "POST", path: "/freezes", body: map[string]string{"scope": scope, "reason": reason}, admin: true}, &f); err != nil {
		return nil, err
	}
	return &f, nil
}

// Thaw ends a freeze.
func (c *Client) Thaw(ctx context.Context, scope string) error {
	p, err := path("/freezes/", scope, "")
	if err != nil {
		return err
	}
	_, err = c.do(ctx, call{method: "DELETE", path: p, admin: true}, nil)
	return err
}

// A Status is how the CA is.
type Status struct {
	Time        time.Time            `json:"time"`
	Policy      string               `json:"policy"` // version in use
	Pending     int                  `json:"pending"`
	Deliveries  int                  `json:"deliveries"`
	Parked      int                  `json:"parked"`
	CRLs        map[string]time.Time `json:"crls"` // nextUpdate by CA key
	Frozen      []Freeze             `json:"frozen"`
	Founder     *Founder             `json:"founder"`
	Authorities []Authority          `json:"authorities"`
	Exposure    []string             `json:"exposure"` // who can enroll from where
	Records     *Records             `json:"records"`  // nil from a server that does not say
	Quarantine  *Quarantine          `json:"quarantine"`
	Nodes       []Node               `json:"nodes"`
	Limited     *Limited             `json:"limited"` // nil from a server that does not say
}

// A Node is a process that serves the store.
type Node struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Live     bool      `json:"live"`
	Version  string    `json:"version"`
	HTTPS    string    `json:"https"`
	HTTP     string    `json:"http"`
	Admin    string    `json:"admin"`
	Signs    []string  `json:"signs"` // the authorities whose key it has
	Started  time.Time `json:"started"`
	Beat     time.Time `json:"beat"` // when it was last heard of
	Policy   string    `json:"policy"`
	Problems []string  `json:"problems"`
}

// A Join is a machine that waits to become a node.
type Join struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires"`
}

// Nodes lists the processes that serve the store, and the machines that wait to
// join them.
func (c *Client) Nodes(ctx context.Context) ([]Node, []Join, error) {
	var all struct {
		Nodes   []Node `json:"nodes"`
		Waiting []Join `json:"waiting"`
	}
	_, err := c.do(ctx, call{method: "GET", path: "/nodes", admin: true}, &all)
	return all.Nodes, all.Waiting, err
}

// ApproveNode lets a waiting machine in, and returns the name of the key that
// all nodes share, which the machine shows too.
func (c *Client) ApproveNode(ctx context.Context, name, fingerprint string) (seal string, err error) {
	r, err := post[struct {
		Seal string `json:"seal"`
	}](ctx, c, "/nodes/", name, "/approve", map[string]any{"fingerprint": fingerprint})
	if err != nil {
		return "", err
	}
	return r.Seal, nil
}

// A Founder is the credential that first start made.
type Founder struct {
	Expires time.Time `json:"expires"`
	Active  bool      `json:"active"`
}

// Records says what reading everything stored found last.
type Records struct {
	Began    time.Time `json:"began"` // the pass that is under way
	Ended    time.Time `json:"ended"` // the last one that came to the end; zero: none yet
	Rows     int       `json:"rows"`  // read in that one
	Found    int       `json:"found"` // how much of it is damaged
	Findings []string  `json:"findings"`
}

// Status asks how the CA is.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	var s Status
	if _, err := c.do(ctx, call{method: "GET", path: "/status", admin: true}, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

// A Policy is a policy document with its version.
type Policy struct {
	Version  string          `json:"version"`
	Document json.RawMessage `json:"document"`
}

// Policy reads the policy document in use.
func (c *Client) Policy(ctx context.Context) (*Policy, error) {
	var p Policy
	if _, err := c.do(ctx, call{method: "GET", path: "/policy", admin: true}, &p); err != nil {
		return nil, err
	}
	return &p, nil
}

// Applied says what a policy document changed.
type Applied struct {
	Version string   `json:"version"`
	Changes []string `json:"changes"`
}

// Apply makes a document, in YAML or JSON, the policy in use. With a version,
// it does so only if that is the one in use until then.
func (c *Client) Apply(ctx context.Context, doc []byte, version string) (*Applied, error) {
	k := call{method: "POST", path: "/policy", raw: doc, mediaType: "application/yaml", admin: true}
	if version != "" {
		k.header = http.Header{"If-Match": {`"` + strings.Trim(version, `"`) + `"`}}
	}
	if k.raw == nil {
		k.raw = []byte{}
	}
	var a Applied
	if _, err := c.do(ctx, k, &a); err != nil {
		return nil, err
	}
	return &a, nil
}

// Replay lets an exit be told again what was given up on, and returns how many
// events that is.
func (c *Client) Replay(ctx context.Context, exit string) (int, error) {
	r, err := post[struct {
		Replayed int `json:"replayed"`
	}](ctx, c, "/exits/", exit, "/replay", map[string]any{})
	if err != nil {
		return 0, err
	}
	return r.Replayed, nil
}

// An AuditEntry is one act of a person, or of Chancery itself.
type AuditEntry struct {
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
	Who    string    `json:"who"`
	Via    string    `json:"via"`
	Act    string    `json:"act"`
	Object string    `json:"object"`
	Detail string    `json:"detail"`
}

// Audit lists acts, newest first, and the cursor of the next page.
func (c *Client) Audit(ctx context.Context, limit int, after string) ([]AuditEntry, string, error) {
	q := values("after", after)
	addLimit(q, limit)
	var page struct {
		Audit []AuditEntry `json:"audit"`
		Next  string       `json:"next"`
	}
	_, err := c.do(ctx, call{method: "GET", path: "/audit", query: q, admin: true}, &page)
	return page.Audit, page.Next, err
}
