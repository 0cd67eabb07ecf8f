package acme

import (
	"net/http"
	"slices"
	"strings"

	"chancery/engine/names"
)

// An identifier is what is to be in the certificate (RFC 8555, Section 7.1.3).
type identifier struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// An admission says which well-formed names an endpoint takes orders for. What
// is issued in the end is for the profile and the gate to say; this keeps
// strangers from trying.
type admission struct {
	patterns []names.Pattern
	ordinary bool // names that are nobody's in particular need no pattern
	special  bool // neither do localhost, single labels, wildcards, the server's own names
	own      []string
}

func newAdmission(e Endpoint, d *Deps) admission {
	a := admission{patterns: e.Names, ordinary: e.Open}
	if d.Loopback && len(e.Names) == 0 {
		a.ordinary, a.special = true, true
	}
	for _, n := range d.OwnNames {
		a.own = append(a.own, strings.ToLower(n))
	}
	return a
}

// refuses says why a name is not taken, or nothing.
func (a *admission) refuses(n names.Name) string {
	if slices.ContainsFunc(a.patterns, func(p names.Pattern) bool { return p.Match(n) }) {
		return ""
	}
	const list = "; the administrator can add it to the endpoint's names"
	if !a.ordinary {
		return "this endpoint takes no orders for this name" + list
	}
	if a.special {
		return ""
	}
	host := strings.TrimPrefix(n.Value, "*.")
	switch {
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
func (a *admission) parseIdentifiers(in []identifier) ([]names.Name, error) {
	if len(in) == 0 {
		return nil, bad("an order needs at least one identifier")
	}
	if len(in) > names.MaxNames {
		return nil, bad("an order can have %d identifiers, not %d; make several orders", names.MaxNames, len(in))
	}
	var out []names.Name
	var wrong []subproblem
	for _, id := range in {
		n, kind, detail := a.parseIdentifier(id)
		switch {
		case kind != "":
			wrong = append(wrong, subproblem{kind, detail, shownIdentifier(id)})
		case !slices.Contains(out, n):
			out = append(out, n)
		}
	}
	if len(wrong) > 0 {
		return nil, identifierProblem(wrong)
	}
	return out, nil
}

func (a *admission) parseIdentifier(id identifier) (n names.Name, kind, detail string) {
	if id.Type != string(names.DNS) {
		return n, unsupportedIdentifier, "identifiers of this type are not taken; use dns"
	}
	n, err := names.Parse(names.DNS, id.Value)
	if err != nil {
		kind, detail = nameProblem(err)
		return n, kind, detail
	}
	if why := a.refuses(n); why != "" {
		return n, rejectedIdentifier, n.Value + ": " + why
	}
	return n, "", ""
}

// shownIdentifier is what came from outside, cut to a harmless length.
func shownIdentifier(id identifier) identifier {
	return identifier{cut(id.Type, 32), cut(id.Value, 256)}
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
