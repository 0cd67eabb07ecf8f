package native

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"chancery/engine"
)

// A problem is an error as the client sees it (RFC 9457).
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail,omitempty"`
	Reason    string `json:"reason"`
	ID        string `json:"id,omitempty"`         // of the request for a certificate
	Scope     string `json:"scope,omitempty"`      // that is frozen
	RequestID string `json:"request_id,omitempty"` // of this call, as in the server's log

	retry time.Duration // for Retry-After; 0: none
	cause error         // for the log only
}

func (p *problem) Error() string { return p.Reason + ": " + p.Detail }

// denials is how each reason of a denial looks over HTTP.
var denials = map[engine.Reason]struct {
	status int
	title  string
}{
	engine.BadCSR:         {http.StatusBadRequest, "The certification request is not acceptable"},
	engine.BadKey:         {http.StatusBadRequest, "The key is not acceptable"},
	engine.NameNotAllowed: {http.StatusForbidden, "A name is not allowed"},
	engine.NotAuthorized:  {http.StatusForbidden, "Not authorized"},
	engine.UnknownProfile: {http.StatusBadRequest, "There is no such profile here"},
	engine.PolicyRefused:  {http.StatusForbidden, "Policy refuses this certificate"},
	engine.LimitExceeded:  {http.StatusTooManyRequests, "A limit is reached"},
	engine.Rejected:       {http.StatusForbidden, "Rejected by an officer"},
	engine.Superseded:     {http.StatusConflict, "A newer request took its place"},
	engine.Abandoned:      {http.StatusConflict, "The request was interrupted; submit it again"},
	engine.CAARefused:     {http.StatusForbidden, "The DNS does not let this CA issue for a name"},
}

func denial(d engine.Denied) *problem {
	p := &problem{Status: http.StatusForbidden, Reason: string(d.Reason), Detail: d.Detail, ID: d.RequestID}
	if known, ok := denials[d.Reason]; ok {
		p.Status, p.Title = known.status, known.title
	}
	if p.Status == http.StatusTooManyRequests {
		p.retry = time.Minute
	}
	return p
}

// Retry-After where the engine does not say.
const (
	retrySoon   = 5 * time.Second
	retryFrozen = time.Minute
)

// refusals is how the engine's errors look over HTTP. What is not here is the
// server's fault.
var refusals = []struct {
	err    error
	status int
	reason string
	detail string // empty: the error's own text, which is written for the client
}{
	{engine.ErrNoRequest, http.StatusNotFound, "no-request", "There is no such request, or you may not see it."},
	{engine.ErrNoCertificate, http.StatusNotFound, "no-certificate", "There is no certificate with this serial number here."},
	{engine.ErrNoCampaign, http.StatusNotFound, "no-campaign", "There is no such campaign. GET /api/v1/campaigns lists them."},
	{engine.ErrNoGrant, http.StatusNotFound, "no-grant", "There is no such grant."},
	{engine.ErrNoJoin, http.StatusNotFound, "no-join", "No machine of this name waits to become a node. GET /api/v1/nodes lists those that do; a request ends after an hour."},
	{engine.ErrFingerprint, http.StatusConflict, "fingerprint", "This is not the fingerprint of the key in the records. Read it again on the new machine. If it is what that machine shows, somebody changed the records: do not approve."},
	{engine.ErrPolicyMoved, http.StatusConflict, "changed-meanwhile", ""},
	{engine.ErrConflict, http.StatusConflict, "conflict", "This Idempotency-Key was used before with another request. Use a new one."},
	{engine.ErrForbidden, http.StatusForbidden, "forbidden", ""},
	{engine.ErrNotPending, http.StatusConflict, "not-pending", ""},
	{engine.ErrAlreadyRevoked, http.StatusConflict, "already-revoked", ""},
	{engine.ErrNotHeld, http.StatusConflict, "not-held", ""},
	{engine.ErrExpired, http.StatusConflict, "expired", ""},
	{engine.ErrBadCursor, http.StatusBadRequest, "bad-cursor", ""},
	{engine.ErrBadReason, http.StatusBadRequest, "bad-reason", ""},
	{engine.ErrQuarantine, http.StatusConflict, "quarantine", ""},
	{engine.ErrHalfRestored, http.StatusConflict, "quarantine", ""},
	{engine.ErrNoQuarantine, http.StatusConflict, "no-quarantine", ""},
	{engine.ErrBadInput, http.StatusBadRequest, "bad-input", ""},
}

// explainError turns any error into a problem.
func explainError(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	var frozen *engine.FrozenError
	if errors.As(err, &frozen) {
		return &problem{Status: http.StatusServiceUnavailable, Reason: "frozen", Scope: frozen.Scope,
			Detail: "Issuing is stopped: " + frozen.Reason, retry: retryFrozen}
	}
	for _, known := range refusals {
		if errors.Is(err, known.err) {
			p := &problem{Status: known.status, Reason: known.reason, Detail: known.detail, cause: err}
			if p.Detail == "" {
				// Clients show the reason before the detail.
				p.Detail = strings.TrimPrefix(err.Error(), known.reason+": ")
			}
			return p
		}
	}
	p = &problem{Status: http.StatusServiceUnavailable, Reason: "unavailable", retry: retrySoon, cause: err,
		Detail: "The server could not tell. Submitting the same again, with the same Idempotency-Key, is safe."}
	switch {
	case errors.Is(err, engine.ErrNoSigner):
		p.Reason = "no-signer"
		p.Detail = "No server that runs now holds the key of this CA. The request is recorded; submitting the same again, with the same Idempotency-Key, is safe."
	case errors.Is(err, engine.ErrUndecided):
		p.Reason = "undecided"
	}
	return p
}

// fail answers with the error.
func (f *Frontend) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := *explainError(err) // a copy: some are shared
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	p.Type = "urn:chancery:problem:" + p.Reason
	h := w.Header()
	p.RequestID = h.Get("X-Request-Id") // set by whoever writes the log
	ctx := r.Context()
	f.d.Note(ctx, "reason", p.Reason)
	if p.cause != nil {
		f.d.Note(ctx, "error", p.cause)
	}
	if p.Status >= 500 && p.cause != nil && !errors.Is(p.cause, context.Canceled) {
		f.d.Log.WarnContext(ctx, "request could not be answered", "request_id", p.RequestID, "error", p.cause)
	}
	if p.retry > 0 {
		h.Set("Retry-After", seconds(p.retry))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	f.write(w, p.Status, "application/problem+json", &p)
}

// seconds rounds up, because a client that comes too early comes twice.
func seconds(d time.Duration) string {
	return strconv.FormatInt(wholeSeconds(d), 10)
}

// write sends v as JSON.
func (f *Frontend) write(w http.ResponseWriter, status int, mediaType string, v any) {
	body, err := json.Marshal(v)
	if err != nil { // a type of ours that cannot be written: a bug
		f.d.Log.Error("answer could not be encoded", "error", err)
		status, body = http.StatusInternalServerError, []byte(`{"type":"about:blank","title":"Internal Server Error","status":500}`)
	}
	send(w, status, mediaType, append(body, '\n'))
}

func send(w http.ResponseWriter, status int, mediaType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that went away needs no answer
}

func (f *Frontend) ok(w http.ResponseWriter, status int, v any) error {
	f.write(w, status, "application/json", v)
	return nil
}

// badRequest is a problem with what the client sent.
func badRequest(detail string) *problem {
	return &problem{Status: http.StatusBadRequest, Reason: "malformed", Detail: detail}
}
