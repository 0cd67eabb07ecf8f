package jose

import "crypto"

// What is signed inside a message has the same form, but no nonce: the outer
// message has one.

// ParseInner takes apart the message inside a keyChange (RFC 8555, Section
// 7.3.5), which is signed by the new key in its jwk. The error is an *Error.
func ParseInner(body []byte) (*Message, error) {
	m, header, err := take(body)
	if err != nil {
		return nil, inner(err)
	}
	if err := m.Header.parse(header); err != nil {
		return nil, inner(err)
	}
	switch {
	case m.Key == nil: // RFC 8555, Section 7.3.5: jwk, the new key
		return nil, inner(malformed("the protected header has no jwk with the new key"))
	case m.hasNonce:
		return nil, inner(malformed("the protected header has a nonce; only the outer one has"))
	}
	return m, nil
}

// inner says which of the two messages is wrong.
func inner(err error) error {
	if e, ok := err.(*Error); ok {
		return &Error{e.Kind, "the inner JWS: " + e.Detail}
	}
	return err
}

// A Binding is the message that binds an account to an external one (RFC 8555,
// Section 7.3.4), authenticated by a MAC. Until somebody who has the key
// compared the MAC over Input, nothing in it may be believed.
type Binding struct {
	Hash    crypto.Hash // of the HMAC
	KID     string      // names the MAC key
	URL     string
	Payload []byte // the account key as JWK
	Input   []byte // what the MAC is over
	MAC     []byte
}

// ParseBinding takes a binding apart. The error is an *Error.
func ParseBinding(body []byte) (*Binding, error) {
	m, doc, err := take(body)
	if err != nil {
		return nil, binding(err)
	}
	in, err := readHeader(doc)
	if err != nil {
		return nil, binding(err)
	}
	b := &Binding{KID: in.KID.s, URL: in.URL.s, Payload: m.Payload, Input: []byte(m.protected + "." + m.payload), MAC: m.signature}
	// RFC 8555, Section 7.3.4: alg a MAC, kid from the CA, no nonce, url that of
	// the outer message.
	switch {
	case !in.Alg.set || !in.KID.set || !in.URL.set || in.JWK != nil:
		return nil, binding(malformed("the protected header has exactly alg, kid and url"))
	case in.Nonce.set:
		return nil, binding(malformed("the protected header has a nonce; only the outer one has"))
	}
	switch in.Alg.s {
	case "HS256":
		b.Hash = crypto.SHA256
	case "HS384":
		b.Hash = crypto.SHA384
	case "HS512":
		b.Hash = crypto.SHA512
	default:
		return nil, binding(malformed("the algorithm " + shorten(in.Alg.s) + " is not HS256, HS384 or HS512"))
	}
	return b, nil
}

func binding(err error) error {
	if e, ok := err.(*Error); ok {
		return &Error{e.Kind, "externalAccountBinding: " + e.Detail}
	}
	return err
}
