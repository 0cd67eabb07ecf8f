package bolt

import "testing"

// After a wait that was over at once, a lone request must wake the committer.
func TestLoneRequestWakesAfterGathering(t *testing.T) {
	q := queue{wake: make(chan struct{}, 1)}
	q.push(&request{})
	q.push(&request{})
	if q.await(2) {
		t.Fatal("waits for two that are there")
	}
	<-q.wake
	q.take(nil)
	q.push(&request{})
	select {
	case <-q.wake:
	default:
		t.Error("a lone request after that wakes nobody")
	}
}
