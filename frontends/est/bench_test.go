package est_test

import (
	"testing"

	"chancery/engine"
)

// BenchmarkReenroll renews over one kept-alive mTLS connection: everything but
// making the client's key, the client's request included. Each is two commits.
func BenchmarkReenroll(b *testing.B) {
	w := newWorld(b)
	c := w.client(w.enrolled("", "dev.example.org"))
	for b.Loop() {
		c.post("simplereenroll", w.csr(newKey(b), want{cn: "dev.example.org"})).want(b, 200)
	}
}

// BenchmarkEnroll enrolls by a password over one kept-alive connection.
func BenchmarkEnroll(b *testing.B) {
	w := newWorld(b)
	c := w.client(w.grant(engine.Grant{}, "dev.example.org"))
	for b.Loop() {
		c.post("simpleenroll", w.csr(newKey(b), want{cn: "dev.example.org"})).want(b, 200)
	}
}
