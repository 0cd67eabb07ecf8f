package pkcs10

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"

	"chancery/engine/names"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// WithoutSecrets gives the request without the challengePassword attribute, for
// storage: the signature no longer verifies, so CheckSignature comes first. A
// request that has none is given as it came.
func (r *Request) WithoutSecrets() []byte {
	if r.ChallengePassword == "" {
		return r.DER
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(r.head)
			b.AddASN1(asn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
				for _, a := range r.kept {
					b.AddBytes(a)
				}
			})
		})
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(r.algorithm) })
		b.AddASN1BitString(r.signature)
	})
	return b.BytesOrPanic()
}

// shown is what of a request may be written down anywhere. The DER is left out
// because it holds the challengePassword.
type shown struct {
	Subject    string       `json:"subject"`
	Key        string       `json:"key"`
	SPKI       string       `json:"spki_sha256"`
	Names      []names.Name `json:"names,omitempty"`
	Extensions []Extension  `json:"extensions,omitempty"`
	Attributes []string     `json:"attributes,omitempty"`
	Challenge  bool         `json:"challenge_password"` // whether there is one
}

func (r Request) shown() shown {
	s := shown{Subject: r.Subject.String(), Names: r.Names, Extensions: r.Extensions,
		Attributes: r.Attributes, Challenge: r.ChallengePassword != ""}
	if r.Key != nil {
		sum := r.Key.Hash()
		s.Key, s.SPKI = r.Key.String(), hex.EncodeToString(sum[:])
	}
	return s
}

// String shows the request without secrets. The methods of this file have value
// receivers, so that a Request and a pointer to one are equally safe to print.
func (r Request) String() string {
	s := r.shown()
	return fmt.Sprintf("request{subject %q key %s names %v extensions %d challengePassword %t}",
		s.Subject, s.Key, s.Names, len(s.Extensions), s.Challenge)
}

// Format keeps every verb of package fmt, %#v and %x too, to what String shows.
func (r Request) Format(f fmt.State, _ rune) { fmt.Fprint(f, r.String()) }

// LogValue implements slog.LogValuer.
func (r Request) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalJSON shows the request without secrets and without its DER; it is for
// views, not for storage.
func (r Request) MarshalJSON() ([]byte, error) { return json.Marshal(r.shown()) }
