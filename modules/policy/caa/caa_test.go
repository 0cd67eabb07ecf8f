package caa

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/engine"
	"chancery/engine/dns"
	"chancery/engine/names"
)

// zone answers from a map and counts.
type zone struct {
	mu      sync.Mutex
	records map[string]string // the value of one issue property; "?" is no answer
	asked   map[string]int
}

func (z *zone) CAA(_ context.Context, name string) ([]dns.CAA, time.Duration, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.asked == nil {
		z.asked = map[string]int{}
	}
	z.asked[name]++
	value, ok := z.records[name]
	switch {
	case value == "?":
		return nil, 0, dns.ErrNoAnswer
	case !ok:
		return nil, time.Minute, nil
	}
	return []dns.CAA{{Tag: "issue", Value: value}}, time.Minute, nil
}

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newJudge(t *testing.T, z *zone) engine.Judge {
	t.Helper()
	j, err := New(Config{}, engine.Deps{
		Now: func() time.Time { return now }, CAA: z, CAAIdentities: []string{"ca.example"},
		Profiles: map[string]engine.Profile{"web": {CAA: true}, "public": {Public: true}, "inner": {}},
		Account: func(r *engine.Request) string {
			if id, ok := strings.CutPrefix(string(r.Requester), "account:"); ok {
				return "https://ca.example/" + id
			}
			return ""
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func rendered(profile string, list ...string) engine.Rendered {
	d := &engine.Draft{Profile: profile}
	for _, s := range list {
		d.Names = append(d.Names, names.Name{Type: names.DNS, Value: s})
	}
	return engine.Rendered{Draft: d}
}

func proved(m engine.Method, requester engine.Principal, list ...string) *engine.Request {
	r := &engine.Request{Requester: requester}
	for _, s := range list {
		r.Proofs = append(r.Proofs, engine.Proof{Method: m, Names: []names.Name{{Type: names.DNS, Value: s}}, Expires: now.Add(time.Hour)})
	}
	return r
}

func TestJudgesByProfile(t *testing.T) {
	z := &zone{records: map[string]string{"example.org": "other.example"}}
	j := newJudge(t, z)
	r := proved(engine.HTTP01, "account:1", "www.example.org")
	for profile, denied := range map[string]bool{"web": true, "public": true, "inner": false} {
		v, err := j(t.Context(), r, rendered(profile, "www.example.org"))
		reason, detail, no := v.Denied()
		if err != nil || no != denied || no && (reason != engine.CAARefused || !strings.Contains(detail, "at example.org") || !strings.Contains(detail, "this CA is ca.example")) {
			t.Errorf("%s: %v, %s %s", profile, err, reason, detail)
		}
	}
	if n := z.asked["www.example.org"]; n != 2 {
		t.Errorf("asked %v", z.asked)
	}
	// Addresses have no CAA records.
	d := rendered("web")
	d.Draft.Names = []names.Name{{Type: names.IP, Value: "192.0.2.1"}}
	v, err := j(t.Context(), r, d)
	if _, _, no := v.Denied(); err != nil || no {
		t.Errorf("%v, %v", v, err)
	}
}

// T-033: each of N names is looked up, at each decision, and what is
// above them once.
func TestACME_T033_EachNameEachTime(t *testing.T) {
	z := &zone{}
	j := newJudge(t, z)
	var list []string
	for i := range 100 {
		list = append(list, fmt.Sprintf("h%d.example.org", i))
	}
	r := proved(engine.DNS01, "account:1", list...)
	for round := 1; round <= 2; round++ {
		v, err := j(t.Context(), r, rendered("web", list...))
		if _, detail, no := v.Denied(); err != nil || no {
			t.Fatal(err, detail)
		}
		for _, n := range append(list, "example.org", "org") {
			if z.asked[n] != round {
				t.Errorf("%s was asked for %d times", n, z.asked[n])
			}
		}
	}
	// The last of them is enough for a no.
	z.records = map[string]string{"h99.example.org": ";"}
	v, err := j(t.Context(), r, rendered("web", list...))
	if _, detail, no := v.Denied(); err != nil || !no || !strings.Contains(detail, "h99.example.org") {
		t.Errorf("%v, %s", err, detail)
	}
}

// XN-015, T-034: what the DNS says at the decision counts, however old the proof
// is and whatever it said when the name was validated.
func TestXN_015_T034_RecordsThatFlip(t *testing.T) {
	z := &zone{}
	j := newJudge(t, z)
	r := proved(engine.DNS01, "account:1", "www.example.org")
	r.Proofs[0].At = now.Add(-29 * 24 * time.Hour)
	for round, value := range []string{"ca.example", ";", "ca.example", "other.example"} {
		z.records = map[string]string{"example.org": value}
		v, err := j(t.Context(), r, rendered("web", "www.example.org"))
		if _, _, no := v.Denied(); err != nil || no != (value != "ca.example") {
			t.Errorf("round %d, %s: %v, %v", round, value, v, err)
		}
	}
}

// XN-014, T-032: no answer is a no.
func TestXN_014_NoAnswerDenies(t *testing.T) {
	j := newJudge(t, &zone{records: map[string]string{"org": "?"}})
	v, err := j(t.Context(), proved(engine.HTTP01, "account:1", "www.example.org"), rendered("web", "www.example.org"))
	if reason, detail, no := v.Denied(); err != nil || !no || reason != engine.CAARefused || !strings.Contains(detail, "no usable answer") {
		t.Errorf("%v, %v", v, err)
	}
	var none engine.Deps
	none.Profiles, none.CAAIdentities, none.Now = map[string]engine.Profile{"web": {CAA: true}}, []string{"ca.example"}, time.Now
	look, err := New(Config{}, none)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := look(t.Context(), &engine.Request{}, rendered("web", "a.example")); err == nil {
		t.Errorf("without name servers: %v", v)
	}
	none.CAAIdentities = nil
	if _, err := New(Config{}, none); err == nil {
		t.Error("without identities")
	}
}

// T-035 to T-037: parameters are obeyed for whoever asks, whichever way.
func TestACME_T037_ParametersInEveryFrontend(t *testing.T) {
	account, stranger, machine := engine.Principal("account:1"), engine.Principal("account:2"), engine.Principal("grant:1")
	for _, tt := range []struct {
		value  string
		method engine.Method
		who    engine.Principal
		ok     bool
	}{
		{"ca.example; accounturi=https://ca.example/1", engine.HTTP01, account, true},
		{"ca.example; accounturi=https://ca.example/1", engine.HTTP01, stranger, false},
		{"ca.example; accounturi=https://ca.example/1", engine.ByGrant, machine, false},
		{"ca.example; validationmethods=http-01", engine.HTTP01, account, true},
		{"ca.example; validationmethods=dns-01", engine.HTTP01, account, false},
		{"ca.example; validationmethods=tls-alpn-01", engine.TLSALPN01, account, true},
		{"ca.example; validationmethods=http-01", engine.ByGrant, machine, false},
		{"ca.example; validationmethods=ca-grant", engine.ByGrant, machine, true},
		{"ca.example; validationmethods=ca-grant", engine.HTTP01, account, false},
		{"ca.example", engine.ByGrant, machine, true},
	} {
		j := newJudge(t, &zone{records: map[string]string{"example.org": tt.value}})
		r := proved(tt.method, tt.who, "www.example.org")
		if tt.method == engine.ByGrant {
			r.Grants = []*engine.Grant{{ID: "1"}}
		}
		v, err := j(t.Context(), r, rendered("web", "www.example.org"))
		if _, detail, no := v.Denied(); err != nil || no == tt.ok {
			t.Errorf("%s for %s by %s: %v, %s", tt.value, tt.who, tt.method, err, detail)
		}
	}
	// A proof that is over, or of another name, is no method.
	j := newJudge(t, &zone{records: map[string]string{"example.org": "ca.example; validationmethods=http-01"}})
	old := proved(engine.HTTP01, account, "www.example.org")
	old.Proofs[0].Expires = now
	for _, r := range []*engine.Request{old, proved(engine.HTTP01, account, "example.org")} {
		v, err := j(t.Context(), r, rendered("web", "www.example.org"))
		if _, _, no := v.Denied(); err != nil || !no {
			t.Errorf("%v, %v", v, err)
		}
	}
}
