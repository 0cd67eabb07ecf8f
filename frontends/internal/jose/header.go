package jose

import (
	"errors"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// A Header is the protected header of RFC 8555, Section 6.2. Exactly one of Key
// and KID is set.
type Header struct {
	Algorithm Algorithm
	Nonce     string // base64url; empty when there is none
	URL       string
	Key       *Key   // of jwk
	KID       string // of kid

	hasNonce bool // also an empty one
}

// header is what is admitted, each member at most once. Extensions (crit, b64),
// places to fetch keys from (jku, x5u), certificates (x5c) and everything else
// are refused for being there.
type header struct {
	Alg   text           `json:"alg"`
	Nonce text           `json:"nonce"`
	URL   text           `json:"url"`
	KID   text           `json:"kid"`
	JWK   jsontext.Value `json:"jwk"`
}

// A text is a string that was there. Null is no string.
type text struct {
	set bool
	s   string
}

var errNoString = errors.New("not a string")

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (t *text) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	tok, err := d.ReadToken()
	if err != nil {
		return err
	}
	if tok.Kind() != '"' {
		return errNoString
	}
	t.set, t.s = true, tok.String()
	return nil
}

func readHeader(doc []byte) (in header, err error) {
	// The decoder matches names exactly and refuses duplicates, invalid UTF-8
	// and what follows the object.
	if err := json.Unmarshal(doc, &in, json.RejectUnknownMembers(true)); err != nil {
		return in, malformed("the protected header is not one JSON object with exactly alg, nonce, url, and jwk or kid, each once and of its type")
	}
	return in, nil
}

func (h *Header) parse(doc []byte) error {
	in, err := readHeader(doc)
	if err != nil {
		return err
	}
	if h.hasNonce = in.Nonce.set; in.Nonce.set {
		// RFC 8555, Section 6.5.2: a nonce that is not base64url is malformed.
		if _, err := Decode("the nonce", in.Nonce.s); err != nil {
			return err
		}
		h.Nonce = in.Nonce.s
	}
	switch {
	case !in.Alg.set:
		return malformed("the protected header has no alg")
	case !in.URL.set:
		return malformed("the protected header has no url")
	case in.KID.set && in.JWK != nil:
		return malformed("the protected header has both jwk and kid")
	case !in.KID.set && in.JWK == nil:
		return malformed("the protected header has neither jwk nor kid")
	}
	h.URL, h.KID = in.URL.s, in.KID.s
	h.Algorithm = Algorithm(in.Alg.s)
	if !slices.Contains(Algorithms(), h.Algorithm) {
		return &Error{BadAlgorithm, "the signature algorithm " + shorten(in.Alg.s) + " is not accepted"}
	}
	if in.JWK != nil {
		var err error
		if h.Key, err = ParseKey(in.JWK); err != nil {
			return err
		}
		if err := h.Key.Check(); err != nil {
			return err
		}
	}
	return nil
}
