package acme

import (
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"chancery/engine"
)

func TestACME_A099_A100_A103_XJ006_XJ007_WhoMayRevoke(t *testing.T) {
	w := newWorld(t)
	url := w.url("revoke-cert")
	owner := w.client()
	key, otherKey := leafKey(t), leafKey(t)
	cert := func() []byte { return owner.issue(key, "a.example.org", "b.example.org")[0] }
	other := owner.issue(otherKey, "c.example.org")[0]

	der := cert()
	stranger := w.client()
	w.want("XJ-007 stranger", stranger.post(url, revocation(der, "")), 403, unauthorized)
	stranger.ready("a.example.org")
	w.want("authorized for some names", stranger.post(url, revocation(der, "")), 403, unauthorized)
	w.want("another certificate's key", (&client{w: w, key: otherKey, alg: "ES256"}).postKey(url, revocation(der, "")), 403, unauthorized)
	// XJ-006: the right key shown, another one signs.
	forged := &client{w: w, key: key, alg: "ES256"}
	body := stranger.jws(forged.header(forged.byJWK(), w.nonce(), url), revocation(der, ""))
	w.want("XJ-006", w.send("POST", url, joseType, body), 400, malformed)
	w.want("an account's key", stranger.postKey(url, revocation(der, "")), 403, unauthorized)
	if w.engine.status(der) != engine.Good {
		t.Fatal("revoked")
	}

	if a := w.ok("owner", owner.post(url, revocation(der, "1")), 200); len(a.body) != 0 {
		t.Errorf("%s", a.body)
	}
	w.want("A-100", owner.post(url, revocation(der, "1")), 400, alreadyRevoked)
	if w.engine.status(der) != engine.Revoked || w.engine.status(other) != engine.Good {
		t.Error("not as it should be")
	}
	der = cert()
	w.ok("the certificate's key", forged.postKey(url, revocation(der, "1")), 200)
	der = cert()
	stranger.ready("b.example.org")
	w.want("what it cannot know", stranger.post(url, revocation(der, "1")), 400, badRevocationReason)
	if w.engine.status(der) != engine.Good {
		t.Error("revoked")
	}
	w.ok("authorized for all names", stranger.post(url, revocation(der, "")), 200)
	der = cert()
	w.advance(authzLife)
	w.want("no longer", stranger.post(url, revocation(der, "")), 403, unauthorized)
}

func TestACME_A101_Reasons(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	for _, reason := range []string{"0", "1", "3", "4", "5", "9"} {
		w.ok(reason, c.post(w.url("revoke-cert"), revocation(c.issue(leafKey(t), host)[0], reason)), 200)
	}
	der := c.issue(leafKey(t), host)[0]
	for _, reason := range []string{"2", "6", "7", "8", "10", "-1", "11", "1099511627776"} {
		w.want(reason, c.post(w.url("revoke-cert"), revocation(der, reason)), 400, badRevocationReason)
	}
	for _, reason := range []string{`"1"`, "1.5", "[]", "true", "1e400", "99999999999999999999"} {
		w.want(reason, c.post(w.url("revoke-cert"), revocation(der, reason)), 400, malformed)
	}
	if w.engine.status(der) != engine.Good {
		t.Error("revoked")
	}
}

func TestACME_A102_OtherCertificates(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	key := leafKey(t)
	der := c.issue(key, host)[0]
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	// Another CA's with our serial, issuer name and key identifiers.
	caKey := leafKey(t)
	ca := &x509.Certificate{Subject: cert.Issuer, SubjectKeyId: cert.AuthorityKeyId}
	foreign, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: cert.SerialNumber, DNSNames: cert.DNSNames, NotBefore: cert.NotBefore, NotAfter: cert.NotAfter}, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	byKey := &client{w: w, key: key, alg: "ES256"}
	for _, signer := range []func(url, payload string) *answer{c.post, byKey.postKey} {
		w.want("foreign", signer(w.url("revoke-cert"), revocation(foreign, "")), 404, malformed)
		w.want("garbage", signer(w.url("revoke-cert"), revocation([]byte("x"), "")), 400, malformed)
		w.want("trailing", signer(w.url("revoke-cert"), revocation(append(der, 0), "")), 400, malformed)
		w.want("empty", signer(w.url("revoke-cert"), `{}`), 400, malformed)
		w.want("not base64url", signer(w.url("revoke-cert"), `{"certificate":"MII="}`), 400, malformed)
		w.want("no payload", signer(w.url("revoke-cert"), ""), 400, malformed)
	}
	w.advance(8 * 24 * time.Hour)
	w.want("expired", c.post(w.url("revoke-cert"), revocation(der, "")), 400, malformed)
	if w.engine.status(der) != engine.Good {
		t.Error("revoked")
	}
}
