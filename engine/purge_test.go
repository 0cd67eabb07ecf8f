package engine

import (
	"testing"
	"time"
)

func TestTrailsArePurged(t *testing.T) {
	w := newWorld(t)
	w.setup.Policy.Retention.Trails = Duration(24 * time.Hour)
	w.use()
	old, _ := w.issue(w.submission("1", newKey(t), "a.test"))
	w.advanceClock(25 * time.Hour)
	fresh, _ := w.issue(w.submission("2", newKey(t), "a.test"))
	w.purge(t.Context())
	for id, want := range map[string]bool{old.RequestID: false, fresh.RequestID: true} {
		x, err := w.Explain(t.Context(), id)
		if err != nil || (len(x.Trail) > 0) != want {
			t.Errorf("%s: %+v, %v", id, x, err)
		}
	}
	if _, _, err := w.Certificate(t.Context(), old.ID); err != nil {
		t.Errorf("the certificate went with the trail: %v", err)
	}
	w.advanceClock(25 * time.Hour)
	w.purge(t.Context())
	if x, _ := w.Explain(t.Context(), fresh.RequestID); len(x.Trail) > 0 {
		t.Error("the second trail was never purged")
	}
}
