// Package est serves EST (RFC 7030, with what RFC 8951, RFC 9266 and RFC 9908
// repaired): cacerts, simpleenroll, simplereenroll,
// csrattrs and serverkeygen.
//
// It finds out who asks, ties the request to the connection where that is wanted,
// and hands it to the engine, which alone decides. It keeps nothing: the
// endpoint, the client and what the certification request asks for make the Key
// of the request, so that a client that asks the same again finds the same
// request, and nobody else does.
//
// Where the RFCs leave a choice:
//
//   - A password is the secret of a grant, the user's name its id. There is no
//     Digest authentication: to check it, a server must store what is as good as
//     the password.
//   - A client certificate is one that the CA of the endpoint issued, byte for
//     byte as recorded and good in the records at this moment; no CRL is asked.
//   - A manufacturer's certificate says who a device is, where its root is named. A
//     proxy's word on a client's certificate is taken where its key is named.
//   - A challengePassword is the binding to the TLS connection (Section 3.5). One
//     that is there and wrong is refused, also where none is wanted.
//   - A renewal asks for what the certificate has, no more and no less.
//   - Answers are base64 in one line, which strongSwan before 5.9.11 needs, and in
//     lines of 64 for clients that call themselves libest, which need those.
package est
