package est_test

import (
	"crypto/tls"
	"encoding/base64"
	"testing"

	"chancery/engine"
)

// binding is the value that belongs to the client's connection.
func (c *client) binding(kind string) string {
	c.w.t.Helper()
	s := c.get("cacerts").TLS
	if kind == "tls-unique" {
		return base64.StdEncoding.EncodeToString(s.TLSUnique)
	}
	value, err := s.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
	if err != nil {
		c.w.t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(value)
}

func only(version uint16) func(*tls.Config) {
	return func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version }
}

func TestEST_E018_E019_XE001_XE002_Linking(t *testing.T) {
	w := newWorld(t)
	l := w.grant(engine.Grant{}, "dev.example.org")
	for _, tt := range []struct {
		name    string
		version uint16
		kind    string
		status  int
	}{
		{"tls-unique on 1.2", tls.VersionTLS12, "tls-unique", 200},
		{"tls-exporter on 1.2", tls.VersionTLS12, "tls-exporter", 200},
		{"tls-exporter on 1.3", tls.VersionTLS13, "tls-exporter", 200},
	} {
		for _, label := range []string{"", "linked/"} {
			c, relayed := w.client(l, only(tt.version)), w.client(l, only(tt.version))
			key, value := newKey(t), c.binding(tt.kind)
			csr := w.csr(key, want{cn: "dev.example.org", challenge: value})
			if a := c.post(label+"simpleenroll", csr); a.StatusCode != tt.status {
				t.Errorf("%s: %d %s", tt.name, a.StatusCode, a.body)
			}
			// The same over another connection: somebody passes it on.
			relayed.post(label+"simpleenroll", csr).want(t, 403)
			for _, wrong := range []string{"AAAA", value + "=", " ", "password", value[:len(value)-4]} {
				c.post(label+"simpleenroll", w.csr(key, want{cn: "dev.example.org", challenge: wrong})).want(t, 403)
			}
		}
	}
	// There is no tls-unique on TLS 1.3, and nothing is not a value.
	c := w.client(l, only(tls.VersionTLS13))
	if c.binding("tls-unique") != "" {
		t.Error("tls-unique on TLS 1.3")
	}
	key := newKey(t)
	for _, label := range []string{"", "linked/"} {
		csr := withAttribute(t, w.csr(key, want{cn: "dev.example.org"}), key, oidChallenge, "")
		c.post(label+"simpleenroll", csr).want(t, 400)
	}
}

func TestEST_E020_LinkingRequired(t *testing.T) {
	w := newWorld(t)
	c := w.client(w.grant(engine.Grant{}, "dev.example.org"))
	c.post("linked/simpleenroll", w.csr(newKey(t), want{cn: "dev.example.org"})).want(t, 400)
	if w.issued() != 0 {
		t.Error("a certificate came of it")
	}
}

func TestEST_E021_ResumedSessions(t *testing.T) {
	w := newWorld(t)
	l := w.grant(engine.Grant{}, "dev.example.org")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := tls.NewLRUClientSessionCache(4)
		with := func(c *tls.Config) { only(version)(c); c.ClientSessionCache = cache }
		first := w.client(l, with)
		old := first.binding("tls-exporter")
		first.http.CloseIdleConnections()
		c := w.client(l, with)
		if !c.get("cacerts").TLS.DidResume {
			t.Fatalf("%x: the session was not resumed", version)
		}
		c.post("linked/simpleenroll", w.csr(newKey(t), want{cn: "dev.example.org", challenge: old})).want(t, 403)
		c.post("linked/simpleenroll", w.csr(newKey(t), want{cn: "dev.example.org", challenge: c.binding("tls-exporter")})).certs(t)
	}
}

// TestLinkedRequestPends shows that a request which must be signed anew for each
// connection is the same request all the same.
func TestLinkedRequestPends(t *testing.T) {
	w := newWorld(t)
	l, key := w.grant(engine.Grant{}, "dev.example.org"), newKey(t)
	for range 3 {
		c := w.client(l)
		c.post("manual/simpleenroll", w.csr(key, want{cn: "dev.example.org", challenge: c.binding("tls-exporter")})).want(t, 202)
	}
	r := w.pending()
	if _, err := w.engine.Approve(t.Context(), person, r.ID, r.Digest, ""); err != nil {
		t.Fatal(err)
	}
	c := w.client(l)
	c.post("manual/simpleenroll", w.csr(key, want{cn: "dev.example.org", challenge: c.binding("tls-exporter")})).certs(t)
	if w.issued() != 1 {
		t.Error("more than one certificate")
	}
}
