// Package limit holds clients to rates, without a database of its own: token
// buckets by GCRA, a moment of time for each, in the memory of one process.
//
// What must survive a restart, or be shared by several processes, is not kept
// here but read again from rows that are written anyway: whoever asks says how
// such a bucket is filled (Stale, Fill). So no request costs a commit more, and
// no row is shared by requests that have nothing to do with each other.
//
// It knows no protocol: a key is the name of a limit, the endpoint, and whom it
// holds back.
package limit

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Key names one bucket.
type Key struct {
	Limit    string // its name in the configuration, such as orders_per_account
	Endpoint string // such as acme/default
	Of       string // account, name, address
}

// An Ask wants room in one bucket.
type Ask struct {
	Key  Key
	Rate Rate
}

// A Refusal says which limit holds somebody back, and until when.
type Refusal struct {
	Key   Key
	Rate  Rate
	Until time.Time
	Wait  time.Duration
	Times int // that it was refused, as far as is remembered
}

// Error says which limit it is and when to come again.
func (r *Refusal) Error() string {
	return fmt.Sprintf("the limit %s (%s) is reached for %s; try again in %s, at %s", r.Key.Limit, r.Rate, r.Key.Of,
		r.Wait.Truncate(time.Second)+time.Second, r.Until.UTC().Truncate(time.Second).Add(time.Second).Format(time.RFC3339))
}

const (
	maxBuckets = 1 << 17 // some 20 MB
	maxShown   = 200     // refusals that are remembered for people
	sample     = 16      // buckets that are looked at when one must go
)

// A Set is the buckets of a process. Its zero value is ready for use, by many
// goroutines.
type Set struct {
	mu      sync.Mutex
	buckets map[Key]*bucket
	refused map[Key]*Refusal
	counts  map[Count]uint64
	most    int // buckets; 0 is maxBuckets
}

type bucket struct {
	level  Level
	filled time.Time // from rows; zero: never
}

// Take takes one from each bucket, or from none: then it says which refused, the
// one that takes longest.
func (s *Set) Take(now time.Time, asks ...Ask) *Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.refusal(now, asks); r != nil {
		s.refuse(r)
		return r
	}
	for _, a := range asks {
		if a.Rate.Bounds() {
			b := s.bucket(a.Key, now)
			b.level = b.level.After(a.Rate, now)
		}
	}
	return nil
}

// Check says what Take would, and takes nothing.
func (s *Set) Check(now time.Time, asks ...Ask) *Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.refusal(now, asks)
	if r != nil {
		s.refuse(r)
	}
	return r
}

// Add puts one more into a bucket, room or not: it has happened.
func (s *Set) Add(now time.Time, a Ask) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.Rate.Bounds() {
		b := s.bucket(a.Key, now)
		b.level = b.level.After(a.Rate, now)
	}
}

func (s *Set) refusal(now time.Time, asks []Ask) *Refusal {
	var worst *Refusal
	for _, a := range asks {
		b := s.buckets[a.Key]
		if b == nil {
			continue
		}
		if wait := b.level.Wait(a.Rate, now); wait > 0 && (worst == nil || wait > worst.Wait) {
			worst = &Refusal{Key: a.Key, Rate: a.Rate, Until: now.Add(wait), Wait: wait}
		}
	}
	return worst
}

// Refuse counts and shows a refusal that somebody else decided.
func (s *Set) Refuse(r *Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse(r)
}

func (s *Set) refuse(r *Refusal) {
	if s.refused == nil {
		s.refused, s.counts = map[Key]*Refusal{}, map[Count]uint64{}
	}
	s.counts[Count{r.Key.Limit, r.Key.Endpoint}]++
	if old := s.refused[r.Key]; old != nil {
		r.Times = old.Times
	} else if len(s.refused) >= maxShown {
		s.forget()
	}
	r.Times++
	kept := *r
	s.refused[r.Key] = &kept
}

// Forget has somebody shown no more as held back.
func (s *Set) Forget(k Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.refused, k)
}

// forget drops the refusal that ends first.
func (s *Set) forget() {
	var first Key
	var until time.Time
	for k, r := range s.refused {
		if until.IsZero() || r.Until.Before(until) {
			first, until = k, r.Until
		}
	}
	delete(s.refused, first)
}

// Stale reports whether a bucket should be filled from rows: when it never was,
// or longer ago than age; age 0 says that once is enough. Of those who ask at the
// same time one is told so, the others go by what is known.
func (s *Set) Stale(k Key, now time.Time, age time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.bucket(k, now)
	if !b.filled.IsZero() && (age == 0 || now.Sub(b.filled) < age) {
		return false
	}
	b.filled = now
	return true
}

// Fill raises a bucket to what rows say. It is never lowered: some of what this
// process let through may not be in the rows yet.
func (s *Set) Fill(k Key, now time.Time, l Level) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.bucket(k, now)
	b.level = Level(later(time.Time(b.level), time.Time(l)))
}

// Unfilled says that reading the rows failed, so that the next one tries again.
func (s *Set) Unfilled(k Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.buckets[k]; b != nil {
		b.filled = time.Time{}
	}
}

// bucket finds or makes a bucket. A flood of keys takes no more room than the
// most there may be: of some, the one that is nearest to empty goes.
func (s *Set) bucket(k Key, now time.Time) *bucket {
	if b := s.buckets[k]; b != nil {
		return b
	}
	if s.buckets == nil {
		s.buckets = map[Key]*bucket{}
	}
	most := s.most
	if most == 0 {
		most = maxBuckets
	}
	if len(s.buckets) >= most {
		s.evict(now)
	}
	b := new(bucket)
	s.buckets[k] = b
	return b
}

// evict drops what is empty among some buckets, which the map picks at random,
// or else the lowest of them.
func (s *Set) evict(now time.Time) {
	var lowest Key
	var level time.Time
	looked, dropped := 0, false
	for k, b := range s.buckets {
		at := time.Time(b.level)
		if !at.After(now) {
			delete(s.buckets, k)
			dropped = true
		} else if looked == 0 || at.Before(level) {
			lowest, level = k, at
		}
		if looked++; looked == sample {
			break
		}
	}
	if !dropped {
		delete(s.buckets, lowest)
	}
}

// A Count is what refusals are counted by.
type Count struct{ Limit, Endpoint string }

// Counts are the refusals of each limit since the process began.
func (s *Set) Counts() map[Count]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[Count]uint64, len(s.counts))
	for k, n := range s.counts {
		out[k] = n
	}
	return out
}

// Refused lists who is held back now, who longest first.
func (s *Set) Refused(now time.Time) (all []Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, r := range s.refused {
		if !r.Until.After(now) {
			delete(s.refused, k)
			continue
		}
		v := *r
		v.Wait = r.Until.Sub(now)
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b Refusal) int {
		if c := b.Until.Compare(a.Until); c != 0 {
			return c
		}
		return strings.Compare(a.Key.Limit+a.Key.Endpoint+a.Key.Of, b.Key.Limit+b.Key.Endpoint+b.Key.Of)
	})
	return all
}
