package native

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"go.mozilla.org/pkcs7"

	"chancery/engine"
)

func TestNative_Certificates(t *testing.T) {
	b := newBench(t)
	leaf := b.issuing.leaf(nil)
	row := b.store(b.issuing, leaf)
	at := prefix + "/certificates/"
	for _, tt := range []struct{ target, accept, mediaType string }{
		{row.Serial, "", "application/pem-certificate-chain"},
		{strings.ToUpper(row.Serial), "*/*", "application/pem-certificate-chain"},
		{"0x00" + row.Serial, "text/html, application/pem-certificate-chain;q=0.5", "application/pem-certificate-chain"},
		{row.Serial[:2] + ":" + row.Serial[2:4] + ":" + row.Serial[4:], "application/pkix-cert", "application/pkix-cert"},
		{row.Serial + "?format=der", "application/json", "application/pkix-cert"},
		{row.Serial + "?format=pkcs7", "", "application/pkcs7-mime; smime-type=certs-only"},
		{row.Serial, "application/json", "application/json"},
		{row.Serial, "application/json;q=0, application/pkix-cert", "application/pkix-cert"},
	} {
		a := ask{method: "GET", target: at + tt.target, token: goodToken}
		if tt.accept != "" {
			a.header = [][2]string{{"Accept", tt.accept}}
		}
		w := b.do(b.enroll, a)
		if w.Code != 200 || w.Header().Get("Content-Type") != tt.mediaType {
			t.Errorf("%s %s: %d %v %s", tt.target, tt.accept, w.Code, w.Header(), w.Body)
			continue
		}
		switch tt.mediaType {
		case "application/pem-certificate-chain":
			if w.Body.String() != pemCertificates(leaf.Raw, b.issuing.cert.Raw) {
				t.Errorf("PEM: %s", w.Body)
			}
		case "application/pkix-cert":
			if w.Body.String() != string(leaf.Raw) {
				t.Error("DER differs")
			}
		case "application/json":
			if strings.Contains(w.Body.String(), "requester") || !strings.Contains(w.Body.String(), `"status":"good"`) {
				t.Errorf("JSON: %s", w.Body)
			}
		default:
			p7, err := pkcs7.Parse(w.Body.Bytes())
			if err != nil || len(p7.Certificates) != 2 || !p7.Certificates[0].Equal(leaf) {
				t.Errorf("PKCS #7: %v", err)
			}
		}
	}
	for target, want := range map[string]int{"abcdef": 404, "xyz": 400, "0": 400, strings.Repeat("a", 41): 400, row.Serial + "?format=exe": 400, row.Serial + "?issuer=ff": 404} {
		if w := b.do(b.enroll, ask{method: "GET", target: at + target, token: goodToken}); problemOf(t, w).Status != want {
			t.Errorf("%s: %d, want %d", target, w.Code, want)
		}
	}
	w := b.do(b.enroll, ask{method: "GET", target: at + row.Serial, token: goodToken, header: [][2]string{{"Accept", "image/png"}}})
	if problemOf(t, w).Status != 406 {
		t.Errorf("image: %d", w.Code)
	}
	w = b.do(b.admin, ask{method: "GET", target: at + row.Serial, cert: b.person(engine.Auditor)})
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"requester":"grant:g1"`) {
		t.Errorf("auditor: %d %s", w.Code, w.Body)
	}
}

// A certificate that was decided on and given up is a record, and no bytes.
func TestNative_AbandonedCertificate(t *testing.T) {
	b := newBench(t)
	row := b.store(b.issuing, b.issuing.leaf(nil))
	delete(b.engine.ders, row.CertID.String())
	at := prefix + "/certificates/" + row.Serial
	for _, form := range []string{"pem", "der", "pkcs7"} {
		w := b.do(b.enroll, ask{method: "GET", target: at + "?format=" + form, token: goodToken})
		if p := problemOf(t, w); p.Status != 404 || p.Reason != "no-certificate" {
			t.Errorf("%s: %+v", form, p)
		}
	}
	w := b.do(b.enroll, ask{method: "GET", target: at + "?format=json", token: goodToken})
	if w.Code != 200 || strings.Contains(w.Body.String(), `"certificate"`) {
		t.Errorf("JSON: %d %s", w.Code, w.Body)
	}
}

func TestNative_AmbiguousSerial(t *testing.T) {
	b := newBench(t)
	one, two := b.issuing.leaf(nil), b.issuing.leaf(nil)
	r1, r2 := b.store(b.issuing, one), b.store(b.management, two)
	r2.Serial = r1.Serial
	b.engine.ders[r2.CertID.String()] = two.Raw
	officer := b.person(engine.Officer)
	at := prefix + "/certificates/" + r1.Serial
	if p := problemOf(t, b.do(b.admin, ask{method: "GET", target: at, cert: officer})); p.Status != 409 || !strings.Contains(p.Detail, r2.Issuer) {
		t.Errorf("%+v", p)
	}
	if w := b.do(b.admin, ask{method: "POST", target: at + "/revoke", cert: officer, body: `{}`}); w.Code != 409 || len(b.engine.revoked) > 0 {
		t.Errorf("%d", w.Code)
	}
	w := b.do(b.admin, ask{method: "POST", target: at + "/revoke", cert: officer, body: `{"issuer":"` + r2.Issuer + `"}`})
	if w.Code != 200 || b.engine.revoked[0].ID != r2.CertID {
		t.Errorf("%d %+v", w.Code, b.engine.revoked)
	}
}

func TestNative_R004_XO008_XO007_RefusedRevocation(t *testing.T) {
	b := newBench(t)
	row := b.store(b.issuing, b.issuing.leaf(nil))
	stranger := b.issuing.leaf(nil)
	b.store(b.issuing, stranger)
	officer := b.person(engine.Officer)
	at := prefix + "/certificates/" + row.Serial + "/revoke"
	for name, tt := range map[string]struct {
		admin bool
		ask
		want int
	}{
		"another serial in the body": {true, ask{cert: officer, body: `{"serial":"01","reason":"superseded"}`}, 400},
		"code for a name":            {true, ask{cert: officer, body: `{"reason":"1"}`}, 400},
		"case":                       {true, ask{cert: officer, body: `{"reason":"keycompromise"}`}, 400},
		"removeFromCRL":              {true, ask{cert: officer, body: `{"reason":"removeFromCRL"}`}, 400},
		"cACompromise":               {true, ask{cert: officer, body: `{"reason":"cACompromise"}`}, 400},
		"release with a reason":      {true, ask{cert: officer, body: `{"reason":"superseded","release":true}`}, 400},
		"not JSON":                   {true, ask{cert: officer, body: `reason=superseded`, mediaType: "application/x-www-form-urlencoded"}, 415},
		"serial in the query":        {true, ask{cert: officer, body: `{}`, target: at + "?serial=01"}, 400},
		"stranger":                   {false, ask{cert: stranger, body: `{"reason":"superseded"}`}, 403},
		"officer, not the requester": {false, ask{cert: officer, body: `{"reason":"superseded"}`}, 403},
		"requester holds":            {false, ask{token: goodToken, body: `{"reason":"certificateHold"}`}, 400},
		"requester releases":         {false, ask{token: goodToken, body: `{"release":true}`}, 400},
		"unknown serial":             {false, ask{token: goodToken, body: `{}`, target: prefix + "/certificates/01/revoke"}, 404},
	} {
		h := b.enroll
		if tt.admin {
			h = b.admin
		}
		tt.method = "POST"
		if tt.target == "" {
			tt.target = at
		}
		if w := b.do(h, tt.ask); problemOf(t, w).Status != tt.want || len(b.engine.revoked) > 0 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

func TestNative_Revocation(t *testing.T) {
	b := newBench(t)
	row := b.store(b.issuing, b.issuing.leaf(nil))
	officer := b.person(engine.Officer)
	at := prefix + "/certificates/" + row.Serial + "/revoke"
	for _, tt := range []struct {
		admin bool
		ask
		want engine.Revocation
	}{
		{true, ask{cert: officer, body: `{"reason":"keyCompromise"}`}, engine.Revocation{ID: row.CertID, Reason: 1, By: "alice"}},
		{true, ask{cert: officer, body: `{"reason":"certificateHold"}`}, engine.Revocation{ID: row.CertID, Reason: 6, By: "alice"}},
		{true, ask{cert: officer, body: `{"release":true}`}, engine.Revocation{ID: row.CertID, Release: true, By: "alice"}},
		{true, ask{cert: officer}, engine.Revocation{ID: row.CertID, By: "alice"}},
		{false, ask{token: goodToken, body: `{"reason":"cessationOfOperation"}`}, engine.Revocation{ID: row.CertID, Reason: 5, By: "grant:g1"}},
	} {
		h := b.enroll
		if tt.admin {
			h = b.admin
		}
		b.engine.revoked = nil
		tt.method, tt.target = "POST", at
		if w := b.do(h, tt.ask); w.Code != 200 || len(b.engine.revoked) != 1 || !reflect.DeepEqual(b.engine.revoked[0], tt.want) {
			t.Errorf("%s: %d %s %+v", tt.body, w.Code, w.Body, b.engine.revoked)
		}
	}
	for err, want := range map[error]int{engine.ErrAlreadyRevoked: 409, engine.ErrNotHeld: 409, engine.ErrExpired: 409, fmt.Errorf("%w: x", engine.ErrBadReason): 400} {
		if p := explainError(err); p.Status != want {
			t.Errorf("%v: %d", err, p.Status)
		}
	}
}
