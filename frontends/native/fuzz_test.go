package native

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzReadSubmission looks for bodies that are neither read nor refused, and
// for two readings of one body.
func FuzzReadSubmission(f *testing.F) {
	pemText := testPEM("CERTIFICATE REQUEST")
	f.Add("application/json", `{"csr":"MAMCAQA=","profile":"service","attributes":{"a":"b"}}`)
	f.Add("application/json", `{"csr":"MAMCAQA=","csr":"MAMCAQA="}`)
	f.Add("application/json; charset=utf-8", `{"CSR":null}`)
	f.Add("application/pkcs10", string(testDER))
	f.Add("application/x-pem-file", pemText)
	f.Add("text/plain", "x\n"+pemText)
	f.Add("text/plain", pemText+pemText)
	f.Fuzz(func(t *testing.T, kind, body string) {
		r := httptest.NewRequest("POST", "/api/v1/requests", strings.NewReader(body))
		r.Header = http.Header{"Content-Type": {kind}}
		s, der, err := readSubmission(httptest.NewRecorder(), r)
		if err != nil {
			if p := explainError(err); p.Status < 400 || p.Status > 499 || p.Detail == "" {
				t.Errorf("%d for bad input: %v", p.Status, err)
			}
			return
		}
		if len(body) > maxEnroll || len(der) > len(body) || len(s.Attributes) > maxAttributes || len(s.Profile) > 64 {
			t.Errorf("out of bounds: %+v", s)
		}
	})
}

// FuzzCanonical checks that what is routed has one spelling.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"/api/v1/requests", "/a//b", "/a/%2e%2e/b", "/a/./b", "/a/", "/a;b", "//h/a", "http://h/a", "/a?b=//", `/a\b`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return // net/http answers such a request itself
		}
		if !canonical(&http.Request{URL: u, RequestURI: target}) {
			return
		}
		sent, _, _ := strings.Cut(target, "?")
		if clean := (&url.URL{Path: "/"}).JoinPath(sent).Path; clean != sent || u.Path != sent || strings.ContainsAny(sent, "%;\\ ") {
			t.Errorf("%q is taken as it is, cleaned %q, path %q", target, clean, u.Path)
		}
	})
}

// FuzzCursor checks that only cursors of ours are taken.
func FuzzCursor(f *testing.F) {
	front := &Frontend{cursors: []byte("a key of thirty-two octets......")}
	f.Add("abc")
	f.Add(front.cursor("requests", &query{}, "x"))
	f.Fuzz(func(t *testing.T, s string) {
		after, err := front.after("requests", &query{map[string]string{"after": s}})
		if err == nil && s != "" && front.cursor("requests", &query{}, after) != s {
			t.Errorf("%q was taken as %q", s, after)
		}
	})
}
