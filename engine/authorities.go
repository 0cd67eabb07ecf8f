package engine

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"chancery/store"
)

// An authorityRow lists the CA keys of an authority by identifier, the current
// one last. The certificates are in the store, so that every node can serve
// them; the keys never are.
type authorityRow struct {
	Name string   `json:"n"`
	Keys []string `json:"k"`
}

var authorityRows = store.Table[authorityRow]{Name: "authorities", Version: 1, Key: func(a *authorityRow) string { return a.Name }}

// caChains holds the chain of each CA key under its identifier: certificates in
// DER one after the other, its own first, the root last.
var caChains = store.Blobs{Name: "cachains"}

// An OtherCAError says that an authority has another CA key in the store than the
// one that somebody brings.
type OtherCAError struct{ Authority string }

func (e *OtherCAError) Error() string {
	return "the records know authority " + e.Authority + " with another CA key"
}

// RecordedIssuers are the CA keys in the store, for each authority the current
// one last, without their private keys.
func RecordedIssuers(ctx context.Context, db store.DB) ([]Issuer, error) {
	var all []Issuer
	err := db.View(ctx, func(tx store.Tx) error {
		all = nil
		for row, err := range authorityRows.All(tx, "", "") {
			if err != nil {
				return err
			}
			for _, id := range row.Keys {
				der, err := caChains.Get(tx, id)
				if err != nil {
					return fmt.Errorf("the certificate of CA key %s: %w", id, err)
				}
				chain, err := x509.ParseCertificates(der)
				if err != nil || len(chain) == 0 {
					return fmt.Errorf("%w: the certificate of CA key %s", store.ErrCorrupt, id)
				}
				all = append(all, Issuer{Authority: row.Name, Chain: chain})
			}
		}
		return nil
	})
	return all, err
}

// RecordIssuers puts the certificates of CA keys into the store, in one step, so
// that every node can serve them. It fails with [*OtherCAError] if the store has
// the authority with another key: of nodes that make the CA of one authority at
// the same time, one wins.
func RecordIssuers(ctx context.Context, db store.DB, all []Issuer) error {
	if len(all) == 0 {
		return nil
	}
	err := db.Update(ctx, func(tx store.Tx) error {
		for _, i := range all {
			if err := recordIssuer(tx, i); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, store.ErrExists) {
		return &OtherCAError{all[0].Authority}
	}
	return err
}

func recordIssuer(tx store.Tx, i Issuer) error {
	if len(i.Chain) == 0 || len(i.Chain[0].SubjectKeyId) == 0 {
		return errors.New("a CA needs a certificate with a subjectKeyIdentifier")
	}
	id := hex.EncodeToString(i.Chain[0].SubjectKeyId)
	row, err := authorityRows.Get(tx, i.Authority)
	if err == nil {
		if !slices.Contains(row.Keys, id) {
			return &OtherCAError{i.Authority}
		}
		return nil
	} else if !store.Missing(err) {
		return err
	}
	if err := authorityRows.Insert(tx, &authorityRow{i.Authority, []string{id}}); err != nil {
		return err
	}
	var der bytes.Buffer
	for _, c := range i.Chain {
		der.Write(c.Raw)
	}
	return caChains.Insert(tx, id, der.Bytes())
}
