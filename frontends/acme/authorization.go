package acme

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"chancery/store"
)

func (c *call) ownAuthz() (*authz, error) {
	return ownRow(c, func(a *authz) string { return a.Account })
}

// authorization: RFC 8555, Section 7.5, and 7.5.2 for giving it up.
func (c *call) authorization() error {
	a, err := c.ownAuthz()
	if err != nil {
		return err
	}
	if c.postAsGet() {
		if wait := a.wait(c.now); wait > 0 {
			retryAfter(c.w, wait)
		}
		return c.reply(http.StatusOK, c.ep.shownAuthz(a, c.now))
	}
	var in struct {
		Status string `json:"status"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.Status != "deactivated" {
		return bad(`an authorization is read by an empty payload, or given up by {"status":"deactivated"}`)
	}
	err = c.update(func(tx store.Tx) (err error) {
		a, err = authzs.Change(tx, c.id, func(a *authz) error {
			if s := a.status(c.now); s != "pending" && s != "valid" {
				return bad("the authorization is %s already", s)
			}
			a.State, a.Due, a.Thumbprint = deactivated, 0, ""
			return nil
		})
		return err
	})
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, c.ep.shownAuthz(a, c.now))
}

// challenge: RFC 8555, Section 7.5.1. An empty payload reads, an object asks for
// validation.
func (c *call) challenge() error {
	a, err := c.ownAuthz()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(a.Challenges, func(ch challenge) bool { return string(ch.Type) == c.sub })
	if i < 0 {
		return notFound()
	}
	if !c.postAsGet() {
		// Members of the object, such as the keyAuthorization of early drafts,
		// are ignored.
		if err := c.decode(&struct{}{}); err != nil {
			return err
		}
		if a, err = c.respond(a, i); err != nil {
			return err
		}
		// One that is valid lists only the challenge that made it so.
		i = slices.IndexFunc(a.Challenges, func(ch challenge) bool { return string(ch.Type) == c.sub })
		if i < 0 {
			return notFound()
		}
	}
	c.w.Header().Add("Link", "<"+c.ep.authzURL(a.ID)+`>;rel="up"`)
	if wait := a.wait(c.now); wait > 0 && a.Challenges[i].State == processing {
		retryAfter(c.w, wait)
	}
	return c.reply(http.StatusOK, c.ep.shownChallenge(a, &a.Challenges[i]))
}

// respond begins the validation of a challenge, unless it has begun or ended.
func (c *call) respond(a *authz, i int) (*authz, error) {
	if open, err := a.open(i, c.now); !open {
		return a, err
	}
	if _, err := c.grant(); err != nil {
		return nil, err
	}
	if err := c.limitChallenge(); err != nil {
		return nil, err
	}
	switch c.f.doing.begin(a, a.Challenges[i].Type) {
	case sameRuns: // and what it finds is not on record yet
		v := *a
		v.Challenges = slices.Clone(a.Challenges)
		v.Challenges[i].State, v.Due = processing, c.now.UnixMilli()
		return &v, nil
	case otherRuns:
		return nil, errOtherRuns
	case full: // whoever has room begins
		return c.f.accept(context.WithoutCancel(c.ctx), c.nonce, a.ID, i, c.key.Text(), false)
	}
	// One that was under way when a was read may have ended before this began.
	id, account := a.ID, a.Account
	err := c.f.view(c.ctx, c.readRow)
	if err == nil {
		a, err = c.ownAuthz()
	}
	open := false
	if err == nil {
		open, err = a.open(i, c.now)
	}
	if !open {
		c.f.doing.validated(account)
		c.f.doing.recorded(id)
		return a, err
	}
	return c.validate(a, i)
}

var errOtherRuns = bad("another challenge of this authorization is being validated; wait for its end")

// open reports whether the validation of challenge i can begin. An error says
// that it cannot before another one has ended.
func (a *authz) open(i int, now time.Time) (bool, error) {
	if a.status(now) != "pending" || a.Challenges[i].State != "" {
		return false, nil
	}
	if a.Due != 0 {
		return false, errOtherRuns
	}
	return true, nil
}

// validate makes the attempt that respond has begun, and waits a little for it.
func (c *call) validate(a *authz, i int) (*authz, error) {
	// A client that goes away has still asked.
	ctx, id, thumbprint := context.WithoutCancel(c.ctx), a.ID, c.key.Text()
	result := c.f.attempt(a, a.Challenges[i], thumbprint)
	if result == nil { // the server is stopping: the next one begins
		defer c.f.doing.recorded(id)
		return c.f.accept(ctx, c.nonce, id, i, thumbprint, false)
	}
	select {
	case found := <-result:
		defer c.f.doing.recorded(id)
		return c.f.settle(ctx, c.nonce, id, i, thumbprint, found)
	case <-c.f.after(inlineWait):
	}
	// It goes on without the client. The lease says that this node is at it.
	a, err := c.f.accept(ctx, c.nonce, id, i, thumbprint, true)
	finish := func() { c.f.finish(id, i, thumbprint, result) }
	if errors.Is(err, store.ErrExists) { // the nonce was used: nothing comes of this message
		finish = func() {
			defer c.f.doing.recorded(id)
			<-result
		}
	}
	if !c.f.tasks.start(finish) {
		c.f.doing.recorded(id)
	}
	return a, err
}

// wait is how long it is until the state of a challenge may change.
func (a *authz) wait(now time.Time) time.Duration {
	if a.Due == 0 || a.State != "" {
		return 0
	}
	// What is under way ends long before its lease.
	return max(time.Second, min(retrySoon, time.UnixMilli(a.Due).Sub(now)))
}

// shownAuthz is the authorization object of RFC 8555, Section 7.1.4.
func (p *endpoint) shownAuthz(a *authz, now time.Time) any {
	out := struct {
		Identifier identifier `json:"identifier"`
		Status     string     `json:"status"`
		Expires    string     `json:"expires"`
		Challenges []any      `json:"challenges"`
		Wildcard   bool       `json:"wildcard,omitempty"`             // absent unless true
		Below      bool       `json:"subdomainAuthAllowed,omitempty"` // RFC 9444, Section 4.1
	}{Status: a.status(now), Expires: clock(a.Expires), Challenges: []any{}}
	n := fromStored(a.Name)
	// RFC 8555, Section 7.1.3: without the asterisk. RFC 9444, Section 4.1: one
	// for all below is good for wildcards too.
	host, wildcard := strings.CutPrefix(n.Value, "*.")
	out.Identifier, out.Wildcard, out.Below = identifier{Type: string(n.Type), Value: host}, wildcard || a.Below, a.Below
	for i := range a.Challenges {
		out.Challenges = append(out.Challenges, p.shownChallenge(a, &a.Challenges[i]))
	}
	return out
}
