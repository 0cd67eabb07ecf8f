package status

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"chancery/engine"
	"chancery/engine/ocsp"
)

// maxOCSP is more than any honest request: a nonce of 128 octets, a requestor's
// name and a few dozen identifiers fit.
const maxOCSP = 8 << 10

// ocsp answers; path is what follows /ocsp. Whatever a client sends gets an
// OCSP response with status 200 (RFC 6960, Appendix A), because clients do not
// look at anything else.
func (f *Frontend) ocsp(w http.ResponseWriter, r *http.Request, path string) {
	switch r.Method {
	case http.MethodPost:
		if path != "" && path != "/" {
			refuse(w, http.StatusNotFound, "POST to /ocsp.")
			return
		}
		body, ok := readPost(w, r)
		f.answer(w, r, body, ok)
	case http.MethodGet, http.MethodHead:
		body, ok := decodeGET(path)
		f.answer(w, r, body, ok)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		refuse(w, http.StatusMethodNotAllowed, "Use POST or GET as in RFC 6960, Appendix A.")
	}
}

// readPost reads a body of any declared type: there is nothing else that a
// request could be, and its parser is strict.
func readPost(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	if r.ContentLength > maxOCSP {
		w.Header().Set("Connection", "close") // do not read it to its end
		return nil, false
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOCSP))
	return body, err == nil && len(body) > 0
}

// decodeGET reads the request out of the path of a GET, in all the shapes that
// clients and the proxies before us produce: percent-encoded or not, once or
// twice, with the plus sign turned into a space, with slashes in front, without
// padding.
func decodeGET(path string) ([]byte, bool) {
	if len(path) > 3*maxOCSP*4/3+8 {
		return nil, false
	}
	s := path
	// No character of base64 is a percent sign, so a second round has one
	// reading only.
	for range 2 {
		if !strings.Contains(s, "%") {
			break
		}
		var err error
		if s, err = url.PathUnescape(s); err != nil {
			return nil, false
		}
	}
	s = strings.ReplaceAll(s, " ", "+")
	// A request is a SEQUENCE, so its base64 begins with M, never with a slash.
	s = strings.TrimLeft(s, "/")
	if i := strings.IndexByte(s, '='); i >= 0 {
		if strings.Trim(s[i:], "=/") != "" {
			return nil, false
		}
		s = s[:i]
	}
	if len(s)%4 == 1 && strings.HasSuffix(s, "/") { // the slash is not data
		s = s[:len(s)-1]
	}
	if strings.ContainsAny(s, "\r\n") { // which the decoder would skip
		return nil, false
	}
	der, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil || len(der) == 0 || len(der) > maxOCSP {
		return nil, false
	}
	return der, true
}

func (f *Frontend) answer(w http.ResponseWriter, r *http.Request, request []byte, ok bool) {
	a := engine.OCSPAnswer{DER: ocsp.ErrorResponse(ocsp.MalformedRequest)}
	if ok {
		a = f.d.Engine.OCSP(r.Context(), request)
	}
	if len(a.DER) == 0 {
		f.d.Log.ErrorContext(r.Context(), "the engine gave no OCSP answer")
		a = engine.OCSPAnswer{DER: ocsp.ErrorResponse(ocsp.TryLater)}
	}
	h := w.Header()
	h.Set("Content-Type", "application/ocsp-response")
	if a.ThisUpdate.IsZero() || a.NextUpdate.IsZero() {
		h.Set("Cache-Control", "no-cache")
		send(w, r, a.DER, time.Time{})
		return
	}
	// RFC 5019, Section 6.2.
	sum := sha256.Sum256(a.DER)
	h.Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	h.Set("Last-Modified", a.ThisUpdate.UTC().Format(http.TimeFormat))
	h.Set("Expires", a.NextUpdate.UTC().Format(http.TimeFormat))
	h.Set("Cache-Control", cacheControl(f.until(a.NextUpdate, ocspMaxAge)))
	send(w, r, a.DER, a.ThisUpdate)
}

// cacheControl is the form of RFC 5019, Section 6.2.
func cacheControl(age time.Duration) string {
	return "max-age=" + strconv.FormatInt(int64(age/time.Second), 10) + ", public, no-transform, must-revalidate"
}

// send writes the body, or 304 when a conditional GET has it already.
func send(w http.ResponseWriter, r *http.Request, body []byte, modified time.Time) {
	if r.Method == http.MethodPost {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body) // a client that went away needs no answer
		return
	}
	http.ServeContent(w, r, "", modified, bytes.NewReader(body))
}
