package acme

import (
	"strings"
	"sync"
	"testing"
)

func TestACME_A041_A042_NewAccount(t *testing.T) {
	w := newWorld(t)
	c := newClient(w)
	a := w.ok("newAccount", c.postKey(w.url("new-account"), `{"contact":["mailto:a@example.org"]}`), 201)
	if !strings.HasPrefix(a.location(), w.url("account/")) || a.Status != "valid" || len(a.Contact) != 1 {
		t.Errorf("%v %s", a.header, a.body)
	}
	// what is not the client's to say is neither kept nor shown.
	c = newClient(w)
	a = w.ok("newAccount", c.postKey(w.url("new-account"), `{"orders":"https://evil","status":"revoked","foo":1,"initialIp":"1.2.3.4","onlyReturnExisting":false}`), 201)
	for _, s := range []string{"evil", "revoked", "foo", "initialIp", "onlyReturnExisting"} {
		if strings.Contains(string(a.body), s) {
			t.Errorf("%s is reflected: %s", s, a.body)
		}
	}
	for name, payload := range map[string]string{
		"POST-as-GET": "", "array": "[]", "null": "null", "string": `"x"`, "contact type": `{"contact":"mailto:a@b.example"}`, "twice": `{"contact":[],"contact":[]}`, "trailing": `{} {}`, "bool": `{"onlyReturnExisting":"true"}`,
	} {
		w.want(name, newClient(w).postKey(w.url("new-account"), payload), 400, malformed)
	}
}

func TestACME_A043_Contacts(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	for contact, kind := range map[string]string{
		"tel:+1": unsupportedContact, "https://example.org": unsupportedContact, "a@example.org": unsupportedContact, "": unsupportedContact,
		"mailto:a@b.example?subject=x": invalidContact, "mailto:a@b.example,c@d.example": invalidContact, "mailto:": invalidContact,
		"mailto:a@b.example\r\nBcc: x@y.example": invalidContact, "mailto:a": invalidContact, "mailto:<a@b.example>": invalidContact, "mailto:a@b.example%0d": invalidContact,
		"mailto:ü@example.org": invalidContact,
	} {
		payload := `{"contact":[` + quote(contact) + `]}`
		w.want("new "+contact, newClient(w).postKey(w.url("new-account"), payload), 400, kind)
		w.want("update "+contact, c.post(c.kid, payload), 400, kind)
	}
	w.want("eleven", c.post(c.kid, `{"contact":["mailto:a@b.example"`+strings.Repeat(`,"mailto:a@b.example"`, 10)+`]}`), 400, invalidContact)
	if n := count(w, &accounts); n != 1 {
		t.Errorf("%d accounts", n)
	}
}

func TestACME_A044_Terms(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.config["default"] = Endpoint{Profiles: []string{"web"}, TermsOfService: "https://ca.example/terms"}
	})
	c := newClient(w)
	for payload, kind := range map[string]string{`{}`: userActionRequired, `{"termsOfServiceAgreed":false}`: userActionRequired, `{"termsOfServiceAgreed":"true"}`: malformed, `{"TermsOfServiceAgreed":true}`: userActionRequired} {
		status := 403
		if kind == malformed {
			status = 400
		}
		w.want(payload, c.postKey(w.url("new-account"), payload), status, kind)
	}
	if n := count(w, &accounts); n != 0 {
		t.Errorf("%d accounts", n)
	}
	w.ok("agreed", c.postKey(w.url("new-account"), `{"termsOfServiceAgreed":true}`), 201)
}

func TestACME_A045_A046_A047_SameKey(t *testing.T) {
	w := newWorld(t)
	c := newClient(w)
	w.want("A-046", c.postKey(w.url("new-account"), `{"onlyReturnExisting":true}`), 400, accountDoesNotExist)
	w.want("A-046 again", c.postKey(w.url("new-account"), `{"onlyReturnExisting":true}`), 400, accountDoesNotExist)
	first := w.ok("new", c.postKey(w.url("new-account"), `{"contact":["mailto:a@example.org"]}`), 201)
	for _, payload := range []string{`{"contact":["mailto:b@example.org"]}`, `{"onlyReturnExisting":true}`, `{}`} {
		a := w.ok(payload, c.postKey(w.url("new-account"), payload), 200)
		if a.location() != first.location() || string(a.body) != string(first.body) {
			t.Errorf("%s: %s %s", payload, a.location(), a.body)
		}
	}
	// The key alone counts, whatever else is in the JWK.
	padded := `"jwk":` + strings.TrimSuffix(c.jwk(), "}") + `,"kid":"x","use":"sig"}`
	a := w.send("POST", w.url("new-account"), joseType, c.jws(c.header(padded, w.nonce(), w.url("new-account")), `{}`))
	if w.ok("other members", a, 200).location() != first.location() {
		t.Error("another account for the same key")
	}
}

func TestACME_A048_ParallelNewAccount(t *testing.T) {
	w := newWorld(t)
	c := newClient(w)
	var wait sync.WaitGroup
	answers := make([]*answer, 50)
	for i := range answers {
		wait.Go(func() { answers[i] = c.postKey(w.url("new-account"), `{}`) })
	}
	wait.Wait()
	made := 0
	for _, a := range answers {
		if a.status == 201 {
			made++
		} else {
			w.ok("others", a, 200)
		}
		if a.location() != answers[0].location() {
			t.Errorf("%s and %s", a.location(), answers[0].location())
		}
	}
	if n := count(w, &accounts); made != 1 || n != 1 {
		t.Errorf("%d made, %d rows", made, n)
	}
}

func TestACME_A049_Update(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	a := w.ok("update", c.post(c.kid, `{"contact":["mailto:new@example.org"],"status":"revoked","orders":"https://evil","termsOfServiceAgreed":false}`), 200)
	if a.Status != "valid" || len(a.Contact) != 1 || strings.Contains(string(a.body), "evil") {
		t.Errorf("%s", a.body)
	}
	if a = w.ok("read", c.read(c.kid), 200); len(a.Contact) != 1 || a.Contact[0] != "mailto:new@example.org" {
		t.Errorf("%s", a.body)
	}
	if a = w.ok("nothing", c.post(c.kid, `{"status":"revoked"}`), 200); a.Status != "valid" {
		t.Errorf("%s", a.body)
	}
	if a = w.ok("cleared", c.post(c.kid, `{"contact":[]}`), 200); len(a.Contact) != 0 {
		t.Errorf("%s", a.body)
	}
}

func TestACME_A059_Deactivated(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	key := leafKey(t)
	chain := c.issue(key, "www.example.org")
	o, url := c.ready("two.example.org")
	a := w.ok("deactivate", c.post(c.kid, `{"status":"deactivated"}`), 200)
	if a.Status != "deactivated" {
		t.Errorf("%s", a.body)
	}
	for _, u := range []string{c.kid, url, o.Authorizations[0], w.url("new-order"), w.base + "/acme/directory"} {
		w.want(u, c.read(u), 401, unauthorized)
	}
	w.want("update", c.post(c.kid, `{"status":"valid"}`), 401, unauthorized)
	w.want("finalize", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), "two.example.org"))), 401, unauthorized)
	w.want("revoke", c.post(w.url("revoke-cert"), revocation(chain[0], "")), 401, unauthorized)
	for _, payload := range []string{`{}`, `{"onlyReturnExisting":true}`} {
		w.want("newAccount", c.postKey(w.url("new-account"), payload), 401, unauthorized)
	}
	if w.engine.issued() != 1 || w.engine.status(chain[0]) != "good" {
		t.Error("certificates changed")
	}
}

// An account belongs to its endpoint.
func TestAccountsOfOtherEndpoints(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config["inner"] = Endpoint{Profiles: []string{"web"}} })
	c := w.client()
	url := w.base + "/acme/inner/new-order"
	w.want("kid of another endpoint", w.send("POST", url, joseType, c.jws(c.header(c.byKid(), w.nonce(), url), anOrder)), 400, malformed)
	mixed := *c
	mixed.kid = strings.Replace(c.kid, "default", "inner", 1)
	w.want("id of another endpoint", w.send("POST", url, joseType, mixed.jws(mixed.header(mixed.byKid(), w.nonce(), url), anOrder)), 400, accountDoesNotExist)
	url = w.base + "/acme/inner/new-account"
	a := w.ok("own account there", w.send("POST", url, joseType, c.jws(c.header(c.byJWK(), w.nonce(), url), `{}`)), 201)
	if a.location() == c.kid {
		t.Error("the same account")
	}
}

// RFC 8555, Section 7.3.6: what a deactivated account began is cancelled:
// the server asks the network nothing more for it.
func TestACME_A059_DeactivationCancels(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	o := c.order(host)
	authz := c.read(o.Authorizations[0])
	if a := c.post(authz.pick("http-01").URL, "{}"); a.Status != "processing" {
		t.Fatalf("%s", a.body)
	}
	asked := len(w.site.requests())
	w.ok("deactivate", c.post(c.kid, `{"status":"deactivated"}`), 200)
	c.prepare(authz, "http-01")
	for range maxTries {
		w.advance(retryAfterFail)
		w.settle()
	}
	if n := len(w.site.requests()); n != asked {
		t.Errorf("%d requests more", n-asked)
	}
	if z := row(w, &authzs, idOf(o.Authorizations[0])); z.State != deactivated || z.Due != 0 {
		t.Errorf("%+v", z)
	}
	w.want("finalize", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), host))), 401, unauthorized)
}
