package acme

import (
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"

	"chancery/engine"
	"chancery/store"
)

// renewalInfo: RFC 9773, Section 4. Anybody may ask. It costs one read, and says
// nothing that the certificate does not.
func (c *call) renewalInfo() error {
	if err := c.readOnly(); err != nil {
		return err
	}
	id, err := parseCertID(c.id)
	if err != nil {
		return err
	}
	r, err := c.f.deps.Certificates.Renewal(c.ctx, id)
	if errors.Is(err, engine.ErrNoCertificate) {
		return refuse(http.StatusNotFound, malformed, "there is no such certificate here")
	} else if err != nil {
		return err
	}
	type window struct {
		Start string `json:"start"`
		End   string `json:"end"`
	}
	retryAfter(c.w, r.Check) // Section 4.3.1
	return c.reply(http.StatusOK, struct {
		Window      window `json:"suggestedWindow"`
		Explanation string `json:"explanationURL,omitempty"`
	}{window{clock(r.Start.Unix()), clock(r.End.Unix())}, r.Explanation})
}

// What a part of a certificate's identifier may have in octets: of a key
// identifier, and of a serial number (RFC 5280, Section 4.1.2.2).
const (
	maxKeyID  = 32
	maxSerial = 20
)

// parseCertID reads the identifier of RFC 9773, Section 4.1. Each certificate
// has one spelling.
func parseCertID(s string) (engine.CertID, error) {
	wrong := bad("a certificate is named by the key identifier of its issuer and its serial number in DER, both in base64url without padding, with a dot between them (RFC 9773, Section 4.1)")
	issuer, serial, ok := strings.Cut(s, ".")
	if !ok || len(s) > 2*(maxKeyID+maxSerial) {
		return engine.CertID{}, wrong
	}
	i, ok1 := octets(issuer, maxKeyID)
	n, ok2 := octets(serial, maxSerial)
	if !ok1 || !ok2 {
		return engine.CertID{}, wrong
	}
	// DER: positive, in the fewest octets.
	if n[0] >= 0x80 || n[0] == 0 && (len(n) == 1 || n[1] < 0x80) {
		return engine.CertID{}, wrong
	}
	return engine.NewCertID(i, n), nil
}

func octets(s string, most int) ([]byte, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	// The package passes over line breaks.
	return b, err == nil && len(b) > 0 && len(b) <= most && base64.RawURLEncoding.EncodeToString(b) == s
}

// A predecessor is the certificate that a new order is to replace. The zero one
// is none.
type predecessor struct {
	id    string // as the client wrote it
	order *order // that was to replace it and came to nothing
}

// replaces checks what a new order says that it replaces: RFC 9773, Section 5.
func (c *call) replaces(id *string, all []wanted) (predecessor, error) {
	if id == nil {
		return predecessor{}, nil
	}
	cert, err := parseCertID(*id)
	if err != nil {
		return predecessor{}, err
	}
	row, _, err := c.f.deps.Certificates.Certificate(c.ctx, cert)
	switch {
	case errors.Is(err, engine.ErrNoCertificate):
		return predecessor{}, refuse(http.StatusNotFound, malformed, "replaces: there is no such certificate here; order without it")
	case err != nil:
		return predecessor{}, err
	case row.Requester != c.account.principal():
		return predecessor{}, refuse(http.StatusForbidden, unauthorized, "replaces: the certificate was issued to another account; order without it")
	case !slices.ContainsFunc(all, func(w wanted) bool { return slices.Contains(row.Names, w.name) }):
		return predecessor{}, bad("replaces: the certificate has none of the names of this order; order without it")
	}
	p := predecessor{id: *id}
	if done, err := c.f.deps.Certificates.Replaced(c.ctx, cert); err != nil {
		return p, err
	} else if done {
		return p, replacedBefore()
	}
	err = c.f.view(c.ctx, func(tx store.Tx) (err error) {
		p.order, err = orders.One(tx, "replaces", p.id)
		return err
	})
	if store.Missing(err) {
		return p, nil
	} else if err != nil {
		return p, err
	}
	gone, err := c.cameToNothing(p.order)
	if err == nil && !gone {
		err = replacedBefore()
	}
	return p, err
}

// take has the order that came to nothing yield its place.
func (p predecessor) take(tx store.Tx) error {
	if p.order == nil {
		return nil
	}
	_, err := orders.Change(tx, p.order.ID, func(o *order) error {
		o.Yields = true
		return nil
	})
	if store.Missing(err) {
		return nil // it was deleted meanwhile
	}
	return err
}

// orReplaced says of an order that could not be made whether that is because
// another took its place in this moment.
func (c *call) orReplaced(o *order, err error) error {
	if o.Replaces == "" || !errors.Is(err, store.ErrExists) {
		return err
	}
	if told := c.orReplayed(err); asProblem(told) != nil {
		return told
	}
	return replacedBefore()
}

func replacedBefore() *problem {
	return refuse(http.StatusConflict, alreadyReplaced, "another order replaces this certificate; order without replaces, or go on with that one")
}

// replaces is the certificate that the order replaces, none for most.
func (o *order) replaces() engine.CertID {
	id, err := parseCertID(o.Replaces)
	if err != nil {
		return engine.CertID{} // there is none
	}
	return id
}
