package interop

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// kills is how often TestKills kills the server on each store.
func kills(t *testing.T) int {
	n := 6
	if long() {
		n = 100
	}
	if s := os.Getenv("CHANCERY_KILLS"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		must(t, err)
	}
	return n
}

// perInstallation is after how many kills a new installation takes its place:
// looking at every record after every kill takes longer with every certificate.
const perInstallation = 100

// The server is killed under load of every kind, half of the time in a moment
// that nobody chose, half of the time at a named step at a random passing, and
// after each kill every record keeps every promise. The report is one line.
// CHANCERY_KILLS says how many.
func TestKills(t *testing.T) {
	t.Parallel()
	onEachStore(t, "kills", func(t *testing.T, s records) {
		t.Parallel()
		var sum killReport
		for n := kills(t); n > 0 && !t.Failed(); n -= perInstallation {
			x := newCrash(t, s)
			x.ops = slices.Concat(nativeOps(x)[:2], acmeOps(x)[:2], officerOps(x)[:2])
			for range min(n, perInstallation) {
				x.kill(&sum)
				if t.Failed() {
					break
				}
			}
			x.check()
			issued, revoked := x.history.Counts()
			sum.acknowledged, sum.revoked = sum.acknowledged+issued, sum.revoked+revoked
			for _, n := range x.unexplained {
				sum.unexplained += n
			}
		}
		t.Log(sum.String())
	})
}

// A killReport is what TestKills says in the end.
type killReport struct {
	kills, starts                int // starts: kills before the server was ready
	acknowledged, revoked        int
	lost, duplicate, otherBroken int
	unexplained                  int
	slowest, all                 time.Duration // from the start of the process to ready
}

func (r killReport) String() string {
	mean := time.Duration(0)
	if n := r.kills - r.starts; n > 0 {
		mean = r.all / time.Duration(n)
	}
	return fmt.Sprintf("kills %d (%d of them before it was ready), certificates acknowledged %d, revocations acknowledged %d, lost %d, duplicate %d, other promises broken %d, unexplained answers %d, recovery time max %s, mean %s",
		r.kills, r.starts, r.acknowledged, r.revoked, r.lost, r.duplicate, r.otherBroken, r.unexplained, r.slowest.Round(time.Millisecond), mean.Round(time.Millisecond))
}

// note counts what a check found.
func (r *killReport) note(err error) {
	for line := range strings.Lines(err.Error()) {
		switch {
		case strings.HasPrefix(line, "I2"):
			r.lost++
		case strings.HasPrefix(line, "I3"):
			r.duplicate++
		default:
			r.otherBroken++
		}
	}
}

// kill is one life of the server and a look at what it left.
func (x *crash) kill(sum *killReport) {
	x.t.Helper()
	set := x.settings()
	how := ""
	if rand.N(2) == 0 {
		steps := slices.DeleteFunc(faultSteps(x.t), func(s string) bool { return notReached[s] != "" })
		how = fmt.Sprintf("%s:%d", steps[rand.N(len(steps))], 1+rand.N(20))
		set = x.settings("CHANCERY_FAULT=" + how)
	} else {
		most := 1500 * time.Millisecond
		if rand.N(4) == 0 {
			most = 50 * time.Millisecond // while it starts
		}
		set.Kill = rand.N(most)
		how = "SIGKILL after " + set.Kill.String()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	recovery := x.life(ctx, set)
	if ctx.Err() != nil {
		x.t.Fatalf("%s: the server was not killed within two minutes", how)
	}
	sum.kills++
	sum.all += recovery
	sum.slowest = max(sum.slowest, recovery)
	if recovery == 0 {
		sum.starts++
	}
	if err := x.history.Check(x.records.read(x.ca)); err != nil {
		sum.note(err)
		x.t.Errorf("after %s: %v", how, err)
	}
}
