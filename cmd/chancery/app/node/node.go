// Package node puts a CA together from a data directory: settings, CA keys,
// store, engine and policy. It listens to nothing.
//
// It also does what a first start does beyond making CA keys: the founder's
// credential comes out of the engine by the same door as every certificate.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"chancery/cmd/chancery/app/config"
	"chancery/cmd/chancery/app/datadir"
	"chancery/cmd/chancery/app/initca"
	"chancery/engine"
	"chancery/engine/names"
	"chancery/modules"
	"chancery/store"
	"chancery/store/bolt"
)

// Options are what a node is made of.
type Options struct {
	Dir    datadir.Dir
	File   string // with the settings, instead of the one in Dir
	Domain string // at first start: what the issuing CA is constrained to
	Extra  modules.With
	Tables []store.Schema // of the frontends
	Open   config.Open    // what the policy document may hold
	Built  time.Time
	Now    func() time.Time
	Rand   io.Reader
	Stderr io.Writer
	Faults func(step string)
	Fatal  func(error) // the disk refused a write
	Say    func(format string, args ...any)
}

// A Node is a CA that is ready but for its listeners.
type Node struct {
	Options
	Settings config.Node
	First    bool // the first start has not ended
	Log      *slog.Logger
	DB       store.DB
	Engine   *engine.Engine
	Seal     *datadir.Seal
	Policy   engine.Policy
	made     map[string]string // key identifiers of the CAs
}

// Prepare reads the settings and the policy, and makes what a first start, or
// again, an administrator who asks for it, makes without the engine: the
// documents, the shared secret, the CA keys.
func Prepare(o Options, again bool) (*Node, error) {
	n := &Node{Options: o}
	marker, err := o.Dir.ReadMarker()
	if err != nil {
		return nil, err
	}
	n.First = marker == nil
	file, must := o.settingsFile()
	if n.Settings, err = config.LoadNode(file, must); err != nil {
		return nil, err
	}
	n.Log = slog.New(slog.NewJSONHandler(o.Stderr, &slog.HandlerOptions{Level: n.Settings.LogLevel()}))
	if n.First || again {
		if err := n.checkDomain(); err != nil {
			return nil, err
		}
		if err := n.makeFiles(); err != nil {
			return nil, err
		}
	} else {
		n.made = marker.Authorities
	}
	if n.Policy, err = config.LoadPolicy(o.Dir.Policy(), o.Open); err != nil {
		return nil, err
	}
	if n.First || again {
		n.made, err = initca.Make(initca.Spec{
			Dir: o.Dir, Authorities: n.Policy.Authorities, Label: n.label(), StatusURL: n.realURL(),
			Store: n.Settings.BoltPath(string(o.Dir)), Built: o.Built, Now: o.Now, Rand: o.Rand, Say: o.Say,
		})
		if err != nil {
			return nil, err
		}
	}
	n.Seal, err = o.Dir.ReadSeal()
	return n, err
}

// settingsFile says which file holds the settings, and whether it must be there.
func (o *Options) settingsFile() (file string, must bool) {
	if o.File != "" {
		return o.File, true
	}
	return o.Dir.Settings(), false
}

// makeFiles writes what an administrator edits, and the shared secret.
func (n *Node) makeFiles() error {
	if err := n.Dir.Make(); err != nil {
		return err
	}
	if _, err := n.Dir.MakeSeal(n.Rand); err != nil {
		return err
	}
	if there, err := datadir.Exists(n.Dir.Settings()); err != nil {
		return err
	} else if !there {
		doc, err := config.WriteNode(n.Settings)
		if err == nil {
			err = datadir.Write(n.Dir.Settings(), doc, 0o600)
		}
		if err != nil {
			return err
		}
	}
	there, err := datadir.Exists(n.Dir.Policy())
	if err != nil {
		return err
	}
	if there {
		return n.sameDomain()
	}
	doc, err := config.WritePolicy(n.Domain)
	if err != nil {
		return err
	}
	return datadir.Write(n.Dir.Policy(), doc, 0o600)
}

// checkDomain refuses what cannot be a name constraint.
func (n *Node) checkDomain() error {
	if n.Domain == "" {
		return nil
	}
	name, err := names.Parse(names.DNS, n.Domain)
	if err != nil || name.Wildcard() {
		return fmt.Errorf("--domain %.80q is not a DNS name such as corp.example", n.Domain)
	}
	n.Domain = name.Value
	return nil
}

// sameDomain refuses a domain that the policy, which is there, does not have.
func (n *Node) sameDomain() error {
	if n.Domain == "" {
		return nil
	}
	p, err := config.LoadPolicy(n.Dir.Policy(), n.Open)
	if err != nil {
		return err
	}
	if d := p.Authorities["main"].Domains; len(d) != 1 || d[0] != n.Domain {
		return fmt.Errorf("%s is there and says authorities.main.domains: %v; a CA keeps its name constraint, so begin in an empty data directory, or add an authority with domains: [%s]", n.Dir.Policy(), d, n.Domain)
	}
	return nil
}

// Start opens the store and makes the engine, with the policy in use. statusURL
// is where clients find CRLs, OCSP and CA certificates unless the settings say.
func (n *Node) Start(ctx context.Context, statusURL string) error {
	issuers, err := initca.Load(n.Dir, keysOf(n.Policy.Authorities))
	if err != nil {
		return err
	}
	mac, err := n.Seal.Key("record hashes")
	if err != nil {
		return err
	}
	db, err := bolt.Open(n.Settings.BoltPath(string(n.Dir)), bolt.Options{Log: n.Log, Fatal: n.Fatal}, append(append(engine.Schemas(), seals.Schema()), n.Tables...)...)
	if err != nil {
		return err
	}
	n.DB = db
	if err := n.checkSeal(ctx); err != nil {
		return errors.Join(err, n.Close())
	}
	if u := n.Settings.PublicURL.HTTP; u != "" {
		statusURL = u
	}
	n.Engine, err = engine.New(ctx, engine.Config{
		DB: db, Log: n.Log, Now: n.Now, Rand: n.Rand, Node: n.Settings.Node, Issuers: issuers,
		StatusURL: statusURL, MACKey: mac, Faults: n.Faults,
	})
	if err == nil {
		_, err = n.Use(ctx, n.Policy, "start")
	}
	if err != nil {
		return errors.Join(err, n.Close())
	}
	return nil
}

// Use builds the modules that a policy document names and decides with it from
// now on.
func (n *Node) Use(ctx context.Context, p engine.Policy, by string) (version string, err error) {
	setup, err := n.Build(p)
	if err != nil {
		return "", err
	}
	if version, err = n.Engine.Use(ctx, setup, by); err != nil {
		return "", err
	}
	n.Policy = p
	return version, nil
}

// Build makes the modules that a policy document names.
func (n *Node) Build(p engine.Policy) (engine.Setup, error) {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return modules.Build(p, engine.Deps{
		Now: n.Now, Rand: n.Rand, Log: n.Log, Dial: dialer.DialContext, Dir: string(n.Dir), Facts: n.Engine,
	}, n.Extra)
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

// seals holds the name of the secret that the records are kept under.
var seals = store.Blobs{Name: "seals"}

// checkSeal refuses to run with another secret than the one that the records
// were made with: no grant would be found, and none of it would say why.
func (n *Node) checkSeal(ctx context.Context) error {
	id, err := n.Seal.ID()
	if err != nil {
		return err
	}
	var have []byte
	err = n.DB.View(ctx, func(tx store.Tx) (err error) {
		have, err = seals.Get(tx, "id")
		return err
	})
	if store.Missing(err) {
		return n.DB.Update(ctx, func(tx store.Tx) error { return seals.Put(tx, "id", []byte(id)) })
	}
	if err == nil && string(have) != id {
		err = fmt.Errorf("%s is not the key that these records were made with: restore the one that was (it is called %s, this one %s)", n.Dir.Seal(), have, id)
	}
	return err
}

// label is whose CA it is, in the subjects of its certificates.
func (n *Node) label() string {
	if d := n.Policy.Authorities["main"].Domains; len(d) > 0 {
		return d[0]
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		return "Chancery"
	}
	return host
}

// realURL is the public address of the http listener if it is one that other
// machines can use. Only then CA certificates mention it: what they say cannot
// be changed for years.
func (n *Node) realURL() string {
	u := n.Settings.PublicURL.HTTP
	host := strings.TrimPrefix(u, "http://")
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if u == "" || host == "localhost" || !strings.Contains(host, ".") || net.ParseIP(host) != nil {
		return ""
	}
	return u
}

func keysOf(m map[string]engine.Authority) []string {
	all := make([]string, 0, len(m))
	for name := range m {
		all = append(all, name)
	}
	return all
}
