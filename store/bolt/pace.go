package bolt

import "time"

// A pace decides how long the committer waits for more.
type pace struct{}

func (p *pace) gather(q *queue) {}

func (p *pace) did(n int, took time.Duration) {}
