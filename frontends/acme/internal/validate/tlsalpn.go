package validate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"chancery/engine/names"
)

// acmeTLS is the only protocol that is offered (RFC 8737, Section 6.2).
const acmeTLS = "acme-tls/1"

var (
	idPeAcmeIdentifier = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31} // RFC 8737, Section 6.1
	idSubjectAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}
)

// TLSALPN01 makes a TLS handshake with the host and looks at the certificate
// that it shows (RFC 8737, Section 3; RFC 8738, Section 6). The error is an
// *Error.
func (v *Validator) TLSALPN01(ctx context.Context, name names.Name, digest [sha256.Size]byte) error {
	ctx, cancel := context.WithTimeout(ctx, Deadline)
	defer cancel()
	conn, err := v.connect(ctx, name.Value, v.tlsPort)
	if err != nil {
		return err
	}
	defer conn.Close()
	secure := tls.Client(conn, &tls.Config{
		// RFC 8737, Section 3: the ALPN extension has the one protocol name, and
		// SNI only the name that is validated.
		NextProtos: []string{acmeTLS}, ServerName: serverName(name),
		MinVersion:         tls.VersionTLS12, // Section 4
		InsecureSkipVerify: true,             // Section 4: not the authentication method of RFC 5280
		// No ClientSessionCache: each handshake shows the certificate.
	})
	if err := secure.Handshake(); err != nil {
		note(ctx, "tls", "no TLS handshake")
		if spokeTLS(err) {
			return failure(TLS, "the TLS handshake with %s failed: it must admit TLS 1.2 or later and the protocol %s", name.Value, acmeTLS)
		}
		return unreachable(name.Value)
	}
	// Section 4: no data is exchanged and the connection is closed at once.
	state := secure.ConnectionState()
	conn.Close()
	note(ctx, "tls", "%s, protocol %q, %d certificates", tls.VersionName(state.Version), state.NegotiatedProtocol, len(state.PeerCertificates))
	if state.NegotiatedProtocol != acmeTLS {
		return failure(TLS, "%s did not select the protocol %s", name.Value, acmeTLS)
	}
	if len(state.PeerCertificates) != 1 {
		return failure(IncorrectResponse, "%s shows %d certificates for %s; it must be one", name.Value, len(state.PeerCertificates), acmeTLS)
	}
	if why := wrong(state.PeerCertificates[0], name, digest); why != "" {
		return failure(IncorrectResponse, "the certificate that %s shows for %s %s", name.Value, acmeTLS, why)
	}
	return nil
}

// spokeTLS tells a server that speaks TLS, but not as it must, from one that does
// something else or nothing.
func spokeTLS(err error) bool {
	var other tls.RecordHeaderError
	return !errors.As(err, &other) && strings.Contains(err.Error(), "tls: ")
}

// serverName is what SNI says: the name, or for an address its name for the
// reverse look-up (RFC 8738, Section 6; RFC 1034; RFC 3596, Section 2.5).
func serverName(n names.Name) string {
	a, err := netip.ParseAddr(n.Value)
	if n.Type != names.IP || err != nil {
		return n.Value
	}
	var labels []string
	if a.Is4() {
		for _, b := range a.AsSlice() {
			labels = append(labels, strconv.Itoa(int(b)))
		}
		slices.Reverse(labels)
		return strings.Join(labels, ".") + ".in-addr.arpa"
	}
	labels = strings.Split(hex.EncodeToString(a.AsSlice()), "")
	slices.Reverse(labels)
	return strings.Join(labels, ".") + ".ip6.arpa"
}

// only: RFC 8737, Section 3: the name being validated and no other entries,
// compared without case. RFC 8738, Section 6: an address likewise.
func only(san []byte, name names.Name) bool {
	all, err := names.ParseSAN(san)
	if err != nil || len(all) != 1 || all[0] != name {
		return false
	}
	// The parser takes a name that is there twice for one.
	alone, err := names.MarshalSAN(all)
	return err == nil && len(san) == len(alone)
}

// wrong says what is wrong with a certificate, or nothing. Who signed it and
// until when it is valid does not matter (RFC 8737, Section 4).
func wrong(c *x509.Certificate, name names.Name, digest [sha256.Size]byte) string {
	var identifiers, alternatives int
	for _, x := range c.Extensions {
		switch {
		case x.Id.Equal(idSubjectAltName):
			alternatives++
			if !only(x.Value, name) {
				return "must have this name as its only subject alternative name"
			}
		case x.Id.Equal(idPeAcmeIdentifier):
			identifiers++
			if !x.Critical {
				return "has the acmeIdentifier extension, but not critical"
			}
			value := cryptobyte.String(x.Value)
			var octets cryptobyte.String
			if !value.ReadASN1(&octets, cryptobyteasn1.OCTET_STRING) || !value.Empty() || len(octets) != sha256.Size {
				return "has an acmeIdentifier extension that is not an OCTET STRING of 32 octets"
			}
			if !bytes.Equal(octets, digest[:]) {
				return "is for another key authorization than that of this account and token"
			}
		}
	}
	switch {
	case alternatives != 1:
		return "must have one subjectAltName extension"
	case identifiers != 1:
		return "must have one acmeIdentifier extension (1.3.6.1.5.5.7.1.31)"
	}
	return ""
}
