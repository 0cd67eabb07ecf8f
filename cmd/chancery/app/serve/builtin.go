package serve

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"chancery/cmd/chancery/app/config"
	"chancery/cmd/chancery/app/node"
	"chancery/engine"
	"chancery/frontends/access"
	"chancery/frontends/acme"
	"chancery/frontends/est"
	"chancery/frontends/native"
	"chancery/frontends/scep"
	"chancery/store/scrub"
)

// Builtin are the protocols of Chancery's own.
func Builtin() []Frontend {
	return []Frontend{
		{Source: engine.ACME, Endpoint: acme.Endpoint{}, Tables: acme.Schemas(), New: new(acmeMount).mount},
		{Source: engine.EST, Endpoint: est.Endpoint{}, New: newEST},
		{Source: engine.SCEP, Endpoint: scep.Endpoint{}, Tables: scep.Schemas(), New: new(scepMount).mount},
		{Source: engine.Native, Endpoint: native.Config{}, New: newNative},
	}
}

// An acmeMount keeps the nonces through changes of policy, so that those that
// clients hold stay good.
type acmeMount struct{ nonces *acme.Nonces }

func (m *acmeMount) mount(w World, endpoints map[string]json.RawMessage) (Mounts, error) {
	if len(endpoints) == 0 {
		return Mounts{}, nil
	}
	c, err := acme.ParseConfig(endpoints)
	if err != nil {
		return Mounts{}, err
	}
	validation, err := validationOf(w.Node)
	if err != nil {
		return Mounts{}, err
	}
	n := w.Node
	if m.nonces == nil {
		m.nonces = acme.NewNonces(w.NonceKey, n.Settings.Node, n.Now, n.Rand)
	}
	f, err := acme.New(c, acme.Deps{
		DB: n.DB, Requests: w.Engine, Certificates: w.Engine, Grants: w.Engine, Profiles: w.Profiles, Now: n.Now, Rand: n.Rand, Log: n.Log,
		NonceKey: w.NonceKey, Nonces: m.nonces, Node: n.Settings.Node, BaseURL: w.HTTPS, Loopback: w.Loopback, OwnNames: w.OwnNames,
		Limits: w.Limits, Proxies: w.Proxies, Records: w.Engine,
		Identities: w.Policy.CAAIdentities,
		Retention:  time.Duration(w.Policy.Retention.Orders),
		Validation: validation,
	})
	if err != nil {
		return Mounts{}, err
	}
	var open []string
	for _, name := range slices.Sorted(maps.Keys(c)) {
		if c[name].Open {
			open = append(open, fmt.Sprintf("The ACME endpoint %s is open: whoever reaches %s gets a certificate for any name that they prove to control.", name, w.HTTPS))
		}
	}
	return Mounts{HTTPS: map[string]http.Handler{"/acme/": f}, Run: f.Run, Open: open}, nil
}

// validationOf is how a node sees the network when it validates.
func validationOf(n *node.Node) (acme.Validation, error) {
	v := n.Settings.ACME.Validation
	out := acme.Validation{HTTPPort: v.HTTPPort, TLSPort: v.TLSPort, Resolvers: v.Resolvers}
	for _, text := range v.Networks {
		p, err := config.ParseNetwork(text)
		if err != nil {
			return out, err
		}
		out.Networks = append(out.Networks, p)
	}
	return out, nil
}

// trying lets people try validations over the native API, for which the two need
// not know one another.
func trying(w World) (func(context.Context, native.Trial) (*native.Outcome, error), error) {
	validation, err := validationOf(w.Node)
	if err != nil {
		return nil, err
	}
	p, err := acme.NewProber(validation, w.Loopback, w.Policy.CAAIdentities, w.Node.Now, w.Node.Rand)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, t native.Trial) (*native.Outcome, error) {
		o, err := p.Try(ctx, acme.Trial(t))
		switch {
		case errors.Is(err, acme.ErrTrying):
			return nil, native.ErrTrying
		case err != nil:
			return nil, err
		}
		out := &native.Outcome{Name: o.Name, Challenge: o.Challenge, Valid: o.Valid, Conclusion: o.Conclusion}
		for _, s := range o.Steps {
			out.Steps = append(out.Steps, native.TrialStep(s))
		}
		return out, nil
	}, nil
}

func newNative(w World, endpoints map[string]json.RawMessage) (Mounts, error) {
	c := native.Config{Name: "default"}
	for name, raw := range endpoints {
		if name != c.Name {
			return Mounts{}, fmt.Errorf("frontends.native.%s: the native API has one endpoint, which is called default", name)
		}
		if err := json.Unmarshal(raw, &c); err != nil {
			return Mounts{}, fmt.Errorf("frontends.native.%s: %w", name, err)
		}
	}
	n := w.Node
	management, enrollment, err := pools(n.Engine)
	if err != nil {
		return Mounts{}, err
	}
	cursors, err := n.Seal.Key("cursors")
	if err != nil {
		return Mounts{}, err
	}
	try, err := trying(w)
	if err != nil {
		return Mounts{}, err
	}
	f, err := native.New(c, native.Deps{
		Engine: w.Engine, Now: n.Now, Rand: n.Rand, Log: n.Log, Note: access.Note,
		ManagementRoots: management, EnrollmentRoots: enrollment, CursorKey: cursors,
		Apply: w.Apply, Applying: w.Applying, Exposure: w.Exposure, Nodes: w.Nodes, Backup: w.Backup, Try: try, Limits: &limits{n, w.Limits},
		Records: func(ctx context.Context) (scrub.Report, error) { return scrub.Last(ctx, n.DB) },
	})
	if err != nil {
		return Mounts{}, err
	}
	m := Mounts{Admin: map[string]http.Handler{"/api/v1/": f.Admin()}}
	if len(endpoints) > 0 {
		m.HTTPS = map[string]http.Handler{"/api/v1/": f.Enrollment()}
	}
	return m, nil
}

// pools are the roots of the people who administer, and of everybody else.
func pools(e *engine.Engine) (management, enrollment *x509.CertPool, err error) {
	management, enrollment = x509.NewCertPool(), x509.NewCertPool()
	all, err := e.Authorities(context.Background())
	if err != nil {
		return nil, nil, err
	}
	for _, a := range all {
		top := a.Chain[len(a.Chain)-1]
		if a.Name == engine.ManagementAuthority {
			management.AddCert(top)
		} else {
			enrollment.AddCert(top)
		}
	}
	return management, enrollment, nil
}
