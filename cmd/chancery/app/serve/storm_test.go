package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"testing"

	"chancery/frontends/native/client"
)

// XD-010: the policy changes all the time, also to what cannot be used, while
// certificates are issued. No request fails, each certificate is as the version
// says that its request names, every event is told, and nothing of the policies
// before is left.
func TestReloadStorm(t *testing.T) {
	r := start(t)
	versions := map[string]int{}
	version, err := r.put(r.document(90))
	if err != nil {
		t.Fatal(err)
	}
	versions[version] = 90
	if _, err := r.client.Submit(t.Context(), client.Submission{CSR: newCSR(t, "first.example.org"), Profile: "service"}); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()

	ctx, stop := context.WithCancel(t.Context())
	results := make([][]*client.Result, 8)
	var issuing sync.WaitGroup
	for i := range results {
		issuing.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				got, err := r.client.Submit(t.Context(), client.Submission{CSR: newCSR(t, fmt.Sprintf("h%d-%d.example.org", i, k)), Profile: "service"})
				if err != nil || got.Status != client.StatusIssued {
					t.Errorf("%+v %v", got, err)
					return
				}
				results[i] = append(results[i], got)
			}
		})
	}
	for k := range 60 {
		if k%4 == 3 {
			if _, err := r.put(strings.Replace(r.document(100+k), "judge: [keys]", "judge: [kes]", 1)); err == nil || !strings.Contains(err.Error(), "kes") {
				t.Errorf("a module that is not there: %v", err)
			}
			continue
		}
		version, err := r.put(r.document(2 + k))
		if err != nil {
			t.Fatal(err)
		}
		versions[version] = 2 + k
	}
	stop()
	issuing.Wait()

	used := map[int]bool{}
	var all []*client.Result
	for _, list := range results {
		all = append(all, list...)
	}
	for _, got := range all {
		row, err := r.node.Engine.Request(t.Context(), got.ID)
		if err != nil {
			t.Fatal(err)
		}
		days := daysOf(t, got.Certificate)
		if used[days] = true; versions[row.Policy] != days {
			t.Errorf("a certificate for %d days by version %s, which says %d", days, row.Policy, versions[row.Policy])
		}
	}
	if len(used) < 5 {
		t.Errorf("%d certificates by only %d versions: the test is blind", len(all), len(used))
	}
	t.Logf("%d certificates by %d versions", len(all), len(used))
	eventually(t, "every event is told", func() bool {
		for _, got := range all {
			if !r.hook.knows(got.ID) {
				return false
			}
		}
		return true
	})
	eventually(t, "the exits of earlier policies have let go", func() bool { return r.hook.connections() <= 4 })
	eventually(t, "no goroutine is left over", func() bool { return runtime.NumGoroutine() <= before+16 })
	if t.Failed() {
		pprof.Lookup("goroutine").WriteTo(t.Output(), 1)
	}
}

// SIGHUP with a document that cannot be used changes nothing, and the log says
// what is wrong with it.
func TestBadPolicyKeepsTheOld(t *testing.T) {
	r := start(t)
	_, version, err := r.node.Engine.PolicyDocument()
	if err != nil {
		t.Fatal(err)
	}
	g := r.current.Load()
	if r.node.Shared() {
		write(t, r.node.Dir.Policy(), r.document(30))
		r.hup <- syscall.SIGHUP
		eventually(t, "the log says what to do", func() bool { return r.log.has("SIGHUP changes no policy", "chancery apply") })
		if _, now, err := r.node.Engine.PolicyDocument(); err != nil || now != version || r.current.Load() != g {
			t.Errorf("version %s, was %s: %v", now, version, err)
		}
		return
	}
	for bad, says := range map[string]string{
		strings.Replace(r.policy, "eku: [clientAuth, serverAuth]", "ekku: [clientAuth]", 1):    "ekku",
		strings.Replace(r.policy, "judge: [keys]", "judge: [kes]", 1):                          "kes",
		strings.Replace(r.policy, "profiles: [trial]", "profiles: [trail]", 1):                 "trail",
		strings.Replace(r.policy, "  main: {}", "  main: {}\n  other: {}", 1):                  "authorities.other",
		strings.Replace(r.policy, "secret_file: hook.secret", "secret_file: nowhere", 1):       "nowhere",
		strings.Replace(r.policy, "profiles:\n", "profiles: {a: &a [*a, *a]}\nprofiles:\n", 1): "policy.yaml",
		"": "policy.yaml",
	} {
		if bad == r.policy {
			t.Fatalf("the document does not have what was to be replaced for %s", says)
		}
		write(t, r.node.Dir.Policy(), bad)
		r.hup <- syscall.SIGHUP
		eventually(t, "the log says "+says, func() bool { return r.log.has("the policy was not changed", says) })
		if _, now, err := r.node.Engine.PolicyDocument(); err != nil || now != version || r.current.Load() != g {
			t.Errorf("%s: version %s, was %s: %v", says, now, version, err)
		}
	}
	if _, err := r.client.Submit(t.Context(), client.Submission{CSR: newCSR(t, "a.example.org"), Profile: "service"}); err != nil {
		t.Error(err)
	}
	write(t, r.node.Dir.Policy(), r.document(30))
	r.hup <- syscall.SIGHUP
	eventually(t, "a good one is used", func() bool {
		_, now, _ := r.node.Engine.PolicyDocument()
		return now != version && r.current.Load() != g
	})
	got, err := r.client.Submit(t.Context(), client.Submission{CSR: newCSR(t, "b.example.org"), Profile: "service"})
	if err != nil || daysOf(t, got.Certificate) != 30 {
		t.Errorf("%+v %v", got, err)
	}
}

// What the frontends of one policy admitted is decided by that policy, also when
// another is in use by then.
func TestRequestsUnderWayEndAsTheyBegan(t *testing.T) {
	r := start(t)
	old := r.current.Load()
	_, version, err := r.node.Engine.PolicyDocument()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.put(r.document(30)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		g    *generation
		days int
	}{{old, 90}, {r.current.Load(), 30}} {
		body, err := json.Marshal(map[string]string{
			"profile": "service", "csr": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: newCSR(t, "a.example.org")})),
		})
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.LoadX509KeyPair(r.node.Dir.FounderCert(), r.node.Dir.FounderKey())
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequest("POST", "/api/v1/requests", bytes.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		req.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{pair.Leaf}}
		w := httptest.NewRecorder()
		tt.g.https.ServeHTTP(w, req)
		var got client.Result
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Certificate == "" {
			t.Fatalf("%d %s %v", w.Code, w.Body, err)
		}
		row, err := r.node.Engine.Request(t.Context(), got.ID)
		if err != nil {
			t.Fatal(err)
		}
		if days := daysOf(t, got.Certificate); days != tt.days || (row.Policy == version) != (tt.g == old) {
			t.Errorf("%d days by %s, want %d", days, row.Policy, tt.days)
		}
	}
}
