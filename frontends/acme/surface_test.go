package acme

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

func newRequest(t testing.TB, method, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestACME_A001_PlainHTTP(t *testing.T) {
	w := newWorld(t)
	resp, err := http.Get(strings.Replace(w.base, "https", "http", 1) + "/acme/directory")
	if err != nil {
		return // refused is as good
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode < 400 || strings.Contains(string(body), "newNonce") {
		t.Errorf("%d: %s", resp.StatusCode, body)
	}
}

func TestACME_A003_Browsers(t *testing.T) {
	w := newWorld(t)
	for _, url := range []string{w.base + "/acme/directory", w.url("new-nonce"), w.url("new-order")} {
		r := newRequest(t, "OPTIONS", url, "")
		r.Header.Set("Origin", "https://app.example")
		a := w.do(r)
		if a.status != 204 || !strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "POST") || a.header.Get("Access-Control-Allow-Headers") != "Content-Type" {
			t.Errorf("%s: %d %v", url, a.status, a.header)
		}
		for _, h := range []string{"Replay-Nonce", "Location", "Link"} {
			if !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), h) {
				t.Errorf("%s is not exposed", h)
			}
		}
	}
}

func TestACME_A004_ContentType(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	for _, kind := range []string{"", "application/json", "application/jose", "text/plain", "application/jose+json2", "; charset"} {
		w.want(kind, w.send("POST", w.url("new-order"), kind, c.jws(c.good(), anOrder)), 415, malformed)
	}
	for _, kind := range []string{"application/jose+json", "application/jose+json; charset=utf-8", "Application/JOSE+JSON"} {
		w.ok(kind, w.send("POST", w.url("new-order"), kind, c.jws(c.good(), anOrder)), 201)
	}
}

// resources are one address of each kind.
func (w *world) resources(c *client) map[string]string {
	o, url := c.ready("www.example.org")
	a := w.ok("finalize", c.post(o.Finalize, csrPayload(csrOf(w.t, leafKey(w.t), "www.example.org"))), 200)
	authz := w.ok("authz", c.read(o.Authorizations[0]), 200)
	return map[string]string{
		"account": c.kid, "order": url, "finalize": o.Finalize, "authz": o.Authorizations[0],
		"challenge": authz.Challenges[0].URL, "certificate": a.Certificate,
	}
}

func TestACME_A020_XJ034_PlainGET(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	all := w.resources(c)
	for _, name := range []string{"new-account", "new-order", "new-authz", "key-change", "revoke-cert", "orders/" + idOf(c.kid)} {
		all[name] = w.url(name)
	}
	for name, url := range all {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH"} { // XJ-034, A-104
			r := newRequest(t, method, url, "")
			resp, err := w.https.Client().Transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" || resp.Header.Get("Replay-Nonce") == "" || resp.Header.Get("Content-Type") != problemType {
				t.Errorf("%s %s: %d %v %s", method, name, resp.StatusCode, resp.Header, body)
			}
		}
	}
	w.want("GET", w.get(all["order"]), 405, malformed)
}

func TestACME_A021_PostAsGetOfPublicResources(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	want := w.get(w.base + "/acme/directory").body
	for _, url := range []string{w.base + "/acme/directory", w.url("directory")} {
		if a := w.ok("directory", c.read(url), 200); string(a.body) != string(want) {
			t.Errorf("%s: %s", url, a.body)
		}
	}
	w.ok("newNonce", c.read(w.url("new-nonce")), 204)
	w.want("payload", c.post(w.base+"/acme/directory", "{}"), 400, malformed)
}

func TestACME_A022_A050_XJ029_OthersResources(t *testing.T) {
	w := newWorld(t)
	c, stranger := w.client(), w.client()
	for name, url := range w.resources(c) {
		for _, payload := range []string{"", "{}", `{"status":"deactivated"}`, csrPayload(csrOf(t, leafKey(t), "www.example.org"))} { // XJ-029, A-050
			a := stranger.post(url, payload)
			if a.status != 403 && a.status != 404 && a.status != 400 || a.status == 200 || strings.Contains(string(a.body), "example.org") || strings.Contains(string(a.body), "BEGIN") {
				t.Errorf("%s %s: %d %s", name, payload, a.status, a.body)
			}
			if payload == "" && name != "finalize" && a.status == 400 {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
	}
	w.want("A-050", stranger.post(c.kid, `{"contact":[]}`), 403, unauthorized)
}

func TestACME_A023_EmptyObjects(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	o := c.order("www.example.org")
	w.want("order", c.post(o.location(), "{}"), 400, malformed)
	w.want("authz", c.post(o.Authorizations[0], "{}"), 400, malformed)
	if a := c.read(o.Authorizations[0]); a.Status != "pending" || a.Challenges[0].Status != "pending" || len(w.site.requests()) != 0 {
		t.Errorf("validation began: %s", a.body)
	}
}

// Every kind of error carries a nonce with which the client can go on.
func TestACME_A030_NonceOnErrors(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	other := w.client()
	errs := []*answer{
		c.sendJWS("x"), c.post(w.url("new-order"), "{"), other.read(c.kid), w.get(w.url("nowhere")), w.get(w.url("new-order")),
		w.send("POST", w.url("new-order"), "text/plain", "x"), c.sendJWS(strings.Repeat("x", maxBody+1)),
		w.get(w.base + "/acme/"), w.get(w.base + "/acme/other/directory"), c.read(w.url("order/" + strings.Repeat("0", 26))),
	}
	for i, status := range []int{400, 400, 403, 404, 405, 415, 413, 404, 404, 404} {
		a := errs[i]
		if a.status != status {
			t.Errorf("%d: %d, want %d", i, a.status, status)
		}
		body := c.jws(c.header(c.byKid(), a.header.Get("Replay-Nonce"), c.kid), "")
		w.ok("with that nonce", w.send("POST", c.kid, joseType, body), 200)
	}
}

func TestACME_A038_A039_Directory(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.config["default"] = Endpoint{Profiles: []string{"web"}, TermsOfService: "https://ca.example/terms", Website: "https://ca.example/"}
		w.config["inner"] = Endpoint{Profiles: []string{"web"}}
	})
	for url, base := range map[string]string{"/acme/directory": "default", "/acme/default/directory": "default", "/acme/inner/directory": "inner"} {
		a := w.ok(url, w.get(w.base+url), 200)
		if a.header.Get("Content-Type") != "application/json" || a.header.Get("Link") != "" {
			t.Errorf("%s: %v", url, a.header)
		}
		for _, u := range []string{a.NewNonce, a.NewAccount, a.NewOrder, a.RevokeCert, a.text("keyChange")} {
			if !strings.HasPrefix(u, w.base+"/acme/"+base+"/") {
				t.Errorf("%s: %q", url, u)
			}
		}
		for _, absent := range []string{"newAuthz"} { // what is not offered is not there
			if _, ok := a.raw[absent]; ok {
				t.Errorf("%s has %s", url, absent)
			}
		}
		var meta map[string]any
		json.Unmarshal(a.raw["meta"], &meta)
		if base == "default" && (meta["termsOfService"] != "https://ca.example/terms" || meta["website"] != "https://ca.example/") || base == "inner" && len(meta) != 1 {
			t.Errorf("%s: meta %v", url, meta)
		}
		if meta["externalAccountRequired"] != nil || meta["subdomainAuthAllowed"] != nil {
			t.Errorf("%s: meta %v", url, meta)
		}
	}
	r := newRequest(t, "HEAD", w.base+"/acme/directory", "")
	w.ok("HEAD", w.do(r), 200)
}

func TestACME_A104_A105_UnknownPaths(t *testing.T) {
	w := newWorld(t)
	id := strings.Repeat("0", 26)
	for _, path := range []string{
		"", "x", "default", "default/", "default//directory", "default/directory/", "default/order", "default/order/", "default/order/1", "default/order/" + id + "/x",
		"default/order/" + id + "/finalize/x", "default/finalize/" + id, "default/challenge/" + id, "default/account/" + id + "/orders", "default/%64irectory", "default/order%2f" + id,
		"none/new-nonce", "DEFAULT/directory", "directory/directory", "default/new-nonce?x", "default/new-nonce?", "default/certificate/" + strings.Repeat("é", 13),
	} {
		for _, method := range []string{"GET", "POST"} {
			r := newRequest(t, method, w.base+"/acme/"+path, "{}")
			w.want(method+" "+path, w.do(r), 404, malformed)
		}
	}
	// nobody needs to say who they are.
	r := newRequest(t, "GET", w.base+"/acme/directory", "")
	r.Header["User-Agent"] = nil
	w.ok("no User-Agent", w.do(r), 200)
}

// ids say nothing of one another.
func TestACME_A106_Ids(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	seen := map[string]bool{}
	for range 20 {
		o := c.order("www.example.org")
		for _, u := range append(o.Authorizations, o.location()) {
			random := u[len(u)-16:]
			if seen[random] {
				t.Errorf("%s is not random", random)
			}
			seen[random] = true
		}
	}
}
