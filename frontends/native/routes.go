package native

import (
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"chancery/engine"
)

// A route is one row of a table: who may do what where. It is the only place
// where that is written.
type route struct {
	method  string
	pattern string
	roles   []engine.Role // any of them; nil: any enrollee
	handler handler
}

// A handler answers for an authenticated and admitted caller, or returns what
// fail renders.
type handler func(w http.ResponseWriter, r *http.Request, c *caller) error

const prefix = "/api/v1"

var (
	anyRole  = []engine.Role{engine.Auditor, engine.Officer, engine.Admin, engine.Operator}
	officers = []engine.Role{engine.Officer}
	admins   = []engine.Role{engine.Admin}
	freezers = []engine.Role{engine.Admin, engine.Operator, engine.Officer}
	triers   = []engine.Role{engine.Officer, engine.Admin}
	renewers = []engine.Role{engine.Officer, engine.Admin}
	replayer = []engine.Role{engine.Admin, engine.Operator}
)

func (f *Frontend) enrollmentRoutes() []route {
	return []route{
		{"POST", "/requests", nil, f.submit},
		{"GET", "/requests/{id}", nil, f.retrieve},
		{"GET", "/certificates/{serial}", nil, f.download},
		{"POST", "/certificates/{serial}/revoke", nil, f.revokeOwn},
		{"GET", "/authorities", nil, f.authorities},
		{"GET", "/authorities/{name}/chain", nil, f.authorityChain},
		{"GET", "/profiles", nil, f.profiles},
	}
}

func (f *Frontend) adminRoutes() []route {
	return []route{
		{"GET", "/requests", anyRole, f.listRequests},
		{"GET", "/requests/{id}", anyRole, f.showRequest},
		{"GET", "/requests/{id}/explain", anyRole, f.explain},
		{"POST", "/requests/{id}/approve", officers, f.approve},
		{"POST", "/requests/{id}/deny", officers, f.deny},
		{"GET", "/certificates", anyRole, f.listCertificates},
		{"GET", "/certificates/{serial}", anyRole, f.showCertificate},
		{"POST", "/certificates/{serial}/revoke", officers, f.revoke},
		{"GET", "/authorities", anyRole, f.authorities},
		{"GET", "/authorities/{name}/chain", anyRole, f.authorityChain},
		{"GET", "/grants", anyRole, f.listGrants},
		{"POST", "/grants", admins, f.createGrant},
		{"DELETE", "/grants/{id}", admins, f.revokeGrant},
		{"GET", "/freezes", anyRole, f.listFreezes},
		{"POST", "/freezes", freezers, f.freeze},
		{"DELETE", "/freezes/{scope}", freezers, f.thaw},
		{"GET", "/campaigns", anyRole, f.listCampaigns},
		{"POST", "/campaigns", renewers, f.createCampaign},
		{"GET", "/campaigns/{id}", anyRole, f.showCampaign},
		{"GET", "/campaigns/{id}/members", anyRole, f.members},
		{"POST", "/campaigns/{id}/end", renewers, f.endCampaign},
		{"GET", "/status", anyRole, f.status},
		{"GET", "/audit", anyRole, f.audit},
		{"GET", "/policy", anyRole, f.policy},
		{"POST", "/policy", admins, f.apply},
		{"POST", "/acme/try", triers, f.try},
		{"POST", "/acme/resume", freezers, f.resume},
		{"POST", "/exits/{name}/replay", replayer, f.replay},
		{"POST", "/backup", replayer, f.backup},
		{"POST", "/quarantine/release", admins, f.release},
		{"GET", "/nodes", anyRole, f.nodes},
		{"POST", "/nodes/{name}/approve", admins, f.approveNode},
	}
}

func (f *Frontend) router(table []route) http.Handler {
	mux := chi.NewRouter()
	for _, row := range table {
		h := f.guard(row)
		mux.Method(row.method, prefix+row.pattern, h)
		if row.method == http.MethodGet {
			mux.Method(http.MethodHead, prefix+row.pattern, h)
		}
	}
	mux.NotFound(func(w http.ResponseWriter, r *http.Request) {
		f.fail(w, r, &problem{Status: 404, Reason: "not-found", Detail: "There is nothing at this address."})
	})
	mux.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", strings.Join(allowed(mux, r.URL.Path), ", "))
		f.fail(w, r, &problem{Status: 405, Reason: "method-not-allowed", Detail: "This address takes only the methods in the Allow header."})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		if !canonical(r) {
			f.fail(w, r, &problem{Status: 404, Reason: "not-found",
				Detail: "There is nothing at this address. Write addresses in their plain form: no escapes, no empty or dot segments, no slash at the end."})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func allowed(mux *chi.Mux, path string) []string {
	var methods []string
	for _, m := range []string{"DELETE", "GET", "HEAD", "POST"} {
		if mux.Match(chi.NewRouteContext(), m, path) {
			methods = append(methods, m)
		}
	}
	return methods
}

// guard admits or refuses; the handler behind it need not think of it.
func (f *Frontend) guard(row route) http.HandlerFunc {
	identify := f.enrollee
	if row.roles != nil {
		identify = f.person
	}
	return func(w http.ResponseWriter, r *http.Request) {
		// Browsers send client certificates unasked, just as cookies, so a
		// foreign page must not be able to act with them.
		if err := f.origin.Check(r); err != nil {
			f.fail(w, r, &problem{Status: 403, Reason: "cross-origin", Detail: "A page of another site may not do this."})
			return
		}
		c, err := identify(r)
		if err == nil && row.roles != nil {
			err = c.actor.Require(row.roles...)
		}
		if err == nil {
			err = row.handler(w, r, c)
		}
		if err != nil {
			f.fail(w, r, err)
		}
	}
}

// canonical reports whether the path was sent in the one spelling that is
// routed, so that no two parts of the server can read it differently.
func canonical(r *http.Request) bool {
	p := r.URL.EscapedPath()
	if r.RequestURI != "" {
		p, _, _ = strings.Cut(r.RequestURI, "?")
	}
	if p != r.URL.Path || !strings.HasPrefix(p, "/") || strings.Contains(p, "//") || strings.HasSuffix(p, "/") {
		return false
	}
	for i := range len(p) {
		c := p[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("/-_.~:", c) < 0 {
			return false
		}
	}
	if strings.Contains(p, "/.") {
		for segment := range strings.SplitSeq(p, "/") {
			if slices.Contains([]string{".", ".."}, segment) {
				return false
			}
		}
	}
	return true
}
