package initca

import (
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"time"

	"chancery/engine"
	"chancery/engine/names"
)

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
		// good for the name that local clients call it. Nobody can use that
		// against another machine. Loopback addresses need no mention: the
		// constraint is on DNS names (RFC 5280, Section 4.2.1.10).
		spec.Domains = append(domains[:len(domains):len(domains)], "localhost")
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
