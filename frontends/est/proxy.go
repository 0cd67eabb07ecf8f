package est

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A Proxy ends TLS for clients and passes their certificates on in a header. It
// must authenticate with a certificate of ours itself.
type Proxy struct {
	// Keys are those of the proxies' certificates: SHA-256 of the
	// SubjectPublicKeyInfo, hexadecimal. From nobody else a header is read.
	Keys []string `json:"keys"`

	// Header is the form: client-cert (RFC 9440), nginx (X-SSL-Client-Cert with
	// $ssl_client_escaped_cert), envoy (X-Forwarded-Client-Cert), or alb
	// (X-Amzn-Mtls-Clientcert). The proxy must remove it from what clients send.
	Header string `json:"header"`
}

// proxyForms are the headers, and how each holds a certificate in DER or PEM.
var proxyForms = map[string]struct {
	header string
	decode func(string) ([]byte, error)
}{
	"client-cert": {"Client-Cert", structured},
	"nginx":       {"X-Ssl-Client-Cert", escapedPEM},
	"envoy":       {"X-Forwarded-Client-Cert", envoy},
	"alb":         {"X-Amzn-Mtls-Clientcert", escapedPEM},
}

var errProxyHeader = errors.New("not a certificate in the form that is configured")

func (p *Proxy) check() error {
	if _, ok := proxyForms[p.Header]; !ok {
		return errors.New("proxy.header is client-cert, nginx, envoy or alb")
	}
	if len(p.Keys) == 0 {
		return errors.New("proxy.keys: say by the hashes of their keys which proxies are meant")
	}
	for _, k := range p.Keys {
		if b, err := hex.DecodeString(k); err != nil || len(b) != sha256.Size || k != strings.ToLower(k) {
			return errors.New("proxy.keys are SHA-256 hashes in lower-case hexadecimal")
		}
	}
	return nil
}

type proxiedKey struct{}

// proxied reports whether the request came by a proxy, whose connection is not
// the client's.
func proxied(r *http.Request) bool { return r.Context().Value(proxiedKey{}) != nil }

// through gives a request that a proxy passed on the certificate of its client,
// or none. Any other request stays as it is, whatever its headers say.
func (f *Frontend) through(r *http.Request, p *endpoint) (*http.Request, error) {
	if p.Proxy == nil || len(r.TLS.PeerCertificates) == 0 {
		return r, nil
	}
	sum := sha256.Sum256(r.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo)
	if !slices.Contains(p.Proxy.Keys, hex.EncodeToString(sum[:])) {
		return r, nil
	}
	if _, err := f.identify(r.Context(), r.TLS.PeerCertificates, p); err != nil {
		var no *refusal
		if errors.As(err, &no) {
			return nil, &refusal{status: http.StatusForbidden, cause: no.cause, detail: "The certificate of the proxy is not one of this CA that is in force."}
		}
		return nil, err
	}
	form := proxyForms[p.Proxy.Header]
	values := r.Header[form.header]
	state := &tls.ConnectionState{Version: r.TLS.Version, HandshakeComplete: true, ServerName: r.TLS.ServerName}
	if len(values) > 0 && values[0] != "" {
		if len(values) > 1 {
			return nil, refuse(http.StatusBadRequest, "The proxy sent more than one "+form.header+".")
		}
		cert, err := certificateIn(values[0], form.decode)
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "What the proxy sent as "+form.header+" is "+errProxyHeader.Error()+".")
		}
		state.PeerCertificates = []*x509.Certificate{cert}
	}
	f.d.Note(r.Context(), "proxy", hex.EncodeToString(sum[:]))
	r = r.WithContext(context.WithValue(r.Context(), proxiedKey{}, true))
	r.TLS = state
	return r, nil
}

func certificateIn(value string, decode func(string) ([]byte, error)) (*x509.Certificate, error) {
	text, err := decode(value)
	if err != nil {
		return nil, err
	}
	if block, rest := pem.Decode(text); block != nil {
		if block.Type != "CERTIFICATE" || len(strings.TrimSpace(string(rest))) > 0 {
			return nil, errProxyHeader
		}
		text = block.Bytes
	}
	return x509.ParseCertificate(text)
}

// structured reads a Byte Sequence (RFC 9440, Section 2.2; RFC 8941, Section 3.3.5).
func structured(value string) ([]byte, error) {
	inner, begins := strings.CutPrefix(strings.TrimSpace(value), ":")
	inner, ends := strings.CutSuffix(inner, ":")
	if !begins || !ends || strings.Contains(inner, ":") || inner == "" {
		return nil, errProxyHeader
	}
	return base64.StdEncoding.Strict().DecodeString(inner)
}

// escapedPEM leaves + alone, which AWS does not escape.
func escapedPEM(value string) ([]byte, error) {
	text, err := url.PathUnescape(value)
	return []byte(text), err
}

// envoy reads the one element that the proxy wrote: Hash=…;Cert="…". With more,
// another proxy's word stands beside it.
func envoy(value string) ([]byte, error) {
	if strings.Contains(value, ",") && !strings.Contains(value, `"`) || strings.Count(value, "Cert=") != 1 {
		return nil, errProxyHeader
	}
	_, rest, _ := strings.Cut(value, `Cert="`)
	text, after, ok := strings.Cut(rest, `"`)
	if !ok || strings.Contains(after, ",") {
		return nil, errProxyHeader
	}
	return escapedPEM(text)
}
