package engine

import (
	"context"
	"time"

	"chancery/store"
)

// A LateList is a published revocation list that another should have followed: one
// is made at half of its life, so at three quarters something is wrong. When it
// ends, verifiers refuse every certificate that names it.
type LateList struct {
	Name       string // as in its address
	Authority  string
	NextUpdate time.Time
}

// LateLists are the lists of all CA keys that are late, those that have ended too.
func (e *Engine) LateLists(ctx context.Context) (late []LateList, err error) {
	now := e.now()
	err = e.view(ctx, func(tx store.Tx) error {
		late = nil
		for c, err := range crls.All(tx, "", "") {
			if err != nil {
				return err
			}
			is := e.issuers[c.Issuer]
			if is == nil || now.After(is.cert.NotAfter) || now.Before(c.ThisUpdate.Add(c.NextUpdate.Sub(c.ThisUpdate)*3/4)) {
				continue
			}
			// The last one of a CA ends with it, and nothing follows.
			if c.NextUpdate.Before(is.cert.NotAfter) {
				late = append(late, LateList{c.Name(), is.Authority, c.NextUpdate})
			}
		}
		return nil
	})
	return late, err
}

// warnLate says in the log which lists are late.
func (e *Engine) warnLate(ctx context.Context) {
	late, err := e.LateLists(ctx)
	if err != nil {
		return // whoever needs the records says so
	}
	for _, l := range late {
		e.Log.ErrorContext(ctx, "a CRL should have been made anew and was not: look why, before it ends", "authority", l.Authority, "crl", l.Name, "ends", l.NextUpdate)
	}
}
