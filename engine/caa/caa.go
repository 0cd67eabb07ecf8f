// Package caa says whether the DNS lets this CA issue for a name: Certification
// Authority Authorization (RFC 8659), with the parameters accounturi and
// validationmethods (RFC 8657).
package caa

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"chancery/engine/dns"
	"chancery/engine/names"
)

// maxLabels bounds the climb. The deepest names that are used, those for the
// reverse look-up of IPv6, have 34.
const maxLabels = 40

// ErrUnknown says that the DNS did not tell. It must be taken for a no.
var ErrUnknown = errors.New("the name servers gave no usable answer about CAA")

// Records are where the properties of a name come from; see [dns.Client.CAA].
type Records interface {
	CAA(ctx context.Context, name string) ([]dns.CAA, time.Duration, error)
}

// A Request is what is asked about one name.
type Request struct {
	Name    names.Name // a DNS name, perhaps with an asterisk
	Account string     // URI of the account that asks; empty: of none
	Methods []string   // by which control of the name was proved, by their labels
}

// An Answer is what the DNS says, with what it rests on.
type Answer struct {
	Allowed bool
	At      string        // where the properties are that count; empty: there are none
	Why     string        // in words for the requester
	TTL     time.Duration // for which it may be relied on
}

// A Checker asks on behalf of a CA.
type Checker struct {
	Records    Records
	Identities []string // names of this CA in CAA properties, lower case
}

// Check looks for the properties that count for a name, and weighs them. The
// error is ErrUnknown, or that of the context.
func (c *Checker) Check(ctx context.Context, r Request) (Answer, error) {
	host := strings.TrimPrefix(r.Name.Value, "*.")
	if strings.Count(host, ".") >= maxLabels {
		return Answer{Why: fmt.Sprintf("%s has too many labels to look for CAA records", host)}, nil
	}
	// RFC 8659, Section 3: the closest set counts, and the climb is by the labels
	// of the name itself, whatever aliases there are.
	for at := host; at != ""; _, at, _ = strings.Cut(at, ".") {
		found, ttl, err := c.Records.CAA(ctx, at)
		if errors.Is(err, dns.ErrName) {
			continue // a name that servers are not asked about has no properties
		}
		if err != nil {
			return Answer{At: at}, fmt.Errorf("%w of %s", ErrUnknown, at)
		}
		if len(found) > 0 {
			a := c.weigh(found, r)
			a.At, a.TTL = at, ttl
			return a, nil
		}
	}
	return Answer{Allowed: true, Why: "there are no CAA records"}, nil
}

// known are the tags whose properties do not restrict certificates like ours, by
// the registry that RFC 8659, Section 7 names.
var known = []string{"issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"}

// weigh decides by the properties that count.
func (c *Checker) weigh(all []dns.CAA, r Request) Answer {
	wild := r.Name.Wildcard() && slices.ContainsFunc(all, func(p dns.CAA) bool { return p.Tag == "issuewild" })
	restricts := "issue"
	if wild {
		restricts = "issuewild" // RFC 8659, Section 4.3: each issue is then ignored
	}
	restricted, why := false, ""
	for _, p := range all {
		if p.Critical && !slices.Contains(known, p.Tag) {
			// RFC 8659, Section 4.1
			return Answer{Why: fmt.Sprintf("a critical CAA property has the tag %.20s, which is not known here", p.Tag)}
		}
		if p.Tag != restricts {
			continue
		}
		restricted = true
		refuses := c.refuses(p.Value, r)
		if refuses == "" {
			return Answer{Allowed: true, Why: fmt.Sprintf("CAA %s names this CA", restricts)}
		}
		if why == "" || refuses != otherIssuer {
			why = refuses // what is ours and refuses says more than what is another's
		}
	}
	if restricted {
		return Answer{Why: fmt.Sprintf("CAA %s %s", restricts, why)}
	}
	return Answer{Allowed: true, Why: "the CAA records restrict nothing"}
}

const otherIssuer = "does not name this CA"

// refuses says why one property does not authorize, or nothing.
func (c *Checker) refuses(value string, r Request) string {
	v, ok := ParseIssue(value)
	if !ok || !slices.Contains(c.Identities, v.Domain) {
		return otherIssuer // RFC 8659, Section 4.2: one that does not parse names nobody
	}
	// RFC 8657, Section 3: twice is never satisfied.
	if uri, times := v.Get("accounturi"); times > 1 || times == 1 && (r.Account == "" || uri != r.Account) {
		return "names this CA for another account (accounturi)"
	}
	// RFC 8657, Section 4
	if list, times := v.Get("validationmethods"); times > 1 || times == 1 && !lists(list, r.Methods) {
		return "does not admit the way in which the name was validated (validationmethods)"
	}
	return ""
}

// lists reports whether a list of labels is one, and has any of the methods.
func lists(list string, methods []string) bool {
	found := false
	for l := range strings.SplitSeq(list, ",") {
		if l == "" || strings.Trim(strings.ToLower(l), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
		found = found || slices.Contains(methods, l)
	}
	return found
}
