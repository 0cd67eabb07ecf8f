package est

import (
	"crypto/x509"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"chancery/engine"
	"chancery/frontends/internal/clientcert"
)

// Root is where all of EST is (RFC 7030, Section 3.2.2). It is for the https
// listener alone: passwords and requests never go over plain HTTP.
const Root = "/.well-known/est/"

// A Frontend is the EST server: an http.Handler for Root. It must see the
// request's address as it was sent.
type Frontend struct {
	d         Deps
	endpoints map[string]*endpoint
	clients   *clientcert.Verifier
	origin    *http.CrossOriginProtection
	making    chan struct{} // holds one for each RSA key that is being made
}

// An endpoint is a configured Endpoint with what follows from it.
type endpoint struct {
	Endpoint
	name    string
	profile engine.Profile
	makers  *x509.CertPool // of devices; nil: none

	mu      sync.Mutex
	cacerts []byte // the answer in DER, once it was made
}

// New checks the configuration and makes the frontend. It opens nothing.
func New(c Config, d Deps) (*Frontend, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	f := &Frontend{d: d, endpoints: map[string]*endpoint{}, clients: clientcert.New(d.Records, d.Now), origin: http.NewCrossOriginProtection(),
		making: make(chan struct{}, making)}
	for _, name := range slices.Sorted(maps.Keys(c)) {
		e := c[name]
		if err := e.check(name, &d); err != nil {
			return nil, fmt.Errorf("frontends.est.%s: %w", name, err)
		}
		makers, err := manufacturers(e.Manufacturers)
		if err != nil {
			return nil, fmt.Errorf("frontends.est.%s.%w", name, err)
		}
		f.endpoints[name] = &endpoint{Endpoint: e, name: name, profile: d.Profiles[e.Profile], makers: makers}
	}
	return f, nil
}

// An operation is one of RFC 7030, Section 3.2.2. What it returns as an error is
// rendered by fail.
type operation struct {
	method string
	answer func(f *Frontend, w http.ResponseWriter, r *http.Request, p *endpoint) error
}

// operations names all that RFC 7030 knows. It is written nowhere.
var operations = map[string]*operation{
	"cacerts":        {http.MethodGet, (*Frontend).caCerts},
	"simpleenroll":   {http.MethodPost, (*Frontend).simpleEnroll},
	"simplereenroll": {http.MethodPost, (*Frontend).simpleReenroll},
	"csrattrs":       {http.MethodGet, (*Frontend).csrAttrs},
	"serverkeygen":   {http.MethodPost, (*Frontend).serverKeyGen},
	"fullcmc":        {http.MethodPost, notOffered},
}

// notOffered is for operations that a server need not have.
func notOffered(*Frontend, http.ResponseWriter, *http.Request, *endpoint) error {
	return refuse(http.StatusNotImplemented, "This server does not offer this operation.")
}

// ServeHTTP answers /.well-known/est/OPERATION and /.well-known/est/LABEL/OPERATION.
func (f *Frontend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if err := f.serve(w, r); err != nil {
		f.fail(w, r, err)
	}
}

func (f *Frontend) serve(w http.ResponseWriter, r *http.Request) error {
	op, p := f.route(r)
	if op == nil || p == nil {
		return refuse(http.StatusNotFound, "There is nothing at this address. EST is at /.well-known/est/OPERATION and /.well-known/est/LABEL/OPERATION.")
	}
	if r.Method != op.method && !(r.Method == http.MethodHead && op.method == http.MethodGet) {
		w.Header().Set("Allow", op.method)
		return refuse(http.StatusMethodNotAllowed, "This operation is a "+op.method+".")
	}
	if r.TLS == nil { // RFC 7030, Section 3.3
		return refuse(http.StatusForbidden, "EST is for HTTPS.")
	}
	// HTTP/2 lets a client use a connection for other hosts of the certificate
	// (RFC 9113, Section 9.1.1). Whom its certificate was meant for is then unknown.
	if r.ProtoMajor > 1 && r.TLS.ServerName != "" && !strings.EqualFold(hostOf(r.Host), r.TLS.ServerName) {
		return refuse(http.StatusMisdirectedRequest, "This connection was made to another host.")
	}
	// Browsers send client certificates unasked, so a foreign page must not be
	// able to act with them.
	if err := f.origin.Check(r); err != nil {
		return refuse(http.StatusForbidden, "A page of another site may not do this.")
	}
	f.d.Note(r.Context(), "endpoint", p.name)
	r, err := f.through(r, p)
	if err != nil {
		return err
	}
	return op.answer(f, w, r, p)
}

// route finds operation and endpoint. A path counts only in its plain spelling,
// so that no two parts of the server can read it differently; a label is looked
// up, never opened.
func (f *Frontend) route(r *http.Request) (*operation, *endpoint) {
	path := r.URL.Path
	if sent, _, _ := strings.Cut(r.RequestURI, "?"); sent != path {
		return nil, nil
	}
	rest, ok := strings.CutPrefix(path, Root)
	if !ok {
		return nil, nil
	}
	label, op, labelled := strings.Cut(rest, "/")
	if !labelled {
		label, op = "default", rest
	}
	return operations[op], f.endpoints[label]
}

func hostOf(hostport string) string {
	if i := strings.LastIndexByte(hostport, ':'); i >= 0 && !strings.HasSuffix(hostport, "]") {
		hostport = hostport[:i]
	}
	return strings.Trim(hostport, "[]")
}
