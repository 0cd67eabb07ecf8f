package bolt

import "time"

// A pace decides how long the committer waits for more requests before it takes
// those that are there. Writers that were just answered often come back at once,
// and those who arrive together share an fsync; without a wait they would form
// two camps, one waiting while the other is committed, each paying its own.
type pace struct {
	active int       // how many writers there seem to be
	until  time.Time // those who were answered last should be back by then
	skip   int       // groups for which not to wait, since waiting was in vain
	vain   int       // waits in vain in a row

	timer *time.Timer
}

// longest bounds the wait where commits are slow.
const longest = 10 * time.Millisecond

// gather returns when the queue holds as many requests as there are writers, or
// has waited about as long as the last commit took. One who comes alone, or
// after a pause, does not wait.
func (p *pace) gather(q *queue) {
	if p.active < 2 {
		return
	}
	left := time.Until(p.until)
	if left <= 0 {
		return
	}
	if p.skip > 0 {
		p.skip--
		return
	}
	if !q.await(p.active) {
		p.vain = 0
		return
	}
	if p.timer == nil {
		p.timer = time.NewTimer(left)
	} else {
		p.timer.Reset(left)
	}
	select {
	case <-q.wake:
		p.timer.Stop()
		p.vain = 0
	case <-p.timer.C:
		p.vain = min(p.vain+1, 5)
		p.skip = 1 << p.vain
	}
	q.await(1)
}

// did notes a finished group of n, and how many had come meanwhile.
func (p *pace) did(n, came int, took time.Duration) {
	p.active = n + came
	p.until = time.Now().Add(min(took, longest))
}
