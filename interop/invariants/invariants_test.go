package invariants

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"chancery/engine"
	"chancery/engine/names"
)

// A world is a state in which all is well, and what it was made with.
type world struct {
	*State
	*History
	t    *testing.T
	ca   *x509.Certificate
	key  *ecdsa.PrivateKey
	now  time.Time
	ders map[string][]byte // by request
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Now().Truncate(time.Second), ders: map[string][]byte{}}
	w.key = w.newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: w.now, NotAfter: w.now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, SubjectKeyId: []byte{1, 2}, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, w.key.Public(), w.key)
	w.must(err)
	w.ca, err = x509.ParseCertificate(der)
	w.must(err)
	w.History = NewHistory(w.ca)
	w.State = &State{
		Requests: map[string]*engine.Request{}, Raws: map[string][]byte{}, Trails: map[string][]byte{},
		CRLs: map[string]*engine.CRL{}, Grants: map[string]*engine.Grant{"g": {ID: "g", Uses: 1, Spent: 1}},
	}
	w.add("one", 11).Reserved = []string{"g"}
	revoked := w.add("two", 12)
	w.row(revoked.ID).Status, w.row(revoked.ID).RevokedAt = engine.Revoked, w.now.Add(-time.Minute)
	w.add("three", 13).Votes = []engine.Vote{{By: "olga"}}
	w.list(5, w.now, 12)
	w.must(w.History.Issued("one", w.ders["one"]))
	c, err := x509.ParseCertificate(w.ders["two"])
	w.must(err)
	w.History.Revoked(c)
	w.History.Approved("three", "olga")
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	return key
}

// add makes a request with its certificate.
func (w *world) add(request string, serial int64) *engine.Request {
	key, name := w.newKey(), request+".test"
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	w.must(err)
	der := w.sign(serial, key, name)
	c, err := x509.ParseCertificate(der)
	w.must(err)
	spki := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	n, err := names.Parse(names.DNS, name)
	w.must(err)
	row := &engine.Certificate{
		CertID: id(c.AuthorityKeyId, c.SerialNumber.Bytes()), Status: engine.Good, NotAfter: c.NotAfter, SPKI: hex.EncodeToString(spki[:]),
		Request: request, Names: []names.Name{n}, Profile: "web",
	}
	r := &engine.Request{ID: request, State: engine.StateIssued, Cert: row.CertID}
	w.Certificates = append(w.Certificates, row)
	w.Requests[request] = r
	w.Raws[request+".cert"], w.Raws[request+".body"] = der, csr
	w.Trails[request] = fmt.Appendf(nil, `{"w":[{"n":"dns:%s","b":"http-01 x"}]}`, name)
	w.ders[request] = der
	return r
}

func (w *world) sign(serial int64, key *ecdsa.PrivateKey, name string) []byte {
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{name}, NotBefore: w.now, NotAfter: w.now.Add(time.Hour),
	}, w.ca, key.Public(), w.key)
	w.must(err)
	return der
}

func (w *world) row(request string) *engine.Certificate {
	for _, c := range w.Certificates {
		if c.Request == request {
			return c
		}
	}
	w.t.Fatal("no such certificate")
	return nil
}

// list makes the current list.
func (w *world) list(number int64, at time.Time, serials ...int64) []byte {
	l := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: at, NextUpdate: at.Add(time.Hour)}
	for _, s := range serials {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: at})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, w.ca, w.key)
	w.must(err)
	key := hex.EncodeToString(w.ca.SubjectKeyId)
	w.CRLs[key] = &engine.CRL{Issuer: key, DER: der}
	return der
}

// Each promise that a state or an answer breaks is found, and nothing is found
// where all is well.
func TestBrokenPromisesAreFound(t *testing.T) {
	for _, tt := range []struct {
		says string
		do   func(w *world)
	}{
		{"", func(*world) {}},
		{"", func(w *world) { w.list(6, w.now.Add(time.Second), 12) }},
		{"I1: certificate", func(w *world) { delete(w.Requests, "one") }},
		{"I1: request one was to become", func(w *world) { w.Requests["one"].Cert.Serial = "ff" }},
		{"I1: what was signed for request one is not", func(w *world) { w.intents["one"] = []byte("another TBS") }},
		{"I1: the signature of", func(w *world) {
			der := w.Raws["three.cert"]
			der[len(der)-1] ^= 1
		}},
		{"I2: one was acknowledged as", func(w *world) { w.Certificates = w.Certificates[1:]; delete(w.Requests, "one"); w.Grants = nil }},
		{"I2: one was acknowledged with other bytes", func(w *world) { w.Raws["one.cert"] = w.sign(11, w.newKey(), "one.test") }},
		{"I2: request one has lost its body", func(w *world) { delete(w.Raws, "one.body") }},
		{"I2: the bytes under \"one.trial.1\" are nobody's", func(w *world) { w.Raws["one.trial.1"] = nil }},
		{"I2: request one is issued and its certificate", func(w *world) { w.Certificates = w.Certificates[1:] }},
		{"I2: the revocation of", func(w *world) { w.row("two").Status = engine.Good }},
		{"I2: an approval of request three", func(w *world) { w.Requests["three"].Votes = nil }},
		{"I3: serial number", func(w *world) { w.Certificates = append(w.Certificates, w.row("one")) }},
		{"I3: request one has the certificates", func(w *world) { w.row("three").Request = "one" }},
		{"I3: one key has the certificates", func(w *world) { w.row("three").SPKI = w.row("one").SPKI }},
		{"I3: request one is still to be signed", func(w *world) { w.Requests["one"].State = engine.Issuing }},
		{"I3: request one is denied", func(w *world) { w.Requests["one"].State = engine.StateDenied }},
		{"I4: ", func(w *world) { w.Trails["one"] = []byte(`{}`) }},
		{"I4: ", func(w *world) { w.Trails["one"] = []byte(`{"w":[{"n":"dns:other.test","b":"x"}]}`) }},
		{"has another key than request one asked for", func(w *world) { w.Raws["one.body"] = w.Raws["two.body"] }},
		{"I5: ", func(w *world) { w.list(6, w.now.Add(time.Second)) }},
		{"I6: list 5", func(w *world) { w.must(w.Listed(w.list(7, w.now, 12))); w.list(5, w.now, 12) }},
		{"I6: list 8", func(w *world) { w.must(w.Listed(w.list(7, w.now, 12))); w.list(8, w.now.Add(-time.Minute), 12) }},
		{"I7: grant g of 1 uses", func(w *world) { w.Grants["g"].Reserved = 1 }},
		{"I7: grant g says 0 spent", func(w *world) { w.Grants["g"].Spent = 0 }},
	} {
		w := newWorld(t)
		tt.do(w)
		err := w.Check(w.State)
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%q: found %v", tt.says, err)
		}
	}
}

// What is decided once ends in exactly that certificate.
func TestIntentsAreRemembered(t *testing.T) {
	w := newWorld(t)
	r := w.add("four", 14)
	rows := w.Certificates
	w.Certificates, r.State = rows[:3], engine.Issuing
	w.must(w.Check(w.State))
	w.Certificates, r.State = rows, engine.StateIssued
	w.must(w.Check(w.State)) // the same TBS
	r.State, w.Certificates = engine.Received, rows[:3]
	if err := w.Check(w.State); err == nil || !strings.Contains(err.Error(), "I1: request four was decided") {
		t.Errorf("found %v", err)
	}
}

// Two answers for one question.
func TestTwoAnswers(t *testing.T) {
	w := newWorld(t)
	if err := w.Issued("one", w.ders["two"]); err == nil {
		t.Error("nothing is found")
	}
	if len(w.Lost(w.State)) != 0 {
		t.Error("something is lost")
	}
	w.Certificates = nil
	if lost := w.Lost(w.State); len(lost) == 0 {
		t.Error("nothing is lost")
	}
}
