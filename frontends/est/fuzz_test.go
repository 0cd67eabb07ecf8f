package est

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"testing"

	"chancery/engine/pkcs10"
)

// FuzzBody feeds bodies as they come from outside: what is read is one request in
// DER, and the same in one line of base64 and in several.
func FuzzBody(f *testing.F) {
	der := []byte{0x30, 0x03, 0x02, 0x01, 0x00}
	line := base64.StdEncoding.EncodeToString(der)
	f.Add([]byte(line))
	f.Add([]byte(" " + line[:4] + "\r\n" + line[4:] + "\n"))
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\n" + line))
	f.Add(der)
	f.Add([]byte("AA=A"))
	f.Fuzz(func(t *testing.T, body []byte) {
		der, err := decode(body)
		if err != nil {
			if r := explain(err); r.status != http.StatusBadRequest || len(r.detail) < 10 {
				t.Errorf("%d %q", r.status, r.detail)
			}
			return
		}
		again, err := decode((&endpoint{Endpoint: Endpoint{Wrap: true}}).encode(httptest.NewRequest("GET", "/", nil), der))
		if err != nil || !bytes.Equal(again, der) {
			t.Errorf("%x became %x: %v", der, again, err)
		}
		r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/pkcs10")
		if csr, err := readRequest(httptest.NewRecorder(), r); err == nil {
			if _, err := contentOf(csr); err != nil {
				t.Errorf("%v", err)
			}
			if _, err := pkcs10.Parse(der); err != nil {
				t.Error(err)
			}
		}
	})
}

// FuzzPath feeds addresses: what is found is one of the endpoints, by its plain name.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"cacerts", "a/cacerts", "../a/cacerts", "a%2fcacerts", "%00", "a/b/cacerts", "default/simpleenroll"} {
		f.Add(s)
	}
	front := &Frontend{endpoints: map[string]*endpoint{"default": {name: "default"}, "a": {name: "a"}}}
	f.Fuzz(func(t *testing.T, rest string) {
		r, err := http.NewRequest("GET", "https://ca.test"+Root+rest, nil)
		if err != nil {
			return
		}
		r.RequestURI = Root + rest
		op, p := front.route(r)
		if op == nil || p == nil {
			return
		}
		for name := range operations {
			if rest == name && p.name == "default" || rest == p.name+"/"+name {
				return
			}
		}
		t.Errorf("%q led to %s", rest, p.name)
	})
}
