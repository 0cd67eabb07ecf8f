package engine

import (
	"fmt"
	"slices"
)

// A Role is what a person may do.
type Role string

// The roles. Intermediaries come with the issue that needs them.
const (
	Officer  Role = "officer"  // approve, deny, revoke
	Admin    Role = "admin"    // policy, grants, roles, freeze
	Auditor  Role = "auditor"  // read everything, change nothing
	Operator Role = "operator" // health, freeze
)

// Roles lists all of them.
var Roles = []Role{Officer, Admin, Auditor, Operator}

// An Actor is an authenticated person, with the roles that the credential has
// at this moment.
type Actor struct {
	Person    string
	Principal Principal // of the credential, to compare with requesters
	Roles     []Role
	Via       string // "founder", "key", "grant" or "socket", for the record
}

// Is reports whether the actor holds any of the roles.
func (a Actor) Is(any ...Role) bool {
	return slices.ContainsFunc(any, func(r Role) bool { return slices.Contains(a.Roles, r) })
}

// Require returns ErrForbidden, saying what is missing, unless the actor holds
// one of the roles.
func (a Actor) Require(any ...Role) error {
	if a.Is(any...) {
		return nil
	}
	return fmt.Errorf("%w: this needs the role %s, and %s does not have it", ErrForbidden, list(any), a.Person)
}

func list(roles []Role) string {
	s := ""
	for i, r := range roles {
		if i > 0 {
			s += " or "
		}
		s += string(r)
	}
	return s
}
