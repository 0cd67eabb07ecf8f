package native

import (
	"crypto/x509"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"chancery/engine"
)

func TestNative_XH012_Tokens(t *testing.T) {
	b := newBench(t)
	var uniform string
	for name, header := range map[string][][2]string{
		"wrong":       {{"Authorization", "Bearer something-else-of-good-length"}},
		"almost":      {{"Authorization", "Bearer " + goodToken + "x"}},
		"person's":    {{"Authorization", "Bearer " + adminToken}},
		"no scheme":   {{"Authorization", goodToken}},
		"basic":       {{"Authorization", "Basic " + goodToken}},
		"nothing":     {{"Authorization", "Bearer "}},
		"empty":       {{"Authorization", ""}},
		"two words":   {{"Authorization", "Bearer " + goodToken + " x"}},
		"list":        {{"Authorization", "Bearer " + goodToken + ",x"}},
		"8 kB":        {{"Authorization", "Bearer " + strings.Repeat("x", 8000)}},
		"none at all": nil,
	} {
		w := b.do(b.enroll, ask{method: "GET", target: prefix + "/profiles", header: header})
		problemOf(t, w)
		if w.Code != 401 || w.Header().Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: %d", name, w.Code)
		}
		if uniform == "" {
			uniform = w.Body.String()
		}
		if w.Body.String() != uniform {
			t.Errorf("%s: answer tells them apart: %s", name, w.Body)
		}
	}
	w := b.do(b.enroll, ask{method: "GET", target: prefix + "/profiles", header: [][2]string{{"Authorization", "Bearer " + goodToken}, {"Authorization", "Bearer " + goodToken}}})
	if p := problemOf(t, w); p.Status != 400 {
		t.Errorf("two headers: %d", w.Code)
	}
	for _, scheme := range []string{"Bearer", "bearer", "BEARER"} {
		if w := b.do(b.enroll, ask{method: "GET", target: prefix + "/profiles", header: [][2]string{{"Authorization", scheme + " " + goodToken}}}); w.Code != 200 {
			t.Errorf("%s: %d", scheme, w.Code)
		}
	}
}

func TestNative_WrongTokenBesideGoodCertificate(t *testing.T) {
	b := newBench(t)
	cert := b.issuing.leaf(nil)
	b.store(b.issuing, cert)
	if w := b.do(b.enroll, ask{method: "GET", target: prefix + "/profiles", cert: cert, token: "wrong-token-of-sufficient-length"}); w.Code != 401 {
		t.Errorf("%d", w.Code)
	}
}

func TestNative_ClientCertificates(t *testing.T) {
	b := newBench(t)
	other := newCA(t, "Somebody else", nil)
	otherIssuing := newCA(t, "Issuing", other)
	put := func(issuer *pki, edit func(*x509.Certificate)) *x509.Certificate {
		c := issuer.leaf(edit)
		b.store(issuer, c)
		return c
	}
	status := func(s engine.Status) *x509.Certificate {
		c := b.issuing.leaf(nil)
		b.store(b.issuing, c).Status = s
		return c
	}
	for name, tt := range map[string]struct {
		cert *x509.Certificate
		want int
	}{
		"enrolled":         {put(b.issuing, nil), 200},
		"person":           {put(b.management, nil), 200},
		"revoked":          {status(engine.Revoked), 401},
		"held":             {status(engine.Held), 401},
		"not stored":       {b.issuing.leaf(nil), 401},
		"expired":          {put(b.issuing, func(c *x509.Certificate) { c.NotAfter = testNow.Add(-time.Second) }), 401},
		"not yet":          {put(b.issuing, func(c *x509.Certificate) { c.NotBefore = testNow.Add(time.Second) }), 401},
		"server only":      {put(b.issuing, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), 401},
		"other hierarchy":  {put(otherIssuing, nil), 401},
		"issuing CA":       {b.issuing.cert, 401},
		"self-signed copy": {selfSigned(b), 401},
	} {
		for range 2 { // the second time from the cache of chains
			if w := b.do(b.enroll, ask{method: "GET", target: prefix + "/profiles", cert: tt.cert}); w.Code != tt.want {
				t.Errorf("%s: %d, want %d (%v)", name, w.Code, tt.want, b.notes["refused"])
			}
		}
	}
}

// selfSigned makes a certificate that claims to be of our issuer and is stored
// by accident.
func selfSigned(b *bench) *x509.Certificate {
	fake := newCA(b.t, "Issuing", nil)
	c := fake.leaf(func(c *x509.Certificate) { c.AuthorityKeyId = b.issuing.cert.SubjectKeyId })
	b.store(b.issuing, c)
	return c
}

func TestNative_XH008_XH028_StatusIsLive(t *testing.T) {
	b := newBench(t)
	cert := b.person(engine.Officer)
	row := b.store(b.management, cert)
	get := func() int {
		return b.do(b.admin, ask{method: "GET", target: prefix + "/status", cert: cert}).Code
	}
	if code := get(); code != 200 {
		t.Fatal(code)
	}
	row.Status = engine.Revoked
	if code := get(); code != 401 {
		t.Errorf("revoked: %d", code)
	}
	row.Status = engine.Good
	clear(b.engine.roles)
	if code := get(); code != 403 {
		t.Errorf("without a role: %d", code)
	}
	b.engine.roles[[32]byte{}] = engine.Roles
	b.now = cert.NotAfter.Add(time.Second)
	if code := get(); code != 401 {
		t.Errorf("expired after it was cached: %d", code)
	}
}

func TestNative_HeldGrantsBecomeProofs(t *testing.T) {
	b := newBench(t)
	cert := b.issuing.leaf(nil)
	row := b.store(b.issuing, cert)
	p := engine.Principal("key:" + row.SPKI)
	b.engine.grants = []*engine.Grant{{ID: "h1", Holder: p}, {ID: "h2", Holder: p}, {ID: "h3", Holder: "key:other"}}
	b.submit(ask{cert: cert, body: jsonBody(t, map[string]any{"csr": testPEM("CERTIFICATE REQUEST")})})
	s := b.engine.submitted[0]
	if s.Requester != p || len(s.Proofs) != 3 || s.Proofs[0].Ref != "h1" || s.Proofs[1].Ref != "h2" ||
		s.Proofs[2].Method != engine.ClientCert || s.Proofs[2].Ref != row.CertID.String() || len(s.Proofs[2].Names) != 0 {
		t.Errorf("%+v", s)
	}
}

func TestNative_EnrolledKeyIsNobodyToAdministration(t *testing.T) {
	b := newBench(t)
	cert := b.issuing.leaf(nil)
	row := b.store(b.issuing, cert)
	var spki [32]byte
	if _, err := hex.Decode(spki[:], []byte(row.SPKI)); err != nil {
		t.Fatal(err)
	}
	b.engine.roles[spki] = engine.Roles // even if its key holds roles
	if w := b.do(b.admin, ask{method: "GET", target: prefix + "/status", cert: cert}); w.Code != 401 {
		t.Errorf("%d", w.Code)
	}
}

func TestNative_LocalSocket(t *testing.T) {
	b := newBench(t)
	actor := engine.Actor{Person: "root", Roles: engine.Roles, Via: "socket"}
	if w := b.do(b.admin, ask{method: "GET", target: prefix + "/status", actor: &actor}); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := b.do(b.enroll, ask{method: "GET", target: prefix + "/profiles", actor: &actor}); w.Code != 401 {
		t.Errorf("enrollment took the socket's actor: %d", w.Code)
	}
}

func TestChainCacheIsBounded(t *testing.T) {
	var c chainCache
	pool := x509.NewCertPool()
	for i := range 3 * maxChains {
		c.add(chainKey{[32]byte{byte(i), byte(i >> 8), byte(i >> 16)}, pool}, testNow, testNow.Add(time.Hour), nil)
	}
	if len(c.until) > maxChains {
		t.Errorf("%d entries", len(c.until))
	}
}
