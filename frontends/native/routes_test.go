package native

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"chancery/engine"
)

func mustURL(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.ParseRequestURI(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// matrix is who may do what, written down a second time and by hand: the test
// fails for a route that has no row here.
var matrix = map[string]string{
	"GET /requests":                      "auditor officer admin operator",
	"GET /requests/{id}":                 "auditor officer admin operator",
	"GET /requests/{id}/explain":         "auditor officer admin operator",
	"POST /requests/{id}/approve":        "officer",
	"POST /requests/{id}/deny":           "officer",
	"GET /certificates":                  "auditor officer admin operator",
	"GET /certificates/{serial}":         "auditor officer admin operator",
	"POST /certificates/{serial}/revoke": "officer",
	"GET /authorities":                   "auditor officer admin operator",
	"GET /authorities/{name}/chain":      "auditor officer admin operator",
	"GET /grants":                        "auditor officer admin operator",
	"POST /grants":                       "admin",
	"DELETE /grants/{id}":                "admin",
	"GET /freezes":                       "auditor officer admin operator",
	"POST /freezes":                      "admin operator officer",
	"DELETE /freezes/{scope}":            "admin operator officer",
	"GET /campaigns":                     "auditor officer admin operator",
	"POST /campaigns":                    "officer admin",
	"GET /campaigns/{id}":                "auditor officer admin operator",
	"GET /campaigns/{id}/members":        "auditor officer admin operator",
	"POST /campaigns/{id}/end":           "officer admin",
	"GET /status":                        "auditor officer admin operator",
	"GET /audit":                         "auditor officer admin operator",
	"GET /policy":                        "auditor officer admin operator",
	"POST /policy":                       "admin",
	"POST /exits/{name}/replay":          "admin operator",
	"POST /acme/try":                     "officer admin",
	"POST /acme/resume":                  "officer admin operator",
	"POST /backup":                       "admin operator",
	"POST /quarantine/release":           "admin",
	"GET /nodes":                         "auditor officer admin operator",
	"POST /nodes/{name}/approve":         "admin",
}

func fill(pattern string) string {
	return prefix + strings.NewReplacer("{id}", requestID, "{serial}", "abc", "{name}", "main", "{scope}", "all").Replace(pattern)
}

func TestNative_R001_XH007_EveryRouteEveryRole(t *testing.T) {
	b := newBench(t)
	table := b.front.adminRoutes()
	seen := map[string]bool{}
	for _, row := range table {
		name := row.method + " " + row.pattern
		want, ok := matrix[name]
		if !ok {
			t.Errorf("%s has no row in the matrix", name)
			continue
		}
		if len(row.roles) == 0 {
			t.Errorf("%s names no role", name)
		}
		seen[name] = true
		for _, role := range engine.Roles {
			cert := b.person(role)
			b.engine.calls = nil
			w := b.do(b.admin, ask{method: row.method, target: fill(row.pattern), cert: cert})
			may := slices.Contains(strings.Fields(want), string(role))
			if got := w.Code != 403 && w.Code != 401; got != may {
				t.Errorf("%s as %s: %d %s", name, role, w.Code, w.Body)
			}
			if !may && len(b.engine.calls) > 0 {
				t.Errorf("%s as %s reached the engine: %v", name, role, b.engine.calls)
			}
		}
		for who, a := range strangers(b) {
			b.engine.calls = nil
			a.method, a.target = row.method, fill(row.pattern)
			if w := b.do(b.admin, a); w.Code != 401 && w.Code != 403 || len(b.engine.calls) > 0 {
				t.Errorf("%s as %s: %d, calls %v", name, who, w.Code, b.engine.calls)
			}
		}
	}
	for name := range matrix {
		if !seen[name] {
			t.Errorf("%s is in the matrix but not routed", name)
		}
	}
}

// strangers are all kinds of callers that administration must refuse.
func strangers(b *bench) map[string]ask {
	enrolled := b.issuing.leaf(nil)
	b.store(b.issuing, enrolled)
	revoked := b.person(engine.Roles...)
	b.store(b.management, revoked).Status = engine.Revoked
	roleless := b.management.leaf(nil)
	b.store(b.management, roleless)
	unstored := b.management.leaf(nil)
	return map[string]ask{
		"anonymous":                        {},
		"holder of an enrollment grant":    {token: goodToken},
		"holder of an unknown token":       {token: "unknown-token-of-sufficient-length"},
		"holder of an enrolled key":        {cert: enrolled},
		"person whose key is revoked":      {cert: revoked},
		"person without a role":            {cert: roleless},
		"certificate that is not in store": {cert: unstored},
		"basic authentication":             {header: [][2]string{{"Authorization", "Basic YWRtaW46YWRtaW4="}}},
	}
}

func TestNative_R001_RoutersHoldNothingElse(t *testing.T) {
	b := newBench(t)
	for name, table := range map[string][]route{"admin": b.front.adminRoutes(), "enrollment": b.front.enrollmentRoutes()} {
		mux := chi.NewRouter()
		for _, row := range table {
			if row.handler == nil || (name == "admin") != (row.roles != nil) {
				t.Errorf("%s: bad row %s %s", name, row.method, row.pattern)
			}
			mux.Method(row.method, prefix+row.pattern, http.NotFoundHandler())
		}
		_ = chi.Walk(mux, func(method, pattern string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
			if !slices.ContainsFunc(table, func(r route) bool { return r.method == method && prefix+r.pattern == pattern }) {
				t.Errorf("%s: %s %s is routed without a row", name, method, pattern)
			}
			return nil
		})
	}
}

func TestNative_R001_EnrollmentNeedsAuthentication(t *testing.T) {
	b := newBench(t)
	for _, row := range b.front.enrollmentRoutes() {
		for who, a := range map[string]ask{
			"anonymous":     {},
			"wrong token":   {token: "unknown-token-of-sufficient-length"},
			"admin's token": {token: adminToken},
		} {
			b.engine.calls = nil
			a.method, a.target = row.method, fill(row.pattern)
			w := b.do(b.enroll, a)
			if w.Code != 401 || w.Header().Get("WWW-Authenticate") != "Bearer" || len(b.engine.calls) > 0 {
				t.Errorf("%s %s as %s: %d %v", row.method, row.pattern, who, w.Code, b.engine.calls)
			}
		}
	}
}

func TestNative_R002_XH006_NonCanonicalPaths(t *testing.T) {
	b := newBench(t)
	cert := b.person(engine.Roles...)
	variants := func(p string) []string {
		last := p[strings.LastIndexByte(p, '/')+1:]
		return []string{
			strings.Replace(p, "/api", "//api", 1), strings.Replace(p, "/v1/", "//v1/", 1), p + "/", p + "//",
			strings.Replace(p, "/v1/", "/./v1/", 1), strings.Replace(p, "/v1/", "/x/../v1/", 1), strings.Replace(p, "/v1", "/%76%31", 1),
			strings.Replace(p, "/v1/", "/v1%2f", 1), strings.Replace(p, "/v1/", "/%2e/v1/", 1), strings.Replace(p, "/v1/", "/v1/%2e%2e/v1/", 1),
			p + ";x=y", strings.Replace(p, "/v1/", "/v1;a/", 1), p + "%00", p + "%20", p + "%5c", strings.ToUpper(p),
			strings.Replace(p, "/v1/", `/v1\`, 1), p + "%c0%af", "/x" + p, strings.Replace(p, last, "%"+fmt.Sprintf("%02x", last[0])+last[1:], 1),
			"http://host" + p,
		}
	}
	for _, row := range b.front.adminRoutes() {
		for _, v := range variants(fill(row.pattern)) {
			b.engine.calls = nil
			w := b.do(b.admin, ask{method: row.method, target: v, cert: cert})
			if w.Code != 404 || len(b.engine.calls) > 0 {
				t.Errorf("%s %s: %d, calls %v", row.method, v, w.Code, b.engine.calls)
			}
		}
	}
	for _, row := range b.front.enrollmentRoutes() {
		for _, v := range variants(fill(row.pattern)) {
			if w := b.do(b.enroll, ask{method: row.method, target: v, token: goodToken}); w.Code != 404 {
				t.Errorf("%s %s: %d", row.method, v, w.Code)
			}
		}
	}
}

func TestNative_UnknownPathAndMethod(t *testing.T) {
	b := newBench(t)
	for _, target := range []string{"/", "/api", "/api/v1", "/api/v2/requests", "/api/v1/nothing", "/api/v1/requests/a/b/c"} {
		w := b.do(b.enroll, ask{method: "GET", target: target, token: goodToken})
		if p := problemOf(t, w); p.Status != 404 || p.Reason != "not-found" {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	for _, tt := range []struct{ method, path, allow string }{
		{"PUT", "/requests", "POST"},
		{"GET", "/requests", "POST"},
		{"OPTIONS", "/profiles", "GET, HEAD"},
		{"BREW", "/profiles", "GET, HEAD"},
		{"DELETE", "/requests/" + requestID, "GET, HEAD"},
	} {
		w := b.do(b.enroll, ask{method: tt.method, target: prefix + tt.path, token: goodToken})
		if p := problemOf(t, w); p.Status != 405 || w.Header().Get("Allow") != tt.allow {
			t.Errorf("%s %s: %d Allow %q, want %q", tt.method, tt.path, w.Code, w.Header().Get("Allow"), tt.allow)
		}
	}
}

func TestNative_XH015_ForeignPageCannotAct(t *testing.T) {
	b := newBench(t)
	cert := b.person(engine.Roles...)
	for _, h := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
		b.engine.calls = nil
		w := b.do(b.admin, ask{method: "POST", target: prefix + "/exits/file/replay", cert: cert, header: [][2]string{h}})
		if p := problemOf(t, w); p.Reason != "cross-origin" || len(b.engine.calls) > 0 {
			t.Errorf("%v: %d %v", h, w.Code, b.engine.calls)
		}
	}
	for _, h := range [][2]string{{"Sec-Fetch-Site", "same-origin"}, {"Sec-Fetch-Site", "none"}} {
		if w := b.do(b.admin, ask{method: "POST", target: prefix + "/exits/file/replay", cert: cert, header: [][2]string{h}}); w.Code != 200 {
			t.Errorf("%v: %d %s", h, w.Code, w.Body)
		}
	}
}
