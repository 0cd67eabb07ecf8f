package profile

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"chancery/engine"
	"chancery/engine/names"
)

const (
	oidCN = "2.5.4.3"
	maxCN = 64 // RFC 5280, Appendix A.1: ub-common-name
)

// namesOf returns the names that the certificate is asked for, and its common
// name as far as the profile takes one from the request.
func (p *profile) namesOf(r *engine.Request, now time.Time) (cn string, all []names.Name, _ *refusal) {
	for _, n := range r.Asked.Names {
		all = with(all, n)
	}
	asked := r.Asked.Subject.CommonNames()
	switch p.cn {
	case "asked", "free":
		if len(asked) > 1 {
			return "", nil, refuse(engine.BadCSR, "the subject has %d common names; write one", len(asked))
		}
		if len(asked) == 1 {
			cn = asked[0]
		}
		if p.cn == "asked" && cn != "" {
			if n, err := names.Parse(names.DNS, cn); err == nil {
				all = with(all, n)
				cn = n.Value
			} else if cn = valueIn(all, cn); cn == "" {
				return "", nil, refuse(engine.NameNotAllowed, "the common name %.70q is not one of the names asked for; put it among the subject alternative names, or leave it out", asked[0])
			}
		}
	default:
		// RFC 8555, Section 7.4: a name may be in the common name alone. It is
		// taken for one only if it was proved; in other requests a common name is
		// just as often the name of a device.
		for _, c := range asked {
			if n, err := names.Parse(names.DNS, c); err == nil && proved(r, n, now) {
				all = with(all, n)
			}
		}
	}
	if len(all) == 0 && cn == "" {
		if len(asked) > 0 {
			return "", nil, refuse(engine.BadCSR, "the request has a common name and no subject alternative name; profile %s wants the names there (openssl req -addext subjectAltName=DNS:host.example)", p.name)
		}
		return "", nil, refuse(engine.BadCSR, "the request asks for no name; put it among the subject alternative names (openssl req -addext subjectAltName=DNS:host.example)")
	}
	if len(all) > p.most {
		return "", nil, refuse(engine.BadCSR, "the request has %d names, profile %s takes at most %d; ask for several certificates", len(all), p.name, p.most)
	}
	return cn, all, nil
}

func with(all []names.Name, n names.Name) []names.Name {
	if slices.Contains(all, n) {
		return all
	}
	return append(all, n)
}

// valueIn returns the canonical spelling of a common name that is one of the
// names, or nothing.
func valueIn(all []names.Name, cn string) string {
	for _, n := range all {
		if m, err := names.Parse(n.Type, cn); err == nil && m == n {
			return n.Value
		}
	}
	return ""
}

// warranted says whether each name is admitted, and whether something speaks for
// it. The engine's gate asks the same again of what is signed; here the answer
// can say more, and comes before a person is asked.
func (p *profile) warranted(r *engine.Request, all []names.Name, now time.Time) *refusal {
	for _, n := range all {
		if !p.allows(n) {
			return refuse(engine.NameNotAllowed, "profile %s does not take the name %s; it takes %s", p.name, n, p.allowed())
		}
	}
	for _, n := range all {
		if proved(r, n, now) || p.granted(r, n) || matches(p.Names.Assigned, n) || p.manual() {
			continue
		}
		if expired(r, n, now) {
			return refuse(engine.NameNotAllowed, "the proof of %s has expired; validate it again", n)
		}
		if len(r.Grants) > 0 {
			return refuse(engine.NameNotAllowed, "the grant in use does not cover %s; ask for names that it covers, or for another grant", n)
		}
		return refuse(engine.NameNotAllowed, "nobody proved %s; validate it, or use a grant that covers it", n)
	}
	return nil
}

func (p *profile) allows(n names.Name) bool {
	if len(p.Names.Allow) == 0 {
		return n.Type == names.DNS || n.Type == names.IP
	}
	return matches(p.Names.Allow, n)
}

// allowed describes what allows allows.
func (p *profile) allowed() string {
	const most = 8 // a denial is a line, not a document
	if len(p.Names.Allow) == 0 {
		return "DNS names and addresses"
	}
	var out []string
	for _, a := range p.Names.Allow[:min(most, len(p.Names.Allow))] {
		out = append(out, a.String())
	}
	if len(p.Names.Allow) > most {
		out = append(out, "…")
	}
	return strings.Join(out, ", ")
}

func matches(list []names.Pattern, n names.Name) bool {
	return slices.ContainsFunc(list, func(m names.Pattern) bool { return m.Match(n) })
}

// proved looks for an unexpired proof of exactly this name: one of example.com
// says nothing about *.example.com unless it names that too.
func proved(r *engine.Request, n names.Name, now time.Time) bool {
	return slices.ContainsFunc(r.Proofs, func(p engine.Proof) bool { return speaks(r, p, n) && live(p, now) })
}

func expired(r *engine.Request, n names.Name, now time.Time) bool {
	return slices.ContainsFunc(r.Proofs, func(p engine.Proof) bool { return speaks(r, p, n) && !live(p, now) })
}

// speaks says that the proof is one of control of the name. Grants are looked up
// live, votes are the engine's, and the certificate of a channel says who asks,
// not what may be asked for.
func speaks(r *engine.Request, p engine.Proof, n names.Name) bool {
	switch p.Method {
	case engine.ByGrant, engine.ByVote, engine.ClientCert:
		return false
	case engine.BySelf:
		if r.Source != engine.Self {
			return false
		}
	}
	return slices.Contains(p.Names, n)
}

func live(p engine.Proof, now time.Time) bool { return p.Expires.IsZero() || now.Before(p.Expires) }

// granted looks for a grant that covers the name, among those that can be used
// now for this profile.
func (p *profile) granted(r *engine.Request, n names.Name) bool {
	return slices.ContainsFunc(r.Grants, func(g *engine.Grant) bool {
		return g.Protocol == r.Source && unlimited(g.Endpoints, r.Endpoint) && unlimited(g.Profiles, p.name) && g.Vouches(n)
	})
}

// unlimited says that a list that is empty for all admits s.
func unlimited(list []string, s string) bool { return len(list) == 0 || slices.Contains(list, s) }

// subject makes the subject: the profile's own attributes, and last, where the
// most specific belongs, a common name by the profile's rule. Nothing else of
// what was asked for is in it.
func (p *profile) subject(cn string, all []names.Name) (names.DN, *refusal) {
	if p.cn == "san" {
		for _, n := range all {
			if n.Type == names.DNS && len(n.Value) <= maxCN {
				cn = n.Value
				break
			}
		}
	}
	if utf8.RuneCountInString(cn) > maxCN {
		return nil, refuse(engine.BadCSR, "the common name is longer than 64 characters; leave it out, and put the name among the subject alternative names")
	}
	dn := slices.Clone(p.fixed)
	if cn != "" {
		dn = append(dn, names.RDN{{OID: oidCN, Value: cn}})
	}
	return dn, nil
}
