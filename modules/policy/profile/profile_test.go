package profile

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/engine"
	"chancery/engine/keys"
	"chancery/engine/names"
)

var now = time.Date(2026, 7, 1, 12, 30, 15, 500e6, time.UTC)

func public(t *testing.T, key any) *keys.Public {
	t.Helper()
	p, err := keys.FromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func p256(t *testing.T) *keys.Public {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return public(t, k.Public())
}

func ed(t *testing.T) *keys.Public {
	k, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return public(t, k)
}

func rsa2048(t *testing.T) *keys.Public {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return public(t, k.Public())
}

func dns(values ...string) []names.Name {
	var out []names.Name
	for _, v := range values {
		out = append(out, names.Name{Type: names.DNS, Value: v})
	}
	return out
}

func patterns(t *testing.T, texts ...string) []names.Pattern {
	t.Helper()
	var out []names.Pattern
	for _, s := range texts {
		p, err := names.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func dn(t *testing.T, s string) names.DN {
	t.Helper()
	d, err := names.ParseDNString(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// web is a profile that most tests change a little.
func web() engine.Profile {
	return engine.Profile{
		Authority: "main", Frontends: []engine.Source{engine.ACME, engine.Native},
		Validity: engine.Duration(90 * 24 * time.Hour), ExtKeyUsage: []string{"serverAuth"},
	}
}

// request asks for www.example.com, which is proved.
func request(t *testing.T) *engine.Request {
	return &engine.Request{
		Source: engine.ACME, Endpoint: "default", Requester: "account:1", Want: "web",
		Proofs: []engine.Proof{{Method: engine.HTTP01, Names: dns("www.example.com"), Ref: "authz1", At: now, Expires: now.Add(time.Hour)}},
		Asked:  &engine.Asked{Key: p256(t), Names: dns("www.example.com")},
	}
}

func shaperFor(t *testing.T, c Config, profiles map[string]engine.Profile) engine.Shaper {
	t.Helper()
	s, err := New(c, engine.Deps{Now: func() time.Time { return now }, Profiles: profiles})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// shape runs one profile, called web, over r.
func shape(t *testing.T, p engine.Profile, r *engine.Request) (engine.Verdict, *engine.Draft) {
	t.Helper()
	var d engine.Draft
	v, err := shaperFor(t, Config{}, map[string]engine.Profile{"web": p})(t.Context(), r, &d)
	if err != nil {
		t.Fatal(err)
	}
	return v, &d
}

func passes(t *testing.T, v engine.Verdict) {
	t.Helper()
	if reason, detail, denied := v.Denied(); denied {
		t.Fatalf("denied: %s: %s", reason, detail)
	}
	if v.Pends() {
		t.Fatal("pends")
	}
}

func denied(t *testing.T, v engine.Verdict, reason engine.Reason, says string) {
	t.Helper()
	got, detail, is := v.Denied()
	if !is {
		t.Fatalf("not denied, want %s", reason)
	}
	if got != reason || !strings.Contains(detail, says) {
		t.Errorf("denied: %s: %s\nwant %s with %q", got, detail, reason, says)
	}
}

func TestShapesWhatTheProfileSays(t *testing.T) {
	v, d := shape(t, web(), request(t))
	passes(t, v)
	if d.Profile != "web" || d.Authority != "main" || !slices.Equal(d.Names, dns("www.example.com")) || !slices.Equal(d.ExtKeyUsage, []string{"serverAuth"}) {
		t.Errorf("draft %+v", d)
	}
	if want := time.Date(2026, 7, 1, 11, 30, 15, 0, time.UTC); !d.NotBefore.Equal(want) {
		t.Errorf("notBefore %v, want %v", d.NotBefore, want)
	}
	if want := time.Date(2026, 9, 29, 12, 30, 14, 0, time.UTC); !d.NotAfter.Equal(want) {
		t.Errorf("notAfter %v, want %v", d.NotAfter, want)
	}
	// RFC 5280, Section 4.1.2.5: both ends included.
	if span := d.NotAfter.Sub(d.NotBefore) + time.Second; span != 90*24*time.Hour+time.Hour {
		t.Errorf("span %v", span)
	}
}

func TestChoosesTheProfile(t *testing.T) {
	est := web()
	est.Frontends = []engine.Source{engine.EST}
	closed := web()
	closed.Requesters = []engine.Principal{"account:9", "key:ab*"}
	all := map[string]engine.Profile{"web": web(), "device": est, "closed": closed}
	for _, tt := range []struct {
		name, want string
		fallback   string
		source     engine.Source
		requester  engine.Principal
		profile    string
		reason     engine.Reason
		says       string
	}{
		{"named", "web", "", engine.ACME, "account:1", "web", "", ""},
		{"unknown", "wep", "", engine.ACME, "account:1", "", engine.UnknownProfile, `there is no profile "wep"; ask for one of: web`},
		{"other frontend", "device", "", engine.ACME, "account:1", "", engine.UnknownProfile, "profile device cannot be asked for through acme; ask for one of: web"},
		{"only one", "", "", engine.EST, "account:1", "device", "", ""},
		{"several", "", "", engine.ACME, "account:9", "", engine.UnknownProfile, "names no profile; ask for one of: closed, web"},
		{"only one for the requester", "", "", engine.ACME, "account:1", "web", "", ""},
		{"default", "", "web", engine.ACME, "account:9", "web", "", ""},
		{"none at all", "", "", engine.SCEP, "account:1", "", engine.UnknownProfile, "add scep to the frontends"},
		{"requester", "closed", "", engine.ACME, "account:9", "closed", "", ""},
		{"requester by prefix", "closed", "", engine.ACME, "key:abcd", "closed", "", ""},
		{"another requester", "closed", "", engine.ACME, "account:90", "", engine.NotAuthorized, "not for account:90; have it added"},
		{"prefix of a requester", "closed", "", engine.ACME, "key:a", "", engine.NotAuthorized, "requesters"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request(t)
			r.Want, r.Source, r.Requester = tt.want, tt.source, tt.requester
			var d engine.Draft
			v, err := shaperFor(t, Config{Default: tt.fallback}, all)(t.Context(), r, &d)
			if err != nil {
				t.Fatal(err)
			}
			if tt.reason != "" {
				denied(t, v, tt.reason, tt.says)
				return
			}
			passes(t, v)
			if d.Profile != tt.profile {
				t.Errorf("profile %s, want %s", d.Profile, tt.profile)
			}
		})
	}
}

func TestAuthorityIsTheProfiles(t *testing.T) {
	for _, tt := range []struct{ has, wants, says string }{
		{"main", "", ""},
		{"main", "main", ""},
		{"main", "other", `by authority main, not "other"`},
		{"", "", ""},
		{"", "other", "no choice of authority"},
	} {
		p, r := web(), request(t)
		p.Authority, r.WantAuth = tt.has, tt.wants
		v, d := shape(t, p, r)
		if tt.says != "" {
			denied(t, v, engine.UnknownProfile, tt.says)
			continue
		}
		passes(t, v)
		if d.Authority != tt.has {
			t.Errorf("%+v: authority %q", tt, d.Authority)
		}
	}
}

func TestKeyUsageFollowsTheKey(t *testing.T) {
	rsaKey := rsa2048(t)
	for _, tt := range []struct {
		name   string
		key    *keys.Public
		has    []string
		eku    string
		want   []string
		reason engine.Reason
	}{
		{"default", p256(t), nil, "serverAuth", []string{"digitalSignature"}, ""},
		{"default, RSA server", rsaKey, nil, "serverAuth", []string{"digitalSignature", "keyEncipherment"}, ""},
		{"default, RSA client", rsaKey, nil, "clientAuth", []string{"digitalSignature"}, ""},
		{"default, Ed25519", ed(t), nil, "serverAuth", []string{"digitalSignature"}, ""},
		{"both, RSA", rsaKey, []string{"digitalSignature", "keyEncipherment", "keyAgreement"}, "serverAuth", []string{"digitalSignature", "keyEncipherment"}, ""},
		{"both, ECDSA", p256(t), []string{"digitalSignature", "keyEncipherment", "keyAgreement"}, "serverAuth", []string{"digitalSignature", "keyAgreement"}, ""},
		{"both, Ed25519", ed(t), []string{"digitalSignature", "keyEncipherment", "keyAgreement"}, "serverAuth", []string{"digitalSignature"}, ""},
		{"encipherment only, ECDSA", p256(t), []string{"keyEncipherment"}, "serverAuth", nil, engine.BadKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, r := web(), request(t)
			p.KeyUsage, p.ExtKeyUsage, r.Asked.Key = tt.has, []string{tt.eku}, tt.key
			v, d := shape(t, p, r)
			if tt.reason != "" {
				denied(t, v, tt.reason, "make another kind of key")
				return
			}
			passes(t, v)
			if !slices.Equal(d.KeyUsage, tt.want) {
				t.Errorf("key usage %v, want %v", d.KeyUsage, tt.want)
			}
		})
	}
}

func TestKeyOutsideTheRules(t *testing.T) {
	p := web()
	p.Keys = keys.Rules{RSAMax: -1, Curves: []string{"P-384"}}
	v, _ := shape(t, p, request(t))
	denied(t, v, engine.BadKey, "use P-384")
}

func TestApprovalPends(t *testing.T) {
	p, r := web(), request(t)
	p.Approval, r.Proofs = "manual", nil
	v, d := shape(t, p, r)
	if !v.Pends() {
		reason, detail, _ := v.Denied()
		t.Fatalf("does not pend: %s %s", reason, detail)
	}
	if len(d.Names) != 1 || d.Profile != "web" {
		t.Errorf("what the officer would see is not there: %+v", d)
	}
	r.Asked.Names = []names.Name{{Type: names.Email, Value: "a@example.com"}}
	v, _ = shape(t, p, r)
	denied(t, v, engine.NameNotAllowed, "does not take the name email:a@example.com")
}

func TestContradictoryProfilesAreRefused(t *testing.T) {
	for _, tt := range []struct {
		change func(*engine.Profile)
		says   string
	}{
		{func(p *engine.Profile) { p.ExtKeyUsage = nil }, "profiles.web: eku"},
		{func(p *engine.Profile) { p.ExtKeyUsage = []string{"serverauth"} }, `no purpose is called "serverauth"`},
		{func(p *engine.Profile) { p.Subject.Fixed = "O" }, "subject.fixed"},
		{func(p *engine.Profile) { p.Subject.Fixed = "CN=x" }, "set subject.cn to drop"},
		{func(p *engine.Profile) { p.Keys.RSAMin = 1024 }, "below 2048"},
		{func(p *engine.Profile) { p.Requesters = []engine.Principal{"a*b"} }, "only be at the end"},
	} {
		p := web()
		tt.change(&p)
		_, err := New(Config{}, engine.Deps{Now: time.Now, Profiles: map[string]engine.Profile{"web": p}})
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q: %v", tt.says, err)
		}
	}
	if _, err := New(Config{Default: "x"}, engine.Deps{Now: time.Now}); err == nil {
		t.Error("a default that is not there was taken")
	}
}
