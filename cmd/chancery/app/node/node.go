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
)

// Options are what a node is made of.
type Options struct {
	Dir     datadir.Dir
	File    string // with the settings, instead of the one in Dir
	Domain  string // at first start: what the issuing CA is constrained to
	Extra   modules.With
	Tables  []store.Schema // of the frontends
	Open    config.Open    // what the policy document may hold
	Built   time.Time
	Version string // of the program
	Now     func() time.Time
	Rand    io.Reader
	Stderr  io.Writer
	Faults  func(step string)
	Fatal   func(error) // the disk refused a write
	Say     func(format string, args ...any)
	Env     func(string) string // reads the environment; nil: it is empty

	ClockIsRight bool // see engine.Config
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
	HTTPS    string            // address that clients call, such as https://ca.example.org:8443; known once it listens
	made     map[string]string // key identifiers of the CAs
}

// Prepare reads the settings and the policy, and makes what a first start, or
// again, an administrator who asks for it, makes without the engine: the
// documents, the shared secret, the CA keys. A store that several nodes share is
// opened before, because what it holds decides what may be made.
func Prepare(ctx context.Context, o Options, again bool) (*Node, error) {
	n := &Node{Options: o}
	if n.Env == nil {
		n.Env = func(string) string { return "" }
	}
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
	if n.Shared() {
		if err := n.open(ctx); err != nil {
			return nil, err
		}
	}
	if marker != nil {
		n.made = marker.Authorities
	}
	if err := n.prepare(ctx, n.First || again); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) prepare(ctx context.Context, making bool) error {
	if making {
		if err := n.checkDomain(); err != nil {
			return err
		}
		if err := n.makeFiles(ctx); err != nil {
			return err
		}
	}
	var err error
	if n.Seal, err = n.Dir.ReadSeal(); err != nil {
		return err
	}
	if making || !n.Shared() {
		if n.Policy, err = config.LoadPolicy(n.Dir.Policy(), n.Open); err != nil {
			return err
		}
	}
	if making {
		return n.makeCAs(ctx)
	}
	return nil
}

// makeCAs makes the CAs that the policy names and that are nowhere yet.
func (n *Node) makeCAs(ctx context.Context) error {
	spec := initca.Spec{
		Dir: n.Dir, Authorities: n.Policy.Authorities, Label: n.label(), StatusURL: n.realURL(),
		Built: n.Built, Now: n.Now, Rand: n.Rand, Say: n.Say,
	}
	if n.Shared() {
		recorded, err := engine.RecordedIssuers(ctx, n.DB)
		if err == nil {
			err = initca.Keep(n.Dir, recorded)
		}
		if err != nil {
			return err
		}
	} else {
		spec.Store = n.Settings.BoltPath(string(n.Dir))
	}
	made, err := initca.Make(spec)
	if err != nil {
		return err
	}
	n.made = made
	if n.Shared() {
		_, err = n.issuers(ctx)
	}
	return err
}

// settingsFile says which file holds the settings, and whether it must be there.
func (o *Options) settingsFile() (file string, must bool) {
	if o.File != "" {
		return o.File, true
	}
	return o.Dir.Settings(), false
}

// makeFiles writes what an administrator edits, and the shared secret.
func (n *Node) makeFiles(ctx context.Context) error {
	if err := n.refuseSecond(ctx); err != nil {
		return err
	}
	if err := n.Dir.Make(); err != nil {
		return err
	}
	made, err := n.Dir.MakeSeal(n.Rand)
	if err == nil && n.Shared() {
		err = n.claim(ctx, made)
	}
	if err != nil {
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
	if n.DB == nil {
		if err := n.open(ctx); err != nil {
			return err
		}
	}
	if err := n.start(ctx, statusURL); err != nil {
		return errors.Join(err, n.Close())
	}
	return nil
}

func (n *Node) start(ctx context.Context, statusURL string) error {
	if err := n.checkSeal(ctx); err != nil {
		return err
	}
	active, err := n.activePolicy(ctx)
	if err != nil {
		return err
	}
	issuers, err := n.issuers(ctx)
	if err != nil {
		return err
	}
	mac, err := n.Seal.Key("record hashes")
	if err != nil {
		return err
	}
	if u := n.Settings.PublicURL.HTTP; u != "" {
		statusURL = u
	}
	n.Engine, err = engine.New(ctx, engine.Config{
		DB: n.DB, Log: n.Log, Now: n.Now, Rand: n.Rand, Node: n.Settings.Node, Issuers: issuers,
		StatusURL: statusURL, MACKey: mac, Faults: n.Faults, ClockIsRight: n.ClockIsRight,
	})
	if err != nil {
		return err
	}
	if active != "" {
		err = n.Adopt(n.Policy, active)
	} else {
		_, err = n.Use(ctx, n.Policy, "start")
	}
	return err
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

// Adopt is Use for a document that is the active version already.
func (n *Node) Adopt(p engine.Policy, version string) error {
	setup, err := n.Build(p)
	if err != nil {
		return err
	}
	setup.Version = version
	if _, err = n.Engine.Adopt(setup); err != nil {
		return err
	}
	n.Policy = p
	return nil
}

// Build makes the modules that a policy document names.
func (n *Node) Build(p engine.Policy) (engine.Setup, error) {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	records, err := n.caaRecords()
	if err != nil {
		return engine.Setup{}, err
	}
	return modules.Build(p, engine.Deps{
		Now: n.Now, Rand: n.Rand, Log: n.Log, Dial: dialer.DialContext, Dir: string(n.Dir), Facts: n.Engine,
		CAA: records, Account: n.accountURL,
	}, n.Extra)
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
