package scep

import (
	"fmt"
	"testing"
)

// BenchmarkEnroll is the server's part of a PKCSReq, without HTTP: an ECDSA CA
// and an RSA RA key.
func BenchmarkEnroll(b *testing.B) {
	w := newWorld(b)
	challenge := w.challenge(0, "", "any")
	devices := make([]*device, 4)
	for i := range devices {
		devices[i] = w.device(rsaKey(b, i))
	}
	messages := make([][]byte, b.N)
	for i := range messages {
		d := devices[i%len(devices)]
		cn := fmt.Sprintf("d%d.test", i)
		messages[i] = d.message(sent{kind: "19", tx: cn, content: csr(b, d.key, challenge, cn)})
	}
	b.ResetTimer()
	for _, m := range messages {
		if a := w.do("POST", "/scep?operation=PKIOperation", m); a.code != 200 {
			b.Fatalf("HTTP %d", a.code)
		}
	}
	b.StopTimer()
	if n := w.issued(); n == 0 {
		b.Fatal("nothing was issued")
	}
}
