package est_test

import (
	"crypto/ecdsa"
	"testing"

	"chancery/engine"
	"chancery/frontends/internal/testca"
)

// TestRenewAfterExpiry is about the device that cannot be visited.
func TestRenewAfterExpiry(t *testing.T) {
	w := newWorld(t, func(w *world) {
		p := w.setup.Policy.Profiles["device"]
		p.LateRenewal = 30 * engine.Duration(24*60*60*1e9)
		w.setup.Policy.Profiles["device"] = p
	})
	device, lost, other := w.enrolled("", "dev.example.org"), w.enrolled("", "dev.example.org"), w.enrolled("other/", "dev.example.org")
	stranger := w.leaf(testca.New(t, "main", w.now, 5), nil)
	w.revoke(lost, 4)
	w.now = w.now.AddDate(0, 0, 110) // of 90 days
	same := w.csr(device.PrivateKey.(*ecdsa.PrivateKey), want{cn: "dev.example.org"})
	w.client(device).post("simplereenroll", w.csr(newKey(t), want{cn: "dev.example.org"})).want(t, 403) // another key
	w.client(device).post("simplereenroll", w.csr(device.PrivateKey.(*ecdsa.PrivateKey), want{cn: "evil.example.org"})).want(t, 403)
	w.client(device).post("simpleenroll", same).want(t, 401) // for renewals alone
	w.client(lost).post("simplereenroll", w.csr(lost.PrivateKey.(*ecdsa.PrivateKey), want{cn: "dev.example.org"})).want(t, 403)
	w.client(other).post("other/simplereenroll", w.csr(other.PrivateKey.(*ecdsa.PrivateKey), want{cn: "dev.example.org"})).want(t, 403) // off by default
	w.client(other).post("simplereenroll", w.csr(other.PrivateKey.(*ecdsa.PrivateKey), want{cn: "dev.example.org"})).want(t, 403)
	w.client(stranger).post("simplereenroll", w.csr(stranger.PrivateKey.(*ecdsa.PrivateKey), want{cn: "dev.example.org"})).want(t, 403)
	if x := w.client(device).post("simplereenroll", same).certs(t)[0]; !x.NotAfter.After(w.now) {
		t.Error(x.NotAfter)
	}
	w.now = w.now.AddDate(0, 0, 11)
	w.client(device).post("simplereenroll", same).want(t, 403) // too late
}
