package est_test

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"chancery/engine"
	"chancery/frontends/est"
	"chancery/frontends/internal/testca"
)

// A manufacturer makes devices with certificates of its own.
type manufacturer struct{ engine.Issuer }

func (m manufacturer) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.Chain[0].Raw}))
}

// device makes one, with a certificate that never ends, and says who it is.
func (m manufacturer) device(t *testing.T, notAfter time.Time) (*tls.Certificate, engine.Principal) {
	t.Helper()
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{Subject: pkix.Name{SerialNumber: "SN-4711"}, SerialNumber: big.NewInt(4711),
		NotBefore: time.Now().AddDate(-3, 0, 0), NotAfter: notAfter, KeyUsage: x509.KeyUsageDigitalSignature}, m.Chain[0], key.Public(), m.Key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(spki)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, engine.Principal("idevid:" + hex.EncodeToString(sum[:]))
}

func TestManufacturersCertificates(t *testing.T) {
	forever := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	maker, other := manufacturer{testca.New(t, "maker", time.Now(), 5)}, manufacturer{testca.New(t, "maker", time.Now(), 5)}
	w := newWorld(t, func(w *world) {
		w.config["new"] = est.Endpoint{Profile: "device", Manufacturers: []string{maker.pem()}}
		w.config["asked"] = est.Endpoint{Profile: "manual", Manufacturers: []string{maker.pem()}}
	})
	device, who := maker.device(t, forever)
	csr := func() []byte { return w.csr(newKey(t), want{cn: "dev.example.org"}) }
	c := w.client(device)
	c.post("new/simpleenroll", csr()).want(t, 403) // who it is warrants no name
	c.post("simpleenroll", csr()).want(t, 401)     // where no manufacturer is named
	c.post("new/simplereenroll", csr()).want(t, 403)
	w.held(who, "dev.example.org")
	c.post("new/simpleenroll", csr()).certs(t)
	expired, second := maker.device(t, time.Now().Add(-time.Hour))
	w.held(second, "dev.example.org")
	w.client(expired).post("new/simpleenroll", csr()).want(t, 401)
	foreign, third := other.device(t, forever)
	w.held(third, "dev.example.org")
	w.client(foreign).post("new/simpleenroll", csr()).want(t, 401)
	// Not even where our own root is named does that make a revoked one of ours good.
	ours := manufacturer{w.issuers["main"]}
	w.config["loop"] = est.Endpoint{Profile: "manual", Manufacturers: []string{ours.pem()}}
	w.restart()
	lost := w.enrolled("", "dev.example.org")
	w.revoke(lost, 4)
	w.client(lost).post("loop/simpleenroll", csr()).want(t, 401)
	// An officer sees what the manufacturer calls it.
	unknown, _ := maker.device(t, forever)
	request := csr()
	w.client(unknown).post("asked/simpleenroll", request).want(t, 202)
	r := w.pending()
	if len(r.Claims) != 1 || !strings.Contains(r.Claims[0].Value, "SN-4711") {
		t.Errorf("%+v", r.Claims)
	}
	if _, err := w.engine.Approve(t.Context(), person, r.ID, r.Digest, ""); err != nil {
		t.Fatal(err)
	}
	w.client(unknown).post("asked/simpleenroll", request).certs(t)
	for _, bad := range []string{"", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if _, err := est.New(est.Config{"default": {Profile: "device", Manufacturers: []string{bad}}}, w.deps); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
