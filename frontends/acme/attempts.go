package acme

import (
	"sync"

	"chancery/engine"
)

const (
	maxValidations = 1000               // that use the network, on this node
	maxOfAccount   = 100                // of them for one account: the others wait for the sweep
	maxRunning     = 4 * maxValidations // with those that are being recorded
)

// attempts are the validations under way on this node. Of one authorization
// there is one at a time, so that nobody has the server connect to a machine
// more often than once per order and name; and no account takes all the room.
// The zero attempts are ready for use.
type attempts struct {
	mu      sync.Mutex
	running map[string]engine.Method // by authorization, until what it found is recorded
	of      map[string]int           // by account: those that use the network
	network int                      // all of these
}

// An entry is what begin says.
type entry int

const (
	begun     entry = iota
	sameRuns        // the challenge is being validated already
	otherRuns       // another challenge of the authorization is
	full            // there is no room now
)

// begin enters an attempt. Whoever began it calls validated when it needs the
// network no more, and recorded after that.
func (t *attempts) begin(a *authz, m engine.Method) entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	if other, ok := t.running[a.ID]; ok && other == m {
		return sameRuns
	} else if ok {
		return otherRuns
	}
	if !t.fits(a.Account) {
		return full
	}
	if t.running == nil {
		t.running, t.of = map[string]engine.Method{}, map[string]int{}
	}
	t.running[a.ID] = m
	t.of[a.Account]++
	t.network++
	return begun
}

func (t *attempts) fits(account string) bool {
	return t.network < maxValidations && t.of[account] < maxOfAccount && len(t.running) < maxRunning
}

// room reports whether an attempt could begin now.
func (t *attempts) room(a *authz) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, runs := t.running[a.ID]
	return !runs && t.fits(a.Account)
}

// validated makes room for another attempt.
func (t *attempts) validated(account string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.network--
	if t.of[account]--; t.of[account] == 0 {
		delete(t.of, account)
	}
}

// recorded ends an attempt.
func (t *attempts) recorded(authz string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.running, authz)
}
