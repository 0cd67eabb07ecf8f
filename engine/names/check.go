package names

import (
	"net/netip"
	"strings"
)

// Check refuses a name or a subject that the constraints do not let the issuer
// certify (RFC 5280, Section 4.2.1.10 and 6.1.3). Beside the names it checks
// what verifiers take for names in the subject: emailAddress as email, and when
// no dns name is asked for, a commonName that reads as a host name as dns. The
// error is a *ConstraintError.
func (c *Constraints) Check(list []Name, subject DN) error {
	if c == nil || len(c.permitted) == 0 && len(c.excluded) == 0 {
		return nil
	}
	hasDNS := false
	for _, n := range list {
		hasDNS = hasDNS || n.Type == DNS
		if err := c.checkName(n); err != nil {
			return err
		}
	}
	for _, address := range subject.values(oidEmail) {
		n, err := Parse(Email, address)
		if err != nil {
			// Not an address to us, perhaps one to a verifier.
			n = Name{Type: Email, Value: address}
		}
		if err := c.checkName(n); err != nil {
			return err
		}
	}
	if !hasDNS {
		for _, cn := range subject.CommonNames() {
			n, err := Parse(DNS, cn)
			if err != nil || !strings.Contains(n.Value, ".") {
				continue
			}
			if err := c.checkName(n); err != nil {
				return err
			}
		}
	}
	if len(subject) == 0 {
		return nil
	}
	return c.check(dirName, subject.String(), func(s subtree, _ bool) bool { return s.dn.within(subject) })
}

func (c *Constraints) checkName(n Name) error {
	return c.check(n.Type, n.String(), func(s subtree, excluding bool) bool { return s.holds(n, excluding) })
}

// check applies first the excluded subtrees of a form, then the permitted ones
// if there are any of that form.
func (c *Constraints) check(t Type, shown string, holds func(s subtree, excluding bool) bool) error {
	for _, s := range c.excluded {
		if s.typ == t && holds(s, true) {
			return &ConstraintError{Name: shown, Subtree: s.String(), Excluded: true}
		}
	}
	constrained := false
	for _, s := range c.permitted {
		if s.typ != t {
			continue
		}
		if holds(s, false) {
			return nil
		}
		constrained = true
	}
	if constrained {
		return &ConstraintError{Name: shown}
	}
	return nil
}

// holds says whether n is in the subtree. Where that can be read in two ways it
// leans to refusing: towards yes when the subtree is excluded, towards no when
// it is permitted.
func (s subtree) holds(n Name, excluding bool) bool {
	switch n.Type {
	case DNS:
		return s.holdsDNS(n, excluding)
	case IP:
		addr, err := netip.ParseAddr(n.Value)
		if err != nil {
			return excluding
		}
		return s.prefix.Contains(addr)
	case Email:
		return s.holdsEmail(n.Value, excluding)
	case URI:
		u, reason := splitURI(n.Value)
		// RFC 5280, Section 4.2.1.10: a URI without a host name cannot be
		// held against a constraint and is refused when there is one.
		if reason != "" || !u.authority || hostIsAddress(u.host) {
			return excluding
		}
		return s.holdsHost(u.host)
	}
	return excluding
}

// holdsDNS: a name is in the subtree of a domain when it is the domain or below
// it. RFC 5280 gives a leading dot no meaning for dns; verifiers take it as
// "below only", so a permitted one means that and an excluded one both.
//
// A wildcard stands for each name with one label in its place. It is inside a
// permitted subtree if all of them are, and hit by an excluded one if any is
// (CVE-2025-61727).
func (s subtree) holdsDNS(n Name, excluding bool) bool {
	if s.text == "" {
		return true
	}
	host := n.Value
	if n.Wildcard() {
		base := host[len("*."):]
		if base == s.text || strings.HasSuffix(base, "."+s.text) {
			return true
		}
		if !excluding {
			return false
		}
		first, ok := strings.CutSuffix(s.text, "."+base)
		return ok && !strings.Contains(first, ".")
	}
	if host == s.text {
		return excluding || !s.dotted
	}
	return strings.HasSuffix(host, "."+s.text)
}

// holdsEmail: one mailbox, all mailboxes of a host, or of every host below a
// domain. The local part is compared exactly when permitted and without regard
// to case when excluded: most hosts ignore it.
func (s subtree) holdsEmail(address string, excluding bool) bool {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return excluding
	}
	local, host := address[:at], strings.ToLower(address[at+1:])
	if s.local == "" {
		return s.holdsHost(host)
	}
	if excluding {
		return strings.EqualFold(local, s.local) && host == s.text
	}
	return local == s.local && host == s.text
}

// holdsHost is the rule of email and uri: exactly the host, or with a leading
// dot whatever is below the domain.
func (s subtree) holdsHost(host string) bool {
	switch {
	case s.text == "" && !s.dotted:
		return true
	case s.dotted:
		return strings.HasSuffix(host, "."+s.text)
	}
	return host == s.text
}

func hostIsAddress(host string) bool {
	if strings.HasPrefix(host, "[") {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// String shows a subtree in messages.
func (s subtree) String() string {
	switch {
	case s.typ == IP:
		return "ip:" + s.prefix.String()
	case s.typ == dirName:
		return "dirName:" + s.dn.String()
	case s.local != "":
		return "email:" + s.local + "@" + s.text
	case s.dotted:
		return string(s.typ) + ":." + s.text
	}
	return string(s.typ) + ":" + s.text
}
