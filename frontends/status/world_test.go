package status

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	xocsp "golang.org/x/crypto/ocsp"

	"chancery/engine"
	"chancery/engine/ocsp"
)

var testNow = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

const keyID = "00aa11bb22cc33dd44ee55ff66778899aabbccdd"

// fake answers with bytes that depend on the request alone, so that two ways
// of sending one request can be compared.
type fake struct {
	issuer *x509.Certificate
	err    error
}

func (f *fake) CRL(_ context.Context, id string) (*engine.CRL, error) {
	if f.err != nil {
		return nil, f.err
	}
	if id != keyID && id != keyID+"-7" && id != keyID+"-delta" {
		return nil, engine.ErrNoCertificate
	}
	return &engine.CRL{DER: []byte("0crl"), Number: "77", ThisUpdate: testNow.Add(-time.Hour), NextUpdate: testNow.Add(24 * time.Hour)}, nil
}

func (f *fake) OCSP(_ context.Context, request []byte) engine.OCSPAnswer {
	if _, err := ocsp.ParseRequest(request); err != nil {
		return engine.OCSPAnswer{DER: ocsp.ErrorResponse(ocsp.MalformedRequest)}
	}
	sum := sha256.Sum256(request)
	return engine.OCSPAnswer{DER: sum[:], ThisUpdate: testNow.Add(-time.Hour), NextUpdate: testNow.Add(time.Hour)}
}

func (f *fake) Issuer(id string) (*x509.Certificate, error) {
	if f.err != nil {
		return nil, f.err
	}
	if id != keyID {
		return nil, engine.ErrNoCertificate
	}
	return f.issuer, nil
}

func testCA(t testing.TB) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: testNow.Add(-time.Hour), NotAfter: testNow.Add(1000 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start serves the frontend as it is meant to be mounted: before a mux that
// cleans paths.
func start(t testing.TB, f *fake) (*httptest.Server, *http.Client) {
	t.Helper()
	fe := New(Deps{Engine: f, Now: func() time.Time { return testNow }, Log: slog.New(slog.DiscardHandler)})
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "other", http.StatusTeapot) })
	srv := httptest.NewServer(fe.Before(mux))
	t.Cleanup(srv.Close)
	c := srv.Client()
	c.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		t.Errorf("redirected to %s", r.URL)
		return http.ErrUseLastResponse
	}
	return srv, c
}

type reply struct {
	status int
	header http.Header
	body   []byte
}

// get sends the path exactly as it is.
func get(t testing.TB, srv *httptest.Server, c *http.Client, method, path string, header ...string) reply {
	t.Helper()
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Opaque = "//" + u.Host + path
	req := &http.Request{Method: method, URL: u, Host: u.Host, Header: http.Header{}}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return do(t, c, req)
}

func post(t testing.TB, srv *httptest.Server, c *http.Client, body []byte) reply {
	t.Helper()
	req, err := http.NewRequest("POST", srv.URL+"/ocsp", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/ocsp-request")
	return do(t, c, req)
}

func do(t testing.TB, c *http.Client, req *http.Request) reply {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, body}
}

func ocspRequest(t testing.TB, ca *x509.Certificate, serial *big.Int) []byte {
	t.Helper()
	der, err := xocsp.CreateRequest(&x509.Certificate{SerialNumber: serial}, ca, nil)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
