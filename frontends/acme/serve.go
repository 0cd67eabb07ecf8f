package acme

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"chancery/frontends/internal/jose"
	"chancery/store"
)

// root is the path that everything here is below.
const root = "/acme/"

// A call is one request to a resource, with the answer to be.
type call struct {
	f   *Frontend
	ep  *endpoint
	w   http.ResponseWriter
	ctx context.Context
	now time.Time
	id  string // in the path, of the form of store.NewID; any text for renewal-info
	sub string // what follows it: the type of a challenge, where a page begins, the number of a chain

	from   string   // the client's network, empty on this machine
	accept []string // of the request's header

	head bool // HEAD instead of GET

	// Of a POST whose signature was verified:
	msg     *jose.Message
	key     *jose.Key
	account *account // nil when the message named its key itself
	nonce   spending // used up by what the message changes
	row     *rowKind // of the resource
	first   any      // the row that id names, read with the account's; nil if there is none
}

// A resource is one kind of address.
type resource struct {
	get    func(*call) error // nil: POST only
	post   func(*call) error
	signer signer
	row    *rowKind // what the id in its path names, for those that begin by reading it
}

// A rowKind is a kind of rows that are read together with the account: where the
// store is elsewhere that is one round trip less for most requests.
type rowKind struct {
	at  func(id string) store.Ref
	get func(tx store.Tx, id string) (any, error)
}

func rowOf[T any](t *store.Table[T]) *rowKind {
	return &rowKind{at: t.At, get: func(tx store.Tx, id string) (any, error) { return t.Get(tx, id) }}
}

// A signer says how a message to a resource names its key (RFC 8555, Section 6.2).
type signer int

const (
	byAccount signer = iota // kid
	byKey                   // jwk
	byEither                // revokeCert
)

var (
	plain = map[string]resource{
		"directory":   {get: (*call).directory, post: (*call).directory},
		"new-nonce":   {get: (*call).newNonce, post: (*call).newNonce},
		"new-account": {post: (*call).newAccount, signer: byKey},
		"new-order":   {post: (*call).newOrder},
		"new-authz":   {post: (*call).preAuthorize},
		"key-change":  {post: (*call).keyChange},
		"revoke-cert": {post: (*call).revoke, signer: byEither},
	}
	withID = map[string]resource{
		"account":     {post: (*call).accountUpdate},
		"orders":      {post: (*call).ordersOf},
		"order":       {post: (*call).order, row: rowOf(&orders)},
		"finalize":    {post: (*call).finalize, row: rowOf(&orders)},
		"authz":       {post: (*call).authorization, row: rowOf(&authzs)},
		"challenge":   {post: (*call).challenge, row: rowOf(&authzs)},
		"certificate": {post: (*call).certificate},

		"renewal-info": {get: (*call).renewalInfo, post: (*call).renewalInfo},
	}
)

// ServeHTTP serves everything below /acme/.
func (f *Frontend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	// RFC 8555, Section 6.5: on every success, and it SHOULD be on every error,
	// so that clients need not fetch one; here also when nothing was found.
	h.Set("Replay-Nonce", f.nonces.issue())
	h.Set("Cache-Control", "no-store") // Section 7.2; every answer has a nonce
	// Section 6.1: browsers may use this.
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Replay-Nonce, Location, Link, Retry-After")

	c := &call{f: f, w: w, ctx: r.Context(), now: f.deps.Now(), head: r.Method == http.MethodHead, accept: r.Header.Values("Accept")}
	res, ok := f.route(c, r)
	if c.ep != nil {
		h.Add("Link", "<"+c.ep.index+`>;rel="index"`) // Section 7.1
	}
	err := error(notFound())
	if over := c.limitAddress(r, f.deps.Proxies); over != nil {
		err = over
	} else if ok {
		err = f.serve(c, res, r)
	}
	if err != nil {
		f.fail(c, err)
	}
}

// route finds the resource that a path names. Paths have one spelling.
func (f *Frontend) route(c *call, r *http.Request) (resource, bool) {
	rest, ok := strings.CutPrefix(r.URL.Path, root)
	if !ok || r.URL.RawPath != "" || r.URL.RawQuery != "" || r.URL.ForceQuery {
		c.ep = f.endpoints["default"]
		return resource{}, false
	}
	if rest == "directory" {
		rest = "default/directory"
	}
	parts := strings.Split(rest, "/")
	if c.ep = f.endpoints[parts[0]]; c.ep == nil {
		c.ep = f.endpoints["default"]
		return resource{}, false
	}
	if len(parts) == 2 {
		res, ok := plain[parts[1]]
		return res, ok
	}
	if len(parts) == 3 && parts[1] == "renewal-info" && parts[2] != "" { // the id is not one of ours
		c.id = parts[2]
		return withID[parts[1]], true
	}
	if len(parts) < 3 || len(parts) > 4 || !store.ValidID(parts[2]) || parts[len(parts)-1] == "" {
		return resource{}, false
	}
	kind := parts[1]
	c.id = parts[2]
	if len(parts) == 4 {
		c.sub = parts[3]
	}
	switch {
	case kind == "order" && c.sub == "finalize":
		kind, c.sub = "finalize", ""
	case kind == "finalize", kind == "challenge" && c.sub == "":
		return resource{}, false
	case c.sub != "" && kind != "challenge" && kind != "orders" && kind != "certificate":
		return resource{}, false
	}
	res, ok := withID[kind]
	return res, ok
}

// serve checks the method and calls the handler.
func (f *Frontend) serve(c *call, res resource, r *http.Request) error {
	allow := "POST"
	if res.get != nil {
		allow = "GET, HEAD, POST"
	}
	switch {
	case r.Method == http.MethodOptions: // a browser asks before it posts
		c.w.Header().Set("Access-Control-Allow-Methods", allow)
		c.w.Header().Set("Access-Control-Allow-Headers", "Content-Type")
		c.w.Header().Set("Allow", allow)
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	case r.Method == http.MethodPost:
		if err := f.authenticate(c, res, r); err != nil {
			return err
		}
		return c.orReplayed(res.post(c))
	case res.get != nil && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		return res.get(c)
	}
	// RFC 8555, Section 6.3: resources are fetched by POST-as-GET.
	c.w.Header().Set("Allow", allow)
	return refuse(http.StatusMethodNotAllowed, malformed, "send a signed POST; to read, one with an empty payload (POST-as-GET)")
}

// fail answers with the problem of an error. What is no problem is ours.
func (f *Frontend) fail(c *call, err error) {
	p := asProblem(err)
	if p == nil {
		if c.ctx.Err() == nil {
			f.deps.Log.ErrorContext(c.ctx, "acme request failed", "err", err)
		}
		p = refuse(http.StatusServiceUnavailable, serverInternal, "the server could not do this now; try again in a moment")
		p.RetryAfter = retryAfterInternalError
	}
	writeProblem(c.w, p)
}

// reply answers with a document.
func (c *call) reply(status int, doc any) error {
	body, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	c.w.Write(body) // the client may be gone; nothing is left to do about it
	return nil
}

// directory: RFC 8555, Section 7.1.1.
func (c *call) directory() error {
	if err := c.readOnly(); err != nil {
		return err
	}
	c.w.Header().Del("Link") // Section 7.1: on all resources other than the directory
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Write(c.ep.directory) // the client may be gone; nothing is left to do about it
	return nil
}

// newNonce: RFC 8555, Section 7.2. The nonce is in the header of every answer.
func (c *call) newNonce() error {
	if err := c.readOnly(); err != nil {
		return err
	}
	if c.head {
		c.w.WriteHeader(http.StatusOK)
		return nil
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// readOnly refuses a POST with a payload to what can only be read.
func (c *call) readOnly() error {
	if c.msg != nil && len(c.msg.Payload) != 0 {
		return bad("this resource is only read: send an empty payload (POST-as-GET)")
	}
	return nil
}

func (c *call) postAsGet() bool { return len(c.msg.Payload) == 0 }
