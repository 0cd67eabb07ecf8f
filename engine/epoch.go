package engine

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"chancery/store"
)

const (
	epochLook = 500 * time.Millisecond

	// epochGood is how long after the records were looked at an answer is taken
	// from memory.
	epochGood = 2 * time.Second

	// epochLost is how long records that cannot be read are still asked for each
	// answer.
	epochLost = 10 * time.Second

	// maxNotes is how many changes that no list shows yet are looked at. With more,
	// nothing is kept.
	maxNotes = 1000

	// maxAnswers is how many answers a node keeps of each CA key: some 16 MB.
	maxAnswers = 1 << 14
)

// An epoch is what a node knows of the revocations of a CA key: that between two
// looks nothing changed, or that something did. Answers are kept only within one.
// So an answer from memory is as old as the last look at most, whichever node
// revoked, and this node's own revocations are seen at once.
type epoch struct {
	mu      sync.Mutex
	at      time.Time // just before the last look that told something
	failing bool      // the last look told nothing
	state   string
	turn    uint64 // grows with each epoch
	answers map[string]keptAnswer
}

type keptAnswer struct {
	OCSPAnswer
	until time.Time
}

// confirm notes what a look found that began at a time. The empty state is
// unlike every other.
func (p *epoch) confirm(at time.Time, state string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if state != p.state || state == "" {
		p.next()
	}
	p.at, p.state, p.failing = at, state, false
}

// fail notes that a look told nothing.
func (p *epoch) fail() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failing = true
}

// forget is for when nobody looks any more.
func (p *epoch) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next()
	p.at, p.failing, p.state = time.Time{}, false, ""
}

// change begins another epoch.
func (p *epoch) change() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next()
}

func (p *epoch) next() {
	p.turn++
	clear(p.answers)
}

// now is the turn to give to keep, read before the records are.
func (p *epoch) now() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.turn
}

// lost reports that the records could not be read for so long that asking them
// again would only keep clients waiting.
func (p *epoch) lost(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failing && now.Sub(p.at) > epochLost
}

// answer is what was kept for a CertID, as the client sent it.
func (p *epoch) answer(id []byte, now time.Time) (OCSPAnswer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if age := now.Sub(p.at); age < 0 || age > epochGood {
		return OCSPAnswer{}, false
	}
	a, ok := p.answers[string(id)]
	if !ok || now.Before(a.ThisUpdate) || !now.Before(a.until) {
		return OCSPAnswer{}, false
	}
	return a.OCSPAnswer, true
}

// keep keeps an answer from records that were read in a turn, if that goes on.
func (p *epoch) keep(turn uint64, id []byte, a OCSPAnswer, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if turn != p.turn {
		return
	}
	if p.answers == nil {
		p.answers = map[string]keptAnswer{}
	}
	for old := range p.answers { // any
		if len(p.answers) < maxAnswers {
			break
		}
		delete(p.answers, old)
	}
	p.answers[string(id)] = keptAnswer{a, until}
}

// runEpochs looks, until ctx is done, whether any node changed the status of
// certificates.
func (e *Engine) runEpochs(ctx context.Context) {
	defer func() {
		for _, is := range e.issuers {
			is.epoch.forget()
		}
	}()
	every(ctx, epochLook, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, epochGood)
		defer cancel()
		for _, is := range e.issuers {
			e.lookAtEpoch(ctx, is)
		}
	})
}

func (e *Engine) lookAtEpoch(ctx context.Context, is *issuer) {
	at, state := e.Now(), ""
	err := e.view(ctx, func(tx store.Tx) (err error) {
		state, err = e.epochOf(tx, is)
		return err
	})
	if err != nil {
		is.epoch.fail()
		return
	}
	is.epoch.confirm(at, state)
}

// epochOf names the state of the revocations of a CA key. Each change of status
// adds a note with a name of its own, and notes go away with a list of a higher
// number: so no two states have one name. It is empty when there are too many
// notes to look at.
func (e *Engine) epochOf(tx store.Tx, is *issuer) (string, error) {
	if err := e.unread(tx, is.keyID); err != nil {
		return "", err
	}
	raw, err := responders.Get(tx, is.keyID)
	if err != nil && !store.Missing(err) {
		return "", err
	}
	_, _ = e.readResponder(tx, is) // that it does not open is for who makes them, and who signs
	h := sha256.New()
	sum := sha256.Sum256(raw) // answers of a delegate that was replaced are not kept
	h.Write(sum[:])
	number, err := crlNumbers.Get(tx, is.keyID)
	if err != nil && !store.Missing(err) {
		return "", err
	}
	h.Write(number)
	notes := 0
	for key, blob := range unlisted.All(tx, is.keyID+"/", past(is.keyID+"/")) {
		if blob.Err != nil {
			return "", blob.Err
		}
		if notes++; notes > maxNotes {
			return "", nil
		}
		h.Write([]byte("/" + key))
	}
	return string(h.Sum(nil)), nil
}
