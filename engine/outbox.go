package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"chancery/store"
)

// A Delivery is an event that one exit has yet to take. It is written with the
// change that it tells of, and refers to it; what the exit is told is made from
// the rows when it is told.
type Delivery struct {
	Event    string    `json:"e"` // id
	Kind     EventKind `json:"k"`
	At       time.Time `json:"a"`
	Request  string    `json:"r"`
	Status   Status    `json:"s,omitempty"`
	Reason   string    `json:"re,omitempty"`
	Exit     string    `json:"x"`
	Due      time.Time `json:"d"` // when it may be told; while it is told, the end of the lease
	Attempts int       `json:"n,omitzero"`
	LastErr  string    `json:"l,omitempty"`
	Parked   bool      `json:"p,omitzero"` // given up; waits for an operator
	Cert     CertID    `json:"c,omitzero"` // instead of Request, of a certificate that was imported

	request *Request // known to the process that wrote it
	cert    *Certificate
	der     []byte
}

var deliveries = store.Table[Delivery]{
	Name: "deliveries", Version: 1,
	Key: func(d *Delivery) string { return d.Event + "/" + d.Exit },
	Indexes: []store.Index[Delivery]{
		{Name: "due", Keys: func(d *Delivery) []string {
			if d.Parked {
				return nil
			}
			return []string{d.Exit + "/" + stamp(d.Due)}
		}},
		{Name: "parked", Keys: func(d *Delivery) []string {
			if !d.Parked {
				return nil
			}
			return []string{d.Exit}
		}},
	},
}

const (
	leaseTime   = 30 * time.Second
	maxAttempts = 12
	maxBackoff  = 6 * time.Hour
	batchSize   = 256

	// gatherTime is how long an exit that takes batches waits for more: nobody
	// waits for it, and one fsync then does for many events.
	gatherTime = 50 * time.Millisecond
)

// announce writes a delivery for every exit that wants the event into the
// transaction that makes the event true. It returns those that are leased to this
// process; the caller hands them over once it committed.
func (e *Engine) announce(tx store.Tx, set *setup, kind EventKind, r *Request, now time.Time) ([]*Delivery, error) {
	id := e.newID()
	var all []*Delivery
	for _, exit := range set.wants[kind] {
		d := &Delivery{Event: id, Kind: kind, At: now, Request: r.ID, Exit: exit}
		if err := e.deliverTo(tx, d, &all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// announceStatus is announce for a change of a certificate's status.
func (e *Engine) announceStatus(tx store.Tx, set *setup, c *Certificate, reason string, now time.Time) ([]*Delivery, error) {
	id := e.newID()
	var all []*Delivery
	for _, exit := range set.wants[EventRevoked] {
		d := &Delivery{
			Event: id, Kind: EventRevoked, At: now, Request: c.Request,
			Status: c.Status, Reason: reason, Exit: exit,
		}
		if c.Imported != "" {
			d.Request, d.Cert = "", c.CertID
		}
		if err := e.deliverTo(tx, d, &all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// deliverTo writes a delivery. It is leased to this process, and added to the
// list, if the exit is told things here; otherwise it is due at once for whoever
// looks first.
func (e *Engine) deliverTo(tx store.Tx, d *Delivery, leased *[]*Delivery) error {
	d.Due = d.At
	if _, told := e.deliver.Load(d.Exit); told {
		d.Due = d.At.Add(leaseTime)
		*leased = append(*leased, d)
	}
	return deliveries.Insert(tx, d)
}

// hand gives committed deliveries to the exits' queues. One that is full finds
// them in the store when their lease ends.
func (e *Engine) hand(all []*Delivery) {
	for _, d := range all {
		if q, ok := e.deliver.Load(d.Exit); ok {
			select {
			case q.(chan *Delivery) <- d:
			default:
			}
		}
	}
}

// runExit tells one exit, until ctx is done: what is handed over, and what is
// found due in the store. Exits do not wait for one another.
func (e *Engine) runExit(ctx context.Context, o Outlet) {
	// What was handed over to the Run before this one, and not told, is told now.
	kept, goesOn := e.deliver.LoadOrStore(o.Name, make(chan *Delivery, 4*batchSize))
	queue := kept.(chan *Delivery)
	if x, ok := o.Exit.(Releaser); ok {
		defer x.Release()
	}
	look := time.NewTicker(time.Second)
	defer look.Stop()
	// What an earlier process of this store leased to itself is due at once,
	// where there is only one process.
	grace := time.Duration(0)
	if e.sole() && !goesOn {
		grace = leaseTime
	}
	for {
		due, err := e.due(ctx, o.Name, grace)
		if err != nil && ctx.Err() == nil {
			e.Log.ErrorContext(ctx, "looking for events to deliver", "exit", o.Name, "err", err)
		}
		grace = 0
		if len(due) > 0 {
			e.tellAll(ctx, o, due)
			continue
		}
		if !e.takeQueued(ctx, o, queue, look.C) {
			return
		}
	}
}

// takeQueued tells what is handed over until it is time to look into the store,
// and reports false when ctx is done.
func (e *Engine) takeQueued(ctx context.Context, o Outlet, queue chan *Delivery, look <-chan time.Time) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-look:
			return true
		case d := <-queue:
			if _, ok := o.Exit.(Batcher); ok {
				pause(ctx, gatherTime)
			}
			batch := []*Delivery{d}
			for len(batch) < batchSize && len(queue) > 0 {
				batch = append(batch, <-queue)
			}
			e.tellAll(ctx, o, batch)
		}
	}
}

// pause waits, or less if ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// due leases deliveries whose time has come.
func (e *Engine) due(ctx context.Context, exit string, grace time.Duration) ([]*Delivery, error) {
	now := e.now()
	var found []*Delivery
	if err := e.view(ctx, func(tx store.Tx) error {
		found = nil
		// No delivery is put off longer than this: one that is due later was
		// written by a clock that was wrong.
		never := now.Add(maxBackoff + leaseTime + clockBehind)
		for _, part := range [][2]string{{"", stamp(now.Add(grace + time.Second))}, {stamp(never), "g"}} {
			for d, err := range deliveries.Range(tx, "due", exit+"/"+part[0], exit+"/"+part[1]) {
				if err != nil {
					return err
				}
				if found = append(found, d); len(found) == batchSize {
					return nil
				}
			}
		}
		return nil
	}); err != nil || len(found) == 0 {
		return nil, err
	}
	var leased []*Delivery
	err := e.update(ctx, func(tx store.Tx) error {
		leased = nil
		for _, f := range found {
			old, err := deliveries.Get(tx, deliveries.Key(f))
			if store.Missing(err) || err == nil && !old.Due.Equal(f.Due) {
				continue // another node was faster
			} else if err != nil {
				return err
			}
			next := *old
			next.Due = now.Add(leaseTime)
			if err := deliveries.Put(tx, old, &next); err != nil {
				return err
			}
			leased = append(leased, &next)
		}
		return nil
	})
	return leased, err
}

// tellAll tells a batch of events, a few at the same time, and settles all of
// them in one commit.
func (e *Engine) tellAll(ctx context.Context, o Outlet, batch []*Delivery) {
	errs := make([]error, len(batch))
	if b, ok := o.Exit.(Batcher); ok {
		e.tellBatch(ctx, b, batch, errs)
	} else {
		e.tellEach(ctx, o.Exit, batch, errs)
	}
	e.fault("told")
	if err := e.settleDeliveries(ctx, batch, errs); err != nil {
		e.Log.ErrorContext(ctx, "noting deliveries; they will be told again", "exit", o.Name, "err", err)
	}
}

// tellTime is less than a lease.
const tellTime = leaseTime - 5*time.Second

func (e *Engine) tellBatch(ctx context.Context, b Batcher, batch []*Delivery, errs []error) {
	var all []Event
	var of []int
	for i, d := range batch {
		ev, err := e.event(ctx, d)
		if errs[i] = err; err == nil {
			all, of = append(all, *ev), append(of, i)
		}
	}
	if len(all) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	err := b.TellAll(ctx, all)
	for _, i := range of {
		errs[i] = err
	}
}

func (e *Engine) tellEach(ctx context.Context, x Exit, batch []*Delivery, errs []error) {
	const atOnce = 4
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(atOnce, len(batch)) {
		wg.Go(func() {
			for i := range next {
				errs[i] = e.tell(ctx, x, batch[i])
			}
		})
	}
	for i := range batch {
		next <- i
	}
	close(next)
	wg.Wait()
}

func (e *Engine) tell(ctx context.Context, x Exit, d *Delivery) error {
	ev, err := e.event(ctx, d)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	return x.Tell(ctx, *ev)
}

// settleDeliveries forgets what was taken, and puts off what was not: twice as
// long each time, until it is parked for an operator. When ctx has ended, what was
// not taken is due again at once, and that is no attempt.
func (e *Engine) settleDeliveries(ctx context.Context, batch []*Delivery, errs []error) error {
	return e.update(context.WithoutCancel(ctx), func(tx store.Tx) error {
		now := e.now()
		refs := make([]store.Ref, len(batch))
		for i, d := range batch {
			refs[i] = deliveries.At(deliveries.Key(d))
		}
		store.Ahead(tx, refs...)
		for i, d := range batch {
			old, err := deliveries.Get(tx, deliveries.Key(d))
			if store.Missing(err) {
				continue
			} else if err != nil {
				return err
			}
			if errs[i] == nil {
				if err := deliveries.Delete(tx, old); err != nil {
					return err
				}
				continue
			}
			next := *old
			if ctx.Err() != nil { // it was interrupted: whoever runs next tells it
				next.Due = now
				if err := deliveries.Put(tx, old, &next); err != nil {
					return err
				}
				continue
			}
			next.Attempts++
			next.LastErr = errs[i].Error()
			next.Due = now.Add(min(time.Second<<min(next.Attempts, 20), maxBackoff))
			if next.Parked = next.Attempts >= maxAttempts; next.Parked {
				e.Log.ErrorContext(ctx, "exit gave up on an event; replay it when the exit works again", "exit", d.Exit, "event", d.Event, "err", errs[i])
			} else {
				e.Log.WarnContext(ctx, "exit did not take an event", "exit", d.Exit, "event", d.Event, "attempt", next.Attempts, "err", errs[i])
			}
			if err := deliveries.Put(tx, old, &next); err != nil {
				return err
			}
		}
		return nil
	})
}

// event is what an exit is told: a projection of the rows, without anything
// secret.
func (e *Engine) event(ctx context.Context, d *Delivery) (*Event, error) {
	if !d.Cert.IsZero() {
		return e.importedEvent(ctx, d)
	}
	r := d.request
	if r == nil {
		var err error
		if r, err = e.Request(ctx, d.Request); err != nil {
			return nil, fmt.Errorf("request %s of event %s: %w", d.Request, d.Event, err)
		}
	}
	ev := &Event{
		ID: d.Event, Kind: d.Kind, At: d.At, RequestID: r.ID, Source: r.Source, Endpoint: r.Endpoint, Requester: r.Requester,
		Profile: r.Profile, Status: d.Status, Reason: d.Reason,
	}
	if d.Kind == EventDenied && r.Refusal != nil {
		ev.Reason, ev.Detail = string(r.Refusal.Reason), r.Refusal.Detail
	}
	if r.State != StateIssued || d.Kind == EventPending {
		return ev, nil
	}
	c, der := d.cert, d.der
	if c == nil {
		var err error
		if c, der, err = e.Certificate(ctx, r.Cert); err != nil {
			return nil, err
		}
	}
	ev.about(c, der)
	return ev, nil
}

// importedEvent is what an exit is told of a certificate whose request is not in
// the records.
func (e *Engine) importedEvent(ctx context.Context, d *Delivery) (*Event, error) {
	c, der, err := e.Certificate(ctx, d.Cert)
	if err != nil {
		return nil, err
	}
	ev := &Event{ID: d.Event, Kind: d.Kind, At: d.At, RequestID: c.Request, Requester: c.Requester, Profile: c.Profile, Status: d.Status, Reason: d.Reason}
	ev.about(c, der)
	return ev, nil
}

func (ev *Event) about(c *Certificate, der []byte) {
	ev.Authority, ev.Issuer, ev.Serial, ev.Subject, ev.Names = c.Authority, c.Issuer, c.Serial, c.Subject, c.Names
	ev.NotBefore, ev.NotAfter, ev.DER = c.NotBefore, c.NotAfter, der
}
