package acme

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"chancery/engine"
	"chancery/engine/names"
	"chancery/frontends/acme/internal/validate"
	"chancery/frontends/internal/jose"
)

// The error types that are used here, all of them in the registry that RFC 8555,
// Section 9.7.4 made. Section 6.7: no others under its prefix.
const (
	accountDoesNotExist     = "accountDoesNotExist"
	alreadyReplaced         = "alreadyReplaced" // RFC 9773, Section 7.4
	alreadyRevoked          = "alreadyRevoked"
	badCSR                  = "badCSR"
	badNonce                = "badNonce"
	badPublicKey            = "badPublicKey"
	badRevocationReason     = "badRevocationReason"
	badSignatureAlgorithm   = "badSignatureAlgorithm"
	caaError                = "caa"
	compound                = "compound"
	connectionError         = "connection"
	dnsError                = "dns"
	externalAccountRequired = "externalAccountRequired"
	incorrectResponse       = "incorrectResponse"
	invalidContact          = "invalidContact"
	invalidProfile          = "invalidProfile" // draft-ietf-acme-profiles, Section 6.3
	malformed               = "malformed"
	orderNotReady           = "orderNotReady"
	rateLimited             = "rateLimited"
	rejectedIdentifier      = "rejectedIdentifier"
	serverInternal          = "serverInternal"
	tlsError                = "tls"
	unauthorized            = "unauthorized"
	unsupportedContact      = "unsupportedContact"
	unsupportedIdentifier   = "unsupportedIdentifier"
	userActionRequired      = "userActionRequired"
	errorPrefix             = "urn:ietf:params:acme:error:"
	problemType             = "application/problem+json"
	retrySoon               = 5 * time.Second
	retryAfterInternalError = 10 * time.Second
)

// A problem is a problem document (RFC 8555, Section 6.7; RFC 7807). It is the
// error of every handler here; anything else becomes serverInternal, and its
// text stays in the log. Rows keep the type without its prefix.
type problem struct {
	Type        string           `json:"t"`
	Status      int              `json:"s,omitempty"`
	Detail      string           `json:"d,omitempty"`
	Subproblems []subproblem     `json:"u,omitempty"`
	Algorithms  []jose.Algorithm `json:"-"` // RFC 8555, Section 6.2
	RetryAfter  time.Duration    `json:"-"`
	Location    string           `json:"-"` // whose account has the key: RFC 8555, Section 7.3.5
	Terms       string           `json:"-"` // to be agreed to: RFC 8555, Section 7.3.3
}

// A subproblem is about one identifier (RFC 8555, Section 6.7.1). Only these name one.
type subproblem struct {
	Type       string     `json:"t"`
	Detail     string     `json:"d,omitempty"`
	Identifier identifier `json:"i"`
}

func (p *problem) Error() string { return p.Type + ": " + p.Detail }

// shown is the document as clients see it.
func (p *problem) shown() any {
	type sub struct {
		Type       string     `json:"type"`
		Detail     string     `json:"detail,omitempty"`
		Identifier identifier `json:"identifier"`
	}
	out := struct {
		Type        string           `json:"type"`
		Detail      string           `json:"detail,omitempty"`
		Status      int              `json:"status,omitempty"`
		Algorithms  []jose.Algorithm `json:"algorithms,omitempty"`
		Subproblems []sub            `json:"subproblems,omitempty"`
		Instance    string           `json:"instance,omitempty"`
	}{errorPrefix + p.Type, p.Detail, p.Status, p.Algorithms, nil, p.Terms}
	for _, s := range p.Subproblems {
		out.Subproblems = append(out.Subproblems, sub{errorPrefix + s.Type, s.Detail, s.Identifier})
	}
	return out
}

func refuse(status int, kind, format string, args ...any) *problem {
	return &problem{Type: kind, Status: status, Detail: fmt.Sprintf(format, args...)}
}

func bad(format string, args ...any) *problem {
	return refuse(http.StatusBadRequest, malformed, format, args...)
}

func notFound() *problem {
	return refuse(http.StatusNotFound, malformed, "there is nothing here; begin at the directory")
}

// reasons maps what the engine says no with. A test holds it to engine.Reasons.
var reasons = map[engine.Reason]problem{
	engine.BadCSR:         {Type: badCSR, Status: http.StatusBadRequest},
	engine.BadKey:         {Type: badCSR, Status: http.StatusBadRequest}, // badPublicKey is about account keys
	engine.NameNotAllowed: {Type: rejectedIdentifier, Status: http.StatusForbidden},
	engine.NotAuthorized:  {Type: unauthorized, Status: http.StatusForbidden},
	engine.UnknownProfile: {Type: invalidProfile, Status: http.StatusBadRequest},
	engine.PolicyRefused:  {Type: unauthorized, Status: http.StatusForbidden},
	engine.LimitExceeded:  {Type: rateLimited, Status: http.StatusTooManyRequests},
	engine.Rejected:       {Type: unauthorized, Status: http.StatusForbidden},
	engine.Superseded:     {Type: orderNotReady, Status: http.StatusForbidden},
	engine.Abandoned:      {Type: serverInternal, Status: http.StatusServiceUnavailable},
	engine.CAARefused:     {Type: caaError, Status: http.StatusForbidden},
}

// problemOf is the problem of a denial. The engine's detail is meant for the
// requester, who thus reads what the officer wrote.
func problemOf(d engine.Denied) *problem {
	p, ok := reasons[d.Reason]
	if !ok {
		p = problem{Type: unauthorized, Status: http.StatusForbidden}
	}
	p.Detail = d.Detail
	return &p
}

// asProblem finds out what the client is told about an error.
func asProblem(err error) *problem {
	var p *problem
	var j *jose.Error
	var frozen *engine.FrozenError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &j):
		return joseProblem(j)
	case errors.As(err, &frozen):
		p = refuse(http.StatusServiceUnavailable, serverInternal, "issuing is stopped for now: %s", frozen.Reason)
		p.RetryAfter = time.Minute
		return p
	case errors.Is(err, engine.ErrUndecided):
		p = refuse(http.StatusServiceUnavailable, serverInternal, "the request could not be decided now; send it again in a moment")
		p.RetryAfter = retryAfterInternalError
		return p
	}
	return nil
}

func joseProblem(e *jose.Error) *problem {
	switch e.Kind {
	case jose.BadAlgorithm:
		p := refuse(http.StatusBadRequest, badSignatureAlgorithm, "%s; use one of those listed", e.Detail)
		p.Algorithms = jose.Algorithms() // RFC 8555, Section 6.2
		return p
	case jose.BadKey:
		return refuse(http.StatusBadRequest, badPublicKey, "%s", e.Detail)
	}
	return bad("%s", e.Detail)
}

// validationProblem is what a challenge shows after a failed attempt.
func validationProblem(err error) *problem {
	var e *validate.Error
	if !errors.As(err, &e) {
		return refuse(http.StatusBadRequest, connectionError, "the validation was interrupted")
	}
	switch e.Kind {
	case validate.DNS:
		return refuse(http.StatusBadRequest, dnsError, "%s", e.Detail)
	case validate.TLS:
		return refuse(http.StatusBadRequest, tlsError, "%s", e.Detail)
	case validate.Malformed:
		return bad("%s", e.Detail)
	case validate.Unauthorized:
		return refuse(http.StatusForbidden, unauthorized, "%s", e.Detail)
	case validate.IncorrectResponse:
		return refuse(http.StatusForbidden, incorrectResponse, "%s", e.Detail)
	}
	return refuse(http.StatusBadRequest, connectionError, "%s", e.Detail)
}

// nameProblem is why an identifier cannot be ordered.
func nameProblem(err error) (kind, detail string) {
	var form *names.UnsupportedError
	if errors.As(err, &form) {
		return unsupportedIdentifier, "identifiers of this type are not taken; use dns or ip"
	}
	return malformed, err.Error()
}

// writeProblem answers with a problem document.
func writeProblem(w http.ResponseWriter, p *problem) {
	if p.RetryAfter > 0 {
		retryAfter(w, p.RetryAfter)
	}
	if p.Location != "" {
		w.Header().Set("Location", p.Location)
	}
	if p.Terms != "" {
		w.Header().Add("Link", "<"+p.Terms+`>;rel="terms-of-service"`)
	}
	body, err := json.Marshal(p.shown())
	if err != nil { // strings only: cannot be
		body = []byte(`{"type":"` + errorPrefix + serverInternal + `"}`)
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	w.Write(body) // the client may be gone; nothing is left to do about it
}

// retryAfter is always a number of seconds: clients stumble over dates.
func retryAfter(w http.ResponseWriter, d time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(max(1, int((d+time.Second-1)/time.Second))))
}
