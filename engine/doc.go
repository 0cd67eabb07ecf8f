// Package engine decides what becomes of certificate requests, issues
// certificates, answers for their status, and tells exits about all of it.
//
// It has one door, [Engine.Submit], whatever protocol a request arrived by, and
// one closed result, [Disposition]. It knows nothing of HTTP, of databases, or
// of the protocols of its frontends. The way of a request is in submit.go; the
// shapers and judges that decide are run in decide.go; what may be signed at all
// is in gate.go; signing is in issue.go; exits are told from outbox.go.
package engine
