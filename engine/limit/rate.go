package limit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Rate is how much there may be of something: Count at once, and when these
// are used up, one more each time that Per/Count has passed. The zero Rate
// bounds nothing.
type Rate struct {
	Count int
	Per   time.Duration
}

// maxCount bounds a rate, so that the time between two is never zero.
const maxCount = 10_000_000

// none is how a rate that bounds nothing is written.
const none = "none"

// UnmarshalText reads "600/1h", "5/1d" or "none".
func (r *Rate) UnmarshalText(b []byte) error {
	if string(b) == none {
		*r = Rate{Count: -1}
		return nil
	}
	count, per, ok := strings.Cut(string(b), "/")
	n, err := strconv.Atoi(count)
	d, derr := parse(per)
	if !ok || err != nil || derr != nil || n < 1 || n > maxCount || strconv.Itoa(n) != count || d < time.Second || d > 366*24*time.Hour {
		return fmt.Errorf("%.40q is not a rate such as 600/1h or 5/1d (at most %d, in between a second and a year), nor the word none", b, maxCount)
	}
	*r = Rate{n, d}
	return nil
}

func parse(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 366 {
			return 0, strconv.ErrRange
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	return time.ParseDuration(s)
}

// MarshalText writes what UnmarshalText reads.
func (r Rate) MarshalText() ([]byte, error) {
	if !r.Bounds() {
		return []byte(none), nil
	}
	return []byte(r.String()), nil
}

// String is "600/1h".
func (r Rate) String() string { return fmt.Sprintf("%d/%s", r.Count, short(r.Per)) }

// Bounds reports whether the rate bounds anything.
func (r Rate) Bounds() bool { return r.Count > 0 && r.Per > 0 }

// Or is r, or another one if r was not given at all.
func (r Rate) Or(other Rate) Rate {
	if r.Count == 0 {
		return other
	}
	return r
}

// every is the time between two when all are used up.
func (r Rate) every() time.Duration { return max(1, r.Per/time.Duration(r.Count)) }

// short writes a duration without the zeros at its end.
func short(d time.Duration) string {
	if d%(24*time.Hour) == 0 && d > 0 {
		return strconv.Itoa(int(d/(24*time.Hour))) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// A Level says how full a bucket is: the moment from which on it is empty, if
// nothing more comes (the theoretical arrival time of GCRA).
type Level time.Time

// After is the level once something more has come at a time.
func (l Level) After(r Rate, at time.Time) Level {
	if !r.Bounds() {
		return l
	}
	return Level(later(time.Time(l), at).Add(r.every()))
}

// Wait is how long it is until there is room for one more; 0: there is now.
func (l Level) Wait(r Rate, now time.Time) time.Duration {
	if !r.Bounds() {
		return 0
	}
	every := r.every()
	return max(0, later(time.Time(l), now).Sub(now)+every-every*time.Duration(r.Count))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
