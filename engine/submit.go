package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"chancery/engine/pkcs10"
	"chancery/store"
)

// How long an ended request answers for its Key.
const (
	keepIssued = 24 * time.Hour
	keepDenied = 60 * time.Second
)

// errMoved says that a row is no longer as it was read. Whoever meets it reads
// again and goes on from there.
var errMoved = errors.New("the request moved on meanwhile")

// Submit is the one door: every request, whatever protocol it came by, goes
// this way. It returns a Disposition when the outcome is durable. An error means
// that there is none yet: ErrConflict, a *FrozenError, the error of s.Also, or
// that something could not tell, in which case submitting again is safe.
//
// The numbers are the steps of docs/design.md, section 1; 1 to 3, and what the
// requester proved, are the frontend's.
func (e *Engine) Submit(ctx context.Context, s Submission) (Disposition, error) {
	return e.submit(ctx, e.setup.Load(), s)
}

func (e *Engine) submit(ctx context.Context, set *setup, s Submission) (Disposition, error) {
	if set == nil {
		return nil, fmt.Errorf("%w: no policy is in use yet", ErrUndecided)
	}
	asked, body, err := parse(s) // 4: the request arrives
	if err != nil {
		return Denied{Reason: BadCSR, Detail: err.Error()}, nil
	}
	r := e.newRequest(s, asked)
	d, first, err := e.recall(ctx, r)
	if d != nil || err != nil {
		return d, err // this Key was submitted before
	}
	e.fault("parsed")
	n := newRow{body: body, also: s.Also, first: first}
	if set.waits { // something outside may take long: record first
		if err := e.record(ctx, r, &n); err != nil {
			return e.orOther(ctx, r, nil, err)
		}
		ctx = context.WithoutCancel(ctx)
	}
	d, err = e.advance(ctx, set, r, &n)
	return e.orOther(ctx, r, d, err)
}

// advance takes r as far as it goes without a person: policy examines and
// decides, the decision is committed with the bytes to be signed, these are
// signed, and the certificate is committed with the events that exits are told.
func (e *Engine) advance(ctx context.Context, set *setup, r *Request, n *newRow) (Disposition, error) {
	if err := e.ClockError(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUndecided, err)
	}
	if r.State == Issuing {
		return e.issue(ctx, set, r)
	}
	o, err := e.decide(ctx, set, r) // 5: policy examines, changes, decides
	if err != nil {                 // a policy could not tell: keep the request, decide nothing
		e.Log.ErrorContext(ctx, "policy could not decide", "request", r.ID, "err", err)
		if rerr := e.record(ctx, r, n); rerr != nil {
			return nil, rerr
		}
		if errors.Is(err, ErrNoSigner) {
			return nil, fmt.Errorf("%w: %w; the request is recorded as %s", ErrUndecided, err, r.ID)
		}
		return nil, fmt.Errorf("%w: the request is recorded as %s", ErrUndecided, r.ID)
	}
	e.fault("decided")
	r, err = e.commitDecision(ctx, set, r, o, n)
	if err != nil {
		return nil, err
	}
	e.fault("decision-committed")
	if r.State != Issuing {
		return e.disposition(ctx, r) // 6: an officer may come to it: vote.go
	}
	return e.issue(context.WithoutCancel(ctx), set, r) // 7 and 8: exits are told: outbox.go
}

// A newRow is what the first commit of a request writes beside its row. It is
// spent by that commit; rows that exist have none.
type newRow struct {
	body  []byte
	also  func(store.Tx, string) error
	first bool // nothing was found under the Key: inserting says if that has changed
	done  bool
}

// parse reads the body once, for all policies, and checks that the requester
// has the private key. What it returns to be stored has no secrets in it.
func parse(s Submission) (*Asked, []byte, error) {
	if s.Form != "" && s.Form != PKCS10 {
		return nil, nil, fmt.Errorf("requests of the form %.20q are not taken, only %s", s.Form, PKCS10)
	}
	csr, err := pkcs10.Parse(s.Body)
	if err != nil {
		return nil, nil, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, nil, err
	}
	return askedOf(csr), csr.WithoutSecrets(), nil
}

func askedOf(csr *pkcs10.Request) *Asked {
	a := &Asked{Subject: csr.Subject, Key: csr.Key, Names: csr.Names}
	for _, x := range csr.Extensions {
		a.Extensions = append(a.Extensions, AskedExtension{x.OID, x.Critical, x.Value})
	}
	return a
}

func (e *Engine) newRequest(s Submission, asked *Asked) *Request {
	now := e.now()
	r := &Request{
		ID: e.newID(), Source: s.Source, Endpoint: s.Endpoint, Requester: s.Requester, Key: s.Key.String(), State: Received,
		BodyMAC: e.mac("body", s.Body), WantAuth: s.Authority, Want: s.Profile, Claims: s.Claims, Proofs: slices.Clone(s.Proofs),
		Replaces: s.Replaces, Keep: int64(s.Keep / time.Second), KeyPerRun: s.KeyPerRun, Received: now, Asked: asked,
	}
	r.Same = sameHash(r)
	for i := range r.Proofs {
		if r.Proofs[i].Principal == r.Requester {
			r.Proofs[i].Principal = "" // whom else
		}
	}
	return r
}

// recall answers for a request whose Key was submitted before, as far as that
// still answers. It returns nil when r is new, and whether it is the first.
func (e *Engine) recall(ctx context.Context, r *Request) (d Disposition, first bool, err error) {
	var old *Request
	var answers bool
	err = e.view(ctx, func(tx store.Tx) (err error) {
		old, err = requests.One(tx, "key", r.Key)
		if first = store.Missing(err); err != nil {
			return err
		}
		revoked, err := revokedIfIssued(tx, old)
		if err != nil {
			return err
		}
		answers, err = replays(old, r, revoked, e.now())
		return err
	})
	if first {
		return nil, true, nil
	} else if err != nil || !answers {
		return nil, false, err
	}
	d, err = e.resume(ctx, old)
	return d, false, err
}

// find returns the row that a Key leads to.
func (e *Engine) find(ctx context.Context, key string) (r *Request, err error) {
	err = e.view(ctx, func(tx store.Tx) (err error) {
		r, err = requests.One(tx, "key", key)
		return err
	})
	if store.Missing(err) {
		return nil, ErrNoRequest
	}
	return r, err
}

// replays says whether the row old answers for the submission r of the same
// Key. An open row always does; an ended one for a time, a revoked one never,
// and a denial only as long as nothing changed.
func replays(old, r *Request, revoked bool, now time.Time) (bool, error) {
	same := sameBody(old, r)
	switch old.State {
	case StateIssued:
		keep := keepIssued
		if old.Keep != 0 {
			keep = time.Duration(old.Keep) * time.Second
		}
		if revoked || now.Sub(old.Ended) > keep {
			return false, nil
		}
	case StateDenied:
		return same && sameProofs(old.Proofs, r.Proofs) && now.Sub(old.Ended) < keepDenied, nil
	case StateAbandoned:
		return false, nil
	}
	if !same {
		return false, ErrConflict
	}
	return true, nil
}

// sameBody reports whether two submissions ask for the same.
func sameBody(a, b *Request) bool {
	return a.BodyMAC == b.BodyMAC && a.Want == b.Want && a.WantAuth == b.WantAuth
}

// sameProofs compares what was proved, not when.
func sameProofs(a, b []Proof) bool {
	return slices.EqualFunc(a, b, func(x, y Proof) bool {
		x.At, x.Expires, y.At, y.Expires = time.Time{}, time.Time{}, time.Time{}, time.Time{}
		dx, errx := json.Marshal(x)
		dy, erry := json.Marshal(y)
		return errx == nil && erry == nil && bytes.Equal(dx, dy)
	})
}

// resume goes on with a row that exists.
func (e *Engine) resume(ctx context.Context, r *Request) (Disposition, error) {
	set := e.setup.Load()
	if !r.movable() {
		return e.disposition(ctx, r)
	}
	ctx = context.WithoutCancel(ctx)
	if err := e.load(ctx, r); err != nil {
		return nil, err
	}
	d, err := e.advance(ctx, set, r, &newRow{done: true})
	return e.orOther(ctx, r, d, err)
}

// movable reports whether there is something to do for r: it was left in the
// middle, or officers have voted since it was decided last.
func (r *Request) movable() bool {
	return r.State == Received || r.State == Issuing || r.State == Pending && len(r.Votes) > r.Counted
}

// load parses the stored body of r again.
func (e *Engine) load(ctx context.Context, r *Request) error {
	return e.view(ctx, func(tx store.Tx) error { return loadAsked(tx, r) })
}

func loadAsked(tx store.Tx, r *Request) error {
	body, err := raws.Get(tx, bodyKey(r.ID))
	if err != nil {
		return fmt.Errorf("reading the body of request %s: %w", r.ID, err)
	}
	csr, err := pkcs10.Parse(body)
	if err != nil {
		return fmt.Errorf("the stored body of request %s: %w", r.ID, err)
	}
	r.Asked = askedOf(csr)
	r.Same = sameHash(r)
	return nil
}

// orOther turns errMoved, that another Submit or node was faster with the same
// request, into the answer that the other arrived at.
func (e *Engine) orOther(ctx context.Context, r *Request, d Disposition, err error) (Disposition, error) {
	if !errors.Is(err, errMoved) {
		return d, err
	}
	now, err := e.find(ctx, r.Key)
	if errors.Is(err, ErrNoRequest) {
		return nil, fmt.Errorf("%w: another request for the same names ended in this moment", ErrUndecided)
	} else if err != nil {
		return nil, err
	}
	if !sameBody(now, r) {
		return nil, ErrConflict
	}
	return e.disposition(ctx, now)
}

// Status answers for the request with the Key, or ErrNoRequest. The Key holds
// the requester, so whoever can make it may know.
func (e *Engine) Status(ctx context.Context, k Key) (Disposition, error) {
	r, err := e.find(ctx, k.String())
	if err != nil {
		return nil, err
	}
	return e.resume(ctx, r)
}

// Peek is Status without any effect: an approval that nobody has used yet stays
// unused.
func (e *Engine) Peek(ctx context.Context, k Key) (Disposition, error) {
	r, err := e.find(ctx, k.String())
	if err != nil {
		return nil, err
	}
	return e.disposition(ctx, r)
}

// PeekRequest is Peek by the id of a request. Who may see it is for the caller
// to check.
func (e *Engine) PeekRequest(ctx context.Context, id string) (Disposition, error) {
	r, err := e.Request(ctx, id)
	if err != nil {
		return nil, err
	}
	return e.disposition(ctx, r)
}

// Retrieve answers for a request to the principal that submitted it. For anybody
// else it is ErrNoRequest.
func (e *Engine) Retrieve(ctx context.Context, id string, p Principal) (Disposition, error) {
	r, err := e.Request(ctx, id)
	if err != nil {
		return nil, err
	}
	if p == "" || r.Requester != p {
		return nil, ErrNoRequest
	}
	return e.resume(ctx, r)
}

// Request returns the row of a request, or ErrNoRequest. Who may see it is for
// the caller to check.
func (e *Engine) Request(ctx context.Context, id string) (*Request, error) {
	if !store.ValidID(id) {
		return nil, ErrNoRequest
	}
	var r *Request
	err := e.view(ctx, func(tx store.Tx) (err error) {
		r, err = requests.Get(tx, id)
		return err
	})
	if store.Missing(err) {
		return nil, ErrNoRequest
	}
	return r, err
}

// disposition is what the state of r means to its requester.
func (e *Engine) disposition(ctx context.Context, r *Request) (Disposition, error) {
	switch r.State {
	case StateDenied:
		d := *r.Refusal
		d.RequestID = r.ID
		return d, nil
	case StateAbandoned:
		return Denied{r.ID, Abandoned, "the request was interrupted and not finished in time; submit it again"}, nil
	case StateIssued:
		var der []byte
		if err := e.view(ctx, func(tx store.Tx) (err error) {
			der, err = raws.Get(tx, certKey(r.ID))
			return err
		}); err != nil {
			return nil, fmt.Errorf("certificate of request %s: %w", r.ID, err)
		}
		return e.issued(r, der), nil
	default:
		// Received and Issuing look like Pending to the requester: ask again.
		return Pended{r.ID, retryAfter(r, e.now())}, nil
	}
}

// retryAfter grows with the time that a request has waited: people take hours.
// A client with a new key for each run waits for seconds only, then comes anew.
func retryAfter(r *Request, now time.Time) time.Duration {
	if r.KeyPerRun || r.State != Pending {
		return 5 * time.Second
	}
	return max(15*time.Second, min(15*time.Minute, now.Sub(r.Received)/4)).Truncate(time.Second)
}
