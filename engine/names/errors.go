package names

import (
	"fmt"
	"strconv"
)

// SyntaxError says that a value is not a name of the kind it was given as.
type SyntaxError struct {
	What   string // what it was read as: "dns", "subjectAltName", "distinguished name", …
	Value  string // the value as it came, possibly hostile; Error quotes and shortens it
	Reason string // what is wrong, and where it helps, what to write instead
}

func (e *SyntaxError) Error() string {
	if e.Value == "" {
		return e.What + ": " + e.Reason
	}
	return e.What + " " + quote(e.Value) + ": " + e.Reason
}

// UnsupportedError says that a name is of a form that Chancery does not issue.
type UnsupportedError struct {
	Form string // "otherName 1.3.6.1.4.1.311.20.2.3", "directoryName", …
}

func (e *UnsupportedError) Error() string {
	return "names of the form " + quote(e.Form) + " are not issued; ask for dns, ip, email or uri names only"
}

// ConstraintError says that a name lies outside what an issuer may certify.
type ConstraintError struct {
	Name     string // the name or subject refused
	Subtree  string // the excluded subtree that holds it; empty when no permitted one does
	Excluded bool
}

func (e *ConstraintError) Error() string {
	if e.Excluded {
		return fmt.Sprintf("%s is excluded by the issuer's name constraint %s; ask for another name or use another authority", quote(e.Name), quote(e.Subtree))
	}
	return quote(e.Name) + " is in no subtree that the issuer's name constraints permit; ask for another name or use another authority"
}

// quote shows an outside value on one line: escaped, because it may hold
// controls or bidirectional marks, and cut, because it may be long.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
