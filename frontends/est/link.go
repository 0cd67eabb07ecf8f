package est

import (
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"net/http"

	"chancery/engine/pkcs10"
)

// exporterLabel and exporterSize are those of RFC 9266, Section 4.2.
const (
	exporterLabel = "EXPORTER-Channel-Binding"
	exporterSize  = 32
)

// link checks that the request was made for this connection: then nobody else
// passes it on (RFC 7030, Section 3.5). A challengePassword that is there must be
// right, also where none is wanted.
func (p *endpoint) link(r *http.Request, csr *pkcs10.Request) error {
	switch {
	case csr.ChallengePassword == "" && p.Linking != required:
		return nil
	case csr.ChallengePassword == "":
		return refuse(http.StatusBadRequest, "The request must hold a challengePassword: the tls-unique value of a TLS 1.2 connection (RFC 7030, Section 3.5), or the tls-exporter value (RFC 9266), in base64.")
	case proxied(r):
		return refuse(http.StatusForbidden, "A request that comes by a proxy cannot be tied to a connection: leave out the challengePassword.")
	case !bound(r.TLS, csr.ChallengePassword):
		return refuse(http.StatusForbidden, "The challengePassword is not the value of this connection: on TLS 1.2 tls-unique (RFC 7030, Section 3.5), on TLS 1.3 tls-exporter (RFC 9266), in base64. A password is sent by HTTP Basic authentication.")
	}
	return nil
}

// bound reports whether text is a channel binding of the connection.
func bound(s *tls.ConnectionState, text string) bool {
	is := false
	for _, value := range bindings(s) {
		if subtle.ConstantTimeCompare([]byte(base64.StdEncoding.EncodeToString(value)), []byte(text)) == 1 {
			is = true
		}
	}
	return is
}

// bindings are the values that are the connection's own. None is ever empty: on
// TLS 1.3 there is no tls-unique, and on a resumed session of TLS 1.2 it tells
// connections apart only with the extended master secret (RFC 7627), without
// which Go gives neither value.
func bindings(s *tls.ConnectionState) [][]byte {
	var all [][]byte
	if s.Version == tls.VersionTLS12 && len(s.TLSUnique) > 0 { // RFC 5929, Section 3
		all = append(all, s.TLSUnique)
	}
	// RFC 9266, Section 4.2: the context is there, and empty.
	if value, err := s.ExportKeyingMaterial(exporterLabel, []byte{}, exporterSize); err == nil && len(value) == exporterSize {
		all = append(all, value)
	}
	return all
}
