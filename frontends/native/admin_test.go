package native

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/engine"
)

func TestNative_R010_Cursors(t *testing.T) {
	b := newBench(t)
	auditor := b.person(engine.Auditor)
	get := func(target string) (int, string) {
		t.Helper()
		w := b.do(b.admin, ask{method: "GET", target: prefix + target, cert: auditor})
		var page struct {
			Next string `json:"next"`
		}
		_ = json.Unmarshal(w.Body.Bytes(), &page)
		return w.Code, page.Next
	}
	b.engine.next = "engine cursor ' OR 1=1"
	_, cursor := get("/requests?state=pending")
	if cursor == "" || strings.Contains(cursor, "engine") {
		t.Fatalf("cursor %q", cursor)
	}
	if code, _ := get("/requests?state=pending&limit=7&after=" + cursor); code != 200 {
		t.Fatalf("own cursor: %d", code)
	}
	if f := b.engine.filters[len(b.engine.filters)-1].(engine.RequestFilter); f.After != b.engine.next || f.Limit != 7 || f.State != engine.Pending {
		t.Errorf("%+v", f)
	}
	flipped := []byte(cursor)
	flipped[3] ^= 1
	for name, target := range map[string]string{
		"other filter": "/requests?state=issued&after=" + cursor,
		"other list":   "/certificates?after=" + cursor,
		"grants":       "/grants?after=" + cursor,
		"forged":       "/requests?state=pending&after=" + string(flipped),
		"bare":         "/requests?state=pending&after=abc",
		"engine's own": "/requests?state=pending&after=" + url.QueryEscape(b.engine.next),
		"cut":          "/requests?state=pending&after=" + cursor[:len(cursor)-2],
	} {
		if code, _ := get(target); code != 400 {
			t.Errorf("%s: %d", name, code)
		}
	}
	other := newBench(t)
	w := other.do(other.admin, ask{method: "GET", target: prefix + "/requests?state=pending&after=" + cursor, cert: other.person(engine.Auditor)})
	if w.Code != 400 {
		t.Errorf("another server's cursor: %d", w.Code)
	}
}

func TestNative_R010_Filters(t *testing.T) {
	b := newBench(t)
	auditor := b.person(engine.Auditor)
	for target, want := range map[string]int{
		"/requests?state=open": 400, "/requests?source=web": 400, "/requests?limit=0": 400, "/requests?limit=1001": 400, "/requests?limit=x": 400,
		"/requests?since=yesterday": 400, "/requests?stat=pending": 400, "/requests?state=pending&state=issued": 400, "/requests?requester=%00": 400,
		"/requests?" + strings.Repeat("a", 5000): 400, "/certificates?status=bad": 400, "/certificates?name=a%20b": 400, "/certificates?expires_before=1": 400,
		"/certificates?name=%E2%80%AE": 400, "/requests?a;b": 400, "/status?x=y": 400, "/grants?limit=-1": 400, "/policy?x": 400, "/freezes?x=1": 400,
		"/requests?source=native&since=2026-01-02&basis=grant:g1&profile=service&requester=grant:g1": 200,
		"/certificates?name=WWW.Example.org&status=good&expires_before=2027-01-01T00:00:00Z":         200,
		"/certificates?name=2001:DB8::1": 200, "/certificates?name=a@Example.org": 200,
	} {
		if w := b.do(b.admin, ask{method: "GET", target: prefix + target, cert: auditor}); w.Code != want {
			t.Errorf("%.60s: %d, want %d: %s", target, w.Code, want, w.Body)
		}
	}
	found := false
	for _, f := range b.engine.filters {
		if c, ok := f.(engine.CertificateFilter); ok && c.Name == "www.example.org" && c.ExpiresBefore.Equal(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)) {
			found = true
		}
	}
	if !found {
		t.Errorf("the name was not folded: %+v", b.engine.filters)
	}
}

func TestNative_OfficersDecide(t *testing.T) {
	b := newBench(t)
	officer := b.person(engine.Officer)
	at := prefix + "/requests/" + requestID
	b.engine.answer = engine.Denied{RequestID: requestID, Reason: engine.Rejected, Detail: "wrong name"}
	w := b.do(b.admin, ask{method: "POST", target: at + "/deny", cert: officer, body: `{"detail":"wrong name"}`})
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"status":"denied"`) || !hasCall(b.engine, "Deny alice "+requestID+" wrong name") {
		t.Errorf("%d %s %v", w.Code, w.Body, b.engine.calls)
	}
	b.engine.answer = engine.Pended{RequestID: requestID}
	w = b.do(b.admin, ask{method: "POST", target: at + "/approve", cert: officer, body: `{"digest":"abc","note":"seen"}`})
	if w.Code != 202 || !hasCall(b.engine, "Approve alice "+requestID+" abc seen") {
		t.Errorf("%d %s %v", w.Code, w.Body, b.engine.calls)
	}
	if w = b.do(b.admin, ask{method: "POST", target: at + "/approve", cert: officer}); w.Code != 202 {
		t.Errorf("approve without a body: %d", w.Code)
	}
	for name, a := range map[string]ask{
		"deny says nothing":    {target: at + "/deny", body: `{"detail":""}`},
		"deny has no body":     {target: at + "/deny"},
		"approve for another":  {target: at + "/approve", body: `{"by":"bob"}`},
		"approve with escapes": {target: at + "/approve", body: `{"note":"\u001b[2J"}`},
	} {
		a.method, a.cert = "POST", officer
		if w := b.do(b.admin, a); problemOf(t, w).Status != 400 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	if w := b.do(b.admin, ask{method: "POST", target: prefix + "/requests/nope/approve", cert: officer}); w.Code != 404 {
		t.Errorf("no such request: %d", w.Code)
	}
	b.engine.err = fmt.Errorf("%w: you made this request yourself", engine.ErrForbidden)
	if p := problemOf(t, b.do(b.admin, ask{method: "POST", target: at + "/approve", cert: officer})); p.Status != 403 || p.Reason != "forbidden" || p.Detail != "you made this request yourself" {
		t.Errorf("own request: %+v", p)
	}
}

func TestNative_Grants(t *testing.T) {
	b := newBench(t)
	admin := b.person(engine.Admin)
	at := prefix + "/grants"
	w := b.do(b.admin, ask{method: "POST", target: at, cert: admin, body: `{"protocol":"native","profiles":["service"],"names":["*.example.org"],"uses":3,"expires_in":"30d"}`})
	if w.Code != 201 || !strings.Contains(w.Body.String(), `"secret":"the-secret"`) || strings.Contains(w.Body.String(), "CANARY") ||
		!strings.Contains(w.Body.String(), `"names":["*.example.org"]`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if g := b.engine.made; g.Uses != 3 || !g.Expires.Equal(testNow.AddDate(0, 0, 30)) || len(g.Names) != 1 {
		t.Errorf("%+v", g)
	}
	for name, body := range map[string]string{
		"protocol":     `{"protocol":"telnet"}`,
		"owner":        `{"protocol":"native","owner":"bob"}`,
		"mac":          `{"protocol":"native","mac":"x"}`,
		"pattern":      `{"protocol":"native","names":["*.*"]}`,
		"past":         `{"protocol":"native","expires":"2020-01-01T00:00:00Z"}`,
		"two expiries": `{"protocol":"native","expires":"2030-01-01T00:00:00Z","expires_in":"1d"}`,
		"uses":         `{"protocol":"native","uses":-1}`,
		"uses as text": `{"protocol":"native","uses":"3"}`,
		"bad time":     `{"protocol":"native","expires":"soon"}`,
		"bad span":     `{"protocol":"native","expires_in":"-3d"}`,
		"holder":       `{"protocol":"native","holder":"a\u0000"}`,
		"nothing":      ``,
	} {
		if w := b.do(b.admin, ask{method: "POST", target: at, cert: admin, body: body}); problemOf(t, w).Status != 400 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	w = b.do(b.admin, ask{method: "GET", target: at, cert: admin})
	if w.Code != 200 || strings.Contains(w.Body.String(), "CANARY") {
		t.Errorf("list: %d %s", w.Code, w.Body)
	}
	if w = b.do(b.admin, ask{method: "DELETE", target: at + "/" + requestID, cert: admin}); w.Code != 204 || !hasCall(b.engine, "RevokeGrant "+requestID) {
		t.Errorf("delete: %d", w.Code)
	}
	if w = b.do(b.admin, ask{method: "DELETE", target: at + "/x", cert: admin}); w.Code != 404 {
		t.Errorf("delete of nothing: %d", w.Code)
	}
}

func TestNative_FreezesStatusReplay(t *testing.T) {
	b := newBench(t)
	op := b.person(engine.Operator)
	do := func(method, target, body string) int {
		return b.do(b.admin, ask{method: method, target: prefix + target, cert: op, body: body}).Code
	}
	for _, tt := range []struct {
		method, target, body string
		want                 int
	}{
		{"POST", "/freezes", `{"scope":"profile:service","reason":"audit"}`, 201},
		{"POST", "/freezes", `{"scope":"profile:","reason":"audit"}`, 400},
		{"POST", "/freezes", `{"scope":"everything","reason":"audit"}`, 400},
		{"POST", "/freezes", `{"scope":"all","reason":" "}`, 400},
		{"POST", "/freezes", `{"scope":"all"}`, 400},
		{"POST", "/freezes", `{"scope":"all","reason":"x","by":"bob"}`, 400},
		{"DELETE", "/freezes/profile:service", "", 404},
		{"DELETE", "/freezes/nonsense", "", 400},
		{"POST", "/exits/file/replay", "", 200},
		{"POST", "/exits/file/replay", `{"x":1}`, 400},
		{"GET", "/status", "", 200},
		{"GET", "/audit", "", 200},
		{"GET", "/authorities", "", 200},
		{"GET", "/authorities/main/chain", "", 200},
		{"GET", "/authorities/other/chain", "", 404},
		{"GET", "/authorities/main/chain?format=pkcs7", "", 200},
		{"GET", "/authorities/main/chain?format=der", "", 406},
		{"HEAD", "/status", "", 200},
	} {
		if got := do(tt.method, tt.target, tt.body); got != tt.want {
			t.Errorf("%s %s %s: %d, want %d", tt.method, tt.target, tt.body, got, tt.want)
		}
	}
	b.engine.freezes = []engine.Freeze{{Scope: "profile:service"}}
	if got := do("DELETE", "/freezes/profile:service", ""); got != 204 || !hasCall(b.engine, "Thaw profile:service") {
		t.Errorf("thaw: %d", got)
	}
	w := b.do(b.admin, ask{method: "GET", target: prefix + "/status", cert: op})
	for _, want := range []string{`"exposure":["anybody can"]`, `"founder":{`, `"active":true`, `"name":"main"`, `"policy":"v1"`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("status lacks %s: %s", want, w.Body)
		}
	}
}

func TestNative_R011_Policy(t *testing.T) {
	b := newBench(t)
	admin := b.person(engine.Admin)
	at := prefix + "/policy"
	w := b.do(b.admin, ask{method: "GET", target: at, cert: admin})
	if w.Code != 200 || w.Header().Get("ETag") != `"v1"` || !strings.Contains(w.Body.String(), `"document":{"profiles":{}}`) {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	for _, tt := range []struct {
		body, mediaType, match string
		want                   int
	}{
		{"profiles: {}\n", "application/yaml", "", 200},
		{"profiles: {}\n", "text/yaml", `"v1"`, 200},
		{"profiles: {}\n", "application/yaml", `"v0"`, 412},
		{"profiles: {}\n", "application/yaml", `"v0", "v1"`, 200},
		{"profiles: {}\n", "multipart/form-data", "", 415},
		{"broken", "application/yaml", "", 400},
		{strings.Repeat("#", maxPolicy+1), "application/yaml", "", 413},
	} {
		a := ask{method: "POST", target: at, cert: admin, body: tt.body, mediaType: tt.mediaType}
		if tt.match != "" {
			a.header = [][2]string{{"If-Match", tt.match}}
		}
		b.applied = nil
		w := b.do(b.admin, a)
		if w.Code != tt.want || (tt.want == 412 || tt.want == 413 || tt.want == 415) && b.applied != nil {
			t.Errorf("%.20s %s %s: %d %s", tt.body, tt.mediaType, tt.match, w.Code, w.Body)
		}
		if tt.body == "broken" && !strings.Contains(problemOf(t, w).Detail, "policy.yaml:3:5") {
			t.Errorf("the place of the error is lost: %s", w.Body)
		}
	}
}

// A gauge is a lock that tells whether it is held.
type gauge struct {
	sync.Mutex
	held, times int
}

func (g *gauge) Lock()   { g.Mutex.Lock(); g.held++; g.times++ }
func (g *gauge) Unlock() { g.held--; g.Mutex.Unlock() }

// Frontends that take one another's place share the lock of a change.
func TestNative_PolicyChangesShareALock(t *testing.T) {
	b := newBench(t)
	g := &gauge{}
	b.front.d.Applying = g
	apply := b.front.d.Apply
	b.front.d.Apply = func(ctx context.Context, a engine.Actor, doc []byte) (string, []string, error) {
		if g.held != 1 {
			t.Error("the change is made without the lock")
		}
		return apply(ctx, a, doc)
	}
	w := b.do(b.admin, ask{method: "POST", target: prefix + "/policy", cert: b.person(engine.Admin), body: "profiles: {}\n", mediaType: "application/yaml"})
	if w.Code != 200 || g.times != 1 || g.held != 0 {
		t.Errorf("%d %d %d", w.Code, g.times, g.held)
	}
}

func TestNative_R012_XH020_NothingSecretInAnswers(t *testing.T) {
	b := newBench(t)
	b.engine.err = errors.New("open /srv/secret-CANARY: no such file")
	for _, row := range b.front.adminRoutes() {
		body, kind := "", ""
		switch row.method + row.pattern {
		case "POST/policy":
			body, kind = "a: b", "application/yaml"
		case "POST/freezes":
			body = `{"scope":"all","reason":"x"}`
		case "POST/grants":
			body = `{"protocol":"native"}`
		case "POST/requests/{id}/deny":
			body = `{"detail":"x"}`
		}
		w := b.do(b.admin, ask{method: row.method, target: fill(row.pattern), cert: b.person(engine.Roles...), body: body, mediaType: kind})
		if strings.Contains(w.Body.String(), "CANARY") {
			t.Errorf("%s %s: %s", row.method, row.pattern, w.Body)
		}
		if w.Code >= 500 && w.Header().Get("Retry-After") == "" {
			t.Errorf("%s %s: %d without Retry-After", row.method, row.pattern, w.Code)
		}
	}
	for key, v := range b.notes {
		if s := fmt.Sprint(v); strings.Contains(s, goodToken) || strings.Contains(s, adminToken) {
			t.Errorf("the log would hold a token in %s", key)
		}
	}
}

func TestNative_Profiles(t *testing.T) {
	b := newBench(t)
	b.engine.profiles["closed"] = engine.Profile{Frontends: []engine.Source{engine.Native}, Requesters: []engine.Principal{"key:other"}}
	open, err := New(Config{Name: "default"}, b.front.d)
	if err != nil {
		t.Fatal(err)
	}
	w := b.do(open.Enrollment(), ask{method: "GET", target: prefix + "/profiles", token: goodToken})
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"service"`) || strings.Contains(w.Body.String(), "closed") || strings.Contains(w.Body.String(), "trial") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	c := &caller{principal: "key:other", grants: []*engine.Grant{{Profiles: []string{"closed"}}}}
	if !open.mayAsk(c, "closed", b.engine.profiles["closed"]) || open.mayAsk(c, "service", b.engine.profiles["service"]) {
		t.Error("grants' profiles are not looked at")
	}
}
