// Package invariants says whether a store and what was acknowledged from it
// agree. Fault tests call it after each fault.
//
// It reads the records as they lie in the store, with a table of its own for
// each kind, and asks the engine nothing: an engine that is wrong about its own
// records should not be the one to judge them. The promises are
//
//	I1  what is signed was recorded before: the same serial, the same TBS
//	I2  what was acknowledged is there, with the right status
//	I3  one serial number, one key, one request: one certificate
//	I4  names in a certificate are warranted; its key is the one asked for
//	I5  what is revoked stays so, and is on the list
//	I6  numbers of lists grow, their times do not go back
//	I7  a grant is used as often as it says
package invariants

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"chancery/engine"
	"chancery/store"
)

// A State is everything that the engine keeps about certificates, as it lay in
// the store in one moment.
type State struct {
	Requests     map[string]*engine.Request
	Certificates []*engine.Certificate
	Raws         map[string][]byte      // "ID.body", "ID.cert", "ID.trail.…"
	Trails       map[string][]byte      // by request: the last one
	CRLs         map[string]*engine.CRL // by key identifier, with DER
	Grants       map[string]*engine.Grant
	Deliveries   []*engine.Delivery
}

// newest is the format version up to which records are read.
const newest = 255

// Read verifies all records of the engine, with their indexes, and returns them.
func Read(ctx context.Context, db store.DB) (*State, error) {
	if err := store.Verify(ctx, db, engine.Schemas()); err != nil {
		return nil, err
	}
	s := &State{}
	err := db.View(ctx, func(tx store.Tx) error {
		*s = State{Requests: map[string]*engine.Request{}, Raws: map[string][]byte{}, Trails: map[string][]byte{}, CRLs: map[string]*engine.CRL{}, Grants: map[string]*engine.Grant{}}
		return s.read(tx)
	})
	return s, err
}

func (s *State) read(tx store.Tx) error {
	for r, err := range all[engine.Request](tx, "requests") {
		if err != nil {
			return err
		}
		s.Requests[r.ID] = r
	}
	for c, err := range all[engine.Certificate](tx, "certificates") {
		if err != nil {
			return err
		}
		s.Certificates = append(s.Certificates, c)
	}
	for g, err := range all[engine.Grant](tx, "grants") {
		if err != nil {
			return err
		}
		s.Grants[g.ID] = g
	}
	for d, err := range all[engine.Delivery](tx, "deliveries") {
		if err != nil {
			return err
		}
		s.Deliveries = append(s.Deliveries, d)
	}
	ders := store.Blobs{Name: "crlders"}
	for c, err := range all[engine.CRL](tx, "crls") {
		if err != nil {
			return err
		}
		if c.DER, err = ders.Get(tx, c.Issuer); err != nil {
			return fmt.Errorf("the list of %s: %w", c.Issuer, err)
		}
		s.CRLs[c.Issuer] = c
	}
	for key, doc := range (store.Blobs{Name: "raws"}).All(tx, "", "") {
		if doc.Err != nil {
			return doc.Err
		}
		s.Raws[key] = doc.Bytes
		if request, _, ok := strings.Cut(key, ".trail."); ok {
			s.Trails[request] = doc.Bytes // in order of time
		}
	}
	return nil
}

// all reads a table of the engine by its name.
func all[T any](tx store.Tx, name string) func(func(*T, error) bool) {
	t := store.Table[T]{Name: name, Version: newest}
	return t.All(tx, "", "")
}

// id is how the engine calls a certificate.
func id(keyID, serial []byte) engine.CertID {
	text := strings.TrimLeft(hex.EncodeToString(serial), "0")
	if text == "" {
		text = "0"
	}
	return engine.CertID{Issuer: hex.EncodeToString(keyID), Serial: text}
}
