package bolt

import (
	"context"
	"sync"
	"sync/atomic"

	"chancery/store"
)

// A request is an Update that waits.
type request struct {
	ctx   context.Context
	state atomic.Int32
	say   chan message // from the committer: your turn, then the outcome

	// Set by the Update, read by the committer after ran.
	tx *store.Overlay
	ok bool // the function returned nil, so tx is to be applied
}

// The states of a request. Only one of committer and Update can take it out of
// waiting.
const (
	waiting int32 = iota
	begun
	left // the Update has returned the error of its context
)

type message struct {
	turn bool
	base store.Reader // when it is your turn
	err  error        // otherwise
}

// A queue holds the requests that the committer has not taken.
type queue struct {
	wake chan struct{} // holds a token when there may be something new

	mu       sync.Mutex
	requests []*request
	enough   int // requests for which the committer is to be woken
	closed   bool
}

// push reports whether the queue still takes requests.
func (q *queue) push(r *request) bool {
	q.mu.Lock()
	ok := !q.closed
	if ok {
		q.requests = append(q.requests, r)
	}
	wake := len(q.requests) >= q.enough
	q.mu.Unlock()
	if wake {
		q.signal()
	}
	return ok
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // there is a token
	}
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

// take empties the queue into the space of old.
func (q *queue) take(old []*request) (rs []*request, closed bool) {
	clear(old)
	q.mu.Lock()
	defer q.mu.Unlock()
	rs, q.requests = q.requests, old[:0]
	return rs, q.closed
}

// await lets the next token come when the queue holds n requests or is closed.
// It reports false when that is so already.
func (q *queue) await(n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.requests) >= n {
		q.enough = 1 // or else the next lone request would wake nobody
		return false
	}
	q.enough = n
	select {
	case <-q.wake: // an old one
	default:
	}
	return true
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.requests)
}
