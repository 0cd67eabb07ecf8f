package scep

import (
	"context"
	"crypto/rsa"
	"slices"
	"strings"

	"chancery/frontends/internal/cms"
)

// A quirk is what one kind of client needs and no standard says. What does no
// harm to others (spaces for plus signs, a path after the endpoint's, SHA-384
// among the capabilities, rsaEncryption in signatures) is done for everybody and
// is not in this table.
type quirk struct {
	client string // and where it was seen
	agent  string // what its User-Agent begins with
	legacy string // only at endpoints that admit this

	rsaOnly bool // GetCACert leaves out certificates of other keys
}

// quirks is the table.
var quirks = []quirk{
	{
		client: "micromdm scepclient 2.1.0 (Debian package scep): encrypts to every certificate of GetCACert and panics at one that is not RSA; always sends DES",
		agent:  "Go-http-client/", legacy: legacyDES, rsaOnly: true,
	},
}

func (e *endpoint) quirk(agent string) quirk {
	for _, q := range quirks {
		if strings.HasPrefix(agent, q.agent) && slices.Contains(e.Legacy, q.legacy) {
			return q
		}
	}
	return quirk{}
}

// bundle is the RA's certificate, then the chain of the CA, the root last (RFC
// 8894, Section 4.2.1.2).
func (f *Frontend) bundle(ctx context.Context, q quirk) ([]byte, error) {
	keys, err := f.deps.RA.Keys(ctx, false)
	if err != nil {
		return nil, err
	}
	chain, err := f.deps.chain(ctx)
	if err != nil {
		return nil, err
	}
	all := [][]byte{keys[0].Certificate.Raw}
	for _, c := range chain {
		if _, ok := c.PublicKey.(*rsa.PublicKey); ok || !q.rsaOnly {
			all = append(all, c.Raw)
		}
	}
	return cms.Degenerate(all, nil)
}
