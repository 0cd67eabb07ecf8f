package engine

import (
	"testing"
	"time"
)

// T-021, T-022: whatever the life of a certificate, the end of its window is not
// the start, and it is inside that life; clients are told to come between once a
// minute and once a day.
func TestT021_RenewalWindows(t *testing.T) {
	issued := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	hours := func(n int) Duration { return Duration(time.Duration(n) * time.Hour) }
	for _, rules := range []RenewalRules{
		{}, {Before: hours(30 * 24)}, {Before: hours(1), Window: hours(24)}, {Window: Duration(time.Nanosecond)}, {Check: hours(24)}, {Before: hours(365 * 24)},
	} {
		for _, life := range []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour, 90 * 24 * time.Hour, 10 * 365 * 24 * time.Hour} {
			c := &Certificate{Status: Good, NotBefore: NotBefore(issued), NotAfter: issued.Add(life)}
			r := rules.suggest(c)
			if r.End.Sub(r.Start) < 2*time.Second || r.Start.Before(issued) || r.End.After(c.NotAfter.Add(time.Second)) {
				t.Errorf("%+v, life %s: %s to %s", rules, life, r.Start, r.End)
			}
			if life >= time.Minute && r.Start.Sub(issued) < life/5 {
				t.Errorf("%+v, life %s: what is new is renewed after %s", rules, life, r.Start.Sub(issued))
			}
			if r.Check < time.Minute || r.Check > 24*time.Hour {
				t.Errorf("%+v, life %s: ask again after %s", rules, life, r.Check)
			}
			c.Status, c.RevokedAt = Revoked, issued.Add(life/2)
			if r = rules.suggest(c); !r.End.After(r.Start) || !r.End.Before(c.RevokedAt) {
				t.Errorf("revoked: %s to %s", r.Start, r.End)
			}
		}
	}
	c := &Certificate{Status: Held, NotBefore: NotBefore(issued), NotAfter: issued.Add(90 * 24 * time.Hour)}
	rules := RenewalRules{Before: hours(30 * 24), Window: hours(48)}
	if r := rules.suggest(c); !r.Start.Equal(issued.Add(60*24*time.Hour)) || r.End.Sub(r.Start) != 48*time.Hour || r.Check != 6*time.Hour {
		t.Errorf("%+v", r)
	}
}

func TestRenewalRulesAreChecked(t *testing.T) {
	day := Duration(24 * time.Hour)
	for _, tt := range []struct {
		rules RenewalRules
		ok    bool
	}{
		{RenewalRules{}, true}, {RenewalRules{Before: 30 * day, Window: 3 * day, Check: day}, true}, {RenewalRules{Before: 67 * day}, true},
		{RenewalRules{Before: 80 * day}, false}, {RenewalRules{Before: 2 * day, Window: 3 * day}, false}, {RenewalRules{Window: 31 * day}, false},
		{RenewalRules{Check: Duration(time.Second)}, false}, {RenewalRules{Check: 2 * day}, false},
	} {
		p := Profile{Frontends: []Source{ACME}, Validity: 90 * day, ExtKeyUsage: []string{"serverAuth"}, Renewal: tt.rules}
		if err := p.check("web"); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt.rules, err)
		}
	}
}
