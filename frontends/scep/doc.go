// Package scep serves SCEP (RFC 8894): GetCACaps, GetCACert, and PKIOperation
// with PKCSReq, RenewalReq, CertPoll, GetCert and GetCRL.
//
// It opens messages, finds out who asks and with which right, and hands the
// certification request to the engine, which alone decides. Nothing about a
// transaction is kept here: its identifier, the endpoint, the signer's key and
// the subject make the Key of the request (RFC 8894, Section 4.4), so nobody else
// can poll for it.
//
// Where the RFC leaves a choice, or a device may stumble:
//
//   - A message is opened only after its signature is verified. What cannot be
//     decrypted, holds no certification request that proves possession of its key,
//     or one for another key than the signer's is answered in one way, byte for
//     byte, so that no answer tells anything of a ciphertext (Section 7.2).
//   - What is not known is refused: message types, states, ciphers, digests.
//   - A PKCSReq needs a challengePassword, which is the secret of a grant, or an
//     officer's approval where the endpoint says so. A self-signed certificate
//     proves nothing but possession of its key (Section 2.3).
//   - A RenewalReq is signed with a certificate of ours that is good now, of a
//     profile of the endpoint, and asks for its names (Section 2.5).
//   - Replies are signed by an RSA key of our own (ra.go) that the CA certified,
//     with rsaEncryption in SignerInfo, encrypted with AES: the CA's key may be of
//     another kind, and signs nothing that a stranger chose.
package scep
