package native

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/engine"
)

var testDER = []byte{0x30, 3, 2, 1, 0}

func testPEM(kind string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: testDER}))
}

func jsonBody(t testing.TB, fields map[string]any) string {
	t.Helper()
	b, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (b *bench) submit(a ask) (int, http.Header, []byte) {
	b.t.Helper()
	a.method = "POST"
	if a.target == "" {
		a.target = prefix + "/requests"
	}
	if a.token == "" && a.cert == nil {
		a.token = goodToken
	}
	w := b.do(b.enroll, a)
	return w.Code, w.Header(), w.Body.Bytes()
}

func TestNative_SubmitForms(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString(testDER)
	for name, a := range map[string]ask{
		"JSON with PEM":    {body: jsonBody(t, map[string]any{"csr": testPEM("CERTIFICATE REQUEST"), "profile": "service", "authority": "main", "attributes": map[string]string{"b": "2", "a": "1"}})},
		"JSON with base64": {body: jsonBody(t, map[string]any{"csr": b64, "profile": "service", "authority": "main", "attributes": map[string]string{"b": "2", "a": "1"}}), mediaType: "application/json; charset=utf-8"},
		"DER":              {body: string(testDER), mediaType: "application/pkcs10", target: prefix + "/requests?profile=service&authority=main"},
		"PEM":              {body: testPEM("NEW CERTIFICATE REQUEST"), mediaType: "application/x-pem-file", target: prefix + "/requests?profile=service&authority=main"},
		"text":             {body: "\n" + testPEM("CERTIFICATE REQUEST") + "\n\n", mediaType: "text/plain", target: prefix + "/requests?authority=main"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			code, h, body := b.submit(a)
			if code != 202 || h.Get("Retry-After") != "5" || h.Get("Location") != prefix+"/requests/"+requestID {
				t.Fatalf("%d %v %s", code, h, body)
			}
			s := b.engine.submitted[0]
			if s.Source != engine.Native || s.Endpoint != "default" || s.Requester != "grant:g1" || s.Profile != "service" || s.Authority != "main" ||
				!bytes.Equal(s.Body, testDER) || s.Form != engine.PKCS10 || len(s.Proofs) != 1 || s.Proofs[0].Method != engine.ByGrant || s.Proofs[0].Ref != "g1" {
				t.Errorf("submission: %+v", s)
			}
			if strings.HasPrefix(name, "JSON") && (len(s.Claims) != 2 || s.Claims[0] != engine.Claim{Origin: "native", Name: "a", Value: "1"}) {
				t.Errorf("claims: %+v", s.Claims)
			}
		})
	}
}

func TestNative_SubmitIssued(t *testing.T) {
	b := newBench(t)
	leaf := b.issuing.leaf(nil)
	b.engine.answer = engine.Issued{RequestID: requestID, ID: engine.CertID{Issuer: "aa", Serial: "bb"}, Cert: leaf.Raw, Chain: [][]byte{b.issuing.cert.Raw}}
	code, _, body := b.submit(ask{body: jsonBody(t, map[string]any{"csr": testPEM("CERTIFICATE REQUEST")})})
	var v issuedView
	if err := json.Unmarshal(body, &v); err != nil || code != 201 {
		t.Fatalf("%d %s", code, body)
	}
	first := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}))
	second := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.issuing.cert.Raw}))
	if v.Certificate != first || v.Chain != first+second || v.ID != requestID || v.Status != "issued" || v.Serial != "bb" || v.Issuer != "aa" || !v.NotAfter.Equal(leaf.NotAfter) {
		t.Errorf("%s", body)
	}
}

func TestNative_EveryReasonHasAStatus(t *testing.T) {
	for _, reason := range engine.Reasons {
		known, ok := denials[reason]
		if !ok || known.status < 400 || known.status > 499 || known.title == "" {
			t.Errorf("%s: %+v", reason, known)
			continue
		}
		b := newBench(t)
		b.engine.answer = engine.Denied{RequestID: requestID, Reason: reason, Detail: "do something else"}
		w := b.do(b.enroll, ask{method: "POST", target: prefix + "/requests", token: goodToken, body: jsonBody(t, map[string]any{"csr": testPEM("CERTIFICATE REQUEST")})})
		p := problemOf(t, w)
		if p.Status != known.status || p.Reason != string(reason) || p.ID != requestID || p.Detail != "do something else" || p.Title != known.title {
			t.Errorf("%s: %s", reason, w.Body)
		}
	}
	if len(denials) != len(engine.Reasons) {
		t.Errorf("%d statuses for %d reasons", len(denials), len(engine.Reasons))
	}
}

func TestNative_ErrorsOfTheEngine(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		reason string
		retry  string
	}{
		{engine.ErrConflict, 409, "conflict", ""},
		{&engine.FrozenError{Scope: "profile:service", Reason: "audit until noon"}, 503, "frozen", "60"},
		{fmt.Errorf("x: %w", engine.ErrUndecided), 503, "undecided", "5"},
		{errors.New("bolt: CANARY in /var/lib"), 503, "unavailable", "5"},
	} {
		b := newBench(t)
		b.engine.err = tt.err
		w := b.do(b.enroll, ask{method: "POST", target: prefix + "/requests", token: goodToken, body: jsonBody(t, map[string]any{"csr": testPEM("CERTIFICATE REQUEST")})})
		p := problemOf(t, w)
		if p.Status != tt.status || p.Reason != tt.reason || w.Header().Get("Retry-After") != tt.retry || strings.Contains(p.Detail, "CANARY") {
			t.Errorf("%v: %v %s", tt.err, w.Header(), w.Body)
		}
		if tt.reason == "frozen" && (p.Scope != "profile:service" || !strings.Contains(p.Detail, "audit until noon")) {
			t.Errorf("frozen: %s", w.Body)
		}
	}
}

func TestNative_R009_XH011_BadBodies(t *testing.T) {
	pemText := testPEM("CERTIFICATE REQUEST")
	good := jsonBody(t, map[string]any{"csr": pemText})
	quoted := string(mustJSON(t, pemText))
	for name, tt := range map[string]struct {
		ask
		status int
		detail string
	}{
		"unknown field":        {ask{body: `{"csr":` + quoted + `,"profil":"service"}`}, 400, `"profil" is not known`},
		"mass assignment":      {ask{body: `{"csr":` + quoted + `,"approved":true}`}, 400, `"approved" is not known`},
		"duplicate":            {ask{body: `{"csr":` + quoted + `,"csr":` + quoted + `}`}, 400, "twice"},
		"duplicate attribute":  {ask{body: `{"csr":` + quoted + `,"attributes":{"a":"1","a":"2"}}`}, 400, "twice"},
		"case":                 {ask{body: `{"CSR":` + quoted + `}`}, 400, `"CSR" is not known`},
		"trailing data":        {ask{body: good + `{}`}, 400, "not JSON"},
		"trailing word":        {ask{body: good + ` x`}, 400, "not JSON"},
		"wrong type":           {ask{body: `{"csr":5}`}, 400, `"csr" has the wrong type`},
		"array":                {ask{body: `[]`}, 400, "object"},
		"null":                 {ask{body: `null`}, 400, "object"},
		"null field":           {ask{body: `{"csr":null}`}, 400, "missing"},
		"NaN":                  {ask{body: `{"csr":NaN}`}, 400, "not JSON"},
		"not UTF-8":            {ask{body: "{\"csr\":\"\xff\"}"}, 400, "not JSON"},
		"deep":                 {ask{body: `{"attributes":` + strings.Repeat(`{"a":`, 9000) + `1` + strings.Repeat(`}`, 9000) + `}`}, 400, ""},
		"empty object":         {ask{body: `{}`}, 400, "missing"},
		"spaces":               {ask{body: "   "}, 400, "object"},
		"cut":                  {ask{body: good[:len(good)-2]}, 400, "not JSON"},
		"too large":            {ask{body: `{"csr":"` + strings.Repeat("A", maxEnroll) + `"}`}, 413, "65536"},
		"ten megabytes":        {ask{body: strings.Repeat(" ", 10<<20)}, 413, ""},
		"bad base64":           {ask{body: `{"csr":"!!!!"}`}, 400, "neither PEM nor base64"},
		"base64 with a break":  {ask{body: `{"csr":"MAMC\nAQA="}`}, 400, "neither"},
		"base64 trailing bits": {ask{body: `{"csr":"MAMCAQB="}`}, 400, "neither"},
		"certificate":          {ask{body: jsonBody(t, map[string]any{"csr": testPEM("CERTIFICATE")})}, 400, "CERTIFICATE REQUEST"},
		"two requests":         {ask{body: jsonBody(t, map[string]any{"csr": pemText + pemText})}, 400, "one certification request"},
		"text before":          {ask{body: "Subject: x\n" + pemText, mediaType: "application/x-pem-file"}, 400, "must begin"},
		"PEM headers":          {ask{body: jsonBody(t, map[string]any{"csr": strings.Replace(pemText, "REQUEST-----\n", "REQUEST-----\nA: b\n\n", 1)})}, 400, "headers"},
		"first block broken":   {ask{body: jsonBody(t, map[string]any{"csr": "-----BEGIN X-----\n!\n-----END X-----\n" + pemText})}, 400, "whole"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, tt.ask, tt.status, tt.detail) })
	}
}

func TestNative_R009_XH005_BadRequests(t *testing.T) {
	pemText := testPEM("CERTIFICATE REQUEST")
	good := jsonBody(t, map[string]any{"csr": pemText})
	quoted := string(mustJSON(t, pemText))
	for name, tt := range map[string]struct {
		ask
		status int
		detail string
	}{
		"form":                  {ask{body: "csr=x", mediaType: "application/x-www-form-urlencoded"}, 415, "Content-Type must be"},
		"no type":               {ask{body: good, mediaType: " "}, 415, "Content-Type must be"},
		"other charset":         {ask{body: good, mediaType: "application/json; charset=utf-16"}, 415, ""},
		"two types":             {ask{body: good, header: [][2]string{{"Content-Type", "text/plain"}}}, 415, ""},
		"gzip":                  {ask{body: good, header: [][2]string{{"Content-Encoding", "gzip"}}}, 415, "Content-Encoding"},
		"query with JSON":       {ask{body: good, target: prefix + "/requests?profile=service"}, 400, "not known"},
		"unknown parameter":     {ask{body: pemText, mediaType: "text/plain", target: prefix + "/requests?profil=x"}, 400, `"profil" is not known`},
		"parameter twice":       {ask{body: pemText, mediaType: "text/plain", target: prefix + "/requests?profile=a&profile=b"}, 400, "twice"},
		"broken query":          {ask{body: pemText, mediaType: "text/plain", target: prefix + "/requests?profile=%zz"}, 400, "cannot be read"},
		"profile not offered":   {ask{body: jsonBody(t, map[string]any{"csr": pemText, "profile": "trial"})}, 400, "not offered"},
		"control in profile":    {ask{body: jsonBody(t, map[string]any{"csr": pemText, "profile": "a\u202eb"})}, 400, "control character"},
		"long profile":          {ask{body: jsonBody(t, map[string]any{"csr": pemText, "profile": strings.Repeat("a", 100)})}, 400, "64 bytes"},
		"many attributes":       {ask{body: jsonBody(t, map[string]any{"csr": pemText, "attributes": many(100)})}, 400, "32 attributes"},
		"long attribute":        {ask{body: jsonBody(t, map[string]any{"csr": pemText, "attributes": map[string]string{"a": strings.Repeat("x", 5000)}})}, 400, "1024"},
		"nameless attribute":    {ask{body: jsonBody(t, map[string]any{"csr": pemText, "attributes": map[string]string{"": "x"}})}, 400, "no name"},
		"attribute not text":    {ask{body: `{"csr":` + quoted + `,"attributes":{"a":{"b":1}}}`}, 400, `"attributes/a" has the wrong type`},
		"two idempotency keys":  {ask{body: good, header: [][2]string{{"Idempotency-Key", "a"}, {"Idempotency-Key", "b"}}}, 400, "one Idempotency-Key"},
		"long idempotency key":  {ask{body: good, header: [][2]string{{"Idempotency-Key", strings.Repeat("k", 256)}}}, 400, "255"},
		"empty idempotency key": {ask{body: good, header: [][2]string{{"Idempotency-Key", ""}}}, 400, "one Idempotency-Key"},
		"idempotency key bytes": {ask{body: good, header: [][2]string{{"Idempotency-Key", "a\tb"}}}, 400, "printable"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, tt.ask, tt.status, tt.detail) })
	}
}

// refused submits and expects a problem, and nothing handed to the engine.
func refused(t *testing.T, a ask, status int, detail string) {
	b := newBench(t)
	a.method, a.token = "POST", goodToken
	if a.target == "" {
		a.target = prefix + "/requests"
	}
	w := b.do(b.enroll, a)
	p := problemOf(t, w)
	if p.Status != status || !strings.Contains(p.Detail, detail) || len(b.engine.submitted) > 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func many(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprint("a", i)] = "x"
	}
	return m
}

func TestNative_R007_IdempotencyKey(t *testing.T) {
	b := newBench(t)
	body := jsonBody(t, map[string]any{"csr": testPEM("CERTIFICATE REQUEST")})
	b.submit(ask{body: body, header: [][2]string{{"Idempotency-Key", "one"}}})
	b.submit(ask{body: body, header: [][2]string{{"Idempotency-Key", "one"}}})
	b.submit(ask{body: body, header: [][2]string{{"Idempotency-Key", "two"}}})
	b.submit(ask{body: body})
	b.submit(ask{body: body})
	keys := map[engine.Key]int{}
	for _, s := range b.engine.submitted {
		keys[s.Key]++
	}
	if len(keys) != 4 || b.engine.submitted[0].Key != b.engine.submitted[1].Key {
		t.Errorf("%d different keys, want 4", len(keys))
	}
	other := b.issuing.leaf(nil)
	b.store(b.issuing, other)
	b.submit(ask{body: body, cert: other, header: [][2]string{{"Idempotency-Key", "one"}}})
	if last := b.engine.submitted[5]; last.Key == b.engine.submitted[0].Key {
		t.Error("two requesters share a key")
	}
}

func TestNative_ProfileDefaults(t *testing.T) {
	for _, tt := range []struct {
		offered []string
		asked   string
		want    string
	}{
		{[]string{"service", "web"}, "", "service"}, {[]string{"service", "web"}, "web", "web"}, {[]string{"service"}, "web", "!"},
		{nil, "", "!"}, {nil, "web", "web"}, {[]string{"service"}, engine.ProfilePerson, engine.ProfilePerson}, {[]string{"service"}, engine.ProfileTLS, "!"},
	} {
		f := &Frontend{c: Config{Profiles: tt.offered}}
		got, err := f.profile(tt.asked)
		if err != nil {
			got = "!"
		}
		if got != tt.want {
			t.Errorf("%v %q: %q, want %q", tt.offered, tt.asked, got, tt.want)
		}
	}
}

func TestNative_Retrieve(t *testing.T) {
	b := newBench(t)
	get := func(a ask) int {
		t.Helper()
		a.method = "GET"
		if a.target == "" {
			a.target = prefix + "/requests/" + requestID
		}
		return b.do(b.enroll, a).Code
	}
	if code := get(ask{token: goodToken}); code != 202 {
		t.Errorf("requester: %d", code)
	}
	stranger := b.issuing.leaf(nil)
	b.store(b.issuing, stranger)
	if code := get(ask{cert: stranger}); code != 404 {
		t.Errorf("stranger: %d", code)
	}
	if code := get(ask{cert: b.person(engine.Auditor)}); code != 404 {
		t.Errorf("auditor: %d", code)
	}
	if code := get(ask{cert: b.person(engine.Officer)}); code != 202 {
		t.Errorf("officer: %d", code)
	}
	if last := b.engine.calls[len(b.engine.calls)-1]; last != "PeekRequest" {
		t.Errorf("an officer who looks causes %s", last)
	}
	for _, id := range []string{"x", "..x", strings.Repeat("a", 300)} {
		if code := get(ask{token: goodToken, target: prefix + "/requests/" + id}); code != 404 {
			t.Errorf("%s: %d", id, code)
		}
	}
	b.engine.answer = engine.Denied{RequestID: requestID, Reason: engine.Rejected, Detail: "no"}
	if code := get(ask{token: goodToken}); code != 403 {
		t.Errorf("denied: %d", code)
	}
	b.engine.answer = engine.Issued{RequestID: requestID, Cert: stranger.Raw}
	if code := get(ask{token: goodToken}); code != 200 {
		t.Errorf("issued: %d", code)
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "1", time.Millisecond: "1", time.Second: "1", 1100 * time.Millisecond: "2", 5 * time.Second: "5"} {
		if got := seconds(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}
