package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"slices"
	"strings"
	"time"

	"chancery/engine/crl"
	"chancery/store"
)

// publishCRL makes the next complete list of a CA key.
func (e *Engine) publishCRL(ctx context.Context, is *issuer, l store.Lease) error {
	return e.publishList(ctx, is, l, "")
}

// publishList makes the next list of a scope and commits it, if the lease is
// still good. Its number is greater than that of any list of the CA key before,
// through restarts, clock jumps and changes of the node that makes it.
func (e *Engine) publishList(ctx context.Context, is *issuer, l store.Lease, scope string) error {
	if is.Key == nil {
		return nil
	}
	for {
		err := e.tryPublish(ctx, is, l, scope)
		if err != nil && !errors.Is(err, errMoved) {
			return fmt.Errorf("the CRL %s of %s: %w", listName(is.keyID, scope), is.Authority, err)
		}
		if err == nil {
			return nil
		}
	}
}

// A making is one list in the making, with what its commit is to change.
type making struct {
	*Engine
	is     *issuer
	next   *CRL
	last   *CRL // of the scope; number 0: none
	base   *CRL // the complete list, in the making of a delta or of the next complete one
	delta  *CRL // made together with a complete list, of the same number
	number *big.Int
	count  string // the number of the key's last list, as read
	shown  []string
	since  []string // names in changed that a complete list makes needless
	places []string // addresses under which lists of a part were ever published
}

func (e *Engine) tryPublish(ctx context.Context, is *issuer, l store.Lease, scope string) error {
	now := e.now().Truncate(time.Second)
	// A clock that is behind does not keep a revocation from the list: that has
	// the time of the last one then.
	if err := e.clock.jumped(now); err != nil {
		return err
	}
	var m *making
	err := e.view(ctx, func(tx store.Tx) (err error) {
		if err := e.unread(tx, is.keyID); err != nil {
			return err
		}
		m = &making{Engine: e, is: is, next: &CRL{Issuer: is.keyID, Scope: scope, ThisUpdate: now}}
		if err := m.begin(tx, now); err != nil {
			return err
		}
		return m.build(tx)
	})
	if err != nil {
		return err
	}
	e.fault("crl-signed")
	return e.update(ctx, func(tx store.Tx) error {
		if err := l.Check(tx); err != nil {
			return err
		}
		return m.commit(tx)
	})
}

// begin reads what the list follows and what it is to show, and gives it number
// and times.
func (m *making) begin(tx store.Tx, now time.Time) (err error) {
	if m.last, err = lastList(tx, m.next.Name()); err != nil {
		return err
	}
	if m.base, err = lastList(tx, m.is.keyID); err != nil {
		return err
	}
	for key, blob := range unlisted.All(tx, m.is.keyID+"/", past(m.is.keyID+"/")) {
		if blob.Err != nil {
			return blob.Err
		}
		if m.shows(string(blob.Bytes)) {
			m.shown = append(m.shown, key)
		}
	}
	count, err := crlNumbers.Get(tx, m.is.keyID)
	if err != nil && !store.Missing(err) {
		return err
	}
	m.count = string(count)
	if m.number, err = nextNumber(now, m.last.Number, m.base.Number, m.count); err != nil {
		return err
	}
	last := m.last.ThisUpdate
	if m.ClockIsRight && last.After(now) {
		m.last.ThisUpdate = now // nothing had expired yet
	} else if m.next.ThisUpdate.Before(last) {
		m.next.ThisUpdate = last
	}
	m.next.Number, m.next.NextUpdate = m.number.String(), m.ends(m.next.ThisUpdate, m.next.Scope)
	return nil
}

func (m *making) ends(from time.Time, scope string) time.Time {
	life := crlLife
	if scope == deltaScope {
		life = deltaLife
	}
	if end := from.Add(life); end.Before(m.is.cert.NotAfter) {
		return end
	}
	return m.is.cert.NotAfter
}

// shows reports whether the list is the one to show a change of a certificate of a
// shard. That anything may have changed is over with the complete list, which is
// made last.
func (m *making) shows(shard string) bool {
	switch m.next.Scope {
	case "":
		return shard == "" || shard == "0"
	case deltaScope:
		return shard == "0"
	}
	return shard == m.next.Scope
}

func lastList(tx store.Tx, name string) (*CRL, error) {
	c, err := crls.Get(tx, name)
	if store.Missing(err) {
		return &CRL{Number: "0"}, nil
	}
	return c, err
}

// build signs the list, and with a complete one its delta to the one before: of
// lists that are made at the same time for the same scope RFC 5280, Section 5.2.3
// wants the same number and the same information.
func (m *making) build(tx store.Tx) (err error) {
	l := crl.List{Number: m.number, ThisUpdate: m.next.ThisUpdate, NextUpdate: m.next.NextUpdate}
	switch m.next.Scope {
	case deltaScope:
		return m.buildDelta(tx, m.next)
	case "":
		if err := m.readChanged(tx); err != nil {
			return err
		}
		if wanted, err := m.deltaWanted(tx); err != nil {
			return err
		} else if wanted {
			l.Freshest = []string{m.is.listURL(m.is.base, deltaScope)}
			m.next.Fresh = true
			if m.base.Fresh && len(m.since) <= 2*maxDelta {
				m.delta = &CRL{Issuer: m.is.keyID, Scope: deltaScope, Number: m.next.Number, ThisUpdate: m.next.ThisUpdate}
				m.delta.NextUpdate = m.ends(m.delta.ThisUpdate, deltaScope)
				if err := m.buildDelta(tx, m.delta); err != nil {
					return err
				}
			}
		}
		m.next.DER, err = crl.Build(m.is.cert, m.is.Key, l, m.counted(m.next, entries(tx, m.last.ThisUpdate, m.is.keyID)))
		return err
	}
	if err := m.readPlaces(tx); err != nil {
		return err
	}
	for _, base := range m.places {
		l.Part = append(l.Part, m.is.listURL(base, m.next.Scope))
	}
	m.next.DER, err = crl.Build(m.is.cert, m.is.Key, l, m.counted(m.next, entries(tx, m.last.ThisUpdate, m.next.Name(), listName(m.is.keyID, anyScope))))
	return err
}

// deltaWanted reports whether there is to be a delta, or ever was.
func (m *making) deltaWanted(tx store.Tx) (bool, error) {
	ever, err := readEver(tx, m.is.keyID)
	return err == nil && (ever.Delta || m.crlRules(m.is).Delta), err
}

// counted counts the entries of a list.
func (m *making) counted(c *CRL, all iter.Seq2[crl.Entry, error]) iter.Seq2[crl.Entry, error] {
	return func(yield func(crl.Entry, error) bool) {
		for en, err := range all {
			c.Entries++
			if !yield(en, err) {
				return
			}
		}
	}
}

func (m *making) readChanged(tx store.Tx) error {
	for key, blob := range changed.All(tx, m.is.keyID+"/", past(m.is.keyID+"/")) {
		if blob.Err != nil {
			return blob.Err
		}
		m.since = append(m.since, key)
	}
	return nil
}

// buildDelta signs the delta to the complete list.
func (m *making) buildDelta(tx store.Tx, c *CRL) error {
	base, ok := new(big.Int).SetString(m.base.Number, 10)
	if !ok {
		return fmt.Errorf("%w: the CRL number %q", store.ErrCorrupt, m.base.Number)
	}
	l := crl.List{Number: m.number, ThisUpdate: c.ThisUpdate, NextUpdate: c.NextUpdate, Base: base}
	var err error
	c.DER, err = crl.Build(m.is.cert, m.is.Key, l, m.counted(c, m.changes(tx, c.ThisUpdate)))
	return err
}

// changes yields each certificate once that changed since the complete list, as it
// is now (RFC 5280, Section 5.2.4).
func (m *making) changes(tx store.Tx, now time.Time) iter.Seq2[crl.Entry, error] {
	return func(yield func(crl.Entry, error) bool) {
		seen := map[string]bool{}
		for _, blob := range changed.All(tx, m.is.keyID+"/", past(m.is.keyID+"/")) {
			serial := string(blob.Bytes)
			if blob.Err == nil && seen[serial] {
				continue
			}
			seen[serial] = true
			en, err := crl.Entry{}, blob.Err
			var c *Certificate
			if err == nil {
				c, err = certificates.Get(tx, CertID{m.is.keyID, serial}.key())
			}
			if err == nil {
				en, err = entryOf(c)
				if c.Status == Good { // the end of a hold
					en.At, en.Reason = now, 8
				}
			}
			if !yield(en, err) || err != nil {
				return
			}
		}
	}
}

// readPlaces reads where lists of a part were ever published: certificates name
// these addresses, and RFC 5280, Section 6.3.3 wants them in the list.
func (m *making) readPlaces(tx store.Tx) error {
	text, err := crlPlaces.Get(tx, m.is.keyID)
	if err != nil && !store.Missing(err) {
		return err
	}
	m.places = strings.Fields(string(text))
	if !slices.Contains(m.places, m.is.base) {
		m.places = append(m.places, m.is.base)
	}
	return nil
}

// commit writes what begin and build made, if nobody else made a list of the CA
// key meanwhile.
func (m *making) commit(tx store.Tx) error {
	count, err := crlNumbers.Get(tx, m.is.keyID)
	if err != nil && !store.Missing(err) {
		return err
	}
	if string(count) != m.count {
		return errMoved
	}
	for _, key := range m.shown {
		if err := unlisted.Delete(tx, key); err != nil {
			return err
		}
	}
	for _, key := range m.since {
		if err := changed.Delete(tx, key); err != nil {
			return err
		}
	}
	if err := crlNumbers.Put(tx, m.is.keyID, []byte(m.next.Number)); err != nil {
		return err
	}
	if len(m.places) > 0 {
		if err := crlPlaces.Put(tx, m.is.keyID, []byte(strings.Join(m.places, "\n"))); err != nil {
			return err
		}
	}
	for _, c := range []*CRL{m.next, m.delta} {
		if c == nil {
			continue
		}
		if err := putList(tx, c); err != nil {
			return err
		}
	}
	return nil
}
