package acme

import (
	"net/http"
	"slices"
	"strings"

	"chancery/engine"
	"chancery/engine/names"
)

// An identifier is what is to be in the certificate (RFC 8555, Section 7.1.3;
// RFC 8738, Section 3).
type identifier struct {
	Type     string `json:"type"`
	Value    string `json:"value"`
	Ancestor string `json:"ancestorDomain,omitempty"` // RFC 9444, Section 4.3
}

// Rows hold names as text: a DNS name as it is, an address after "ip:".
const ipPrefix = string(names.IP) + ":"

func stored(n names.Name) string {
	if n.Type == names.IP {
		return ipPrefix + n.Value
	}
	return n.Value
}

func fromStored(s string) names.Name {
	if v, ok := strings.CutPrefix(s, ipPrefix); ok {
		return names.Name{Type: names.IP, Value: v}
	}
	return names.Name{Type: names.DNS, Value: s}
}

// A wanted is a name of an order, with the domain above it that is to be proved
// instead, if the client asked for that and the endpoint lets it.
type wanted struct {
	name     names.Name
	ancestor string
}

// An admission says which well-formed names an endpoint takes orders for. What
// is issued in the end is for the profile and the gate to say; this keeps
// strangers from trying.
type admission struct {
	patterns   []names.Pattern
	ordinary   bool // names that are nobody's in particular need no pattern
	special    bool // neither do localhost, single labels, wildcards, addresses, the server's own names
	subdomains bool // a domain may speak for names below it
	own        []string
}

func newAdmission(e Endpoint, d *Deps) admission {
	a := admission{patterns: e.Names, ordinary: e.Open || e.RequireGrant && len(e.Names) == 0, subdomains: e.Subdomains}
	if d.Loopback && len(e.Names) == 0 {
		a.ordinary, a.special = true, true
	}
	for _, n := range d.OwnNames {
		a.own = append(a.own, strings.ToLower(n))
	}
	return a
}

// refuses says why a name is not taken, or nothing. The grant is that of the
// account, or nil: it narrows what the endpoint takes, and where the endpoint
// lists no names its own list is one.
func (a *admission) refuses(n names.Name, g *engine.Grant) string {
	if g != nil && !g.Bounds(n) {
		return "the grant that this account is bound to is not for this name; its owner can make another"
	}
	if slices.ContainsFunc(a.patterns, func(p names.Pattern) bool { return p.Match(n) }) {
		return ""
	}
	const list = "; the administrator can add it to the endpoint's names"
	if !a.ordinary {
		return "this endpoint takes no orders for this name" + list
	}
	if a.special || g != nil && g.Lists(n) {
		return ""
	}
	host := strings.TrimPrefix(n.Value, "*.")
	switch {
	case n.Type == names.IP:
		return "an address must be admitted by name here" + list
	case n.Wildcard():
		return "a wildcard must be admitted by name here" + list
	case host == "localhost" || strings.HasSuffix(host, ".localhost"):
		return "localhost must be admitted by name here" + list
	case !strings.Contains(host, "."):
		return "a name of one label must be admitted by name here" + list
	case slices.Contains(a.own, host):
		return "this is one of the server's own names, which must be admitted by name here" + list
	}
	return ""
}

// parseIdentifiers checks all identifiers of an order and reports on all that
// are bad. Repeated ones count once.
func (a *admission) parseIdentifiers(in []identifier, g *engine.Grant) ([]wanted, error) {
	if len(in) == 0 {
		return nil, bad("an order needs at least one identifier")
	}
	if len(in) > names.MaxNames {
		return nil, bad("an order can have %d identifiers, not %d; make several orders", names.MaxNames, len(in))
	}
	var out []wanted
	var wrong []subproblem
	for _, id := range in {
		w, kind, detail := a.parseIdentifier(id, g)
		switch {
		case kind != "":
			wrong = append(wrong, subproblem{kind, detail, shownIdentifier(id)})
		case !slices.ContainsFunc(out, func(o wanted) bool { return o.name == w.name }):
			out = append(out, w)
		}
	}
	if len(wrong) > 0 {
		return nil, identifierProblem(wrong)
	}
	return out, nil
}

func (a *admission) parseIdentifier(id identifier, g *engine.Grant) (w wanted, kind, detail string) {
	// RFC 8555, Section 9.7.7; RFC 8738, Section 3.
	t := names.Type(id.Type)
	if t != names.DNS && t != names.IP {
		return w, unsupportedIdentifier, "identifiers of this type are not taken; use dns or ip"
	}
	n, err := names.Parse(t, id.Value)
	if err != nil {
		kind, detail = nameProblem(err)
		return w, kind, detail
	}
	if why := a.refuses(n, g); why != "" {
		return w, rejectedIdentifier, n.Value + ": " + why
	}
	w.name = n
	if id.Ancestor == "" || !a.subdomains {
		return w, "", "" // RFC 9444, Section 4.3: then the name itself is to be proved
	}
	w.ancestor, kind, detail = parseAncestor(n, id.Ancestor)
	return w, kind, detail
}

// shownIdentifier is what came from outside, cut to a harmless length.
func shownIdentifier(id identifier) identifier {
	return identifier{cut(id.Type, 32), cut(id.Value, 256), cut(id.Ancestor, 256)}
}

func cut(s string, most int) string {
	if len(s) > most {
		s = s[:most]
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s)
}

// identifierProblem is RFC 8555, Section 6.7.1: one subproblem for each bad
// identifier when there are several; none names its identifier at the top.
func identifierProblem(wrong []subproblem) *problem {
	kind := wrong[0].Type
	for _, s := range wrong[1:] {
		if s.Type != kind {
			kind = compound
		}
	}
	status := http.StatusBadRequest
	if kind == rejectedIdentifier {
		status = http.StatusForbidden
	}
	p := refuse(status, kind, "%s", wrong[0].Detail)
	if len(wrong) > 1 {
		p.Detail = "several identifiers cannot be ordered; see subproblems"
		p.Subproblems = wrong
	}
	return p
}
