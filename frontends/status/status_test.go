package status

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"chancery/engine"
	"chancery/engine/ocsp"
)

func TestStatus_O001_Post(t *testing.T) {
	ca := testCA(t)
	srv, c := start(t, &fake{issuer: ca})
	for _, path := range []string{"/ocsp", "/ocsp/"} {
		req, _ := http.NewRequest("POST", srv.URL+path, bytes.NewReader(ocspRequest(t, ca, big.NewInt(7))))
		r := do(t, c, req)
		if r.status != 200 || r.header.Get("Content-Type") != "application/ocsp-response" || len(r.body) != sha256.Size {
			t.Errorf("%s: %d %v %x", path, r.status, r.header, r.body)
		}
	}
}

// shapes are ways in which one request arrives.
func shapes(der []byte) map[string]string {
	b := base64.StdEncoding.EncodeToString(der)
	return map[string]string{
		"raw":              b,
		"escaped":          url.PathEscape(b),
		"query escaped":    url.QueryEscape(b),
		"lower-case hex":   strings.NewReplacer("/", "%2f", "+", "%2b", "=", "%3d").Replace(b),
		"slash first":      "/" + b,
		"escaped slash":    "%2F" + url.QueryEscape(b),
		"no padding":       strings.TrimRight(b, "="),
		"space for plus":   strings.ReplaceAll(b, "+", "%20"),
		"escaped twice":    url.QueryEscape(url.QueryEscape(b)),
		"all escaped":      everyByte(b),
		"only plus":        strings.ReplaceAll(b, "+", "%2B"),
		"only equals sign": strings.ReplaceAll(b, "=", "%3D"),
	}
}

func everyByte(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteString("%" + strconv.FormatUint(uint64(s[i])|0x100, 16)[1:])
	}
	return b.String()
}

func TestStatus_O002_XO001_GetEqualsPost(t *testing.T) {
	ca := testCA(t)
	srv, c := start(t, &fake{issuer: ca})
	double, plus := 0, 0
	for i := range 400 {
		serial := make([]byte, 8+i%12)
		rand.Read(serial)
		serial[0] |= 1
		der := ocspRequest(t, ca, new(big.Int).SetBytes(serial))
		b := base64.StdEncoding.EncodeToString(der)
		double += strings.Count(b, "//")
		plus += strings.Count(b, "+")
		want := post(t, srv, c, der)
		for name, path := range shapes(der) {
			r := get(t, srv, c, "GET", "/ocsp/"+path)
			if r.status != 200 || !bytes.Equal(r.body, want.body) {
				t.Fatalf("%s: %d, another answer than by POST for %s", name, r.status, path)
			}
		}
		trailing := get(t, srv, c, "GET", "/ocsp/"+b+"/")
		if trailing.status != 200 || !bytes.Equal(trailing.body, want.body) && !bytes.Equal(trailing.body, ocsp.ErrorResponse(1)) {
			t.Fatalf("slash at the end: %d %x", trailing.status, trailing.body)
		}
	}
	if plus == 0 {
		t.Error("no request had a plus sign; the test shows nothing")
	}
	t.Logf("%d double slashes, %d plus signs", double, plus)
}

func TestStatus_O002_DoubleSlash(t *testing.T) {
	srv, c := start(t, &fake{issuer: testCA(t)})
	// A nonce of ones gives slashes in base64.
	der := []byte{0x30, 0x42, 0x30, 0x40, 0x30, 0x3e, 0x30, 0x3c, 0x30, 0x3a, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14}
	der = append(der, bytes.Repeat([]byte{0xff}, 20)...)
	der = append(der, 0x04, 0x14)
	der = append(der, bytes.Repeat([]byte{0xff}, 20)...)
	der = append(der, 0x02, 0x01, 0x05)
	der[1], der[3], der[5], der[7], der[9] = byte(len(der)-2), byte(len(der)-4), byte(len(der)-6), byte(len(der)-8), byte(len(der)-10)
	b := base64.StdEncoding.EncodeToString(der)
	if !strings.Contains(b, "//") {
		t.Fatal(b)
	}
	want := post(t, srv, c, der)
	if bytes.Equal(want.body, ocsp.ErrorResponse(1)) {
		t.Fatalf("the request is not well-formed: %x", der)
	}
	for name, path := range shapes(der) {
		if r := get(t, srv, c, "GET", "/ocsp/"+path); r.status != 200 || !bytes.Equal(r.body, want.body) {
			t.Errorf("%s: %d %x", name, r.status, r.body)
		}
	}
}

func TestStatus_O003_XO002_Malformed(t *testing.T) {
	ca := testCA(t)
	srv, c := start(t, &fake{issuer: ca})
	good := ocspRequest(t, ca, big.NewInt(7))
	for name, body := range map[string][]byte{
		"garbage":     []byte("hello"),
		"empty":       nil,
		"a megabyte":  make([]byte, 1<<20),
		"8 KiB and 1": append(bytes.Clone(good), make([]byte, maxOCSP)...),
		"trailing":    append(bytes.Clone(good), 0),
		"cut":         good[:len(good)-1],
		"huge serial": append([]byte{0x30, 0x83, 0x10, 0, 0}, make([]byte, 1<<20)...),
	} {
		malformed(t, "POST "+name, post(t, srv, c, body))
	}
	for name, path := range map[string]string{
		"nothing":       "",
		"slash":         "/",
		"no base64":     "/!!!!",
		"bad base64":    "/MEI-_zz",
		"line break":    "/" + base64.StdEncoding.EncodeToString(good[:30]) + "%0A" + base64.StdEncoding.EncodeToString(good[30:]),
		"long":          "/M" + strings.Repeat("A", 12<<10),
		"NUL":           "/%00",
		"after padding": "/MA==MA==",
		"dots":          "/../crl/x",
		"query":         "?" + base64.StdEncoding.EncodeToString(good),
	} {
		malformed(t, "GET "+name, get(t, srv, c, "GET", "/ocsp"+path))
	}
}

func malformed(t *testing.T, name string, r reply) {
	t.Helper()
	if r.status != 200 || !bytes.Equal(r.body, ocsp.ErrorResponse(1)) || r.header.Get("Cache-Control") != "no-cache" ||
		r.header.Get("Content-Type") != "application/ocsp-response" {
		t.Errorf("%s: %d %v %x", name, r.status, r.header, r.body)
	}
}

func TestStatus_O003_ChunkedBodyOverTheCap(t *testing.T) {
	srv, c := start(t, &fake{issuer: testCA(t)})
	req, _ := http.NewRequest("POST", srv.URL+"/ocsp", io.LimitReader(zeros{}, 100<<10)) // no Content-Length
	malformed(t, "chunked", do(t, c, req))
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestStatus_O017_GetHeaders(t *testing.T) {
	ca := testCA(t)
	srv, c := start(t, &fake{issuer: ca})
	path := "/ocsp/" + base64.StdEncoding.EncodeToString(ocspRequest(t, ca, big.NewInt(7)))
	r := get(t, srv, c, "GET", path)
	for key, want := range map[string]string{
		"Last-Modified": testNow.Add(-time.Hour).Format(http.TimeFormat),
		"Expires":       testNow.Add(time.Hour).Format(http.TimeFormat),
		"Cache-Control": "max-age=600, public, no-transform, must-revalidate",
		"Content-Type":  "application/ocsp-response",
	} {
		if got := r.header.Get(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	etag := r.header.Get("ETag")
	if r.header.Get("Date") == "" || etag == "" {
		t.Errorf("headers: %v", r.header)
	}
	if again := get(t, srv, c, "GET", path, "If-None-Match", etag); again.status != 304 || len(again.body) != 0 {
		t.Errorf("conditional GET: %d", again.status)
	}
	if head := get(t, srv, c, "HEAD", path); head.status != 200 || head.header.Get("Content-Length") != strconv.Itoa(len(r.body)) {
		t.Errorf("HEAD: %d %v", head.status, head.header)
	}
}

func TestStatus_O027_Files(t *testing.T) {
	f := &fake{issuer: testCA(t)}
	srv, c := start(t, f)
	for _, tt := range []struct{ path, mediaType, cache string }{
		{"/crl/" + keyID + ".crl", "application/pkix-crl", "max-age=300, public, no-transform, must-revalidate"},
		{"/crl/" + keyID + "-7.crl", "application/pkix-crl", "max-age=300, public, no-transform, must-revalidate"},
		{"/crl/" + keyID + "-delta.crl", "application/pkix-crl", "max-age=300, public, no-transform, must-revalidate"},
		{"/aia/" + keyID + ".crt", "application/pkix-cert", "max-age=3600, public, no-transform, must-revalidate"},
	} {
		r := get(t, srv, c, "GET", tt.path)
		if r.status != 200 || r.header.Get("Content-Type") != tt.mediaType || r.header.Get("Cache-Control") != tt.cache ||
			r.header.Get("Content-Length") != strconv.Itoa(len(r.body)) || r.header.Get("Content-Encoding") != "" ||
			len(r.body) == 0 || r.body[0] != 0x30 || r.header.Get("Last-Modified") == "" || r.header.Get("Expires") == "" {
			t.Errorf("%s: %d %v", tt.path, r.status, r.header)
		}
		etag := r.header.Get("ETag")
		if again := get(t, srv, c, "GET", tt.path, "If-None-Match", etag); etag == "" || again.status != 304 {
			t.Errorf("%s: conditional GET with %q: %d", tt.path, etag, again.status)
		}
		since := get(t, srv, c, "GET", tt.path, "If-Modified-Since", r.header.Get("Last-Modified"))
		if since.status != 304 {
			t.Errorf("%s: If-Modified-Since: %d", tt.path, since.status)
		}
		head := get(t, srv, c, "HEAD", tt.path)
		if head.status != 200 || head.header.Get("Content-Length") != strconv.Itoa(len(r.body)) || len(head.body) != 0 {
			t.Errorf("%s: HEAD: %d %v", tt.path, head.status, head.header)
		}
		if p := get(t, srv, c, "POST", tt.path); p.status != 405 || p.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: POST: %d", tt.path, p.status)
		}
	}
	for _, path := range []string{
		"/crl/", "/crl/x.crl", "/crl/" + keyID, "/crl/" + keyID + ".crt", "/crl/" + strings.ToUpper(keyID) + ".crl",
		"/crl/../crl/" + keyID + ".crl", "/crl//" + keyID + ".crl", "/crl/%30" + keyID[1:] + ".crl", "/crl/" + keyID + ".crl/",
		"/crl/" + keyID + "-.crl", "/crl/" + keyID + "-0.crl", "/crl/" + keyID + "-01.crl", "/crl/" + keyID + "-deltas.crl", "/crl/" + keyID + "-1-2.crl", "/crl/-1.crl", "/crl/" + keyID + "-12345.crl",
		"/crl/ffff.crl", "/aia/ffff.crt", "/aia/" + keyID + ".crl", "/crl/" + strings.Repeat("a", 1000) + ".crl",
	} {
		if r := get(t, srv, c, "GET", path); r.status != 404 || r.header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %d", path, r.status)
		}
	}
	f.err = errors.New("disk on fire")
	r := get(t, srv, c, "GET", "/crl/"+keyID+".crl")
	if r.status != 503 || r.header.Get("Retry-After") != "5" || bytes.Contains(r.body, []byte("fire")) {
		t.Errorf("store error: %d %s", r.status, r.body)
	}
}

func TestOthersGoOn(t *testing.T) {
	srv, c := start(t, &fake{})
	for path, want := range map[string]int{"/": 418, "/ocspx": 418, "/crlx/a": 418, "/acme/directory": 418, "/ocsp?x": 200} {
		if r := get(t, srv, c, "GET", path); r.status != want {
			t.Errorf("%s: %d, want %d", path, r.status, want)
		}
	}
	if r := get(t, srv, c, "PUT", "/ocsp"); r.status != 405 || r.header.Get("Allow") == "" {
		t.Errorf("PUT: %d", r.status)
	}
}

// net/http itself answers 400 to these when they come over the wire.
func TestDecodeGETBadPercent(t *testing.T) {
	for _, path := range []string{"/%", "/MEI%zz", "/MEI%2", "/MEI%25"} {
		if got, ok := decodeGET(path); ok {
			t.Errorf("%s: %x", path, got)
		}
	}
}

func TestAbsoluteForm(t *testing.T) {
	for target, want := range map[string]string{
		"http://a.example/ocsp/M//x?y": "/ocsp/M//x", "/ocsp/M//x": "/ocsp/M//x", "*": "", "http://a.example": "", "a.example:443": "",
	} {
		if got := sentPath(&http.Request{RequestURI: target, URL: &url.URL{}}); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

func FuzzDecodeGET(f *testing.F) {
	der := []byte{0x30, 3, 0x0a, 1, 1, 0xff, 0xfe, 0xfb}
	for _, s := range shapes(der) {
		f.Add("/" + s)
	}
	f.Add("/MA==/")
	f.Add("/%25252F")
	f.Fuzz(func(t *testing.T, path string) {
		got, ok := decodeGET(path)
		if !ok {
			if got != nil {
				t.Error("bytes without ok")
			}
			return
		}
		if len(got) == 0 || len(got) > maxOCSP {
			t.Errorf("%d bytes", len(got))
		}
		// What was understood is understood again in its plain form.
		if again, ok := decodeGET("/" + url.PathEscape(base64.StdEncoding.EncodeToString(got))); !ok || !bytes.Equal(again, got) {
			if got[0] == 0x30 {
				t.Errorf("%x became %x", got, again)
			}
		}
	})
}

// After a restore the lists are not known for a time, which is no fault to log.
func TestStatusInQuarantine(t *testing.T) {
	f := &fake{err: engine.ErrQuarantine}
	h := New(Deps{Engine: f, Now: func() time.Time { return testNow }, Log: slog.New(slog.NewTextHandler(failing{t}, nil))})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/crl/"+keyID+".crl", nil))
	if w.Code != 503 || w.Header().Get("Retry-After") != "60" || !strings.Contains(w.Body.String(), "restored") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

// failing is a log that must stay empty.
type failing struct{ t *testing.T }

func (f failing) Write(p []byte) (int, error) {
	f.t.Errorf("logged: %s", p)
	return len(p), nil
}
