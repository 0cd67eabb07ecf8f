package est_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/engine"
	"chancery/frontends/internal/testca"
)

func TestEST_E013_Challenge(t *testing.T) {
	w := newWorld(t)
	csr := w.csr(newKey(t), want{cn: "dev.example.org"})
	a := w.client().post("simpleenroll", csr).want(t, 401)
	if !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), `Basic realm="`) {
		t.Errorf("%v", a.Header)
	}
	// Byte for byte, because libest compares the header's name so.
	conn, err := tls.Dial("tcp", w.server.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	found := false
	for s := bufio.NewScanner(conn); s.Scan(); {
		found = found || strings.HasPrefix(s.Text(), "WWW-Authenticate: Basic ")
	}
	if !found {
		t.Error("WWW-Authenticate is spelled otherwise")
	}
	if a := w.client().post("certs/simpleenroll", csr).want(t, 403); a.Header.Get("WWW-Authenticate") != "" {
		t.Error("a password is asked for where none is taken")
	}
}

func TestEST_XE008_Passwords(t *testing.T) {
	w := newWorld(t)
	good, native := w.grant(engine.Grant{}, "dev.example.org"), login{}
	made, secret, err := w.engine.CreateGrant(context.Background(), person, engine.Grant{Protocol: engine.Native})
	if err != nil {
		t.Fatal(err)
	}
	native = login{made.ID, secret}
	elsewhere := w.grant(engine.Grant{Endpoints: []string{"manual"}}, "dev.example.org")
	revoked := w.grant(engine.Grant{}, "dev.example.org")
	if err := w.engine.RevokeGrant(context.Background(), person, revoked.user); err != nil {
		t.Fatal(err)
	}
	expired := w.grant(engine.Grant{Expires: w.now.Add(time.Minute)}, "dev.example.org")
	w.now = w.now.Add(2 * time.Minute)
	csr := w.csr(newKey(t), want{cn: "dev.example.org"})
	uniform := ""
	for name, l := range map[string]login{
		"wrong password": {good.user, good.password + "x"}, "wrong user": {"somebody", good.password}, "no user": {"", good.password},
		"no password": {good.user, ""}, "swapped": {good.password, good.user}, "other protocol": native, "other label": elsewhere,
		"revoked": revoked, "expired": expired, "long": {good.user, strings.Repeat("x", 8000)}, "odd": {"\xff\x01", "\x00\xff"},
	} {
		a := w.client(l).post("simpleenroll", csr).want(t, 401)
		if uniform == "" {
			uniform = a.body
		}
		if a.body != uniform {
			t.Errorf("%s: the answer tells them apart: %s", name, a.body)
		}
	}
	text := base64.StdEncoding.EncodeToString(csr)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(good.user+":"+good.password))
	for header, status := range map[string]int{"": 401, "Basic": 401, "Basic !!!": 401, "Bearer " + good.password: 401, "Digest username=x": 401} {
		w.client().do("POST", "/.well-known/est/simpleenroll", text, "Content-Type", "application/pkcs10", "Authorization", header).want(t, status)
	}
	w.client().do("POST", "/.well-known/est/simpleenroll", text, "Content-Type", "application/pkcs10", "Authorization", basic, "Authorization", basic).want(t, 400)
	if w.issued() != 0 {
		t.Error("a certificate came of it")
	}
	w.client(good).post("simpleenroll", csr).want(t, 200)
}

func TestEST_XE008_GuessingIsSlowedDown(t *testing.T) {
	w := newWorld(t)
	good := w.grant(engine.Grant{}, "dev.example.org")
	try := func(from, password string) int {
		r, _ := http.NewRequest("POST", "/.well-known/est/simpleenroll", http.NoBody)
		r.RequestURI, r.RemoteAddr, r.TLS = "/.well-known/est/simpleenroll", from, &tls.ConnectionState{}
		r.SetBasicAuth(good.user, password)
		rec := newRecorder()
		w.server.Config.Handler.ServeHTTP(rec, r)
		return rec.Code
	}
	for range 30 {
		if code := try("192.0.2.1:1", "a wrong password of some length"); code != 401 {
			t.Fatal(code)
		}
	}
	if code := try("192.0.2.1:2", good.password); code != 429 {
		t.Errorf("after 30 wrong ones: %d", code)
	}
	if code := try("192.0.2.2:1", good.password); code != 415 { // as far as the body
		t.Errorf("from another network: %d", code)
	}
}

// leaf signs a client certificate outside of the engine.
func (w *world) leaf(ca engine.Issuer, edit func(*x509.Certificate)) *tls.Certificate {
	w.t.Helper()
	key := newKey(w.t)
	tmpl := &x509.Certificate{Subject: pkix.Name{CommonName: "dev.example.org"}, DNSNames: []string{"dev.example.org"}, SerialNumber: big.NewInt(77),
		NotBefore: w.now.Add(-time.Hour), NotAfter: w.now.Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature}
	if edit != nil {
		edit(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.Chain[0], key.Public(), ca.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (w *world) revoke(c *tls.Certificate, reason int) {
	w.t.Helper()
	row, err := w.engine.Identify(context.Background(), c.Certificate[0])
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.engine.Revoke(context.Background(), engine.Revocation{ID: row.CertID, Reason: reason, By: "olga"}); err != nil {
		w.t.Fatal(err)
	}
}

func TestEST_E015_E016_XE004_ClientCertificates(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.config["server"] = w.config["other"]
		e := w.config["server"]
		e.Profile = "server"
		w.config["server"] = e
	})
	good, held, revoked := w.enrolled("", "dev.example.org"), w.enrolled("", "dev.example.org"), w.enrolled("", "dev.example.org")
	w.revoke(held, 6)
	w.revoke(revoked, 4)
	stranger := testca.New(t, "main", w.now, 5) // of the same name
	c := w.issuers["main"]
	ca := &tls.Certificate{Certificate: [][]byte{c.Chain[0].Raw}, PrivateKey: c.Key}
	csr := w.csr(newKey(t), want{cn: "dev.example.org"})
	before := w.issued()
	for name, cert := range map[string]*tls.Certificate{
		"revoked": revoked, "held": held, "server only": w.enrolled("server/", "dev.example.org"), "other tenant's": w.enrolled("second/", "dev.example.org"),
		"not in the records": w.leaf(c, nil), "management": w.leaf(w.issuers[engine.ManagementAuthority], nil),
		"a stranger's": w.leaf(stranger, nil), "the CA's": ca,
		"claims to be ours": w.leaf(stranger, func(x *x509.Certificate) { x.AuthorityKeyId = c.Chain[0].SubjectKeyId }),
	} {
		if name == "server only" || name == "other tenant's" {
			before++
		}
		// Nothing but who it is stands in the way.
		x, err := x509.ParseCertificate(cert.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		spki := sha256.Sum256(x.RawSubjectPublicKeyInfo)
		w.held(engine.Principal("key:"+hex.EncodeToString(spki[:])), "dev.example.org")
		for _, op := range []string{"simpleenroll", "simplereenroll", "certs/simpleenroll"} {
			for range 2 { // the second time from what is remembered
				a := w.client(cert).post(op, csr)
				if a.StatusCode != 401 && a.StatusCode != 403 {
					t.Errorf("%s, %s: %d", name, op, a.StatusCode)
				}
			}
		}
	}
	if n := w.issued(); n != before {
		t.Errorf("%d certificates, not %d", n, before)
	}
	w.client(good).post("simplereenroll", csr).certs(t)
	w.revoke(good, 4) // no CRL says so yet
	w.client(good).post("simplereenroll", w.csr(newKey(t), want{cn: "dev.example.org"})).want(t, 403)
	w.now = w.now.AddDate(0, 0, 91)
	w.client(held).post("simplereenroll", csr).want(t, 403) // expired
}

func TestCertificateAloneWarrantsNoName(t *testing.T) {
	w := newWorld(t)
	device := w.enrolled("", "dev.example.org")
	c := w.client(device)
	c.post("simpleenroll", w.csr(newKey(t), want{cn: "dev.example.org"})).want(t, 403)
	c.post("simpleenroll", w.csr(newKey(t), want{cn: "other.example.org"})).want(t, 403)
	row, err := w.engine.Identify(context.Background(), device.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	w.held(engine.Principal("key:"+row.SPKI), "other.example.org")
	c.post("simpleenroll", w.csr(newKey(t), want{cn: "other.example.org"})).certs(t)
}

// held makes a grant for whoever has a key.
func (w *world) held(p engine.Principal, pattern string) { w.grant(engine.Grant{Holder: p}, pattern) }

func TestBothAreBoth(t *testing.T) {
	w := newWorld(t)
	l, device := w.grant(engine.Grant{}, "dev.example.org"), w.enrolled("", "dev.example.org")
	csr := func() []byte { return w.csr(newKey(t), want{cn: "dev.example.org"}) }
	w.client(l).post("both/simpleenroll", csr()).want(t, 401)
	w.client(device).post("both/simpleenroll", csr()).want(t, 401)
	w.client(device).post("both/simplereenroll", csr()).want(t, 401)
	w.client(device, login{l.user, "wrong"}).post("both/simpleenroll", csr()).want(t, 401)
	w.client(device, l).post("both/simpleenroll", csr()).certs(t)
	w.client(device, l).post("both/simplereenroll", csr()).certs(t)
	w.client(device, login{l.user, "wrong"}).post("simpleenroll", csr()).want(t, 401) // a wrong password is never passed over
}

func TestEST_E022_XE007_NoRegistrationAuthority(t *testing.T) {
	w := newWorld(t)
	ra := w.leaf(w.issuers["main"], func(x *x509.Certificate) {
		x.UnknownExtKeyUsage = append(x.UnknownExtKeyUsage, []int{1, 3, 6, 1, 5, 5, 7, 3, 28}) // id-kp-cmcRA
	})
	w.client(ra).post("simpleenroll", w.csr(newKey(t), want{cn: "any.example.org"})).want(t, 401)
}

func TestEST_XE003_OldTLS(t *testing.T) {
	w := newWorld(t)
	d := &net.Dialer{Timeout: 10 * time.Second}
	for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		conn, err := tls.DialWithDialer(d, "tcp", w.server.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, MinVersion: v, MaxVersion: v})
		if err == nil {
			conn.Close()
			t.Errorf("version %x was taken", v)
		}
	}
}
