package acme

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"chancery/engine"
)

// every success of a whole life carries a nonce, with which the next
// message can be sent; what world.tail checks of every answer is true of these.
func TestACME_A029_NonceOnEverySuccess(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.config["default"] = Endpoint{Profiles: []string{"web"}, PreAuthorize: true}
	})
	c := newClient(w)
	nonce := w.nonce()
	next := func(a *answer, status int) *answer {
		t.Helper()
		w.ok("answer", a, status)
		if nonce = a.header.Get("Replay-Nonce"); nonce == "" {
			t.Fatal("no nonce")
		}
		return a
	}
	post := func(url, payload string) *answer {
		id := c.byKid()
		if c.kid == "" {
			id = c.byJWK()
		}
		return w.send("POST", url, joseType, c.jws(c.header(id, nonce, url), payload))
	}
	c.kid = next(post(w.url("new-account"), `{}`), 201).location()
	next(post(c.kid, ""), 200)
	next(post(c.kid, `{"contact":["mailto:a@example.org"]}`), 200)
	next(post(w.base+"/acme/directory", ""), 200)
	next(post(w.url("new-nonce"), ""), 204)
	next(post(w.url("new-authz"), identifierOf("a.example.org")), 201)
	o := next(post(w.url("new-order"), anOrder), 201)
	ch := c.prepare(next(post(o.Authorizations[0], ""), 200), "http-01")
	next(post(ch.URL, ""), 200)
	next(post(ch.URL, "{}"), 200)
	done := next(post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))), 200)
	next(post(o.location(), ""), 200)
	chain := next(post(done.Certificate, ""), 200)
	next(post(w.url("orders/"+idOf(c.kid)), ""), 200)
	next(post(w.url("revoke-cert"), revocation(pemChain(t, chain.body)[0], "")), 200)
	other := newClient(w)
	next(post(w.url("key-change"), c.innerChange(other, change{})), 200)
	c = c.become(other)
	next(post(o.Authorizations[0], `{"status":"deactivated"}`), 200)
	next(post(c.kid, `{"status":"deactivated"}`), 200)
}

// a limit says so by its own type, with when to try again.
func TestACME_A035_XJ032_Limits(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	hosts := make([]string, 100)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("h%d.example.org", i)
	}
	c.order(hosts...)
	w.want("101 names", c.post(w.url("new-order"), orderOf(append(hosts, "one.example.org")...)), 400, malformed)
	var some []*order
	for range maxOpenOrders - 1 {
		some = append(some, &order{ID: w.id(), Account: idOf(c.kid), Expires: w.now().Add(orderLife).Unix()})
	}
	insert(w, &orders, some...)
	before := count(w, &authzs)
	a := c.post(w.url("new-order"), anOrder)
	w.want("one order more", a, 429, rateLimited)
	if n, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || n < 1 {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	if count(w, &authzs) != before {
		t.Error("what was refused left rows")
	}
}

// no error type that the registry does not have.
func TestACME_A036_RegisteredTypes(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "problem.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	types := 0
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			lit, ok := v.Values[0].(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				continue
			}
			s, _ := strconv.Unquote(lit.Value)
			if strings.ContainsAny(s, ":/") {
				continue
			}
			if types++; !strings.Contains(registered, " "+s+" ") {
				t.Errorf("%s is not registered", s)
			}
		}
	}
	for reason, p := range reasons {
		if !strings.Contains(registered, " "+p.Type+" ") {
			t.Errorf("%s is mapped to %s", reason, p.Type)
		}
	}
	if types < 20 {
		t.Errorf("only %d types were found: the test is blind", types)
	}
}

// RFC 8555, Section 7.3.3.
func TestACME_A051_TermsChanged(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.config["default"] = Endpoint{Profiles: []string{"web"}, TermsOfService: "https://ca.example/terms/1"}
	})
	c := w.client()
	first := c.order(host)
	change := func(e Endpoint) {
		w.deps.Nonces, w.config["default"] = w.f.nonces, e
		w.open()
	}
	e := Endpoint{Profiles: []string{"web"}, PreAuthorize: true, TermsOfService: "https://ca.example/terms/2"}
	change(e)
	c.order(host) // they changed, and nobody insists
	e.InsistOnTerms = true
	change(e)
	for what, a := range map[string]*answer{
		"newOrder": c.post(w.url("new-order"), anOrder), "newAuthz": c.post(w.url("new-authz"), identifierOf(host)),
		"newAccount": newClient(w).postKey(w.url("new-account"), `{}`),
	} {
		w.want(what, a, 403, userActionRequired)
		if a.text("instance") != e.TermsOfService || !strings.Contains(strings.Join(a.header.Values("Link"), ","), `<https://ca.example/terms/2>;rel="terms-of-service"`) {
			t.Errorf("%s: %v %s", what, a.header.Values("Link"), a.body)
		}
	}
	// What was begun goes on, and whoever agrees may begin anew.
	c.prove(first.Authorizations[0])
	w.ok("no", c.post(c.kid, `{"termsOfServiceAgreed":false}`), 200)
	w.want("still not", c.post(w.url("new-order"), anOrder), 403, userActionRequired)
	if a := w.ok("agree", c.post(c.kid, `{"termsOfServiceAgreed":true}`), 200); string(a.raw["termsOfServiceAgreed"]) != "true" {
		t.Errorf("%s", a.body)
	}
	c.order(host)
}

// redirects are followed to http and https on their ports, by the codes
// that mean it.
func TestACME_A083_Redirects(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	const there = "/there"
	for _, tt := range []struct {
		status   int
		location string
		ok       bool
	}{
		{301, there, true}, {302, there, true}, {307, there, true}, {308, there, true}, {302, "http://other.example.org" + there, true},
		{303, there, false}, {300, there, false}, {302, "http://other.example.org:1" + there, false}, {302, "ftp://other.example.org" + there, false},
		{302, "gopher://other.example.org/", false}, {302, "", false},
	} {
		a := c.try("http-01", func(ch *shown, ka string) {
			w.site.set("/.well-known/acme-challenge/"+ch.Token, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Location", tt.location)
				rw.WriteHeader(tt.status)
			})
			w.site.set(there, func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, ka) })
		})
		if (a.Status == "valid") != tt.ok {
			t.Errorf("%d to %q: %s", tt.status, tt.location, a.body)
		}
	}
}

// other chains of the authority, with the same certificate first.
func TestACME_A096_AlternateChains(t *testing.T) {
	w := newWorld(t)
	cross, second := leafDER(t), leafDER(t)
	w.engine.chains = [][][]byte{{cross}, {second, cross}}
	c := w.client()
	o, _ := c.ready(host)
	o = w.ok("finalize", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))), 200)
	links := func(a *answer) (all []string) {
		for _, m := range regexp.MustCompile(`<([^>]*)>;rel="alternate"`).FindAllStringSubmatch(strings.Join(a.header.Values("Link"), ","), -1) {
			all = append(all, m[1])
		}
		return all
	}
	first := w.ok("first", c.read(o.Certificate), 200)
	others := links(first)
	if len(others) != 2 {
		t.Fatalf("%v", first.header.Values("Link"))
	}
	leaf := pemChain(t, first.body)[0]
	for i, url := range others {
		a := w.ok(url, c.read(url), 200)
		chain := pemChain(t, a.body)
		if !bytes.Equal(chain[0], leaf) || len(chain) != 1+len(w.engine.chains[i]) || !bytes.Equal(chain[1], w.engine.chains[i][0]) {
			t.Errorf("%s: %d certificates", url, len(chain))
		}
		if back := links(a); len(back) != 2 || back[0] != o.Certificate {
			t.Errorf("%s: %v", url, back)
		}
		w.want("another account", w.client().read(url), 404, malformed)
		w.want("GET", w.get(url), 405, malformed)
	}
	for _, n := range []string{"/0", "/3", "/01", "/-1", "/x", "/1/1", "/"} {
		w.want(n, c.read(o.Certificate+n), 404, malformed)
	}
}

func leafDER(t testing.TB) []byte { return csrOf(t, leafKey(t), host) }

// The profiles of draft-ietf-acme-profiles.
func TestACME_T053_T054_Profiles(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.config["default"] = Endpoint{Profiles: []string{"web", "short", "addresses"}}
		web := engine.Profile{Frontends: []engine.Source{engine.ACME}, Description: "servers, 90 days"}
		addresses := web
		addresses.Description, addresses.Names.Allow = "", patternsOf(t, "ip:*")
		w.deps.Profiles = map[string]engine.Profile{"web": web, "short": web, "addresses": addresses}
	})
	if a := w.get(w.base + "/acme/directory"); !strings.Contains(string(a.raw["meta"]), `"profiles":{"addresses":"addresses","short":"servers, 90 days","web":"servers, 90 days"}`) {
		t.Errorf("%s", a.body)
	}
	c := w.client()
	order := func(profile string) *answer {
		return c.post(w.url("new-order"), strings.TrimSuffix(anOrder, "}")+`,"profile":`+profile+`}`)
	}
	for _, profile := range []string{`"other"`, `""`, `"WEB"`, `"chancery-tls"`, `"addresses"`} {
		w.want(profile, order(profile), 400, invalidProfile)
	}
	w.want("number", order("1"), 400, malformed)
	w.noOrders()
	for profile, want := range map[string]string{`"short"`: "short", `"web"`: "web", `null`: "web"} {
		o := w.ok(profile, order(profile), 201)
		if again := c.read(o.location()); o.text("profile") != want || again.text("profile") != want {
			t.Errorf("%s: %s %s", profile, o.body, again.body)
		}
	}
}

// T-055: of an order whose profile is gone nothing is issued, least of all by
// another profile.
func TestACME_T055_ProfileRemoved(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	o, url := c.ready(host)
	w.deps.Nonces, w.config["default"] = w.f.nonces, Endpoint{Profiles: []string{"other"}}
	w.open()
	w.want("finalize", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))), 400, invalidProfile)
	if a := c.read(url); a.text("profile") != "web" || w.engine.issued() != 0 {
		t.Errorf("%s", a.body)
	}
}

// XJ-008: an address in a header is never asked.
func TestACME_XJ008_NothingIsFetched(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	called := make(chan struct{}, 1)
	srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called <- struct{}{} })}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	for _, member := range []string{"jku", "x5u"} {
		h := strings.TrimSuffix(c.good(), "}") + `,"` + member + `":"http://` + ln.Addr().String() + `/"}`
		w.want(member, c.sendJWS(c.jws(h, anOrder)), 400, malformed)
	}
	srv.Close()
	<-done
	if len(called) > 0 {
		t.Error("the server was called")
	}
}

// XJ-033: whoever has a key may ask whether it has an account, as RFC 8555 says;
// an answer tells nothing about other keys.
func TestACME_XJ033_OnlyReturnExisting(t *testing.T) {
	w := newWorld(t)
	c, unknown := w.client(), newClient(w)
	const lookup = `{"onlyReturnExisting":true}`
	w.ok("known", c.postKey(w.url("new-account"), lookup), 200)
	w.want("unknown", unknown.postKey(w.url("new-account"), lookup), 400, accountDoesNotExist)
	forged := unknown.jws(c.header(c.byJWK(), w.nonce(), w.url("new-account")), lookup)
	w.want("without the key", w.send("POST", w.url("new-account"), joseType, forged), 400, malformed)
	w.ok("deactivate", c.post(c.kid, `{"status":"deactivated"}`), 200)
	w.want("deactivated", c.postKey(w.url("new-account"), lookup), 401, unauthorized)
	w.want("no second account", c.postKey(w.url("new-account"), `{}`), 401, unauthorized)
}

// TestCatalogue holds this package to the catalogues of conformance (A) and of
// attacks (XJ): each row has a test here that bears its number, or a line in
// testdata/catalogue.txt that says which test elsewhere shows it, or with † what
// it waits for.
func TestCatalogue(t *testing.T) {
	elsewhere := map[string]string{}
	text, err := os.ReadFile("testdata/catalogue.txt")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		ids = append(ids, fields[0])
		if len(fields) > 1 {
			elsewhere[fields[0]] = fields[1]
		}
	}
	if len(ids) != 107+34 {
		t.Fatalf("%d rows", len(ids))
	}
	here, all := testNames(t, "."), testNames(t, "../..")
	for _, id := range ids {
		number := "_" + strings.Replace(id, "-", "", 1) + "_"
		found := ""
		for name := range here {
			if strings.HasPrefix(name, "TestACME_") && strings.Contains(name, number) {
				found = name
			}
		}
		switch name := elsewhere[id]; {
		case name == "†" && found != "":
			t.Errorf("%s: %s shows it; take the † away", id, found)
		case name != "" && name != "†" && !all[name]:
			t.Errorf("%s: there is no test %s", id, name)
		case name == "" && found == "":
			t.Errorf("%s: no test bears its number", id)
		}
	}
}

// testNames are the tests in a folder and, for the root, in all below.
func testNames(t *testing.T, root string) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	all := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (root == "." || strings.HasPrefix(d.Name(), ".") && d.Name() != ".."):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		src, err := os.ReadFile(path)
		for _, m := range declared.FindAllStringSubmatch(string(src), -1) {
			all[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
