// Package crl builds certificate revocation lists (RFC 5280, Section 5):
// complete ones, deltas, and lists of a part of the certificates. The encoder is our own because lists grow to a million entries,
// and because x509.CreateRevocationList lets negative numbers, reserved reasons
// and repeated serial numbers pass.
package crl

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"time"

	"chancery/engine/tbs"
)

// An Entry is one revoked certificate.
type Entry struct {
	Serial     []byte    // big-endian magnitude
	At         time.Time // of the revocation
	Reason     int       // CRLReason; 0, unspecified, is not written; 8, removeFromCRL, in deltas only
	Invalidity time.Time // since when the key is suspect; zero: not known
}

// Entries gives a slice the form that Build wants.
func Entries(list ...Entry) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	}
}

var (
	// ErrIssuer is returned when the certificate may not sign lists, or the key
	// is not its key.
	ErrIssuer = errors.New("crl: issuer cannot sign this list")

	// ErrNumber is returned for a CRL number that cannot be written.
	ErrNumber = errors.New("crl: number is negative or longer than 20 octets, or does not follow its base")

	// ErrTimes is returned when the list would end before it begins.
	ErrTimes = errors.New("crl: nextUpdate is not after thisUpdate")

	// ErrEntry is returned for an entry that no complete list may hold.
	ErrEntry = errors.New("crl: entry refused")
)

// A List is what a list says beside its entries.
type List struct {
	Number                 *big.Int
	ThisUpdate, NextUpdate time.Time

	// Part makes it the list of those end-entity certificates that name one of
	// these addresses as theirs. Without, it is the list of all.
	Part []string

	// Base makes it a delta: what changed since the complete list of this number.
	Base *big.Int

	// Freshest is where the delta to this complete list is.
	Freshest []string
}

// Build makes and signs a list of what the key of issuer revoked. The entries
// stand in the order given; the first error among them ends the work, so that a
// list is never short without anyone noticing. Fractions of seconds are cut.
func Build(issuer *x509.Certificate, key crypto.Signer, l List, entries iter.Seq2[Entry, error]) ([]byte, error) {
	alg, err := checkIssuer(issuer, key)
	if err != nil {
		return nil, err
	}
	// RFC 5280, Section 5.2.3: not longer than 20 octets; not negative.
	if !writable(l.Number) {
		return nil, ErrNumber
	}
	// Section 5.2.4: a delta refers to a list before it, and to no other delta;
	// ours are never of a part.
	if l.Base != nil && (!writable(l.Base) || l.Base.Cmp(l.Number) >= 0 || len(l.Part)+len(l.Freshest) > 0) {
		return nil, fmt.Errorf("%w: a delta of number %s to %s", ErrNumber, l.Number, l.Base)
	}
	if !l.NextUpdate.Truncate(time.Second).After(l.ThisUpdate.Truncate(time.Second)) {
		return nil, ErrTimes
	}
	head, err := appendHead(nil, issuer, alg, l.ThisUpdate, l.NextUpdate)
	if err != nil {
		return nil, err
	}
	body, err := appendEntries(entries, l.Base != nil)
	if err != nil {
		return nil, err
	}
	list := assemble(head, body, appendExtensions(nil, issuer.SubjectKeyId, &l))
	signature, err := tbs.Signature(list, alg, key)
	if err != nil {
		return nil, fmt.Errorf("crl: %w", err)
	}
	return tbs.Assemble(list, alg, signature), nil
}

func writable(n *big.Int) bool { return n != nil && n.Sign() >= 0 && n.BitLen() <= 159 }

func checkIssuer(issuer *x509.Certificate, key crypto.Signer) (tbs.Algorithm, error) {
	var none tbs.Algorithm
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case !ok || !pub.Equal(issuer.PublicKey):
		return none, fmt.Errorf("%w: the key is another's", ErrIssuer)
	case !issuer.IsCA:
		return none, fmt.Errorf("%w: it is no certificate authority", ErrIssuer)
	// RFC 5280, Section 4.2.1.3: cRLSign, where there is a keyUsage.
	case issuer.KeyUsage != 0 && issuer.KeyUsage&x509.KeyUsageCRLSign == 0:
		return none, fmt.Errorf("%w: its keyUsage lacks cRLSign", ErrIssuer)
	// RFC 5280, Section 5.2.1: the list names the key that signed it, and does
	// so with what the issuer's certificate says, whatever hash made that.
	case len(issuer.SubjectKeyId) == 0:
		return none, fmt.Errorf("%w: it has no subjectKeyIdentifier", ErrIssuer)
	case bytes.Equal(issuer.RawSubject, []byte{0x30, 0x00}) || len(issuer.RawSubject) == 0:
		return none, fmt.Errorf("%w: its subject is empty", ErrIssuer)
	}
	alg, err := tbs.AlgorithmFor(issuer.PublicKey)
	if err != nil {
		return none, fmt.Errorf("%w: %w", ErrIssuer, err)
	}
	return alg, nil
}
