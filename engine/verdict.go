package engine

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"chancery/engine/names"
)

// A Shaper writes the draft: what will be in the certificate. It must not keep
// r or d. An error means that it could not tell, not no: the request stays
// undecided and the requester may try again. Shapers run again from an empty
// draft when a request is decided again.
type Shaper func(ctx context.Context, r *Request, d *Draft) (Verdict, error)

// A Judge looks at the finished tbsCertificate, which nothing changes any more.
type Judge func(ctx context.Context, r *Request, t Rendered) (Verdict, error)

// A Lint examines one certificate in DER whose signature is a placeholder.
type Lint func(ctx context.Context, der []byte) ([]Finding, error)

// A Finding is what a lint found. Severity "error" blocks, "warn" is recorded.
type Finding struct {
	Rule     string `json:"r"`
	Severity string `json:"s"`
	Detail   string `json:"d"`
}

// A Step is a shaper, judge or lint with the name that the configuration gives
// it.
type Step[F any] struct {
	Name string
	Run  F

	// Waits says that Run may wait for something outside the process. The
	// request is then recorded before it is decided.
	Waits bool
}

// A Draft is the content of a certificate to be. It starts with nothing: what is
// in a certificate, a named shaper put there.
type Draft struct {
	Profile     string // whose rules the gate checks
	Authority   string // who issues
	Subject     names.DN
	Names       []names.Name
	NotBefore   time.Time
	NotAfter    time.Time
	KeyUsage    []string // RFC 5280, Section 4.2.1.3, by its names there
	ExtKeyUsage []string // by name, such as serverAuth, or dotted OID
}

// Rendered is the certificate as it would be signed.
type Rendered struct {
	Draft  *Draft
	TBS    []byte            // the exact tbsCertificate
	Twin   []byte            // TBS with a placeholder signature
	Cert   *x509.Certificate // Twin, parsed
	Digest string            // D: what officers vote on
}

// A Verdict is what a policy step thinks. The zero Verdict is none of them, so
// that forgetting to decide is an error.
type Verdict struct {
	kind   verdict
	reason Reason
	detail string
	enough func([]Vote) bool
}

type verdict string

const (
	pass verdict = "pass"
	pend verdict = "pend"
	deny verdict = "deny"
)

// Pass has no objection.
func Pass() Verdict { return Verdict{kind: pass} }

// PassNoting has no objection, and says for the trail what that rests on.
func PassNoting(format string, args ...any) Verdict {
	return Verdict{kind: pass, detail: fmt.Sprintf(format, args...)}
}

// PendFor has no objection once enough officers approved. The step is asked
// with the live votes for exactly this certificate and this step.
func PendFor(detail string, enough func(votes []Vote) bool) Verdict {
	return Verdict{kind: pend, detail: detail, enough: enough}
}

// PendForOne has no objection once one officer approved.
func PendForOne(detail string) Verdict {
	return PendFor(detail, func(v []Vote) bool { return len(v) > 0 })
}

// Deny refuses. The detail is shown to the requester and says what to do.
func Deny(reason Reason, format string, args ...any) Verdict {
	return Verdict{kind: deny, reason: reason, detail: fmt.Sprintf(format, args...)}
}

// Denied returns the reason and detail if v refuses.
func (v Verdict) Denied() (Reason, string, bool) { return v.reason, v.detail, v.kind == deny }

// Pends reports whether v wants officers.
func (v Verdict) Pends() bool { return v.kind == pend }

// A TrailEntry is what one step said and changed, kept for Explain.
type TrailEntry struct {
	Step    string `json:"s"`
	Verdict string `json:"v,omitempty"` // empty in the store for pass
	Detail  string `json:"d,omitempty"`
}
