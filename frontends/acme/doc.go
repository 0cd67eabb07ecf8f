// Package acme serves ACME (RFC 8555): accounts, orders, authorizations by
// http-01, dns-01, tls-alpn-01 and, where configured, challenges of drafts,
// certificates, revocation.
//
// It parses, authenticates, proves control of names, and hands certification
// requests with the proofs to the engine, which alone decides. What became of an
// order after finalize is therefore never kept here: it is asked of the engine.
//
// Where the RFC leaves a choice, or a client may stumble:
//
//   - Nonces are stateless tokens (nonce.go). One is used up by the first
//     request that shows it, whatever becomes of the request.
//   - The outer object of a JWS and its protected header hold exactly the members
//     that RFC 8555, Section 6.2 names; an unknown one is refused, not ignored.
//   - The object that a POST is about is named by its path below the configured
//     address; the Host header is never looked at.
//   - Authorizations belong to one order and are not used again for the next,
//     unless they were made without one (newAuthz, where configured).
//   - An account that was made with a grant (external account binding) is held to
//     it: here, so that clients learn early, and by the engine's gate.
//   - After keyChange, challenges that were accepted before are compared with the
//     old key (Section 8.3).
//   - A signature that does not verify is malformed, 400.
//   - Certificates come as a PEM chain; another Accept is 406.
//   - A failed validation is repeated (RFC 8555, Section 8.2): three attempts, five
//     seconds apart, then the challenge is invalid.
//   - notBefore and notAfter in newOrder are refused, because the profile decides.
//   - A certificate's URL goes on working as long as the engine has the request.
package acme
