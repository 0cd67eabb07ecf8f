package acme

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"chancery/engine"
)

func TestACME_A073_A074_A076_A081_Challenge(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	o := c.order("www.example.org")
	authz := c.read(o.Authorizations[0])
	ch := c.prepare(authz, "http-01")
	// reading does not begin anything.
	if a := w.ok("read", c.read(ch.URL), 200); a.Status != "pending" || len(w.site.requests()) != 0 {
		t.Errorf("%s", a.body)
	}
	for _, payload := range []string{"[]", "null", `"{}"`, "{", `{"a":1,"a":2}`} {
		w.want(payload, c.post(ch.URL, payload), 400, malformed)
	}
	a := w.ok("respond", c.post(ch.URL, `{"keyAuthorization":"x","type":"http-01"}`), 200)
	if a.Status != "valid" || a.Token != ch.Token || a.Type != "http-01" || a.URL != ch.URL || a.raw["error"] != nil {
		t.Errorf("%s", a.body)
	}
	if at, err := time.Parse(time.RFC3339, a.Validated); err != nil || !at.Equal(w.now()) {
		t.Errorf("validated %q", a.Validated)
	}
	if links := strings.Join(a.header.Values("Link"), ","); !strings.Contains(links, "<"+o.Authorizations[0]+`>;rel="up"`) {
		t.Errorf("links %s", links)
	}
	//
	authz = c.read(o.Authorizations[0])
	if at, err := time.Parse(time.RFC3339, authz.Expires); err != nil || !at.After(w.now()) || authz.Status != "valid" || len(authz.Challenges) != 1 || authz.Challenges[0].Validated == "" {
		t.Errorf("%s", authz.body)
	}
	if a := w.ok("again", c.post(ch.URL, "{}"), 200); a.Status != "valid" || len(w.site.requests()) != 1 {
		t.Errorf("validated twice: %s", a.body)
	}
	//
	r := w.site.requests()[0]
	if r.Method != "GET" || r.URL.String() != "/.well-known/acme-challenge/"+ch.Token || r.Host != "www.example.org" || r.UserAgent() == "" || r.Header.Get("Accept-Encoding") != "" {
		t.Errorf("%s %s %s %v", r.Method, r.Host, r.URL, r.Header)
	}
}

// A slow validation goes on without the client, on this node or another.
func TestACME_A075_PollWhileProcessing(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	o := c.order("www.example.org")
	ch := c.prepare(c.read(o.Authorizations[0]), "http-01")
	hold := make(chan struct{})
	w.site.set("/.well-known/acme-challenge/"+ch.Token, func(rw http.ResponseWriter, _ *http.Request) {
		<-hold
		io.WriteString(rw, ch.Token+"."+c.thumb())
	})
	w.f.after = func(time.Duration) <-chan time.Time { now := make(chan time.Time, 1); now <- time.Time{}; return now }
	a := w.ok("respond", c.post(ch.URL, "{}"), 200)
	if a.Status != "processing" || a.header.Get("Retry-After") == "" {
		t.Errorf("%v %s", a.header, a.body)
	}
	if a := w.ok("authz", c.read(o.Authorizations[0]), 200); a.Status != "pending" || a.header.Get("Retry-After") == "" {
		t.Errorf("%s", a.body)
	}
	if a := w.ok("order", c.read(o.location()), 200); a.Status != "pending" {
		t.Errorf("%s", a.body)
	}
	w.ok("asking again", c.post(ch.URL, "{}"), 200)
	w.want("the other one meanwhile", c.post(strings.Replace(ch.URL, "http-01", "dns-01", 1), "{}"), 400, malformed)
	if err := w.f.sweep(t.Context()); err != nil { // its lease keeps others away
		t.Fatal(err)
	}
	close(hold)
	w.settle()
	if n := len(w.site.requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
	if a := c.read(o.location()); a.Status != "ready" {
		t.Errorf("%s", a.body)
	}
}

func TestACME_A070_A077_Failure(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	o := c.order("www.example.org", "other.example.org")
	ch := c.read(o.Authorizations[0]).pick("http-01")
	w.site.put(ch.Token, "<img onerror=alert(1)> secret of the intranet")
	a := w.ok("first try", c.post(ch.URL, "{}"), 200)
	// RFC 8555, Section 8.2: still processing, with the error so far.
	if a.Status != "processing" || a.Error.kind() != incorrectResponse || a.header.Get("Retry-After") != "5" {
		t.Errorf("%v %s", a.header, a.body)
	}
	for range 2 {
		w.settle() // nothing is due
		w.advance(retryAfterFail)
		w.settle()
	}
	if n := len(w.site.requests()); n != maxTries {
		t.Errorf("%d tries", n)
	}
	a = w.ok("challenge", c.read(ch.URL), 200)
	if a.Status != "invalid" || a.Error.kind() != incorrectResponse || a.header.Get("Retry-After") != "" {
		t.Errorf("%s", a.body)
	}
	authz := c.read(o.Authorizations[0])
	if authz.Status != "invalid" || len(authz.Challenges) != standardTypes || strings.Contains(string(authz.body), "onerror") || strings.Contains(string(authz.body), "secret") { // XN-007
		t.Errorf("%s", authz.body)
	}
	// the order is, and says why; the other authorization is not touched.
	order := c.read(o.location())
	if order.Status != "invalid" || order.Error.kind() != incorrectResponse || !strings.Contains(order.Error.Detail, "www.example.org") {
		t.Errorf("%s", order.body)
	}
	if a := c.read(o.Authorizations[1]); a.Status != "pending" {
		t.Errorf("%s", a.body)
	}
	w.want("finalize", c.post(o.Finalize, csrPayload(csrOf(t, leafKey(t), "www.example.org", "other.example.org"))), 403, orderNotReady)
	if a := c.post(ch.URL, "{}"); a.Status != "invalid" || len(w.site.requests()) != maxTries {
		t.Errorf("%s", a.body)
	}
}

// a client that is a little late succeeds.
func TestACME_A078_Retry(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	o := c.order("www.example.org")
	authz := c.read(o.Authorizations[0])
	a := c.post(authz.pick("http-01").URL, "{}")
	if a.Status != "processing" {
		t.Errorf("%s", a.body)
	}
	c.prepare(authz, "http-01")
	w.advance(retryAfterFail)
	w.settle()
	if a := c.read(o.location()); a.Status != "ready" {
		t.Errorf("%s", a.body)
	}
	if a := c.read(authz.pick("http-01").URL); a.Status != "valid" || a.raw["error"] != nil {
		t.Errorf("%s", a.body)
	}
}

// A node that died while validating: another takes over after the lease.
func TestValidationSurvivesRestart(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	o := c.order("www.example.org")
	authz := c.read(o.Authorizations[0])
	ch := c.prepare(authz, "http-01")
	if _, err := w.f.accept(t.Context(), spending{}, idOf(o.Authorizations[0]), 0, c.thumb(), true); err != nil {
		t.Fatal(err)
	}
	w.open()
	w.settle()
	if n := len(w.site.requests()); n != 0 {
		t.Errorf("%d requests within the lease", n)
	}
	w.advance(lease)
	w.settle()
	if a := c.read(ch.URL); a.Status != "valid" {
		t.Errorf("%s", a.body)
	}
	// One that ends in order gives the lease back.
	o = c.order("two.example.org")
	ch = c.prepare(c.read(o.Authorizations[0]), "http-01")
	hold := make(chan struct{})
	w.site.set("/.well-known/acme-challenge/"+ch.Token, func(_ http.ResponseWriter, r *http.Request) {
		close(hold)
		<-r.Context().Done()
	})
	w.f.after = func(time.Duration) <-chan time.Time {
		<-hold
		now := make(chan time.Time, 1)
		now <- time.Time{}
		return now
	}
	if a := w.ok("respond", c.post(ch.URL, "{}"), 200); a.Status != "processing" {
		t.Errorf("%s", a.body)
	}
	w.open()
	w.site.put(ch.Token, ch.Token+"."+c.thumb())
	w.settle()
	if a := c.read(ch.URL); a.Status != "valid" {
		t.Errorf("%s", a.body)
	}
}

func idOf(url string) string { return url[len(url)-26:] }

// No room for another validation: it is recorded, and made when there is some.
func TestValidationsAreBounded(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	for i := range maxValidations {
		other := strconv.Itoa(i)
		w.f.doing.begin(&authz{ID: other, Account: other}, engine.HTTP01)
	}
	o := c.order("www.example.org")
	ch := c.prepare(c.read(o.Authorizations[0]), "http-01")
	if a := w.ok("respond", c.post(ch.URL, "{}"), 200); a.Status != "processing" {
		t.Errorf("%s", a.body)
	}
	w.settle()
	if len(w.site.requests()) != 0 {
		t.Error("more than there is room for")
	}
	w.f.doing.validated("0")
	w.settle()
	if a := c.read(ch.URL); a.Status != "valid" {
		t.Errorf("%s", a.body)
	}
}

// an RSA key whose numbers have leading zeros in the JWK.
func TestACME_A079_LeadingZeros(t *testing.T) {
	w := newWorld(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{w: w, key: key, alg: "RS256"}
	zeros := `"jwk":{"kty":"RSA","e":"` + b64.EncodeToString([]byte{0, 0, 1, 0, 1}) + `","n":"` + b64.EncodeToString(append([]byte{0}, key.N.Bytes()...)) + `"}`
	a := w.send("POST", w.url("new-account"), joseType, c.jws(c.header(zeros, w.nonce(), w.url("new-account")), `{}`))
	c.kid = w.ok("newAccount", a, 201).location()
	c.issue(leafKey(t), "www.example.org") // its thumbprint is of the stripped form
	if w.ok("stripped", c.postKey(w.url("new-account"), `{}`), 200).location() != c.kid {
		t.Error("two accounts for one key")
	}
}

func TestACME_A080_Tokens(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	seen := map[string]bool{}
	for range 10 {
		for _, ch := range c.read(c.order("www.example.org").Authorizations[0]).Challenges {
			raw, err := b64.DecodeString(ch.Token)
			if err != nil || len(raw) < 16 || seen[ch.Token] {
				t.Errorf("token %q", ch.Token)
			}
			seen[ch.Token] = true
		}
	}
}

// try is one attempt at a challenge whose answer is made by fn.
func (c *client) try(kind string, fn func(ch *shown, keyAuth string)) *answer {
	c.w.t.Helper()
	authz := c.read(c.order("www.example.org").Authorizations[0])
	ch := authz.pick(kind)
	fn(ch, ch.Token+"."+c.thumb())
	return c.w.ok("respond", c.post(ch.URL, "{}"), 200)
}

func TestACME_A082_A084_Bodies(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	other := newClient(w).thumb()
	for _, tt := range []struct {
		name string
		ok   bool
		body func(ka, token string) string
	}{
		{"exact", true, func(ka, _ string) string { return ka }},
		{"CRLF", true, func(ka, _ string) string { return ka + "\r\n" }},
		{"spaces and tabs", true, func(ka, _ string) string { return ka + " \t \n" }},
		{"leading space", false, func(ka, _ string) string { return " " + ka }},
		{"leading newline", false, func(ka, _ string) string { return "\n" + ka }},
		{"byte order mark", false, func(ka, _ string) string { return "\ufeff" + ka }},
		{"text after", false, func(ka, _ string) string { return ka + "\nx" }},
		{"no-break space", false, func(ka, _ string) string { return ka + "\u00a0" }},
		{"NUL", false, func(ka, _ string) string { return ka + "\x00" }},
		{"much white space", false, func(ka, _ string) string { return ka + strings.Repeat(" ", 1000) + "x" }},
		{"cut", false, func(ka, _ string) string { return ka[:len(ka)-1] }},
		{"token only", false, func(_, token string) string { return token }},
		{"another account's", false, func(_, token string) string { return token + "." + other }},
		{"upper case", false, func(ka, _ string) string { return strings.ToUpper(ka) }},
		{"empty", false, func(_, _ string) string { return "" }},
	} {
		a := c.try("http-01", func(ch *shown, ka string) { w.site.put(ch.Token, tt.body(ka, ch.Token)) })
		if (a.Status == "valid") != tt.ok || !tt.ok && a.Error.kind() != incorrectResponse {
			t.Errorf("%s: %s", tt.name, a.body)
		}
	}
	for status, ok := range map[int]bool{200: true, 404: false, 500: false, 304: false, 303: false, 300: false} {
		a := c.try("http-01", func(ch *shown, ka string) {
			w.site.set("/.well-known/acme-challenge/"+ch.Token, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Location", "/.well-known/acme-challenge/"+ch.Token)
				rw.WriteHeader(status)
				if status != 304 {
					io.WriteString(rw, ka)
				}
			})
		})
		if (a.Status == "valid") != ok {
			t.Errorf("%d: %s", status, a.body)
		}
	}
}

func TestACME_A085_A086_DNS(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	const name = "_acme-challenge.www.example.org"
	digest := func(ka string) string {
		sum := sha256.Sum256([]byte(ka))
		return b64.EncodeToString(sum[:])
	}
	for _, tt := range []struct {
		name string
		ok   bool
		set  func(d, ka string)
	}{
		{"one", true, func(d, _ string) { w.dns.TXT(name, d) }},
		{"one of several", true, func(d, _ string) { w.dns.TXT(name, "x"); w.dns.TXT(name, d); w.dns.TXT(name, "") }},
		{"two character-strings", true, func(d, _ string) { w.dns.TXT(name, d[:20], d[20:]) }},
		{"delegated", true, func(d, _ string) { w.dns.CNAME(name, "delegated.example"); w.dns.TXT("delegated.example", d) }},
		{"padding", false, func(d, _ string) { w.dns.TXT(name, d+"=") }},
		{"hexadecimal", false, func(_, ka string) { sum := sha256.Sum256([]byte(ka)); w.dns.TXT(name, hex.EncodeToString(sum[:])) }},
		{"upper case", false, func(d, _ string) { w.dns.TXT(name, strings.ToUpper(d)) }},
		{"quoted", false, func(d, _ string) { w.dns.TXT(name, `"`+d+`"`) }},
		{"space", false, func(d, _ string) { w.dns.TXT(name, " "+d) }},
		{"key authorization itself", false, func(_, ka string) { w.dns.TXT(name, ka) }},
		{"at the name itself", false, func(d, _ string) { w.dns.TXT("www.example.org", d) }},
		{"none", false, func(_, _ string) {}},
	} {
		for _, n := range []string{name, "delegated.example", "www.example.org"} {
			w.dns.Clear(n)
		}
		a := c.try(string(engine.DNS01), func(_ *shown, ka string) { tt.set(digest(ka), ka) })
		if (a.Status == "valid") != tt.ok {
			t.Errorf("%s: %s", tt.name, a.body)
		}
		if kind := a.Error.kind(); !tt.ok && kind != incorrectResponse && kind != dnsError {
			t.Errorf("%s: %s", tt.name, a.body)
		}
	}
}
