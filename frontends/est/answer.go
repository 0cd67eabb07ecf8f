package est

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"chancery/engine"
	"chancery/frontends/internal/cms"
)

// A refusal is an error as the client sees it: a status, and a text for people
// (RFC 7030, Section 4.2.3).
type refusal struct {
	status   int
	detail   string
	retry    time.Duration // for Retry-After; 0: none
	password bool          // say that a password would help
	cause    error         // for the log only
}

func (r *refusal) Error() string { return r.detail }

func refuse(status int, detail string) *refusal { return &refusal{status: status, detail: detail} }

// denials is how each reason of a denial looks over HTTP.
var denials = map[engine.Reason]int{
	engine.BadCSR:         http.StatusBadRequest,
	engine.BadKey:         http.StatusBadRequest,
	engine.NameNotAllowed: http.StatusForbidden,
	engine.NotAuthorized:  http.StatusForbidden,
	engine.UnknownProfile: http.StatusForbidden,
	engine.PolicyRefused:  http.StatusForbidden,
	engine.LimitExceeded:  http.StatusTooManyRequests,
	engine.Rejected:       http.StatusForbidden,
	engine.Superseded:     http.StatusConflict,
	engine.Abandoned:      http.StatusServiceUnavailable,
	engine.CAARefused:     http.StatusForbidden,
}

// Retry-After where the engine does not say.
const (
	retrySoon   = 5 * time.Second
	retryFrozen = time.Minute
)

func denial(d engine.Denied) *refusal {
	r := &refusal{status: denials[d.Reason], detail: string(d.Reason) + ": " + d.Detail}
	switch r.status {
	case 0:
		r.status = http.StatusForbidden
	case http.StatusTooManyRequests:
		r.retry = retryFrozen
	case http.StatusServiceUnavailable:
		r.retry = retrySoon
	}
	return r
}

// explain turns any error into a refusal.
func explain(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	var frozen *engine.FrozenError
	if errors.As(err, &frozen) {
		return &refusal{status: http.StatusServiceUnavailable, detail: "Issuing is stopped: " + frozen.Reason, retry: retryFrozen}
	}
	return &refusal{status: http.StatusServiceUnavailable, detail: "The server could not tell. Sending the same request again is safe.", retry: retrySoon, cause: err}
}

func (f *Frontend) fail(w http.ResponseWriter, r *http.Request, err error) {
	x, ctx, h := explain(err), r.Context(), w.Header()
	f.d.Note(ctx, "refused", x.detail)
	if x.cause != nil {
		f.d.Note(ctx, "error", x.cause)
		if x.status >= 500 && !errors.Is(x.cause, context.Canceled) {
			f.d.Log.WarnContext(ctx, "EST request could not be answered", "error", x.cause)
		}
	}
	if x.retry > 0 {
		h.Set("Retry-After", seconds(x.retry))
	}
	if x.password {
		// Not by Set, which writes Www-Authenticate: libest knows one spelling only.
		h["WWW-Authenticate"] = []string{`Basic realm="EST", charset="UTF-8"`}
	}
	text(w, x.status, x.detail)
}

func text(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(detail + "\n")) // a client that went away needs no answer
}

// seconds rounds up, because a client that comes too early comes twice.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

const certsOnly = "application/pkcs7-mime; smime-type=certs-only"

// send answers with DER in base64 (RFC 8951, Section 3).
func send(w http.ResponseWriter, r *http.Request, p *endpoint, mediaType string, der []byte) {
	body := p.encode(r, der)
	h := w.Header()
	h.Set("Content-Type", mediaType)
	// RFC 8951, Section 3: to be ignored; clients as old as RFC 7030 look for it.
	h.Set("Content-Transfer-Encoding", "base64")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body)
}

// encode writes base64 in one line, unless the client is known to want several.
func (p *endpoint) encode(r *http.Request, der []byte) []byte {
	line := base64.StdEncoding.EncodeToString(der)
	if !p.Wrap && !strings.HasPrefix(r.UserAgent(), "libest") {
		return []byte(line + "\n")
	}
	const width = 64
	var b strings.Builder
	for len(line) > width {
		b.WriteString(line[:width] + "\n")
		line = line[width:]
	}
	b.WriteString(line + "\n")
	return []byte(b.String())
}

// disposition answers with what became of a request.
func (f *Frontend) disposition(w http.ResponseWriter, r *http.Request, p *endpoint, d engine.Disposition) error {
	ctx := r.Context()
	switch d := d.(type) {
	case engine.Issued:
		f.d.Note(ctx, "request", d.RequestID)
		f.d.Note(ctx, "serial", d.ID.Serial)
		// RFC 7030, Section 4.2.3: the certificate alone.
		der, err := cms.Degenerate([][]byte{d.Cert}, nil)
		if err != nil {
			return err
		}
		send(w, r, p, certsOnly, der)
		return nil
	case engine.Pended: // RFC 7030, Section 4.2.3
		f.d.Note(ctx, "request", d.RequestID)
		w.Header().Set("Retry-After", seconds(max(d.RetryAfter, time.Second)))
		text(w, http.StatusAccepted, "The request "+d.RequestID+" waits for a decision. Send the same request again later.")
		return nil
	case engine.Denied:
		f.d.Note(ctx, "request", d.RequestID)
		return denial(d)
	}
	return errors.New("est: the engine gave no answer")
}
