// Package profile is the shaper that makes a certificate what its profile says.
// It decides in this order: which profile, whether the requester may ask by it,
// the key, what the request asks for beside names, the names, what warrants each
// of them, and the subject. From the request it takes nothing but names, the
// common name where the profile admits it, and the key.
package profile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"chancery/engine"
	"chancery/engine/keys"
	"chancery/engine/names"
)

// Config is the configuration of the shaper.
type Config struct {
	// Default is the profile of requests that name none. Optional; default: the
	// only one that their frontend may use, if there is only one.
	Default string `json:"default,omitempty"`
}

// New makes the shaper for the profiles in d, and refuses contradictory ones.
func New(c Config, d engine.Deps) (engine.Shaper, error) {
	if d.Now == nil {
		return nil, errors.New("no clock is given to this module")
	}
	s := &shaper{fallback: c.Default, now: d.Now, profiles: make(map[string]*profile, len(d.Profiles))}
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(d.Profiles)) {
		p, err := compile(name, d.Profiles[name])
		if err != nil {
			wrong = append(wrong, fmt.Errorf("profiles.%s: %w", name, err))
		}
		s.profiles[name] = p
	}
	if c.Default != "" && s.profiles[c.Default] == nil {
		wrong = append(wrong, fmt.Errorf("default: there is no profile %q; there are: %s", c.Default, strings.Join(slices.Sorted(maps.Keys(d.Profiles)), ", ")))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	return s.shape, nil
}

type shaper struct {
	fallback string
	now      func() time.Time
	profiles map[string]*profile
}

// A profile is an engine.Profile made ready for use.
type profile struct {
	engine.Profile
	name     string
	fixed    names.DN
	purposes []string // ExtKeyUsage, as OIDs
	cn       string   // Subject.CN, never empty
	most     int      // Names.Max, never zero
}

func (s *shaper) shape(_ context.Context, r *engine.Request, d *engine.Draft) (engine.Verdict, error) {
	now := s.now()
	p, refusal := s.choose(r)
	if refusal == nil {
		refusal = p.admits(r)
	}
	if refusal == nil {
		refusal = p.extensions(r.Asked.Extensions)
	}
	if refusal != nil {
		return refusal.verdict(), nil
	}
	cn, all, refusal := p.namesOf(r, now)
	if refusal == nil {
		refusal = p.warranted(r, all, now)
	}
	if refusal == nil {
		d.Subject, refusal = p.subject(cn, all)
	}
	if refusal == nil {
		d.KeyUsage, refusal = p.keyUsage(r.Asked.Key)
	}
	if refusal != nil {
		return refusal.verdict(), nil
	}
	d.Profile, d.Authority, d.Names = p.name, p.authority(r), all
	d.ExtKeyUsage = slices.Clone(p.ExtKeyUsage)
	d.NotBefore = engine.NotBefore(now)
	// RFC 5280, Section 4.1.2.5: both ends belong to the validity, so the last
	// second is one less.
	d.NotAfter = now.UTC().Truncate(time.Second).Add(time.Duration(p.Validity) - time.Second)
	if p.manual() {
		return engine.PendForOne("profile " + p.name + " wants an officer's approval"), nil
	}
	return engine.Pass(), nil
}

// authority is the profile's. Without one, the engine knows what to take, and a
// requester's wish was checked to be none or the same.
func (p *profile) authority(r *engine.Request) string {
	if p.Authority == "" {
		return r.WantAuth
	}
	return p.Authority
}

// manual says that officers decide. A word that is not known means so too.
func (p *profile) manual() bool { return p.Approval != "" && p.Approval != "none" }

// keyUsage leaves out of the profile's what the key cannot do, so that one
// profile serves several kinds of keys.
func (p *profile) keyUsage(k *keys.Public) ([]string, *refusal) {
	if len(p.KeyUsage) == 0 {
		// RSA key exchange (RFC 5246, Section 7.4.2) is gone from TLS 1.3, and old
		// clients still look for its bit.
		if k.Algorithm == keys.RSA && slices.Contains(p.purposes, oidServerAuth) {
			return []string{"digitalSignature", "keyEncipherment"}, nil
		}
		return []string{"digitalSignature"}, nil
	}
	var out []string
	for _, u := range p.KeyUsage {
		switch u {
		case "keyEncipherment", "dataEncipherment": // RFC 8813, Section 3; RFC 9295, Section 3
			if k.Algorithm != keys.RSA {
				continue
			}
		case "keyAgreement", "encipherOnly", "decipherOnly": // RFC 4055, Section 1.2; RFC 9295, Section 3
			if k.Algorithm != keys.ECDSA {
				continue
			}
		}
		out = append(out, u)
	}
	if len(out) == 0 {
		return nil, refuse(engine.BadKey, "a key of the kind %s can do nothing that profile %s is for (%s); make another kind of key", k.Algorithm, p.name, strings.Join(p.KeyUsage, ", "))
	}
	return out, nil
}

// A refusal is a denial on its way up.
type refusal struct {
	reason engine.Reason
	detail string
}

func refuse(reason engine.Reason, format string, args ...any) *refusal {
	return &refusal{reason, fmt.Sprintf(format, args...)}
}

func (r *refusal) verdict() engine.Verdict { return engine.Deny(r.reason, "%s", r.detail) }
