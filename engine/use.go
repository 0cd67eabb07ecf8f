package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"chancery/engine/names"
	"chancery/store"
)

// policies holds every version of the policy document, under its version.
var policies = store.Blobs{Name: "policies"}

// Check reports everything about the document that an engine would refuse.
func (p *Policy) Check() error {
	var errs []error
	if len(p.Authorities) == 0 {
		errs = append(errs, errors.New("authorities: at least one is required, such as main: {}"))
	}
	if _, ok := p.Authorities[ManagementAuthority]; ok {
		errs = append(errs, fmt.Errorf("authorities.%s is Chancery's own", ManagementAuthority))
	}
	for _, name := range slices.Sorted(maps.Keys(p.Profiles)) {
		pr := p.Profiles[name]
		if strings.HasPrefix(name, "chancery-") {
			errs = append(errs, fmt.Errorf("profiles.%s: names that begin with chancery- are Chancery's own", name))
		}
		errs = append(errs, pr.check(name))
		if _, ok := p.Authorities[p.authority(&pr)]; !ok {
			errs = append(errs, fmt.Errorf("profiles.%s: there is no authority %q under authorities", name, p.authority(&pr)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Authorities)) {
		if err := p.Authorities[name].CRL.check(); err != nil {
			errs = append(errs, fmt.Errorf("authorities.%s.crl: %w", name, err))
		}
	}
	for s := range p.Frontends {
		if !slices.Contains([]Source{ACME, SCEP, EST, Native}, s) {
			errs = append(errs, fmt.Errorf("frontends.%s: there is no such frontend; there are acme, scep, est, native", s))
		}
	}
	return errors.Join(append(errs, p.checkCAA(), checkRoles(p.Roles))...)
}

// maxCAAIdentities is what draft-ietf-acme-dns-persist, Section 3.1 lets a CA say.
const maxCAAIdentities = 10

// checkCAA wants the names of this CA in their canonical form, and some where
// they are needed.
func (p *Policy) checkCAA() error {
	var errs []error
	if len(p.CAAIdentities) > maxCAAIdentities {
		errs = append(errs, fmt.Errorf("caa_identities: at most %d", maxCAAIdentities))
	}
	for i, id := range p.CAAIdentities {
		if n, err := names.Parse(names.DNS, id); err != nil || n.Wildcard() || n.Value != id {
			errs = append(errs, fmt.Errorf("caa_identities.%d: %.80q is not a DNS name in lower case, such as ca.example.org", i, id))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Profiles)) {
		if pr := p.Profiles[name]; pr.ChecksCAA() && len(p.CAAIdentities) == 0 {
			errs = append(errs, fmt.Errorf("profiles.%s: it obeys CAA records, so say by which names they mean this CA: caa_identities: [ca.example.org]", name))
		}
	}
	return errors.Join(errs...)
}

// authority is who issues a profile: the one it names, or the only one, or main.
func (p *Policy) authority(pr *Profile) string {
	if pr.Authority != "" {
		return pr.Authority
	}
	if len(p.Authorities) == 1 {
		for name := range p.Authorities {
			return name
		}
	}
	return "main"
}

// EffectiveProfiles are the document's profiles with their defaults filled in,
// and Chancery's own.
func (p *Policy) EffectiveProfiles() (map[string]Profile, error) {
	all := ownProfiles()
	for name, pr := range p.Profiles {
		all[name] = pr
	}
	for name, pr := range all {
		if err := pr.check(name); err != nil {
			return nil, err
		}
		pr.Authority = p.authority(&pr)
		all[name] = pr
	}
	return all, nil
}

// Use checks the setup and decides with it from now on. Its policy document is
// recorded as the active version, if it was not before. Requests under way end
// with the setup that they began with.
func (e *Engine) Use(ctx context.Context, s Setup, by string) (version string, err error) {
	next, err := e.prepare(s)
	if err != nil {
		return "", err
	}
	if next.version, err = e.activate(ctx, &s.Policy, by); errors.Is(err, ErrPolicyMoved) {
		return "", err
	} else if err != nil { // of the store; the document may be in force or not, and is not at fault
		return "", fmt.Errorf("%w: putting the policy in force: %w", ErrUndecided, err)
	}
	e.setup.Store(next)
	return next.version, nil
}

// Adopt decides from now on with a setup whose document is the active version
// already, because another node made it that. It writes nothing. The document keeps
// the version that it has in the store, also where this program would write it in
// other words than the one that put it there.
func (e *Engine) Adopt(s Setup) (version string, err error) {
	next, err := e.prepare(s)
	if err != nil {
		return "", err
	}
	if next.version = s.Version; next.version == "" {
		if _, next.version, err = s.Policy.Canonical(); err != nil {
			return "", err
		}
	}
	e.setup.Store(next)
	return next.version, nil
}

// prepare checks a setup and works out what follows from it.
func (e *Engine) prepare(s Setup) (*setup, error) {
	if err := s.Policy.Check(); err != nil {
		return nil, err
	}
	next := &setup{Setup: s, wants: map[EventKind][]string{}}
	var err error
	if next.profiles, err = s.Policy.EffectiveProfiles(); err != nil {
		return nil, err
	}
	next.profileDocs = map[string][]byte{}
	for name, pr := range next.profiles {
		if next.profileDocs[name], err = json.Marshal(pr); err != nil {
			return nil, err
		}
	}
	for name := range s.Policy.Authorities {
		if e.current[name] == nil {
			return nil, fmt.Errorf("authorities.%s has no CA here: make it with init first, or if another node did, start this one again", name)
		}
	}
	if next.alternates, err = e.alternates(&s.Policy); err != nil {
		return nil, err
	}
	if len(s.Shapers) == 0 {
		return nil, errors.New("policy.shape is empty: nothing would say what a certificate holds")
	}
	for _, st := range s.Shapers {
		next.waits = next.waits || st.Waits
	}
	for _, st := range s.Judges {
		next.waits = next.waits || st.Waits
	}
	for _, o := range s.Exits {
		for _, k := range o.Exit.Wants() {
			next.wants[k] = append(next.wants[k], o.Name)
		}
	}
	return next, nil
}

// ErrPolicyMoved says that another node put a policy in force in this moment.
var ErrPolicyMoved = errors.New("another policy was put in force a moment ago, through another node: read it again and make the change to that")

// ActivePolicy is the policy document in force, in canonical form, and its
// version; empty before the first. A node may use the one before it for a moment.
func ActivePolicy(ctx context.Context, db store.DB) (doc []byte, version string, err error) {
	err = db.View(ctx, func(tx store.Tx) error {
		if version, err = activeVersion(tx); err != nil || version == "" {
			return err
		}
		doc, err = policies.Get(tx, version)
		return err
	})
	return doc, version, err
}

// ActiveVersion is the version of the policy document in force.
func (e *Engine) ActiveVersion(ctx context.Context) (version string, err error) {
	err = e.view(ctx, func(tx store.Tx) error {
		version, err = activeVersion(tx)
		return err
	})
	return version, err
}

func activeVersion(tx store.Tx) (version string, err error) {
	s, err := settings.Get(tx, "policy")
	if store.Missing(err) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	return version, json.Unmarshal(s.Value, &version)
}

// activate records the document as the active version, with what changed. It
// refuses when the active version is not the one that this node uses: whoever
// made the change did not see it.
func (e *Engine) activate(ctx context.Context, p *Policy, by string) (string, error) {
	doc, version, err := p.Canonical()
	if err != nil {
		return "", err
	}
	before, err := e.ActiveVersion(ctx)
	if err != nil || before == version {
		return version, err
	}
	if set := e.setup.Load(); set != nil && set.version != before {
		return "", ErrPolicyMoved
	}
	return version, e.update(ctx, func(tx store.Tx) error {
		if now, err := activeVersion(tx); err != nil {
			return err
		} else if now != before {
			return ErrPolicyMoved
		}
		if err := policies.Put(tx, version, doc); err != nil {
			return err
		}
		if err := e.rememberRules(tx, p); err != nil {
			return err
		}
		if err := putSetting(tx, "policy", version); err != nil {
			return err
		}
		was, err := policies.Get(tx, before)
		if err != nil && before != "" {
			return err
		}
		return e.audit(tx, Actor{Person: by, Via: "apply"}, "policy", version, strings.Join(changes(was, doc), "; "))
	})
}

// PolicyDocument returns the canonical form of the policy in use, and its version.
func (e *Engine) PolicyDocument() (doc []byte, version string, err error) {
	set := e.setup.Load()
	if set == nil {
		return nil, "", ErrUndecided
	}
	doc, _, err = set.Policy.Canonical()
	return doc, set.version, err
}

// Changes says in words what differs between the policy in use and another.
func (e *Engine) Changes(p *Policy) ([]string, error) {
	doc, _, err := p.Canonical()
	if err != nil {
		return nil, err
	}
	was, _, err := e.PolicyDocument()
	if err != nil {
		return nil, err
	}
	return changes(was, doc), nil
}

// changes lists the members that differ, two levels deep: profiles.web, exit.
func changes(was, is []byte) []string {
	var a, b map[string]json.RawMessage
	_ = json.Unmarshal(was, &a) // no earlier version: everything is new
	if json.Unmarshal(is, &b) != nil {
		return nil
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(union(a, b))) {
		var x, y map[string]json.RawMessage
		if json.Unmarshal(a[k], &x) == nil && json.Unmarshal(b[k], &y) == nil {
			for _, n := range slices.Sorted(maps.Keys(union(x, y))) {
				out = appendChange(out, k+"."+n, x[n], y[n])
			}
			continue
		}
		out = appendChange(out, k, a[k], b[k])
	}
	return out
}

func appendChange(out []string, name string, was, is json.RawMessage) []string {
	switch {
	case string(was) == string(is):
		return out
	case was == nil:
		return append(out, name+" added")
	case is == nil:
		return append(out, name+" removed")
	}
	return append(out, name+" changed from "+string(was)+" to "+string(is))
}

func union(a, b map[string]json.RawMessage) map[string]json.RawMessage {
	all := maps.Clone(b)
	if all == nil {
		all = map[string]json.RawMessage{}
	}
	maps.Copy(all, a)
	return all
}

// Profiles are the profiles in use, with Chancery's own.
func (e *Engine) Profiles() map[string]Profile {
	if set := e.setup.Load(); set != nil {
		return set.profiles
	}
	return nil
}
