package native

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"chancery/engine"
)

// BenchmarkSubmitHandler is what the frontend itself costs, on an engine that
// costs nothing.
func BenchmarkSubmitHandler(b *testing.B) {
	w := newBench(b)
	leaf := w.issuing.leaf(nil)
	w.store(w.issuing, leaf)
	w.engine.answer = engine.Issued{RequestID: requestID, ID: engine.CertID{Issuer: "aa", Serial: "bb"}, Cert: leaf.Raw, Chain: [][]byte{w.issuing.cert.Raw}}
	body := jsonBody(b, map[string]any{"csr": strings.Repeat("MAMCAQAw", 60), "profile": "service"})
	for name, token := range map[string]string{"token": goodToken, "certificate": ""} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest("POST", prefix+"/requests", nil)
			r.Header = http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {"k"}}
			if token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
			} else {
				r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
			}
			b.ReportAllocs()
			for b.Loop() {
				one := *r
				one.Body, one.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
				w.enroll.ServeHTTP(httptest.NewRecorder(), &one)
				w.engine.submitted, w.engine.calls = w.engine.submitted[:0], w.engine.calls[:0]
			}
		})
	}
}
