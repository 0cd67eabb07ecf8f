package scep

import (
	"context"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"chancery/engine"
	"chancery/frontends/access"
	"chancery/frontends/internal/cms"
)

// A Frontend is the SCEP server: an http.Handler for the addresses of [Paths].
type Frontend struct {
	deps      Deps
	endpoints map[string]*endpoint
	foreign   *http.CrossOriginProtection
}

// An endpoint is a configured Endpoint, made ready.
type endpoint struct {
	Endpoint
	name    string
	digests []crypto.Hash
	ciphers map[cms.Cipher]bool
	caps    string
}

// Paths are what the frontend answers at: its own, and those that devices know
// from other servers, which are the endpoint named default. One that ends in a
// slash is all below.
func Paths() []string { return []string{root, "/certsrv/mscep/", "/cgi-bin/pkiclient.exe"} }

// AdminPath is for listeners with TLS only: the page that makes challenges.
func AdminPath() string { return adminPath }

const (
	root        = "/scep/"
	defaultName = "default"
)

// New checks the configuration and makes the frontend.
func New(c Config, d Deps) (*Frontend, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	f := &Frontend{deps: d, endpoints: map[string]*endpoint{}, foreign: http.NewCrossOriginProtection()}
	for _, name := range slices.Sorted(maps.Keys(c)) {
		e := c[name]
		if err := e.check(name, &d); err != nil {
			return nil, fmt.Errorf("frontends.scep.%s: %w", name, err)
		}
		f.endpoints[name] = newEndpoint(name, e)
	}
	return f, nil
}

func newEndpoint(name string, e Endpoint) *endpoint {
	p := &endpoint{
		Endpoint: e, name: name, digests: []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512},
		ciphers: map[cms.Cipher]bool{cms.AES128: true, cms.AES192: true, cms.AES256: true},
	}
	// RFC 8894, Section 3.5.2. strongSwan up to 5.9.10 takes SHA-384 for AES.
	caps := []string{"AES", "SHA-256", "SHA-384", "SHA-512", "POSTPKIOperation", "SCEPStandard", "Renewal"}
	for _, old := range e.Legacy {
		switch old {
		case legacySHA1:
			p.digests = append(p.digests, crypto.SHA1)
			caps = append(caps, "SHA-1")
		case legacy3DES:
			p.ciphers[cms.TripleDES] = true
			caps = append(caps, "DES3")
		case legacyDES: // has no name there
			p.ciphers[cms.DES] = true
		}
	}
	p.caps = strings.Join(caps, "\n") + "\n"
	return p
}

// find is the endpoint of a path. RFC 8894, Section 4.1: what comes after it, such
// as pkiclient.exe, is the client's habit.
func (f *Frontend) find(path string) *endpoint {
	rest, ok := strings.CutPrefix(path+"/", root)
	if !ok {
		return f.endpoints[defaultName]
	}
	name, _, _ := strings.Cut(rest, "/")
	if name == "" || name == "pkiclient.exe" || name == "mscep.dll" {
		name = defaultName
	}
	return f.endpoints[name]
}

// ServeHTTP serves one request.
func (f *Frontend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path+"/", adminPath) {
		f.adminPage(w, r)
		return
	}
	e := f.find(r.URL.Path)
	if e == nil {
		refuse(w, http.StatusNotFound, "There is no SCEP endpoint at this address.")
		return
	}
	q, err := query(r.URL.RawQuery)
	if err != nil {
		refuse(w, http.StatusBadRequest, "The query must hold operation once, and message at most once.")
		return
	}
	access.Note(r.Context(), "endpoint", e.name)
	operation := q["operation"]
	if r.Method != http.MethodGet && (r.Method != http.MethodPost || operation != "PKIOperation") {
		w.Header().Set("Allow", "GET, POST")
		refuse(w, http.StatusMethodNotAllowed, "Only PKIOperation can be sent by POST.")
		return
	}
	switch operation {
	case "GetCACaps":
		answer(w, "text/plain", []byte(e.caps))
	case "GetCACert":
		f.getCACert(w, r, e, q["message"])
	case "GetNextCACert": // RFC 8894, Section 4.7: there is none before one is staged
		refuse(w, http.StatusNotFound, "The next certificate of the CA is not known yet.")
	case "PKIOperation":
		f.pkiOperation(w, r, e, q["message"])
	default:
		refuse(w, http.StatusBadRequest, "The operation is one of GetCACaps, GetCACert, GetNextCACert, PKIOperation.")
	}
}

// query reads a query in which nothing stands twice.
func query(raw string) (map[string]string, error) {
	all, err := url.ParseQuery(raw)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for name, values := range all {
		if len(values) != 1 {
			return nil, errors.New("a parameter stands twice")
		}
		out[name] = values[0]
	}
	return out, nil
}

func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}

func answer(w http.ResponseWriter, kind string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", fmt.Sprint(len(body)))
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(body)
}

// later is for what passes: the store, the clock, a node without the CA key.
func (f *Frontend) later(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() == nil {
		f.deps.Log.ErrorContext(r.Context(), "scep", "err", err)
	}
	w.Header().Set("Retry-After", "30")
	refuse(w, http.StatusServiceUnavailable, "The server cannot answer now; try again.")
}

// getCACert serves RFC 8894, Section 4.2.
func (f *Frontend) getCACert(w http.ResponseWriter, r *http.Request, e *endpoint, ident string) {
	if ident != "" && ident != e.name && !slices.Contains(e.Identifiers, ident) && !slices.Contains(e.Identifiers, "*") {
		refuse(w, http.StatusNotFound, "There is no CA of this identifier here: leave out the message, or have it added to the identifiers of the endpoint.")
		return
	}
	bundle, err := f.bundle(r.Context(), e.quirk(r.UserAgent()))
	if err != nil {
		f.later(w, r, err)
		return
	}
	answer(w, "application/x-x509-ca-ra-cert", bundle)
}

// pkiOperation serves RFC 8894, Section 4.3.
func (f *Frontend) pkiOperation(w http.ResponseWriter, r *http.Request, e *endpoint, text string) {
	body, err := f.body(w, r, text)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	m, err := parseMessage(body)
	if m == nil {
		refuse(w, http.StatusBadRequest, "This is not a pkiMessage of RFC 8894: "+err.Error())
		return
	}
	out, err := f.serve(r.Context(), e, m, err)
	if err != nil {
		var frozen *engine.FrozenError
		if errors.As(err, &frozen) {
			w.Header().Set("Retry-After", "60")
			refuse(w, http.StatusServiceUnavailable, "Issuing is stopped: "+frozen.Reason)
			return
		}
		f.later(w, r, err)
		return
	}
	answer(w, "application/x-pki-message", out)
}

// body is the message. RFC 8894, Section 4.1: by GET in base64, in which clients
// leave + and / as they are, and break lines.
func (f *Frontend) body(w http.ResponseWriter, r *http.Request, text string) ([]byte, error) {
	if r.Method == http.MethodPost {
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, cms.MaxSize))
		if err != nil {
			return nil, fmt.Errorf("the message is longer than %d octets, or its end is missing", cms.MaxSize)
		}
		return b, nil
	}
	text = strings.NewReplacer(" ", "+", "\r", "", "\n", "").Replace(text)
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return nil, errors.New("the message is not base64")
	}
	return b, nil
}

// serve answers a message. Early is what parseMessage found wrong with it. An
// error means that there is no answer now.
func (f *Frontend) serve(ctx context.Context, e *endpoint, m *message, early error) ([]byte, error) {
	keys, err := f.deps.RA.Keys(ctx, false)
	if err != nil {
		return nil, err
	}
	ra := keys[0]
	var out reply
	if err = early; err == nil {
		err = m.verify(e)
	}
	if err == nil {
		access.Note(ctx, "message_type", string(m.kind))
		if m.envelope.For(keys...) == nil {
			if keys, err = f.deps.RA.Keys(ctx, true); err != nil { // of another node, and new
				return nil, err
			}
		}
		if own := m.envelope.For(keys...); own != nil {
			ra = *own // the client knows this one
		}
		out, err = f.handle(ctx, e, m, keys)
	}
	var told *failure
	if errors.As(err, &told) {
		access.Note(ctx, "fail_info", string(told.info))
		out, err = reply{status: failed, failure: told}, nil
	}
	if err != nil {
		return nil, err
	}
	f.noteLegacy(ctx, m)
	return m.render(out, ra, f.deps.Rand)
}

// noteLegacy shows in the access log who still needs what is off by default.
func (f *Frontend) noteLegacy(ctx context.Context, m *message) {
	if m.signed.Signer.Digest == crypto.SHA1 {
		access.Note(ctx, "legacy_digest", "sha1")
	}
	if m.envelope != nil && (m.envelope.Cipher == cms.DES || m.envelope.Cipher == cms.TripleDES) {
		access.Note(ctx, "legacy_cipher", string(m.envelope.Cipher))
	}
}

// handle opens the message and does what it asks for.
func (f *Frontend) handle(ctx context.Context, e *endpoint, m *message, keys []cms.Pair) (reply, error) {
	content, err := m.envelope.Decrypt(f.deps.Rand, keys...)
	if err != nil {
		content = nil // and on: one way out for all that is unreadable
	}
	switch m.kind {
	case pkcsReq, renewalReq:
		return f.enroll(ctx, e, m, content)
	case certPoll:
		return f.poll(ctx, e, m, content)
	case getCert:
		return f.getCert(ctx, content)
	default:
		return f.getCRL(ctx, content)
	}
}
