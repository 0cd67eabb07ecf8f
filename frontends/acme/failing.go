package acme

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"chancery/engine/limit"
	"chancery/engine/names"
	"chancery/store"
)

// A failing is a name that an account could not prove lately: one row, which is
// written with the authorization that failed. Validations that succeed do not
// touch it, so it costs those who do everything right nothing.
type failing struct {
	Account  string `json:"a"`
	Name     string `json:"n"` // as stored writes it
	Endpoint string `json:"e"`
	Times    int    `json:"t"` // one after the other
	First    int64  `json:"f"` // of them
	Last     int64  `json:"l"`
	Level    int64  `json:"v"`          // of the bucket of failures_per_name, in milliseconds
	Paused   int64  `json:"p,omitzero"` // since when orders for the name are refused
}

var failings = store.Table[failing]{
	Name: "acme_failing", Version: 1, Key: func(f *failing) string { return failingKey(f.Account, f.Name) },
}

func failingKey(account, name string) string { return account + "/" + provedValue(account, name) }

// failingLimit is what the bucket in the row is called.
func failingLimit(row *failing) limit.Key {
	return limit.Key{Limit: failuresPerName, Endpoint: limitEndpoint(row.Endpoint), Of: row.Account + " " + fromStored(row.Name).Value}
}

// pausedWait is what a client is told to wait that somebody must resume.
const pausedWait = 24 * time.Hour

// failures finds out whether one of the names is paused for the account, or has
// failed too often in a short time.
func (c *call) failures(tx store.Tx, ns []string) (worst *limit.Refusal, paused *failing, err error) {
	for _, n := range ns {
		row, err := failings.Get(tx, failingKey(c.account.ID, n))
		if store.Missing(err) {
			continue
		} else if err != nil {
			return nil, nil, err
		}
		rate := c.ep.limits.FailuresPerName
		wait := limit.Level(time.UnixMilli(row.Level)).Wait(rate, c.now)
		if wait == 0 && row.Paused == 0 {
			continue
		}
		if last, err := lastProved(tx, c.account.ID, n); err != nil {
			return nil, nil, err
		} else if last > row.Last {
			continue // it works again
		}
		if row.Paused != 0 {
			return nil, row, nil
		}
		if worst == nil || wait > worst.Wait {
			worst = &limit.Refusal{Key: failingLimit(row), Rate: rate, Until: c.now.Add(wait), Wait: wait}
		}
	}
	return worst, nil, nil
}

// lastProved is when the account last proved the name, 0 if it never did.
func lastProved(tx store.Tx, account, name string) (last int64, err error) {
	for a, err := range authzs.By(tx, "proved", provedValue(account, name), "") {
		if err != nil {
			return 0, err
		}
		if a.Account == account && a.Name == name {
			last = max(last, a.Validated)
		}
	}
	return last, nil
}

// paused is the answer to a client that somebody must help.
func (c *call) paused(row *failing) error {
	name := fromStored(row.Name).Value
	c.note("limit", pauseAfter)
	// It is counted; Pauses lists it, for as long as it is so.
	c.f.limits.Refuse(&limit.Refusal{Key: c.ep.limitKey(pauseAfter, row.Account), Until: c.now})
	p := refuse(http.StatusTooManyRequests, rateLimited,
		"validation of %s has failed %d times in a row, the last time at %s, so orders of this account for it are paused (limit %s). Mend what fails; then ask this CA's administrator to run: chancery acme resume %s",
		name, row.Times, clock(row.Last), pauseAfter, row.Account)
	p.RetryAfter = pausedWait
	return p
}

// A failure is what there is to know before the failure of an authorization is
// recorded. The zero failure records nothing.
type failure struct {
	ep         *endpoint
	lastProved int64
	now        time.Time
}

// failure looks it up. What cannot be found out is no reason not to record the
// authorization.
func (f *Frontend) failure(ctx context.Context, id string) (of failure) {
	err := f.view(ctx, func(tx store.Tx) error {
		of = failure{now: f.deps.Now()}
		a, err := authzs.Get(tx, id)
		if err != nil {
			return err
		}
		account, err := accounts.Get(tx, a.Account)
		if err != nil {
			return err
		}
		of.ep = f.endpoints[account.Endpoint]
		of.lastProved, err = lastProved(tx, a.Account, a.Name)
		return err
	})
	if err != nil {
		return failure{}
	}
	return of
}

// in writes the failure of an authorization, in the transaction that makes it
// invalid.
func (of failure) in(tx store.Tx, a *authz) error {
	if of.ep == nil || a.Failed == 0 {
		return nil
	}
	l := of.ep.limits
	row := &failing{Account: a.Account, Name: a.Name, Endpoint: of.ep.name}
	old, err := failings.Get(tx, failings.Key(row))
	if err != nil && !store.Missing(err) {
		return err
	}
	if old != nil && old.Last >= of.lastProved {
		*row = *old
	}
	if row.Times == 0 {
		row.First = a.Failed
	}
	row.Times++
	row.Last = a.Failed
	row.Level = time.Time(limit.Level(time.UnixMilli(row.Level)).After(l.FailuresPerName, of.now)).UnixMilli()
	if row.Times >= l.PauseAfter && row.Paused == 0 {
		row.Paused = a.Failed
	}
	if old == nil {
		return failings.Insert(tx, row)
	}
	return failings.Put(tx, old, row)
}

// counts the failure for the account, once it is on record.
func (f *Frontend) count(of failure, a *authz) {
	if of.ep != nil && a != nil && a.Failed != 0 {
		f.limits.Add(of.now, of.ep.ask(failuresPerAccount, a.Account, of.ep.limits.FailuresPerAccount))
	}
}

// A Pause is an account that orders a name in vain, and is refused until somebody
// resumes it.
type Pause struct {
	Account, Endpoint, Name string
	Failures                int
	Since                   time.Time // of the pause
	Last                    time.Time // failure
}

// maxPauses is how many are listed.
const maxPauses = 1000

// Pauses lists who is paused, the first 1000.
func Pauses(ctx context.Context, db store.DB) (all []Pause, err error) {
	err = db.View(ctx, func(tx store.Tx) error {
		all = nil
		for row, err := range failings.All(tx, "", "") {
			if err != nil {
				return err
			}
			if row.Paused == 0 {
				continue
			}
			all = append(all, Pause{
				Account: row.Account, Endpoint: row.Endpoint, Name: fromStored(row.Name).Value, Failures: row.Times,
				Since: time.Unix(row.Paused, 0).UTC(), Last: time.Unix(row.Last, 0).UTC(),
			})
			if len(all) == maxPauses {
				return nil
			}
		}
		return nil
	})
	return all, err
}

var (
	// ErrNotFailing is returned by [Resume] when there is nothing to resume.
	ErrNotFailing = errors.New("acme: nothing is paused and no failures are counted for this; chancery status lists what is paused")

	// ErrNotResumable is returned by [Resume] for what is neither account nor name.
	ErrNotResumable = errors.New("acme: give the id or address of an account, or a name")
)

// Resume forgets the failures of an account, or of a name for all accounts, so
// that they may order again, and shows them no more as held back. It returns how
// many of them there were. What also writes goes into the same commit.
func Resume(ctx context.Context, db store.DB, held *limit.Set, what string, also func(store.Tx) error) (n int, err error) {
	account, name, err := resumable(what)
	if err != nil {
		return 0, err
	}
	from, to := "", ""
	if account != "" {
		from, to = account+"/", account+"0"
	}
	var found []*failing
	if err := db.View(ctx, func(tx store.Tx) error {
		found = nil
		for row, err := range failings.All(tx, from, to) {
			if err != nil {
				return err
			}
			if name == "" || row.Name == name {
				found = append(found, row)
			}
		}
		return nil
	}); err != nil {
		return 0, err
	}
	if len(found) == 0 {
		return 0, ErrNotFailing
	}
	for _, row := range found {
		held.Forget(failingLimit(row))
	}
	return len(found), db.Update(ctx, func(tx store.Tx) error {
		for _, row := range found {
			if err := failings.Delete(tx, row); err != nil {
				return err
			}
		}
		return also(tx)
	})
}

// resumable reads what is to be resumed.
func resumable(what string) (account, name string, err error) {
	id := what
	if _, after, ok := strings.Cut(what, "/account/"); ok {
		id = after
	}
	if store.ValidID(id) {
		return id, "", nil
	}
	for _, t := range []names.Type{names.IP, names.DNS} {
		if n, err := names.Parse(t, what); err == nil {
			return "", stored(n), nil
		}
	}
	return "", "", fmt.Errorf("%w, not %.60q", ErrNotResumable, what)
}
