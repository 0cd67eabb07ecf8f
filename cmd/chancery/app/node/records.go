package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"chancery/cmd/chancery/app/backend"
	"chancery/cmd/chancery/app/config"
	"chancery/cmd/chancery/app/initca"
	"chancery/engine"
	"chancery/store"
	"chancery/store/scrub"
	"chancery/store/transfer"
)

// Schemas are all tables that a node has, with those of its frontends.
func Schemas(frontends []store.Schema) []store.Schema {
	return slices.Concat(engine.Schemas(), []store.Schema{seals.Schema()}, transfer.Schemas(), scrub.Schemas(), frontends)
}

// Shared reports whether other nodes may have the store open too.
func (n *Node) Shared() bool { return n.Settings.Store.Postgres != nil }

// open opens the store, unless only half of a copy is in it.
func (n *Node) open(ctx context.Context) error {
	db, err := backend.Open(ctx, n.Settings, string(n.Dir), backend.Options{Log: n.Log, Fatal: n.Fatal, Env: n.Env}, Schemas(n.Tables)...)
	if err != nil {
		return err
	}
	if err := transfer.Unfinished(ctx, db); err != nil {
		return errors.Join(err, db.Close())
	}
	n.DB = db
	return nil
}

// Close closes the store.
func (n *Node) Close() error {
	if n.DB == nil {
		return nil
	}
	db := n.DB
	n.DB = nil
	return db.Close()
}

// seals holds the name of the secret that the records are kept under. It is also
// what says that a store has a CA, from before the CA is made.
var seals = store.Blobs{Name: "seals"}

// SealOf is the name of the secret that the records of a store are kept under;
// empty: the store has no CA yet.
func SealOf(ctx context.Context, db store.DB) (id string, err error) {
	err = db.View(ctx, func(tx store.Tx) error {
		have, err := seals.Get(tx, "id")
		id = string(have)
		return err
	})
	if store.Missing(err) {
		return "", nil
	}
	return id, err
}

var errOtherSeal = errors.New("is not the key that these records were made with")

// checkSeal refuses to run with another secret than the one that the records
// were made with: no grant would be found, and none of it would say why.
func (n *Node) checkSeal(ctx context.Context) error {
	id, err := n.Seal.ID()
	if err != nil {
		return err
	}
	have, err := SealOf(ctx, n.DB)
	if err != nil {
		return err
	}
	if have == "" {
		err = n.DB.Update(ctx, func(tx store.Tx) error { return seals.Insert(tx, "id", []byte(id)) })
		if !errors.Is(err, store.ErrExists) {
			return err
		}
		if have, err = SealOf(ctx, n.DB); err != nil { // another node was faster
			return err
		}
	}
	if have != id {
		return fmt.Errorf("%s %w: restore the one that was (it is called %s, this one %s)", n.Dir.Seal(), errOtherSeal, have, id)
	}
	return nil
}

// errSecond says that a CA would be made where there is one.
func (n *Node) errSecond() error {
	return fmt.Errorf("the store has a CA already, and there cannot be two: make this machine a node of it with: chancery node join --data %s", string(n.Dir))
}

// refuseSecond refuses to begin a CA on a store that other nodes made one on,
// before anything is written.
func (n *Node) refuseSecond(ctx context.Context) error {
	if !n.Shared() {
		return nil
	}
	have, err := SealOf(ctx, n.DB)
	if err != nil || have == "" {
		return err
	}
	if _, err := os.Stat(n.Dir.Seal()); errors.Is(err, os.ErrNotExist) {
		return n.errSecond()
	}
	return nil // the same one, or checkSeal says what is wrong
}

// claim makes the store this CA's. Of two first starts at the same time one
// wins; the other takes away the secret that it has made. When it is not known who
// won, the secret stays: it may be the one that the store is claimed with.
func (n *Node) claim(ctx context.Context, made bool) (err error) {
	if n.Seal, err = n.Dir.ReadSeal(); err != nil {
		return err
	}
	if err = n.checkSeal(ctx); !made || !errors.Is(err, errOtherSeal) {
		return err
	}
	return errors.Join(n.errSecond(), os.Remove(n.Dir.Seal()))
}

// issuers are the CAs with the keys that this node has. Those that the store does
// not know yet are put there.
func (n *Node) issuers(ctx context.Context) ([]engine.Issuer, error) {
	recorded, err := engine.RecordedIssuers(ctx, n.DB)
	if err != nil {
		return nil, err
	}
	all, fresh, err := initca.Load(n.Dir, keysOf(n.Policy.Authorities), recorded)
	if err != nil {
		return nil, err
	}
	err = engine.RecordIssuers(ctx, n.DB, fresh)
	if other := (*engine.OtherCAError)(nil); errors.As(err, &other) {
		return nil, fmt.Errorf("another node made a CA for authority %s in this moment: delete %s and %s, and start again", other.Authority, n.Dir.CAKey(other.Authority), n.Dir.CACert(other.Authority))
	}
	return all, err
}

// activePolicy takes the policy in force from a store that several nodes share,
// whatever policy.yaml says: only apply puts another in force. It returns its
// version, or "" where there is none yet, and where the file is what counts.
func (n *Node) activePolicy(ctx context.Context) (version string, err error) {
	if !n.Shared() {
		return "", nil
	}
	p, version, err := n.InForce(ctx)
	if err != nil {
		return "", err
	}
	if p != nil {
		n.Policy = *p
		if d := n.Differs(version); d != "" {
			n.Log.WarnContext(ctx, "a file is not in force", "differs", d)
		}
		return version, nil
	}
	if n.Policy.Authorities == nil {
		n.Policy, err = config.LoadPolicy(n.Dir.Policy(), n.Open)
	}
	return "", err
}

// InForce is the policy in force in the store, nil before the first, and its
// version.
func (n *Node) InForce(ctx context.Context) (*engine.Policy, string, error) {
	doc, version, err := engine.ActivePolicy(ctx, n.DB)
	if err != nil || version == "" {
		return nil, "", err
	}
	p, err := readPolicy(doc)
	if err != nil {
		return nil, "", fmt.Errorf("policy version %s in the store cannot be read by this program, upgrade this node: %w", version, err)
	}
	return p, version, nil
}

// readPolicy reads a document from the store. What a newer program knows and this
// one does not may be a restriction: leaving it out would issue what is forbidden.
func readPolicy(doc []byte) (*engine.Policy, error) {
	p := new(engine.Policy)
	in := json.NewDecoder(bytes.NewReader(doc))
	in.DisallowUnknownFields()
	return p, in.Decode(p)
}

// Differs says what is wrong with policy.yaml beside a store where it does not
// count, when this version is in use, or "". A node that joined has no such file.
func (n *Node) Differs(used string) string {
	if !n.Shared() {
		return ""
	}
	if _, err := os.Stat(n.Dir.Policy()); errors.Is(err, os.ErrNotExist) {
		return ""
	}
	p, err := config.LoadPolicy(n.Dir.Policy(), n.Open)
	if err != nil {
		return n.Dir.Policy() + " has errors (chancery config check); it is not in force"
	}
	_, mine, err := p.Canonical()
	if err == nil && mine == used {
		return ""
	}
	return n.Dir.Policy() + " is not the policy in force; chancery apply FILE makes it that"
}
