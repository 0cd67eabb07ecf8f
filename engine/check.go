package engine

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"time"

	"chancery/engine/tbs"
	"chancery/store"
)

// A Checker holds rows against one another and against the bytes that they are
// about. What it says of a row is true of the moment of the transaction, so rows
// can be checked one by one while others write. The zero Checker is ready for
// use, by one goroutine.
//
// Each check looks at one row and what it refers to; together they mean: every
// issued request has its certificate and every certificate its request, no
// request has two, no serial number of an issuer is there twice, and each
// certificate is what its row says.
type Checker struct {
	lists map[string]*listed // by key identifier
}

// A listed is what a CRL holds.
type listed struct {
	number  string
	at      time.Time
	serials map[string]bool // by serialText
}

// CheckRecords checks all requests and certificates, in short transactions. The
// error is of the database.
func CheckRecords(ctx context.Context, db store.DB) ([]store.Finding, error) {
	i := store.Inspector{Schemas: []store.Schema{requests.Schema(), certificates.Schema()}, Also: new(Checker).Check}
	return i.InspectAll(ctx, db, nil)
}

// Check says what is wrong with a stored document. Of tables that it does not
// know it finds nothing.
func (c *Checker) Check(tx store.Tx, table, key string, _ []byte) []error {
	switch table {
	case requests.Name:
		r, err := requests.Get(tx, key)
		if err != nil {
			return []error{err}
		}
		return checkRequest(tx, r)
	case certificates.Name:
		row, err := certificates.Get(tx, key)
		if err != nil {
			return []error{err}
		}
		return append(checkCertificate(tx, row), c.checkListed(tx, row)...)
	}
	c.lists = nil // they may be large, and a pass over certificates has ended
	return nil
}

// wrong is one thing that cannot be so.
func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %w", store.ErrCorrupt, fmt.Errorf(format, args...))
}

// checkRequest: it has what its state says that it has, and nothing else.
func checkRequest(tx store.Tx, r *Request) (found []error) {
	if _, err := raws.Get(tx, bodyKey(r.ID)); err != nil {
		found = append(found, fmt.Errorf("its body: %w", err))
	}
	row, err := certificates.Get(tx, r.Cert.key())
	if err != nil && !store.Missing(err) {
		return append(found, err)
	}
	has := row != nil && row.Request == r.ID
	switch r.State {
	case StateIssued, StateAbandoned:
		if !has {
			found = append(found, wrong("it is %s and its certificate %s is not there, or is another's", r.State, r.Cert))
		} else if r.State == StateAbandoned && row.Status != Revoked {
			found = append(found, wrong("it was abandoned, and its certificate %s is %s", r.Cert, row.Status))
		}
	case Issuing:
		if has {
			found = append(found, wrong("it is still to be signed, and its certificate %s is there", r.Cert))
		}
		if _, err := parsed(tx, r, true); err != nil {
			found = append(found, err)
		}
	case Received, Pending, StateDenied:
		if has {
			found = append(found, wrong("it is %s, and its certificate %s is there", r.State, r.Cert))
		}
	default:
		found = append(found, wrong("there is no state %q", string(r.State)))
	}
	return found
}

// parsed reads the certificate, or the twin, that lies beside the request, and
// checks that it is the one that the request names.
func parsed(tx store.Tx, r *Request, twin bool) (*x509.Certificate, error) {
	der, err := raws.Get(tx, certKey(r.ID))
	if err != nil {
		return nil, fmt.Errorf("the bytes of %s: %w", r.Cert, err)
	}
	if twin {
		if _, err := tbs.Of(der); err != nil {
			return nil, wrong("what is to be signed as %s: %w", r.Cert, err)
		}
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, wrong("the bytes of %s: %w", r.Cert, err)
	}
	if got := NewCertID(c.AuthorityKeyId, c.SerialNumber.Bytes()); got != r.Cert {
		return nil, wrong("the bytes of %s are those of %s", r.Cert, got)
	}
	return c, nil
}

// checkCertificate: the request that it is of names it and nothing else, and the
// bytes are what the row says. One that was imported may have bytes and no
// request, or neither.
func checkCertificate(tx store.Tx, row *Certificate) []error {
	if row.Status != Good && row.Status != Held && row.Status != Revoked {
		return []error{wrong("there is no status %q", string(row.Status))}
	}
	if row.Request == "" {
		return nil
	}
	r, err := requests.Get(tx, row.Request)
	switch {
	case store.Missing(err) && row.Imported != "": // after a restore: only its bytes are kept there
		return checkBytes(tx, &Request{ID: row.Request, Cert: row.CertID}, row)
	case store.Missing(err):
		return []error{wrong("its request %s is not there", row.Request)}
	case err != nil:
		return []error{fmt.Errorf("its request %s: %w", row.Request, err)}
	}
	switch {
	case r.Cert != row.CertID:
		return []error{wrong("its request %s is about %s", r.ID, r.Cert)}
	case r.State == StateAbandoned:
		return nil // there are no bytes
	case r.State != StateIssued:
		return []error{wrong("its request %s is %s", r.ID, r.State)}
	}
	return checkBytes(tx, r, row)
}

// checkBytes: the bytes of a certificate are what the row says.
func checkBytes(tx store.Tx, r *Request, row *Certificate) []error {
	c, err := parsed(tx, r, false)
	if err != nil {
		return []error{err}
	}
	var found []error
	if spki := sha256.Sum256(c.RawSubjectPublicKeyInfo); hex.EncodeToString(spki[:]) != row.SPKI {
		found = append(found, wrong("its bytes hold another key"))
	}
	if !c.NotBefore.Equal(row.NotBefore) || !c.NotAfter.Equal(row.NotAfter) {
		found = append(found, wrong("its bytes hold other dates"))
	}
	return found
}

// listMargin is how long before a list was signed a revocation may have been
// dated that is not in it: its commit may have waited.
const listMargin = time.Minute

// checkListed: what was revoked or held well before the current list of its
// issuer was signed is in it, unless it had expired.
func (c *Checker) checkListed(tx store.Tx, row *Certificate) []error {
	if row.Status == Good {
		return nil
	}
	l, err := c.list(tx, row.Issuer)
	if store.Missing(err) {
		return nil // not signed yet
	} else if err != nil {
		return []error{fmt.Errorf("the list that should hold it: %w", err)}
	}
	if l.serials[row.Serial] || !row.RevokedAt.Before(l.at.Add(-listMargin)) || row.NotAfter.Before(l.at) {
		return nil
	}
	return []error{wrong("it is %s since %s, and is not in the list of %s", row.Status, row.RevokedAt.Format(time.RFC3339), l.at.Format(time.RFC3339))}
}

// list is the current CRL of a CA key.
func (c *Checker) list(tx store.Tx, keyID string) (*listed, error) {
	row, err := crls.Get(tx, keyID)
	if err != nil {
		return nil, err
	}
	if l := c.lists[keyID]; l != nil && l.number == row.Number {
		return l, nil
	}
	der, err := crlDERs.Get(tx, keyID)
	if store.Missing(err) {
		return nil, wrong("there is a row for it and no bytes")
	} else if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, wrong("%w", err)
	}
	if parsed.Number == nil || parsed.Number.String() != row.Number {
		return nil, wrong("its number is %v and its row says %s", parsed.Number, row.Number)
	}
	l := &listed{row.Number, row.ThisUpdate, make(map[string]bool, len(parsed.RevokedCertificateEntries))}
	for _, en := range parsed.RevokedCertificateEntries {
		l.serials[textOf(en.SerialNumber)] = true
	}
	if c.lists == nil {
		c.lists = map[string]*listed{}
	}
	c.lists[keyID] = l
	return l, nil
}

func textOf(serial *big.Int) string { return serialText(serial.Bytes()) }

// Serving lists the nodes that serve from a database which others may share, by
// what they said a moment ago.
func Serving(ctx context.Context, db store.DB, now time.Time) (live []*Node, err error) {
	all, err := listNodes(ctx, db)
	return slices.DeleteFunc(all, func(n *Node) bool { return !n.Live(now) }), err
}
