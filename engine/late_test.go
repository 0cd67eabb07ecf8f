package engine

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// There is an alarm before a list ends, for each kind of list (XO-013).
func TestXO_013_LateLists(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t)
	w.conf.Log = slog.New(slog.NewTextHandler(&log, nil))
	w.open()
	w.rules(CRLRules{Shards: 2})
	w.refresh()
	late := func() int {
		t.Helper()
		log.Reset()
		w.warnLate(t.Context())
		all, err := w.LateLists(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(log.String(), "made anew"); n != len(all) {
			t.Errorf("%d late, %d said", len(all), n)
		}
		return len(all)
	}
	w.advanceClock(crlLife/2 + time.Minute)
	if n := late(); n != 0 {
		t.Errorf("%d are late at half of their life", n)
	}
	w.advanceClock(crlLife / 4)
	if n := late(); n != 3 {
		t.Errorf("%d are late, want the complete one and two shards", n)
	}
	w.advanceClock(crlLife)
	if n := late(); n != 3 {
		t.Errorf("%d are late after their end", n)
	}
	w.refresh()
	if n := late(); n != 0 {
		t.Errorf("%d are late, though they were just made", n)
	}
}
