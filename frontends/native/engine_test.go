package native_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"chancery/engine"
	"chancery/frontends/native/client"
)

func TestNative_EnrollWithAToken(t *testing.T) {
	ctx, h := context.Background(), newHouse(t)
	c, _ := h.grant(client.NewGrant{Protocol: "native", Profiles: []string{"service"}, Names: []string{"*.example.org"}})
	key := newKey(t)
	r, err := c.Submit(ctx, client.Submission{CSR: csrFor(t, key, "a.example.org"), Profile: "service", Key: "k1"})
	if err != nil || r.Status != client.StatusIssued {
		t.Fatalf("%+v %v", r, err)
	}
	block, _ := pem.Decode([]byte(r.Certificate))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil || leaf.DNSNames[0] != "a.example.org" || !r.NotAfter.Equal(leaf.NotAfter) || r.Serial != leaf.SerialNumber.Text(16) {
		t.Errorf("%+v %v", r, err)
	}
	if again, err := c.Retrieve(ctx, r.ID); err != nil || again.Certificate != r.Certificate {
		t.Errorf("retrieve: %v", err)
	}
	if der, err := c.Certificate(ctx, r.Serial, client.DER); err != nil || !bytes.Equal(der, leaf.Raw) {
		t.Errorf("download: %v", err)
	}
	if _, err := c.Submit(ctx, client.Submission{CSR: csrFor(t, key, "a.other.example"), Profile: "service"}); reasonOf(err) != string(engine.NameNotAllowed) {
		t.Errorf("a name outside the grant: %v", err)
	}
	if _, err := c.RevokeOwn(ctx, strings.ToUpper(r.Serial), "superseded"); err != nil {
		t.Errorf("revoke: %v", err)
	}
	if v, err := h.client(h.bob, "").View(ctx, r.Serial); err != nil || v.Status != "revoked" || v.Reason != "superseded" || v.Names[0] != "dns:a.example.org" {
		t.Errorf("view: %+v %v", v, err)
	}
}

func TestNative_R007_Replay(t *testing.T) {
	ctx, h := context.Background(), newHouse(t)
	c, _ := h.grant(client.NewGrant{Protocol: "native", Names: []string{"*.example.org"}})
	key := newKey(t)
	s := client.Submission{CSR: csrFor(t, key, "a.example.org"), Profile: "service", Key: "the same"}
	one, err := c.Submit(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	two, err := c.Submit(ctx, s)
	if err != nil || two.ID != one.ID || two.Serial != one.Serial {
		t.Errorf("%+v %v", two, err)
	}
	other := s
	other.CSR = csrFor(t, key, "b.example.org")
	var p *client.Problem
	if _, err := c.Submit(ctx, other); !errors.As(err, &p) || p.Status != 409 || p.Reason != "conflict" {
		t.Errorf("another body: %v", err)
	}
}

func TestNative_R003_XH012_OneTokenOnePurpose(t *testing.T) {
	ctx, h := context.Background(), newHouse(t)
	for _, protocol := range []string{"acme", "scep", "est"} {
		g := client.NewGrant{Protocol: protocol, Names: []string{"*.example.org"}}
		c, _ := h.grant(g)
		_, err := c.Submit(ctx, client.Submission{CSR: csrFor(t, newKey(t), "a.example.org"), Profile: "service"})
		if reasonOf(err) != "unauthorized" {
			t.Errorf("%s secret on the native API: %v", protocol, err)
		}
	}
	c, _ := h.grant(client.NewGrant{Protocol: "native", Names: []string{"*.example.org"}})
	for _, profile := range []string{"acme", "chancery-person", "chancery-tls", "nothing"} {
		if r, err := c.Submit(ctx, client.Submission{CSR: csrFor(t, newKey(t), "a.example.org"), Profile: profile}); err == nil {
			t.Errorf("profile %s: %+v", profile, r)
		}
	}
	c, _ = h.grant(client.NewGrant{Protocol: "native", Endpoints: []string{"another"}, Names: []string{"*.example.org"}})
	if _, err := c.Profiles(ctx); reasonOf(err) != "unauthorized" {
		t.Errorf("another endpoint's grant: %v", err)
	}
	c, made := h.grant(client.NewGrant{Protocol: "native", Names: []string{"*.example.org"}})
	if err := h.client(h.alice, "").RevokeGrant(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Profiles(ctx); reasonOf(err) != "unauthorized" {
		t.Errorf("a revoked grant: %v", err)
	}
}

func TestNative_ApprovalOverTheAPI(t *testing.T) {
	ctx, h := context.Background(), newHouse(t)
	c, _ := h.grant(client.NewGrant{Protocol: "native", Names: []string{"*.example.org"}})
	alice, bob := h.client(h.alice, ""), h.client(h.bob, "")
	if _, err := alice.Approve(ctx, strings.Repeat("0", 26), "", ""); reasonOf(err) != "forbidden" {
		t.Errorf("an admin approves: %v", err)
	}
	r, err := c.Submit(ctx, client.Submission{CSR: csrFor(t, newKey(t), "a.example.org"), Profile: "manual"})
	if err != nil || r.Status != client.StatusPending || r.RetryAfter < 1 {
		t.Fatalf("%+v %v", r, err)
	}
	list, next, err := bob.Requests(ctx, client.RequestFilter{State: "pending"})
	if err != nil || len(list) != 1 || list[0].ID != r.ID || next != "" {
		t.Fatalf("%+v %q %v", list, next, err)
	}
	x, err := bob.Explain(ctx, r.ID)
	if err != nil || x.Preview == nil || x.Preview.Names[0] != "dns:a.example.org" || x.Request.Digest == "" || len(x.Trail) == 0 || x.Request.Names[0] != "dns:a.example.org" {
		t.Fatalf("%+v %v", x, err)
	}
	if _, err := bob.Approve(ctx, r.ID, strings.Repeat("0", 64), ""); reasonOf(err) != "not-pending" {
		t.Errorf("another digest: %v", err)
	}
	if _, err := c.Approve(ctx, r.ID, "", ""); reasonOf(err) != "unauthorized" {
		t.Errorf("the requester approves: %v", err)
	}
	d, err := bob.Approve(ctx, r.ID, x.Request.Digest, "looks right")
	if err != nil || d.Status != client.StatusIssued {
		t.Fatalf("%+v %v", d, err)
	}
	if got, err := c.Wait(ctx, r.ID); err != nil || got.Serial != d.Serial {
		t.Errorf("%+v %v", got, err)
	}
	r, err = c.Submit(ctx, client.Submission{CSR: csrFor(t, newKey(t), "b.example.org"), Profile: "manual"})
	if err != nil {
		t.Fatal(err)
	}
	if d, err := bob.Deny(ctx, r.ID, "not today"); err != nil || d.Status != client.StatusDenied {
		t.Errorf("%+v %v", d, err)
	}
	if _, err := c.Retrieve(ctx, r.ID); reasonOf(err) != string(engine.Rejected) || !strings.Contains(err.Error(), "not today") {
		t.Errorf("retrieve: %v", err)
	}
}

func TestNative_XH010_OwnRequest(t *testing.T) {
	ctx, h := context.Background(), newHouse(t)
	_, err := h.client(h.alice, "").CreateGrant(ctx, client.NewGrant{Protocol: "native", Names: []string{"any"}, Holder: "key:" + spki(h.bob)})
	if err != nil {
		t.Fatal(err)
	}
	bob := h.client(h.bob, "")
	r, err := bob.Submit(ctx, client.Submission{CSR: csrFor(t, newKey(t), "a.example.org"), Profile: "manual"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Approve(ctx, r.ID, "", ""); reasonOf(err) != "forbidden" || strings.Count(err.Error(), "forbidden") != 1 {
		t.Errorf("bob approves his own request: %v", err)
	}
	if _, err := h.client(h.carol, "").Approve(ctx, r.ID, "", ""); err != nil {
		t.Errorf("carol: %v", err)
	}
}

func TestNative_EnrolledCertificateAuthenticates(t *testing.T) {
	ctx, h := context.Background(), newHouse(t)
	c, _ := h.grant(client.NewGrant{Protocol: "native", Names: []string{"*.example.org"}})
	key := newKey(t)
	r, err := c.Submit(ctx, client.Submission{CSR: csrFor(t, key, "a.example.org"), Profile: "service"})
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(r.Certificate))
	mine := &tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
	me := h.client(mine, "")
	if _, err := me.Profiles(ctx); err != nil {
		t.Fatalf("with an enrolled certificate: %v", err)
	}
	if _, err := me.Retrieve(ctx, r.ID); reasonOf(err) != "no-request" {
		t.Errorf("another principal's request: %v", err)
	}
	if _, err := me.Submit(ctx, client.Submission{CSR: csrFor(t, key, "a.example.org"), Profile: "service"}); err == nil {
		t.Error("a certificate alone proves names")
	}
	if _, err := me.Status(ctx); reasonOf(err) != "unauthorized" {
		t.Errorf("administration: %v", err)
	}
	if _, err := h.client(h.bob, "").Revoke(ctx, r.Serial, client.Revocation{Reason: "certificateHold"}); err != nil {
		t.Fatal(err)
	}
	if _, err := me.Profiles(ctx); reasonOf(err) != "unauthorized" {
		t.Errorf("on hold: %v", err)
	}
	if _, err := h.client(h.bob, "").Revoke(ctx, r.Serial, client.Revocation{Release: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := me.Profiles(ctx); err != nil {
		t.Errorf("released: %v", err)
	}
}

func TestNative_R006_RoleTakenAway(t *testing.T) {
	ctx, h := context.Background(), newHouse(t)
	bob := h.client(h.bob, "")
	if _, err := bob.Status(ctx); err != nil {
		t.Fatal(err)
	}
	h.setup.Policy.Roles = map[string]engine.Person{"alice": h.setup.Policy.Roles["alice"]}
	h.use()
	if _, err := bob.Status(ctx); reasonOf(err) != "forbidden" {
		t.Errorf("without the role: %v", err)
	}
}

func TestNative_FreezeOverTheAPI(t *testing.T) {
	ctx, h := context.Background(), newHouse(t)
	c, _ := h.grant(client.NewGrant{Protocol: "native", Names: []string{"*.example.org"}})
	alice := h.client(h.alice, "")
	if _, err := alice.Freeze(ctx, "profile:service", "audit until noon"); err != nil {
		t.Fatal(err)
	}
	_, err := c.Submit(ctx, client.Submission{CSR: csrFor(t, newKey(t), "a.example.org"), Profile: "service"})
	var p *client.Problem
	if !errors.As(err, &p) || p.Status != 503 || p.Reason != "frozen" || p.RetryAfter == 0 || !p.Temporary() || !strings.Contains(p.Error(), "audit until noon") {
		t.Errorf("frozen: %v", err)
	}
	if s, err := alice.Status(ctx); err != nil || len(s.Frozen) != 1 {
		t.Errorf("%+v %v", s, err)
	}
	if err := alice.Thaw(ctx, "profile:service"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Submit(ctx, client.Submission{CSR: csrFor(t, newKey(t), "a.example.org"), Profile: "service"}); err != nil {
		t.Errorf("thawed: %v", err)
	}
	if entries, _, err := alice.Audit(ctx, 100, ""); err != nil || len(entries) < 3 {
		t.Errorf("audit: %+v %v", entries, err)
	}
}

func TestNative_R010_PagesOverTheAPI(t *testing.T) {
	ctx, h := context.Background(), newHouse(t)
	c, _ := h.grant(client.NewGrant{Protocol: "native", Names: []string{"*.example.org"}})
	for range 5 {
		if _, err := c.Submit(ctx, client.Submission{CSR: csrFor(t, newKey(t), "a.example.org"), Profile: "service"}); err != nil {
			t.Fatal(err)
		}
	}
	bob := h.client(h.bob, "")
	seen, after := map[string]bool{}, ""
	for page := 0; ; page++ {
		list, next, err := bob.Requests(ctx, client.RequestFilter{Source: "native", Limit: 2, After: after})
		if err != nil || page > 5 {
			t.Fatal(page, err)
		}
		for _, r := range list {
			seen[r.ID] = true
		}
		if after = next; next == "" {
			break
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d requests in pages", len(seen))
	}
	if list, _, err := bob.Certificates(ctx, client.CertificateFilter{Name: "A.example.org", Limit: 100}); err != nil || len(list) != 5 {
		t.Errorf("%d certificates, %v", len(list), err)
	}
	if list, err := c.Authorities(ctx); err != nil || len(list) != 1 || list[0].Name != "main" {
		t.Errorf("%+v %v", list, err)
	}
	if chain, err := c.Chain(ctx, "main"); err != nil || !bytes.HasPrefix(chain, []byte("-----BEGIN CERTIFICATE-----")) {
		t.Errorf("%s %v", chain, err)
	}
	if p, err := bob.Policy(ctx); err != nil || !bytes.Contains(p.Document, []byte("service")) {
		t.Errorf("%+v %v", p, err)
	}
}

func BenchmarkSubmit(b *testing.B) {
	h := newHouse(b)
	ctx := context.Background()
	made, err := h.client(h.alice, "").CreateGrant(ctx, client.NewGrant{Protocol: "native", Names: []string{"*.example.org"}})
	if err != nil {
		b.Fatal(err)
	}
	c := h.client(nil, made.Secret)
	csr := csrFor(b, newKey(b), "a.example.org")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Submit(ctx, client.Submission{CSR: csr, Profile: "service"}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
