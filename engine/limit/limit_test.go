package limit

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestRates(t *testing.T) {
	for text, want := range map[string]Rate{
		"1/1s": {1, time.Second}, "600/1h": {600, time.Hour}, "5/1d": {5, 24 * time.Hour}, "20/90m": {20, 90 * time.Minute}, "none": {-1, 0},
	} {
		var r Rate
		if err := json.Unmarshal([]byte(`"`+text+`"`), &r); err != nil || r != want {
			t.Errorf("%s: %+v %v", text, r, err)
		}
		var again Rate
		b, err := json.Marshal(r)
		if err != nil || json.Unmarshal(b, &again) != nil || again != r {
			t.Errorf("%s: %s %+v", text, b, again)
		}
	}
	if s := (Rate{20, 90 * time.Minute}).String(); s != "20/1h30m" {
		t.Error(s)
	}
	for _, text := range []string{"", "5", "/1h", "5/", "0/1h", "-1/1h", "+5/1h", "05/1h", "5/0s", "5/1ms", "5/1y", "5/-1h", "5/400d", "5/1h/2", "99999999/1h", "None", "5 / 1h", "1e3/1h"} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "such as") {
			t.Errorf("%q: %+v %v", text, r, err)
		}
	}
	if (Rate{}).Or(Rate{1, 1}) != (Rate{1, 1}) || (Rate{Count: -1}).Or(Rate{1, 1}).Bounds() {
		t.Error("Or")
	}
}

// All at once, then one by one as time passes, and all at once again after a
// pause.
func TestTake(t *testing.T) {
	var s Set
	k, r := Key{"orders", "acme/default", "a"}, Rate{5, time.Hour}
	now := start
	take := func(want int) {
		t.Helper()
		n := 0
		for s.Take(now, Ask{k, r}) == nil {
			n++
		}
		if n != want {
			t.Errorf("at %s: %d, want %d", now.Format(time.TimeOnly), n, want)
		}
	}
	take(5)
	got := s.Take(now, Ask{k, r})
	if got.Wait != 12*time.Minute || got.Until != now.Add(12*time.Minute) || got.Key != k {
		t.Errorf("%+v", got)
	}
	if text := got.Error(); text != "the limit orders (5/1h) is reached for a; try again in 12m1s, at 2026-11-22T12:12:01Z" {
		t.Error(text)
	}
	now = now.Add(12*time.Minute - time.Nanosecond)
	take(0)
	now = now.Add(time.Nanosecond)
	take(1)
	now = now.Add(24 * time.Minute)
	take(2)
	now = now.Add(24 * time.Hour)
	take(5)
	if s.Take(now, Ask{Key{"orders", "acme/default", "b"}, r}, Ask{Key{"orders", "acme/other", "a"}, r}) != nil {
		t.Error("another one, and another endpoint, are held back")
	}
	if s.Take(now, Ask{k, Rate{}}) != nil || s.Take(now, Ask{k, Rate{Count: -1}}) != nil {
		t.Error("no rate, and still held back")
	}
}

// From several buckets either one each is taken, or nothing.
func TestTakeAllOrNothing(t *testing.T) {
	var s Set
	few, many := Ask{Key{Limit: "few"}, Rate{1, time.Minute}}, Ask{Key{Limit: "many"}, Rate{3, time.Minute}}
	if s.Take(start, few, many) != nil {
		t.Fatal("nothing was taken yet")
	}
	for range 10 {
		if r := s.Take(start, many, few); r == nil || r.Key.Limit != "few" || r.Wait != time.Minute {
			t.Fatalf("%+v", r)
		}
	}
	for i := range 3 { // one is gone
		if r := s.Take(start, many); (r == nil) != (i < 2) {
			t.Errorf("take %d of what is left of the other bucket: %v", i, r)
		}
	}
	if s.Check(start, many) == nil || s.Check(start, Ask{Key{Limit: "other"}, Rate{1, time.Minute}}) != nil {
		t.Error("Check")
	}
	s.Add(start, few)
	if r := s.Check(start, few); r.Wait != 2*time.Minute {
		t.Errorf("%+v", r)
	}
}

// A bucket is raised to what rows say, once or after a while, and not lowered.
func TestFill(t *testing.T) {
	var s Set
	k, r := Key{Of: "a"}, Rate{4, 4 * time.Minute}
	if !s.Stale(k, start, time.Minute) || s.Stale(k, start, time.Minute) || s.Stale(k, start.Add(59*time.Second), time.Minute) || !s.Stale(k, start.Add(time.Minute), time.Minute) {
		t.Error("Stale")
	}
	if s.Stale(k, start.Add(time.Hour), 0) {
		t.Error("once is enough")
	}
	s.Unfilled(k)
	if !s.Stale(k, start, 0) {
		t.Error("not tried again")
	}
	var l Level
	for range 3 {
		l = l.After(r, start.Add(-time.Minute))
	}
	s.Fill(k, start, l) // three a minute ago: two are left of them
	s.Fill(k, start, Level{})
	for i := range 3 {
		if got := s.Take(start, Ask{k, r}); (got == nil) != (i < 2) {
			t.Errorf("%d: %+v", i, got)
		}
	}
}

// However many keys there are, the memory is bounded, and whoever is held back
// stays so.
func TestXJ031_FloodOfKeys(t *testing.T) {
	s := Set{most: 100}
	bad, r := Ask{Key{Of: "bad"}, Rate{50, time.Hour}}, Rate{50, time.Hour}
	for s.Take(start, bad) == nil {
	}
	for i := range 10000 {
		s.Take(start, Ask{Key{Of: fmt.Sprint(i)}, r})
	}
	if len(s.buckets) > 100 {
		t.Errorf("%d buckets", len(s.buckets))
	}
	if s.Take(start, bad) == nil {
		t.Error("a flood of others has it forgotten")
	}
	for i := range 2 * maxShown {
		s.Refuse(&Refusal{Key: Key{Of: fmt.Sprint(i)}, Until: start.Add(time.Duration(i) * time.Second)})
	}
	if len(s.refused) > maxShown {
		t.Errorf("%d are shown", len(s.refused))
	}
}

func TestRefused(t *testing.T) {
	var s Set
	a, b := Ask{Key{"orders", "acme/x", "a"}, Rate{1, time.Minute}}, Ask{Key{"orders", "acme/x", "b"}, Rate{1, time.Hour}}
	for range 3 {
		s.Take(start, a)
		s.Take(start, b)
	}
	all := s.Refused(start)
	if len(all) != 2 || all[0].Key.Of != "b" || all[1].Times != 2 || all[0].Wait != time.Hour {
		t.Errorf("%+v", all)
	}
	if n := s.Counts()[Count{"orders", "acme/x"}]; n != 4 {
		t.Errorf("%d", n)
	}
	if all := s.Refused(start.Add(time.Minute)); len(all) != 1 || all[0].Wait != 59*time.Minute {
		t.Errorf("%+v", all)
	}
	s.Take(start, a)
	s.Forget(a.Key)
	if all := s.Refused(start); len(all) != 1 || s.Take(start, a) == nil {
		t.Errorf("%+v", all)
	}
	if all := s.Refused(start.Add(time.Hour)); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}

func TestParallel(t *testing.T) {
	var s Set
	var wait sync.WaitGroup
	var mu sync.Mutex
	taken := 0
	for range 8 {
		wait.Go(func() {
			for range 100 {
				if s.Take(start, Ask{Key{Of: "a"}, Rate{50, time.Hour}}) == nil {
					mu.Lock()
					taken++
					mu.Unlock()
				}
				s.Refused(start)
				s.Counts()
			}
		})
	}
	wait.Wait()
	if taken != 50 {
		t.Errorf("%d were taken", taken)
	}
}
