// Package status serves what relying parties need to judge a certificate: CRLs
// (RFC 5280), OCSP (RFC 6960, over HTTP as in RFC 5019) and the certificates of
// the CA keys. It signs nothing; everything comes from the engine.
//
// # Mounting
//
// The base64 in the address of an OCSP GET may hold slashes, also two in a row.
// Every router that cleans paths, http.ServeMux among them, redirects or
// misroutes those requests. So this frontend looks at the address as it was
// sent, and must be asked before any such router: [Frontend.Before] does that.
// It serves the same under http and https.
package status

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"chancery/engine"
)

// An Engine is what the frontend needs of the engine.
type Engine interface {
	CRL(ctx context.Context, keyID string) (*engine.CRL, error)
	OCSP(ctx context.Context, request []byte) engine.OCSPAnswer
	Issuer(keyID string) (*x509.Certificate, error)
}

// Deps are what a Frontend is made of. All fields are required.
type Deps struct {
	Engine Engine
	Now    func() time.Time
	Log    *slog.Logger
}

// A Frontend is the handler for /crl/, /ocsp and /aia/.
type Frontend struct{ d Deps }

// New makes a Frontend.
func New(d Deps) *Frontend { return &Frontend{d} }

// Serves reports whether the request is for this frontend.
func Serves(r *http.Request) bool {
	p := sentPath(r)
	return strings.HasPrefix(p, "/crl/") || strings.HasPrefix(p, "/aia/") ||
		p == "/ocsp" || strings.HasPrefix(p, "/ocsp/")
}

// Before returns a handler that serves what is this frontend's and hands
// everything else to next, untouched.
func (f *Frontend) Before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if Serves(r) {
			f.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ServeHTTP serves one request.
func (f *Frontend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	p := sentPath(r)
	if p == "/ocsp" || strings.HasPrefix(p, "/ocsp/") {
		f.ocsp(w, r, strings.TrimPrefix(p, "/ocsp"))
		return
	}
	if id, ok := list(p); ok {
		f.file(w, r, id, f.crl)
		return
	}
	if id, ok := file(p, "/aia/", ".crt"); ok {
		f.file(w, r, id, f.certificate)
		return
	}
	refuse(w, http.StatusNotFound, "There is nothing here. The addresses are /crl/KEYID.crl (or KEYID-SHARD, KEYID-delta) and /aia/KEYID.crt, as certificates name them.")
}

// sentPath is the path as the client sent it, nothing decoded or cleaned.
func sentPath(r *http.Request) string {
	p := r.RequestURI
	if p == "" { // not from a server
		return r.URL.EscapedPath()
	}
	if !strings.HasPrefix(p, "/") { // absolute form, RFC 9112, Section 3.2.2
		_, rest, ok := strings.Cut(p, "://")
		if !ok {
			return ""
		}
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			return ""
		}
		p = rest[i:]
	}
	p, _, _ = strings.Cut(p, "?")
	return p
}

// file takes the key identifier out of a path: lower-case hexadecimal of a
// length that a key identifier has, and nothing else.
func file(path, prefix, suffix string) (string, bool) {
	id, ok := strings.CutPrefix(path, prefix)
	if !ok {
		return "", false
	}
	id, ok = strings.CutSuffix(id, suffix)
	if !ok || id == "" || len(id) > 128 || strings.Trim(id, "0123456789abcdef") != "" {
		return "", false
	}
	return id, true
}

// list takes the name of a revocation list out of a path: a key identifier, and
// for other lists than the complete one a hyphen and delta or the number of a shard.
func list(path string) (string, bool) {
	name, ok := strings.CutSuffix(path, ".crl")
	if !ok {
		return "", false
	}
	id, scope, other := strings.Cut(name, "-")
	if _, ok := file(id+".crl", "/crl/", ".crl"); !ok {
		return "", false
	}
	if other && scope != "delta" && (scope == "" || len(scope) > 4 || scope[0] == '0' || strings.Trim(scope, "0123456789") != "") {
		return "", false
	}
	return strings.TrimPrefix(name, "/crl/"), true
}

// A document is what a GET of a file answers.
type document struct {
	body      []byte
	mediaType string
	etag      string
	modified  time.Time
	expires   time.Time
	maxAge    time.Duration
}

// How long caches may keep what changes at moments that nobody foresees: a
// revocation, a new certificate for a CA key.
const (
	crlMaxAge  = 5 * time.Minute
	certMaxAge = time.Hour
	ocspMaxAge = 10 * time.Minute
)

func (f *Frontend) file(w http.ResponseWriter, r *http.Request, id string, get func(context.Context, string) (*document, error)) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "Use GET.")
		return
	}
	d, err := get(r.Context(), id)
	switch {
	case errors.Is(err, engine.ErrNoCertificate):
		refuse(w, http.StatusNotFound, "There is no CA key with this identifier here.")
		return
	case errors.Is(err, engine.ErrQuarantine):
		w.Header().Set("Retry-After", "60")
		refuse(w, http.StatusServiceUnavailable, "This CA was restored from a backup, and its last revocation list is not known here yet. Try again later.")
		return
	case err != nil:
		f.d.Log.ErrorContext(r.Context(), "status could not be read", "key", id, "error", err)
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, "Try again in a few seconds.")
		return
	}
	h := w.Header()
	h.Set("Content-Type", d.mediaType)
	h.Set("ETag", d.etag)
	h.Set("Last-Modified", d.modified.UTC().Format(http.TimeFormat))
	h.Set("Expires", d.expires.UTC().Format(http.TimeFormat))
	h.Set("Cache-Control", cacheControl(d.maxAge))
	send(w, r, d.body, d.modified)
}

func (f *Frontend) crl(ctx context.Context, id string) (*document, error) {
	c, err := f.d.Engine.CRL(ctx, id)
	if err != nil {
		return nil, err
	}
	return &document{
		body:      c.DER,
		mediaType: "application/pkix-crl",
		// A CRL number is used once per key, so this is cheaper than a hash of
		// what may be megabytes, and as good.
		etag:     `"` + id + "-" + c.Number + `"`,
		modified: c.ThisUpdate,
		expires:  c.NextUpdate,
		maxAge:   f.until(c.NextUpdate, crlMaxAge),
	}, nil
}

func (f *Frontend) certificate(_ context.Context, id string) (*document, error) {
	c, err := f.d.Engine.Issuer(id)
	if err != nil {
		return nil, err
	}
	h := sha256.Sum256(c.Raw)
	age := f.until(c.NotAfter, certMaxAge)
	return &document{
		body:      c.Raw,
		mediaType: "application/pkix-cert",
		etag:      `"` + hex.EncodeToString(h[:16]) + `"`,
		modified:  c.NotBefore,
		expires:   f.d.Now().Add(age),
		maxAge:    age,
	}, nil
}

// until is the time that is left before t, less a second, within [0, most].
func (f *Frontend) until(t time.Time, most time.Duration) time.Duration {
	return max(0, min(t.Sub(f.d.Now())-time.Second, most))
}

func refuse(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Cache-Control", "no-cache")
	http.Error(w, detail, status)
}
