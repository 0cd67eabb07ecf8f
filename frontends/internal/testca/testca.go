// Package testca makes CAs for tests of frontends on the real engine.
package testca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"chancery/engine"
	"chancery/engine/names"
)

// New makes a CA of its own root, called "Test " and its authority, which began
// yesterday and ends after so many years. It signs with ECDSA.
func New(t testing.TB, authority string, now time.Time, years int) engine.Issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dn, err := names.ParseDNString("CN=Test " + authority)
	if err != nil {
		t.Fatal(err)
	}
	der, err := engine.MakeCA(engine.CASpec{
		Subject: dn, PublicKey: key.Public(), NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(years, 0, 0), Rand: rand.Reader,
	}, nil, key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return engine.Issuer{Authority: authority, Chain: []*x509.Certificate{ca}, Key: key}
}
