package engine

import (
	"encoding/hex"
	"fmt"
	"iter"
	"math/big"
	"time"

	"chancery/engine/crl"
	"chancery/store"
)

func putList(tx store.Tx, c *CRL) error {
	old, err := crls.Get(tx, c.Name())
	switch {
	case store.Missing(err):
		err = crls.Insert(tx, c)
	case err == nil && !higher(c.Number, old.Number):
		err = errMoved
	case err == nil:
		err = crls.Put(tx, old, c)
	}
	if err != nil {
		return err
	}
	return crlDERs.Put(tx, c.Name(), c.DER)
}

// crlNumbers has the number of the last list of each CA key, of whatever scope.
var crlNumbers = store.Blobs{Name: "crlnumbers"}

// crlPlaces has the addresses, one in a line, under which lists of a part of the
// certificates of a CA key were ever published.
var crlPlaces = store.Blobs{Name: "crlplaces"}

// nextNumber is max(last + 1, seconds since 1970), so that a store that was put
// back still goes on upwards.
func nextNumber(now time.Time, last ...string) (*big.Int, error) {
	next := big.NewInt(now.Unix())
	for _, text := range last {
		if text == "" {
			continue
		}
		n, ok := new(big.Int).SetString(text, 10)
		if !ok {
			return nil, fmt.Errorf("%w: the CRL number %q", store.ErrCorrupt, text)
		}
		if n.Add(n, big.NewInt(1)); n.Cmp(next) > 0 {
			next = n
		}
	}
	return next, nil
}

// anyScope is the entry of what only its serial number is known of, from a list
// that was published before a restore: it stands in the list of every shard.
const anyScope = "any"

// entries yields what is revoked under entries of the index: of a CA key, or of a
// shard of it. What expired stays until a list was made after it expired
// (RFC 5280, Section 3.3).
func entries(tx store.Tx, last time.Time, under ...string) iter.Seq2[crl.Entry, error] {
	return func(yield func(crl.Entry, error) bool) {
		for _, name := range under {
			for c, err := range certificates.By(tx, "revoked", name, "") {
				var en crl.Entry
				if err == nil {
					if c.NotAfter.Before(last) {
						continue
					}
					en, err = entryOf(c)
				}
				if !yield(en, err) || err != nil {
					return
				}
			}
		}
	}
}

func entryOf(c *Certificate) (crl.Entry, error) {
	serial, err := serialBytes(c.Serial)
	return crl.Entry{Serial: serial, At: c.RevokedAt, Reason: c.Reason}, err
}

func serialBytes(s string) ([]byte, error) {
	if len(s)%2 == 1 {
		s = "0" + s
	}
	return hex.DecodeString(s)
}
