package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A session whose transaction is over but for a ROLLBACK that nobody waits for
// rests beside the pool for a moment: most often somebody needs a connection
// soon, and sends the ROLLBACK together with what he has to say.
const (
	longestRest = 2 * time.Millisecond
	mostRests   = 1000            // then the pool may look whether the connection is too old
	lastWord    = 5 * time.Second // for the answer to a ROLLBACK that is sent alone
)

// rest takes a session that is inside a transaction which wrote nothing.
func (d *DB) rest(s *session) {
	s.add(stmtRollback)
	s.sync()
	s.open = false
	s.rests++
	d.mu.Lock()
	if d.waiting > 0 || d.closed || s.rests > mostRests {
		d.mu.Unlock()
		s.rests = 0
		s.finish(time.Now().Add(lastWord))
		return
	}
	s.since = time.Now()
	d.rests = append(d.rests, s)
	if !d.sweeping {
		d.sweeping = true
		d.running.Add(1) // our own transaction still counts, so Close waits
		time.AfterFunc(longestRest, d.sweep)
	}
	d.mu.Unlock()
}

// sweep ends what nobody needed, until nothing rests.
func (d *DB) sweep() {
	d.mu.Lock()
	var over []*session
	d.rests = slices.DeleteFunc(d.rests, func(s *session) bool {
		old := d.closed || time.Since(s.since) >= longestRest
		if old {
			over = append(over, s)
		}
		return old
	})
	if d.sweeping = len(d.rests) > 0; d.sweeping {
		d.running.Add(1)
		time.AfterFunc(longestRest, d.sweep)
	}
	d.mu.Unlock()
	deadline := time.Now().Add(lastWord) // for all together: Close waits
	for _, s := range over {
		s.finish(deadline)
	}
	d.running.Done()
}

// reset gives up all connections, for the next to be new ones.
func (d *DB) reset() {
	d.mu.Lock()
	rests := d.rests
	d.rests = nil
	d.mu.Unlock()
	for _, s := range rests {
		s.close()
		s.release()
	}
	d.pool.Reset()
}

// finish sends the ROLLBACK and gives the connection back to the pool.
func (s *session) finish(deadline time.Time) {
	if s.send(deadline) == nil {
		_ = s.receive(nil) // what breaks is closed
	}
	s.release()
}

// acquire takes a connection that rests, or one from the pool, or makes one.
func (d *DB) acquire(ctx context.Context) (*session, error) {
	d.mu.Lock()
	if n := len(d.rests); n > 0 {
		s := d.rests[n-1]
		d.rests = d.rests[:n-1]
		d.mu.Unlock()
		return s, nil
	}
	d.waiting++
	d.mu.Unlock()
	s, err := d.pooled(ctx)
	d.mu.Lock()
	d.waiting--
	d.mu.Unlock()
	return s, err
}

// pooled takes a connection from the pool, or makes one.
func (d *DB) pooled(ctx context.Context) (*session, error) {
	c, err := d.pool.Acquire(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		err = fmt.Errorf("connecting to the database: %w", err)
		if !errors.Is(err, ErrRefused) && code(err) == "" {
			err = &lostError{err, true}
		}
		return nil, err
	}
	s := c.Conn().PgConn().CustomData()[sessionKey].(*session)
	s.pool = c
	return s, nil
}
