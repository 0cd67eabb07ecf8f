package initca

import (
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"net/netip"
	"slices"
	"time"

	"chancery/engine"
	"chancery/engine/names"
)

// loopback is where every machine finds itself (RFC 1122, Section 3.2.1.3; RFC
// 4291, Section 2.5.3).
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// sign makes a CA certificate, self-signed when parent is nil. A negative
// pathLen is no limit.
func (m *maker) sign(subject names.DN, key crypto.Signer, lifetime time.Duration, pathLen int, domains []string, parent *x509.Certificate, parentKey crypto.Signer) ([]byte, error) {
	now := m.Now()
	spec := engine.CASpec{
		Subject: subject, PublicKey: key.Public(), NotBefore: engine.NotBefore(now), NotAfter: now.Add(lifetime).Truncate(time.Second),
		PathLen: pathLen, Rand: m.Rand,
	}
	if len(domains) > 0 {
		// The server's own certificate comes from this CA too, and has to stay
		// good for what local clients call it. Nobody can use that against
		// another machine.
		spec.Domains = slices.Clone(domains)
		if !slices.Contains(domains, "localhost") {
			spec.Domains = append(spec.Domains, "localhost")
		}
		spec.Addresses = loopback
	}
	if m.StatusURL != "" && parent != nil {
		spec.Parent = []string{m.StatusURL + "/aia/" + hex.EncodeToString(parent.SubjectKeyId) + ".crt"}
	}
	if parent != nil {
		if parent.NotBefore.After(spec.NotBefore) {
			spec.NotBefore = parent.NotBefore
		}
		if parent.NotAfter.Before(spec.NotAfter) {
			spec.NotAfter = parent.NotAfter
		}
	}
	return engine.MakeCA(spec, parent, parentKey)
}
